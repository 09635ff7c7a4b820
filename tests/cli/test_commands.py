from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from auditor import cli
from auditor.battery import ATTACKS, MEMBERSHIP
from auditor.cli.terminal import clean
from auditor.defenses import DEFENSES
from auditor.findings import AttackCard, DefenseCard
from auditor.report import load_json, write_outputs
from tests.cli.test_terminal import torch_was_imported_by
from tests.report.example import well_behaved
from tests.tiny_checkpoints import timm_folder


class FakePreview:
    @property
    def plan(self) -> FakePreview:
        return self

    def model_dump_json(self, *, indent: int) -> str:
        return json.dumps({"shadows": 16}, indent=indent)

    def describe(self) -> str:
        return "16 shadows, about 3 minutes\nskipped: \x1b[2J"


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("auditor.audit.plan_audit", lambda options: FakePreview())
    path = tmp_path / "model.safetensors"
    path.touch()
    return path


def test_plan_is_told_on_stdout(checkpoint: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["plan", str(checkpoint), "--data", str(checkpoint.parent)]) == 0
    assert capsys.readouterr() == ("16 shadows, about 3 minutes\nskipped: �[2J\n", "")


def test_plan_as_json(checkpoint: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["plan", str(checkpoint), "--data", str(checkpoint.parent), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"shadows": 16}


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    path = tmp_path / "report.json"
    write_outputs(well_behaved(), [path])
    return path


def test_render_makes_the_page_again(stored: Path, capsys: pytest.CaptureFixture[str]):
    page, copy = stored.with_name("page.html"), stored.with_name("copy.json")
    assert cli.main(["render", str(stored), "-o", str(page), "-o", str(copy)]) == 0
    assert capsys.readouterr() == (f"{page}\n{copy}\n", "")
    assert well_behaved().model.name in page.read_text(encoding="utf-8")
    assert load_json(copy) == well_behaved()


def test_render_does_not_import_torch(stored: Path):
    assert not torch_was_imported_by("render", str(stored), "-o", str(stored.with_name("page.html")))


def test_render_of_something_else_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    other = tmp_path / "other.json"
    other.write_text('{"schema_version": "1"}', encoding="utf-8")
    assert cli.main(["render", str(other), "-o", str(tmp_path / "page.html")]) == 2
    assert "other.json" in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()


def test_inspect_tells_format_hash_and_how_the_architecture_was_decided(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    timm_folder(tmp_path / "tiny")
    weights = tmp_path / "tiny" / "model.safetensors"
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert cli.main(["inspect", str(tmp_path / "tiny")]) == 0
    told = capsys.readouterr().out
    assert sha256 in told
    assert "config.json" in told
    assert "without running code" in told
    assert cli.main(["inspect", str(tmp_path / "tiny"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["sha256"], found["safe"]) == (sha256, True)


@pytest.mark.parametrize("arch", ["resnet18", "no_such_network", "network.py:nothing"])
def test_inspect_refuses_a_network_that_is_named_and_does_not_load(
    arch: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    timm_folder(tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["inspect", "tiny"]) == 0
    assert cli.main(["inspect", "tiny", "--arch", arch]) == 2
    told = capsys.readouterr()
    assert "not decided" in told.out
    assert f"cannot be loaded as {arch}: " in told.err


@pytest.mark.parametrize(("command", "card"), [("attacks", AttackCard), ("defenses", DefenseCard)])
def test_the_box_is_listed(command: str, card: type, capsys: pytest.CaptureFixture[str]):
    assert cli.main([command, "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    costs = [each.pop("cost", None) for each in listed]
    assert (None in costs) == (command == "defenses")
    cards = [card.model_validate(each) for each in listed]
    assert cards
    assert cli.main([command]) == 0
    told = capsys.readouterr().out
    assert all(f"{each.id}: {each.title}" in told for each in cards)


def test_every_attack_is_listed_with_what_it_costs(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["attacks", "--json"]) == 0
    costs = {each["id"]: each["cost"] for each in json.loads(capsys.readouterr().out)}
    assert costs["lira-scores"] == {"shadows": 6, "queries_per_record": None, "budget": "quick"}
    assert costs["boundary"] == {"shadows": 0, "queries_per_record": 2500, "budget": "thorough"}
    assert costs["miface"] == {"shadows": 0, "queries_per_record": None, "budget": "quick"}
    assert cli.main(["attacks"]) == 0
    told = capsys.readouterr().out
    assert told.count("\n      from ") == len(costs)
    assert "\n      from thorough; 2,500 queries per record; third-party-derived\n" in told
    assert "LiRA (online) on logits\n      from quick; at least 6 shadows; official-code-derived\n" in told
    assert "BREP-MI (ended early)\n      from standard; needs an image prior; official-code-derived\n" in told


def test_attacks_stand_under_what_they_ask_and_see(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["attacks"]) == 0
    groups = [group.splitlines() for group in capsys.readouterr().out.split("\n\n")[:-1]]
    under = dict(zip((lines[0] for lines in groups[::2]), groups[1::2], strict=True))
    assert [heading.partition(":")[0] for heading in under] == [
        f"{family}, seeing {access}"
        for family in ("MEMBERSHIP INFERENCE", "INVERSION")
        for access in ("labels", "scores", "weights")
    ]
    for heading, lines in under.items():
        found = [line for line in lines if not line.startswith("      ")]
        family = "inversion" if heading.startswith("INVERSION") else "membership"
        access = heading.partition("seeing ")[2].partition(":")[0]
        expected = [one.card for one in ATTACKS if (one.card.family, one.card.access) == (family, access)]
        assert [line[2:] for line in found] == [f"{card.id}: {card.title}" for card in expected]
        primary = {row.card.id for row in MEMBERSHIP if row.primary and row.card in expected}
        assert {line[2:].partition(":")[0] for line in found if line.startswith("* ")} == primary


def test_defenses_stand_under_where_they_act_and_parts_under_their_whole(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["defenses"]) == 0
    output, training = capsys.readouterr().out.split("\nIN TRAINING: ")
    for told, acts_on in ((output, "output"), (training, "training")):
        for row in DEFENSES:
            line = f"\n{'    ' if row.card.part_of else '  '}{row.card.id}: "
            assert (line in told) == (row.card.acts_on == acts_on)
            if row.card.part_of and line in told:
                assert told.index(f"\n  {row.card.part_of}: ") < told.index(line)
    unwrapped = " ".join([*output.split(), *training.split()])
    for told in (
        "purifier: Purifier (2020, basic) from quick; counts for scores; third-party-derived",
        "purifier-2023: Purifier (AAAI 2023) from standard; counts for scores and labels; reads members; account",
        "MMD and mix-up from standard; counts for any release; 2.5 trainings, 6 trainings to tune it; official-code",
    ):
        assert told in unwrapped


@pytest.mark.parametrize("command", ["attacks", "defenses"])
def test_a_listing_fits_a_narrow_terminal_and_is_plain(command: str, capsys: pytest.CaptureFixture[str]):
    assert cli.main([command]) == 0
    told = capsys.readouterr().out
    assert max(map(len, told.splitlines())) <= 80
    assert told == clean(told)


@pytest.mark.parametrize("arguments", [("attacks",), ("attacks", "--json")])
def test_attacks_are_listed_without_torch(arguments: tuple[str, ...]):
    assert not torch_was_imported_by(*arguments)
