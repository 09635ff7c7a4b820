"""`defend`: the folder holds the model that a scan measured, and a scan of it finds what the report promised."""

from dataclasses import replace

import pytest

from auditor.audit import AuditOptions, audit
from auditor.defending import DefendOptions, defend_checkpoint
from auditor.errors import InputError
from auditor.findings import Metric
from auditor.target import load_target
from auditor.threat import Access
from tests.digits import parts, trained_weights, write_splits

DEFENSES = ("purifier", "calor")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("defended")
    members, others, population = parts(200, 200, 300)
    return folder, trained_weights(folder, *members), write_splits(folder / "splits", members, others, population)


def scanned(world, checkpoint, run, defenses):
    folder, _, splits = world
    options = AuditOptions(
        checkpoint=checkpoint,
        data=splits,
        arch=f"{folder / 'network.py'}:network",
        budget="quick",
        device="cpu",
        run_dir=folder / run,
        attacks=("gap", "lira-scores", "lira-weights"),
        defenses=defenses,
    )
    return audit(options)


@pytest.fixture(scope="module")
def report(world):
    return scanned(world, world[1], "undefended", DEFENSES)


def wanted(world, output, **changes):
    folder, checkpoint, splits = world
    return DefendOptions(
        **{
            "checkpoint": checkpoint,
            "data": splits,
            "defense": "purifier",
            "output": output,
            "arch": f"{folder / 'network.py'}:network",
            "budget": "quick",
            "device": "cpu",
            **changes,
        }
    )


@pytest.mark.parametrize("name", DEFENSES)
def test_a_scan_of_the_folder_finds_what_the_report_promised(world, report, tmp_path, name):
    defend_checkpoint(wanted(world, tmp_path / name, defense=name, report=report))
    promised = next(one for one in report.defenses if one.card.id == name)
    again = scanned(world, tmp_path / name, f"{name} again", ())
    assert (again.model.wrapper, again.model.trained_with) == ((name, None) if name == "purifier" else (None, name))
    for effect in promised.effects:
        result = next(one for one in again.membership if one.card.id == effect.attack_id)
        found = next(one for one in result.outcome.endpoints if one.metric is effect.metric)
        assert found.estimate.value == pytest.approx(effect.adaptive.value, abs=1e-6)
    assert {one.metric for one in promised.effects} >= {Metric.AUC}


def test_the_card_says_what_was_measured_and_what_the_folder_is_for(world, report, tmp_path):
    defend_checkpoint(wanted(world, tmp_path / "purified", report=report))
    card = (tmp_path / "purified" / "README.md").read_text(encoding="utf-8")
    strongest = next(one for one in report.defenses if one.card.id == "purifier").strongest
    assert all(f"| {one.access.value} | {one.attack_id} |" in card for one in strongest)
    assert "The weights are those of the undefended model" in card
    assert "third-party-derived" in card
    assert Access.WEIGHTS not in {one.access for one in strongest}


def test_without_a_report_the_card_says_that_nothing_was_measured(world, tmp_path):
    found = defend_checkpoint(wanted(world, tmp_path / "rounded", defense="rounding"))
    assert "Nothing was measured here" in (tmp_path / "rounded" / "README.md").read_text(encoding="utf-8")
    assert found.publishable
    assert next(one for one in found.costs if one.name == "Labels changed").estimate.value == 0


def test_a_folder_with_values_of_members_is_marked(world, tmp_path):
    found = defend_checkpoint(wanted(world, tmp_path / "aeppt", defense="aeppt"))
    assert not found.publishable
    assert "API only, do not publish" in (tmp_path / "aeppt" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"defense": "wishing"}, "--with 'wishing' is not in the box"),
        ({"defense": "top-3", "report": "measured"}, "no measurement of top-3"),
        ({"seed": 4, "report": "measured"}, "made with --budget quick --seed 0"),
        ({"report": "of another"}, "of another model"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_written(world, report, tmp_path, changes, message):
    other = report.model_copy(update={"model": report.model.model_copy(update={"sha256": "0" * 64})})
    reports = {"measured": report, "of another": other}
    given = {key: reports.get(value, value) if key == "report" else value for key, value in changes.items()}
    with pytest.raises(InputError, match=message):
        defend_checkpoint(replace(wanted(world, tmp_path / "none"), **given))
    assert not (tmp_path / "none").exists()


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_computed(world, tmp_path, monkeypatch):
    monkeypatch.setattr("auditor.defending.open_inputs", None)
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    before = sorted(tmp_path.rglob("*"))
    for name in ("file", "file/below", "link", "full", "x" * 300):
        with pytest.raises(InputError, match=r"exists already|cannot be written") as caught:
            defend_checkpoint(wanted(world, tmp_path / name))
        assert caught.value.hint
    assert sorted(tmp_path.rglob("*")) == before


def test_names_in_a_report_or_of_a_folder_stay_text_on_the_card(world, report, tmp_path):
    evil = "<script>|\n# `x`"
    measured = [
        one.model_copy(
            update={"strongest": tuple(each.model_copy(update={"attack_id": evil}) for each in one.strongest)}
        )
        for one in report.defenses
    ]
    hostile = report.model_copy(update={"defenses": tuple(measured)})
    copied = tmp_path / "<b>weights.safetensors"
    copied.write_bytes(world[1].read_bytes())
    defend_checkpoint(replace(wanted(world, tmp_path / "named", report=hostile), checkpoint=copied))
    card = (tmp_path / "named" / "README.md").read_text(encoding="utf-8")
    assert "\\<script\\>" in card
    assert "\\<b\\>weights" in card
    assert "<script>" not in card
    assert "\n# `x`" not in card


def test_a_defended_checkpoint_is_not_defended_twice(world, tmp_path):
    defend_checkpoint(wanted(world, tmp_path / "once", defense="temperature"))
    with pytest.raises(InputError, match="carries a defense already"):
        defend_checkpoint(replace(wanted(world, tmp_path / "twice"), checkpoint=tmp_path / "once"))


def test_the_folder_of_a_trained_defense_says_how_it_was_made(world, tmp_path):
    defend_checkpoint(wanted(world, tmp_path / "mid", defense="mid"))
    target = load_target(tmp_path / "mid", arch=f"{world[0] / 'network.py'}:network")
    assert target.stochastic
    assert target.trained_with.defense == "mid"
    assert target.architecture.head.kind == "bottleneck"
