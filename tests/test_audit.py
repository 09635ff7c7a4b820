"""Whole scans on real digits: the path of an audit, its replay, its privacy, and what it says under pure shift."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from pypdf import PdfReader

from auditor.audit import AuditOptions, audit
from auditor.battery import CARDS, INVERSION, MEMBERSHIP
from auditor.checkpoint.preprocessing import agreed_preprocessing
from auditor.defense import Applied, Holding
from auditor.defenses import DEFENSES
from auditor.findings import AuditReport, Family, Measurement, VerdictState
from auditor.report import write_outputs
from auditor.splits import load_splits
from auditor.splits_file import read_splits_file
from auditor.target import load_target, save_target
from auditor.threat import Access
from tests.digits import RECIPE, parts, trained_weights, write_network, write_splits

ROLES = ("train", "test", "population")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A network overfitted to 300 digits, and its splits as image folders."""
    folder = tmp_path_factory.mktemp("digits")
    members, others, population = parts(300, 300, 400)
    checkpoint = trained_weights(folder, *members)
    splits = write_splits(folder / "splits", members, others, population, as_images=True)
    return folder, checkpoint, splits


def options(world, run, **changes):
    folder, checkpoint, splits = world
    return AuditOptions(
        **{
            "checkpoint": checkpoint,
            "data": splits,
            "arch": f"{folder / 'network.py'}:network",
            "budget": "quick",
            "device": "cpu",
            "run_dir": folder / run,
            **changes,
        }
    )


@pytest.fixture(scope="module")
def report(world):
    """With every attack in the box, whatever budget would pay for it."""
    return audit(options(world, "first", attacks=tuple(card.id for card in CARDS)))


def without_timings(report: AuditReport):
    skipped = {"timings": True, "attack_timings": True, "defenses": {"__all__": {"timings"}}}
    return report.model_dump(mode="json", exclude=skipped)


def test_every_part_of_the_audit_is_there(report):
    assert [result.card for result in report.membership] == [attack.card for attack in MEMBERSHIP]
    assert {
        result.card.id: result.outcome for result in report.membership if result.outcome.status != "completed"
    } == {}
    controls = ["blind", "owner-label-null", "instrument-null", "planted", "planted-shadow"]
    assert [control.id for control in report.controls] == controls
    assert {check.id for check in report.checks} >= {"recipe", "members-learned", "random-split", "population"}
    assert [defense.status for defense in report.defenses] == ["completed", "completed"]
    assert len(report.verdicts) == len(Access) * len(Family)
    completed = [result.card.id for result in report.inversion if result.status == "completed"]
    assert completed == [attack.card.id for attack in INVERSION if attack.needs is None]
    assert all(result.reason for result in report.inversion if result.status == "skipped")
    assert report.inversion_setup is not None
    assert all(timing.cpu_seconds > 0 for timing in report.timings if timing.phase == "train shadows")


def measurements(value):
    """Whatever the JSON holds that has the fields of a measurement."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if isinstance(value, dict) and value.keys() == Measurement.model_fields.keys():
        yield Measurement.model_validate(value)
    for one in inside:
        yield from measurements(one)


def test_every_share_says_that_it_is_one_and_no_auc_does(report):
    found = list(measurements(report.model_dump(mode="json")))
    shares = {one.name: one.unit for one in found if one.estimate.method == "Clopper-Pearson"}
    aucs = {one.name: one.unit for one in found if "AUC" in one.name}
    assert len(shares) > 5
    assert set(shares.values()) == {"share"}
    assert len(aucs) > 5
    assert set(aucs.values()) == {""}


def test_a_model_that_learned_its_members_well_is_judged_by_its_recipe(report):
    checks = {check.id: check for check in report.checks}
    assert not checks["recipe"].voids
    assert not checks["members-learned"].voids


def test_the_answer_before_shadows_stands_beside_what_shadows_found(world, report):
    at_once = AuditReport.model_validate_json((world[0] / "first" / "report-at-once.json").read_text())
    assert (at_once.stage, report.stage) == ("target alone", "complete")
    assert at_once.instant.tail == report.instant.tail
    lira = next(result.outcome for result in report.membership if result.card.id == "lira-scores")
    assert [one.estimate for one in report.instant.found] == [lira.endpoints[1].estimate]
    assert at_once.instant.found == ()


def test_below_a_thousand_a_side_nothing_is_said_of_low_fpr(report):
    for result in report.membership:
        assert all(endpoint.appendix for endpoint in result.outcome.endpoints if endpoint.fpr is not None)


def test_the_report_says_what_it_was_held_against_and_what_so_many_records_decide(report):
    auc, tpr = report.plan.power
    assert report.plan.default_policy
    assert (auc.n, auc.decided, auc.limit) == (report.data.evaluated, True, report.plan.auc_limit)
    assert (tpr.smallest, tpr.needed, tpr.decided) == (None, 1000, False)
    corrected = [end for result in report.membership for end in result.outcome.endpoints if end.rejected is not None]
    assert auc.level == report.plan.family_wise_error / len(corrected)


def test_inversion_cannot_say_below_twenty_classes(report):
    assert {verdict.state for verdict in report.verdicts if verdict.family is Family.INVERSION} == {
        VerdictState.CANNOT_SAY
    }


def test_labels_only_leaves_the_gap_attack_as_it_was(report):
    defense = next(one for one in report.defenses if one.card.id == "labels-only")
    gap = next(effect for effect in defense.effects if effect.attack_id == "gap")
    assert gap.adaptive == gap.static
    assert gap.adaptive.value == gap.undefended.value
    assert (gap.change.low, gap.change.value, gap.change.high) == (0, 0, 0)
    scores = [effect for effect in defense.effects if effect.access is Access.SCORES]
    assert scores
    assert all(effect.adaptive is None and effect.static is None for effect in scores)


def test_the_same_plan_and_key_give_the_same_report(world, report):
    folder = world[0]
    again = audit(options(world, "again", plan=folder / "first" / "plan.json", workers=1))
    assert without_timings(again) == without_timings(report)


def test_a_killed_scan_goes_on_where_it_stopped(world, report):
    folder, checkpoint, splits = world
    run = folder / "killed"
    command = [
        str(Path(sys.executable).with_name("privaudit")), "scan", str(checkpoint), "--data", str(splits),
        "--arch", f"{folder / 'network.py'}:network", "--budget", "quick", "--device", "cpu",
        "--run-dir", str(run), "--plan", str(folder / "first" / "plan.json"), "-o", str(folder / "killed.json"),
    ]  # fmt: skip
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while len(list((run / "signals").glob("shadow-*"))) < 3 and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (folder / "killed.json").exists()
    finished = {path: path.stat().st_mtime_ns for path in (run / "models").glob("*.safetensors")}
    assert finished
    again = audit(options(world, "killed", plan=folder / "first" / "plan.json"))
    assert without_timings(again) == without_timings(report)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished


def test_no_output_holds_a_name_a_hash_or_a_pixel_of_a_record(world, report, tmp_path):
    _, _, splits_folder = world
    splits = load_splits(splits_folder)
    files = [tmp_path / f"report.{suffix}" for suffix in ("html", "pdf", "json", "md")]
    write_outputs(report, files)
    text = b"\n".join(path.read_bytes() for path in files)
    text += "\n".join(page.extract_text() for page in PdfReader(tmp_path / "report.pdf").pages).encode()
    assert b"secret-" not in text
    assert str(splits_folder).encode() not in text
    for records in (splits.members, splits.non_members, splits.population):
        for digest, image in zip(records.digests, records.inputs, strict=True):
            assert digest.hex().encode() not in text
            assert digest not in text
            assert image.tobytes() not in text
            assert base64.b64encode(image.tobytes())[:32] not in text
    for role in ROLES:
        for path in (splits_folder / role).rglob("*.png"):
            assert path.read_bytes() not in text
            assert base64.b64encode(path.read_bytes())[:48] not in text


def test_the_run_folder_is_private(world, report):
    run = world[0] / "first"
    assert run.stat().st_mode & 0o777 == 0o700
    assert (world[0] / "privaudit.key").stat().st_mode & 0o777 == 0o600
    kept = AuditReport.model_validate_json((run / "report.json").read_text())
    assert kept == report
    key = (world[0] / "privaudit.key").read_bytes()
    assert key not in (run / "plan.json").read_bytes()
    assert key.hex().encode() not in (run / "report.json").read_bytes()


def test_a_run_folder_of_other_data_or_options_is_refused(world, report):
    from auditor.errors import InputError

    with pytest.raises(InputError, match="--seed"):
        audit(options(world, "first", seed=5))


@pytest.mark.parametrize("kind", ["labels-only", "purifier"])
def test_a_defended_checkpoint_is_attacked_through_its_defense(world, kind, tmp_path):
    folder, checkpoint, splits = world
    arch = f"{folder / 'network.py'}:network"
    preprocessing = agreed_preprocessing(read_splits_file(splits).preprocessing, None, splits)
    bare = load_target(checkpoint, arch=arch, preprocessing=preprocessing)
    defense = next(one for one in DEFENSES if one.card.id == kind)
    population = load_splits(splits).population
    holding = Holding(population.take(np.arange(0)), population, RECIPE)
    save_target(Applied(defense).apply(bare, holding, 0), tmp_path / "defended")
    found = audit(options(world, "unused", checkpoint=tmp_path / "defended", run_dir=tmp_path / "run"))
    outcomes = {result.card.id: result.outcome.status for result in found.membership}
    assert outcomes["lira-scores"] == ("skipped" if kind == "labels-only" else "completed")
    assert outcomes["gap"] == outcomes["lira-weights"] == "completed"
    assert found.model.wrapper == kind
    assert {defense.status for defense in found.defenses} == {"skipped"}
    assert len(list((tmp_path / "run" / "signals").glob(f"shadow-*-{kind}.safetensors"))) == 8
    states = {verdict.access: verdict.state for verdict in found.verdicts if verdict.family is Family.MEMBERSHIP}
    if kind == "labels-only":
        assert states[Access.SCORES] is states[Access.LABELS] is VerdictState.LEAK_FOUND or (
            states[Access.SCORES] is VerdictState.CANNOT_SAY
        )


def test_pure_shift_is_never_a_leak(tmp_path):
    """The target saw neither split; the non-members are rotated and darkened."""
    seen, alleged, (images, labels), population = parts(300, 300, 300, 400)
    checkpoint = trained_weights(tmp_path, *seen)
    shifted = (np.rot90(images, axes=(1, 2)) // 2, labels)
    splits = write_splits(tmp_path / "splits", alleged, shifted, population)
    found = audit(
        AuditOptions(
            checkpoint=checkpoint,
            data=splits,
            arch=write_network(tmp_path),
            budget="quick",
            device="cpu",
            run_dir=tmp_path / "run",
            defenses=(),
        )
    )
    membership = [verdict for verdict in found.verdicts if verdict.family is Family.MEMBERSHIP]
    assert {verdict.state for verdict in membership} == {VerdictState.CANNOT_SAY}
    blind = next(control for control in found.controls if control.id == "blind")
    assert blind.status == "fail"
    assert json.loads(found.model_dump_json())["severity"] == "none"
