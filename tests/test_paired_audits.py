"""Two audits of one data folder: what they keep of each record, that it goes nowhere, and that it pairs them."""

import json
import struct

import numpy as np
import pytest
from pypdf import PdfReader
from safetensors.torch import save_file

from auditor import cli
from auditor.audit import AuditOptions, audit
from auditor.difference.changes import compare
from auditor.difference.kept_scores import SCORES_NAME, read_kept
from auditor.difference.pairing import Missing
from auditor.findings import Role
from auditor.records import load_key, record_id
from auditor.report import load_json, write_outputs
from auditor.splits import load_splits
from auditor.training import train
from tests.digits import RECIPE, parts, template, trained_weights, write_network, write_splits

ATTACKS = ("gap", "lira-scores", "lira-weights")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A network overfitted to 200 digits, another training of it, and their splits."""
    folder = tmp_path_factory.mktemp("releases")
    members, others, population = parts(200, 200, 300)
    trained_weights(folder, *members).rename(folder / "old.safetensors")
    save_file(train(template(folder), *members, RECIPE, seed=12).module.state_dict(), folder / "new.safetensors")
    write_splits(folder / "splits", members, others, population)
    return folder


def scan(world, which, run, **changes):
    options = {
        "checkpoint": world / f"{which}.safetensors",
        "data": world / "splits",
        "arch": write_network(world),
        "budget": "quick",
        "device": "cpu",
        "run_dir": world / run,
        "workers": 1,
        "attacks": ATTACKS,
        "defenses": (),
    }
    return audit(AuditOptions(**{**options, **changes}))


@pytest.fixture(scope="module")
def reports(world):
    return [scan(world, which, which) for which in ("old", "new")]


def primaries(found):
    return {one.card.id for one in found.membership if one.role is Role.PRIMARY and one.outcome.status == "completed"}


def test_a_finished_audit_keeps_the_scores_of_its_primary_attacks(world, reports):
    file = world / "old" / SCORES_NAME
    assert file.stat().st_mode & 0o777 == 0o600
    kept = read_kept(world / "old" / "report.json", reports[0])
    assert set(kept.scores) == primaries(reports[0]) == set(ATTACKS)
    splits, key = load_splits(world / "splits"), load_key(world / "privaudit.key")
    named = [{int(record_id(key, one), 16) for one in part.digests} for part in (splits.members, splits.non_members)]
    assert set(kept.records[kept.membership].tolist()) == named[0]
    assert set(kept.records[~kept.membership].tolist()) == named[1]


def test_the_same_plan_keeps_the_same_bytes(world, reports):
    scan(world, "old", "again", plan=world / "old" / "plan.json")
    assert (world / "again" / SCORES_NAME).read_bytes() == (world / "old" / SCORES_NAME).read_bytes()


def test_scores_that_are_gone_are_written_again_from_what_the_run_folder_keeps(world, reports):
    file = world / "old" / SCORES_NAME
    before = file.read_bytes()
    models = {path: path.stat().st_mtime_ns for path in (world / "old" / "models").iterdir()}
    file.unlink()
    scan(world, "old", "old")
    assert file.read_bytes() == before
    assert {path: path.stat().st_mtime_ns for path in models} == models


def test_two_audits_are_compared_record_by_record(world, reports):
    files = [world / which / "report.json" for which in ("old", "new")]
    kept = tuple(read_kept(file, found) for file, found in zip(files, reports, strict=True))
    found, apart = compare(*reports, kept), compare(*reports)
    assert found.unpaired == ""
    assert apart.unpaired.startswith("the old report was given without its run folder")
    compared = [(one, other) for one, other in zip(found.changes, apart.changes, strict=True) if one.primary]
    assert {one.card.id for one, _ in compared} == set(ATTACKS)
    for one, other in compared:
        assert one.paired
        assert not other.paired
        assert one.change.value == pytest.approx(other.change.value)


def test_the_command_pairs_run_folders_and_says_why_copies_are_not(world, reports, tmp_path, capsys):
    def told(old, new):
        assert cli.main(["diff", str(old), str(new)]) == 0
        return capsys.readouterr().out.splitlines()

    runs = [world / which / "report.json" for which in ("old", "new")]
    paired = [line for line in told(*runs) if line.startswith("primary")]
    assert len(paired) == len(ATTACKS)
    assert all(", paired; " in line for line in paired)
    (tmp_path / "report.json").write_bytes(runs[0].read_bytes())
    lines = told(tmp_path / "report.json", runs[1])
    assert any(line.startswith("unpaired  the old report has no scores.safetensors beside it;") for line in lines)
    assert all(", unpaired; " in line for line in lines if line.startswith("primary"))


def test_the_scores_of_one_audit_are_not_those_of_another(world, reports, tmp_path):
    (tmp_path / SCORES_NAME).write_bytes((world / "old" / SCORES_NAME).read_bytes())
    assert read_kept(tmp_path / "report.json", reports[1]) == Missing(
        "stands beside the scores.safetensors of another audit"
    )
    assert read_kept(tmp_path / "report.json", reports[0]).scores.keys() == set(ATTACKS)


def test_scores_get_into_no_output(world, reports, tmp_path):
    kept = read_kept(world / "old" / "report.json", reports[0])
    scores = np.concatenate([kept.scores["lira-scores"], kept.scores["lira-weights"]]).tolist()
    suffixes = ("html", "pdf", "json", "md", "sarif", "xml", "cdx.json", "codequality.json")
    files = [tmp_path / f"report.{suffix}" for suffix in suffixes]
    write_outputs(reports[0], files)
    assert load_json(files[2]) == reports[0]
    text = b"\n".join(
        path.read_bytes() for path in (*files, world / "old" / "report.json", world / "old" / "plan.json")
    )
    text += "\n".join(page.extract_text() for page in PdfReader(files[1]).pages).encode()
    assert SCORES_NAME.encode() not in text
    for score in scores:
        assert repr(score).encode() not in text
        assert f"{score:.9g}".encode() not in text
        assert struct.pack("<d", score) not in text
    ids = {f"{one:016x}" for one in kept.records.tolist()}
    named = set(reports[0].record_exposure.records)
    assert named < ids
    assert not any(one.encode() in text for one in ids - named)
    assert json.loads(files[2].read_text())["schema_version"] == "1"
