"""Scores kept beside reports: whose they are, what they give record by record, and that nothing else is ever paired."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file
from scipy.stats import norm

from auditor import cli
from auditor.compute import RunFolder
from auditor.difference.changes import compare
from auditor.difference.kept_scores import SCORES_NAME, arrays_of, default_run_folder, read_kept, stamp_of
from auditor.difference.pairing import KeptScores, Missing, Pairs, match
from auditor.findings import Endpoint, Metric, VerdictState
from auditor.policy import judge
from auditor.policy_file import GateSection, Margins, Policy
from auditor.report import render_json
from auditor.stats import auc as area
from auditor.stats.difference import unpaired_difference
from auditor.stats.low_fpr import tpr_at_fpr
from tests.cli.test_terminal import torch_was_imported_by
from tests.minimal_report import attack, report
from tests.report.example import well_behaved

pytestmark = pytest.mark.usefixtures("one_thing_at_a_time")

N = 1000
MEMBERSHIP = np.arange(2 * N) < N
IDS = [hashlib.sha256(str(index).encode()).hexdigest()[:16] for index in range(2 * N)]


def two_scores(rng, *, n=N, lead=(0.5, 0.5), alike=0.8):
    """Scores of members, then of non-members, that rise and fall together."""
    own, common = rng.normal(size=(2, 2 * n)), rng.normal(size=2 * n)
    return tuple(
        np.sqrt(alike) * common + np.sqrt(1 - alike) * own[k] + lead[k] * (np.arange(2 * n) < n) for k in (0, 1)
    )


OLD, NEW = two_scores(np.random.default_rng(0))


def kept(scores, *, ids=IDS, membership=MEMBERSHIP, groups=None, name="lira"):
    return KeptScores.of(ids, membership, groups, {name: scores})


def telling(scores, *, digest="d" * 16, **data):
    """The report of an audit with these scores."""
    endpoints = [
        Endpoint(metric=Metric.AUC, estimate=area.auc(scores, MEMBERSHIP), p_value=0.001),
        Endpoint(metric=Metric.TPR_AT_FPR, fpr=0.01, estimate=tpr_at_fpr(scores, MEMBERSHIP, 0.01), p_value=0.001),
    ]
    found = report(VerdictState.NOTHING_FOUND, membership=[attack(*endpoints)])
    return found.model_copy(
        update={
            "data": found.data.model_copy(update={"audit_set": "set", **data}),
            "plan": found.plan.model_copy(update={"digest": digest}),
            "model": found.model.model_copy(update={"sha256": hashlib.sha256(scores).hexdigest()}),
        }
    )


def write_run(root, scores, *, found=None, **arrays):
    """A run folder with its report and its scores; returns the report's path."""
    found = found or telling(scores)
    folder = RunFolder.create(root)
    folder.write_arrays(SCORES_NAME, {**arrays_of(kept(scores)), **arrays}, stamp_of(found))
    folder.write_text("report.json", render_json(found))
    return root / "report.json"


@pytest.fixture
def runs(tmp_path):
    return write_run(tmp_path / "old", OLD), write_run(tmp_path / "new", NEW)


def compared(old_file, new_file, old=None, new=None):
    old, new = old or telling(OLD), new or telling(NEW)
    return compare(old, new, (read_kept(old_file, old), read_kept(new_file, new)))


# --- numbers --------------------------------------------------------------------------------------------------------


def naive_change(old, new, membership):
    """DeLong's paired difference, over all pairs of a member and a non-member."""

    def kernel(scores):
        return np.sign(scores[membership][:, None] - scores[~membership][None]) / 2 + 0.5

    difference = kernel(new) - kernel(old)
    rows, columns = difference.mean(1), difference.mean(0)
    error = np.sqrt(rows.var(ddof=1) / rows.size + columns.var(ddof=1) / columns.size)
    return difference.mean(), error


def test_the_change_of_auc_is_delongs():
    shuffled = np.random.default_rng(1).permutation(60)
    ids, membership = [IDS[index] for index in shuffled], np.arange(60) < 30
    old, new = (np.round(one, 1) for one in two_scores(np.random.default_rng(2), n=30))
    pairs = match(*(kept(one, ids=ids, membership=membership) for one in (old, new)), seed=0)
    found = pairs.change("lira", Metric.AUC, None, 0.95)
    value, error = naive_change(old, new, membership)
    assert found.value == pytest.approx(value)
    assert (found.high - found.low) / (2 * norm.ppf(0.975)) == pytest.approx(error, rel=0.05)


def test_rows_are_matched_by_id_whatever_their_order():
    order = np.random.default_rng(3).permutation(2 * N)
    shuffled = kept(NEW[order], ids=[IDS[index] for index in order], membership=MEMBERSHIP[order])
    one, other = (match(kept(OLD), now, seed=0) for now in (kept(NEW), shuffled))
    for metric, fpr in ((Metric.AUC, None), (Metric.TPR_AT_FPR, 0.01)):
        assert one.change("lira", metric, fpr, 0.95) == other.change("lira", metric, fpr, 0.95)


def test_groups_are_drawn_whole():
    groups = np.arange(2 * N) // 10
    alone, grouped = (match(*(kept(one, groups=which) for one in (OLD, NEW)), seed=0) for which in (None, groups))
    found = [pairs.change("lira", Metric.AUC, None, 0.95) for pairs in (alone, grouped)]
    assert found[0].value == found[1].value
    assert "groups" in found[1].n or "Obuchowski" in found[1].method


def test_names_of_groups_do_not_matter_and_who_is_in_them_does():
    groups = np.arange(2 * N) // 10
    renamed = match(kept(OLD, groups=groups), kept(NEW, groups=7_000 - 3 * groups), seed=0)
    assert isinstance(renamed, Pairs)
    assert set(np.unique(renamed.groups)) == set(range(200))
    for other in (None, np.arange(2 * N) // 5):
        assert match(kept(OLD, groups=groups), kept(NEW, groups=other), seed=0) == Missing(
            "the records are grouped otherwise"
        )


def test_the_same_scores_have_not_changed():
    found = match(kept(OLD), kept(OLD), seed=0).change("lira", Metric.AUC, None, 0.95)
    assert (found.low, found.value, found.high) == (0, 0, 0)


def test_a_record_by_record_interval_is_narrower_and_covers():
    rng, covered, narrower = np.random.default_rng(4), [], []
    membership = np.arange(400) < 200
    ids = IDS[:400]
    for _ in range(300):
        old, new = two_scores(rng, n=200)
        pairs = match(*(kept(one, ids=ids, membership=membership) for one in (old, new)), seed=0)
        found = pairs.change("lira", Metric.AUC, None, 0.95)
        apart = unpaired_difference(area.auc(new, membership), area.auc(old, membership))
        covered.append(found.low <= 0 <= found.high)
        narrower.append((found.high - found.low) / (apart.high - apart.low))
    assert 0.92 <= np.mean(covered) <= 0.98
    assert np.mean(narrower) == pytest.approx(np.sqrt(0.2), abs=0.05)  # scores correlate by .8


@pytest.mark.parametrize(
    ("name", "metric", "fpr", "confidence"),
    [
        ("rmia", Metric.AUC, None, 0.95),
        ("lira", Metric.TPR_AT_FPR, None, 0.95),
        ("lira", Metric.TPR_AT_FPR, 7.0, 0.95),
        ("lira", Metric.AUC, None, 95.0),
    ],
)
def test_what_cannot_be_asked_has_no_answer(name, metric, fpr, confidence):
    assert match(kept(OLD), kept(NEW), seed=0).change(name, metric, fpr, confidence) is None


# --- files ----------------------------------------------------------------------------------------------------------


def test_two_run_folders_are_compared_record_by_record(runs):
    found = compared(*runs)
    assert found.unpaired == ""
    assert [one.paired for one in found.changes] == [True, True]
    apart = compare(telling(OLD), telling(NEW))
    for one, other in zip(found.changes, apart.changes, strict=True):
        assert one.change.value == pytest.approx(other.change.value)
        assert one.change.high - one.change.low < 0.8 * (other.change.high - other.change.low)
    assert compared(*runs) == found


def test_the_scores_of_a_report_that_lies_elsewhere_are_found_in_the_default_run_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = telling(OLD)
    elsewhere = tmp_path / "out" / "old.json"
    missing = Missing(f"has no {SCORES_NAME} beside it")
    assert read_kept(elsewhere, report) == missing
    write_run(default_run_folder(report.model.name, "fedcba9876543210"), NEW)
    assert read_kept(elsewhere, report) == missing
    write_run(default_run_folder(f"{report.model.name}-other", "0123456789abcdef"), OLD)
    assert read_kept(elsewhere, report) == missing
    write_run(default_run_folder(report.model.name, "0123456789abcdef"), OLD)
    assert list(read_kept(elsewhere, report).scores) == ["lira"]


def test_the_file_holds_opaque_ids_in_order_and_nothing_else(runs):
    read = read_kept(runs[0], telling(OLD))
    assert [f"{one:016x}" for one in read.records.tolist()] == sorted(IDS)
    by_id = dict(zip(IDS, zip(OLD, MEMBERSHIP, strict=True), strict=True))
    assert [by_id[name] for name in sorted(IDS)] == list(zip(read.scores["lira"], read.membership, strict=True))
    assert read.scores["lira"].dtype == np.float64
    assert runs[0].with_name(SCORES_NAME).stat().st_mode & 0o777 == 0o600


def test_the_same_scores_are_the_same_bytes_in_every_process(tmp_path):
    code = (
        "import sys; from pathlib import Path; from tests.test_pairing import OLD, write_run; "
        "write_run(Path(sys.argv[1]), OLD)"
    )
    for name in "abc":
        subprocess.run([sys.executable, "-c", code, tmp_path / name], check=True, env={**os.environ, "PYTHONPATH": "."})
    assert len({(tmp_path / name / SCORES_NAME).read_bytes() for name in "abc"}) == 1


def cut(path):
    path.write_bytes(path.read_bytes()[:-9])


def another_plan(path):
    save_file(dict(arrays_of(kept(NEW))), path, dict(stamp_of(telling(NEW, digest="e" * 16))))


def another_key(path):
    save_file(dict(arrays_of(kept(NEW))), path, dict(stamp_of(telling(NEW, key_fingerprint="other"))))


def with_arrays(**changes):
    def write(path):
        arrays = {name: one for name, one in {**arrays_of(kept(NEW)), **changes}.items() if one is not None}
        save_file(arrays, path, dict(stamp_of(telling(NEW))))

    return write


ARRAYS = arrays_of(kept(NEW))
SWAPPED = np.concatenate([ARRAYS["scores.lira"][1:], ARRAYS["scores.lira"][:1]])
NOT_ITS = "stands beside a scores.safetensors that does not give its numbers"
REMEDY = "keep the run folders (--run-dir), and name the report.json in each"
UNREADABLE = "stands beside a scores.safetensors that cannot be read"
FOREIGN = "stands beside the scores.safetensors of another audit"
DAMAGED = {
    "missing": (lambda path: path.unlink(), "has no scores.safetensors beside it"),
    "folder": (lambda path: (path.unlink(), path.mkdir()), "has no scores.safetensors beside it"),
    "pipe": (lambda path: (path.unlink(), os.mkfifo(path)), "has no scores.safetensors beside it"),
    "dangling": (lambda path: (path.unlink(), path.symlink_to("gone")), "has no scores.safetensors beside it"),
    "empty": (lambda path: path.write_bytes(b""), UNREADABLE),
    "text": (lambda path: path.write_text("scores\x1b[2J"), UNREADABLE),
    "cut": (cut, UNREADABLE),
    "huge header": (lambda path: path.write_bytes(b"\xff" * 64), UNREADABLE),
    "too large": (lambda path: os.truncate(path, 2**29), "stands beside a scores.safetensors of more than 256 MiB"),
    "no stamp": (lambda path: save_file(dict(ARRAYS), path), FOREIGN),
    "another plan": (another_plan, FOREIGN),
    "another key": (another_key, FOREIGN),
    "no ids": (with_arrays(records=None), NOT_ITS),
    "no members": (with_arrays(members=None), NOT_ITS),
    "signed ids": (with_arrays(records=ARRAYS["records"].astype(np.int64)), NOT_ITS),
    "ids twice": (with_arrays(records=np.repeat(ARRAYS["records"][::2], 2)), NOT_ITS),
    "all members": (with_arrays(members=np.ones(2 * N, np.uint8)), NOT_ITS),
    "no such members": (with_arrays(members=2 * ARRAYS["members"]), NOT_ITS),
    "too few": (with_arrays(**{name: one[:-2] for name, one in ARRAYS.items()}), NOT_ITS),
    "a matrix": (with_arrays(**{"scores.lira": ARRAYS["scores.lira"][:, None]}), NOT_ITS),
    "not finite": (with_arrays(**{"scores.lira": np.full(2 * N, np.nan)}), NOT_ITS),
    "moved by one": (with_arrays(**{"scores.lira": SWAPPED}), NOT_ITS),
    "of the old model": (with_arrays(**arrays_of(kept(OLD))), NOT_ITS),
}


@pytest.mark.parametrize(("damage", "reason"), DAMAGED.values(), ids=DAMAGED)
def test_a_file_that_is_not_the_reports_is_not_used(runs, capsys, damage, reason):
    damage(runs[1].with_name(SCORES_NAME))
    found = compared(*runs)
    assert found.unpaired == f"the new report {reason}; {REMEDY}"
    assert found.changes == compare(telling(OLD), telling(NEW)).changes
    assert cli.main(["diff", *map(str, runs)]) == 0
    assert found.unpaired in capsys.readouterr().out


@pytest.mark.parametrize(
    ("scores", "changed"),
    [
        ({}, [True, True]),
        ({"scores.lira": None}, [False, False]),
        ({"scores.lira": ARRAYS["scores.lira"].astype(np.float32)}, [False, False]),
        ({"scores.rmia": np.zeros(2 * N)}, [True, True]),
    ],
)
def test_an_attack_without_kept_scores_is_compared_unpaired(runs, scores, changed):
    with_arrays(**scores)(runs[1].with_name(SCORES_NAME))
    assert [one.paired for one in compared(*runs).changes] == changed


def test_a_number_that_the_scores_do_not_give_is_compared_unpaired(tmp_path, runs):
    new = telling(NEW)
    area_told, rate_told = new.membership[0].outcome.endpoints
    moved = rate_told.model_copy(
        update={"estimate": replace(rate_told.estimate, value=rate_told.estimate.value + 0.01)}
    )
    result = new.membership[0]
    outcome = result.outcome.model_copy(update={"endpoints": (area_told, moved)})
    new = new.model_copy(update={"membership": (result.model_copy(update={"outcome": outcome}),)})
    found = compared(runs[0], write_run(tmp_path / "other", NEW, found=new), new=new)
    assert [one.paired for one in found.changes] == [True, False]


@pytest.mark.parametrize(
    ("data", "plan", "why"),
    [
        ({"key_fingerprint": "other"}, {}, "the keys differ; scan both versions with one --key"),
        ({"audit_set": "other"}, {}, "other records were evaluated; scan both versions with one --key"),
        ({}, {"shadows": 64}, "4 shadows then, 64 now; scan both versions with the same options"),
        ({}, {"queries": ("plain", "flip")}, "1 queries a record then, 2 now, or other ones; scan both versions with"),
    ],
)
def test_another_attacker_or_other_records_are_never_paired(tmp_path, runs, data, plan, why):
    new = telling(NEW, **data)
    new = new.model_copy(update={"plan": new.plan.model_copy(update=plan)})
    found = compared(runs[0], write_run(tmp_path / "other", NEW, found=new), new=new)
    assert found.unpaired.startswith(why)
    assert not any(one.paired for one in found.changes)


def test_an_attack_with_other_settings_is_never_paired(tmp_path, runs):
    new = telling(NEW)
    card = new.membership[0].card.model_copy(update={"settings": {"steps": 2}})
    new = new.model_copy(update={"membership": (new.membership[0].model_copy(update={"card": card}),)})
    found = compared(runs[0], write_run(tmp_path / "other", NEW, found=new), new=new)
    assert [one.paired for one in found.changes] == [False, False]


def test_other_records_under_a_claim_of_the_same_are_never_paired(runs):
    others = np.sort(np.append(ARRAYS["records"][1:], np.uint64(2**64 - 1)))
    with_arrays(records=others)(runs[1].with_name(SCORES_NAME))
    assert compared(*runs).unpaired.startswith("the scores beside the two reports are of other records; keep")


# --- commands -------------------------------------------------------------------------------------------------------


def test_diff_says_what_is_paired(runs, capsys):
    assert cli.main(["diff", *map(str, runs)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("primary") and "points), paired; " in line for line in lines) == 1
    assert sum(line.startswith("primary") and ", paired; " in line for line in lines) == 2
    assert sum(line.startswith("paired    primary attacks are compared record by record") for line in lines) == 1
    assert not any(line.startswith("unpaired") for line in lines)


def test_the_gate_holds_the_same_change_against_the_margin(runs, tmp_path, capsys):
    change = compared(*runs).changes[0].change
    apart = compare(telling(OLD), telling(NEW)).changes[0].change
    margin = round((change.high + apart.high) / 2, 3)
    assert change.high < margin < apart.high
    policy = tmp_path / "privaudit.toml"
    policy.write_text(f"[gate]\nno_worse_than_last = {{ auc = {margin} }}\n")
    copies = tmp_path / "old.json", tmp_path / "new.json"
    for copy, file in zip(copies, runs, strict=True):
        copy.write_bytes(file.read_bytes())
    told = []
    for old, new in (runs, copies):
        cli.main(["gate", str(new), "--policy", str(policy), "--baseline", str(old)])
        told.append(next(line for line in capsys.readouterr().out.splitlines() if "no_worse_than_last" in line))
    assert told[0].startswith("pass ")
    assert "since the last release, record by record; allowed" in told[0]
    assert told[1].startswith("inconclusive ")
    assert "since the last release, unpaired; allowed" in told[1]
    assert "Compared unpaired, as the old report has no scores.safetensors beside it; keep the run folders" in told[1]


def test_who_judges_without_files_judges_unpaired():
    rules = GateSection(no_worse_than_last=Margins(auc=0.5))
    found = judge(telling(NEW), Policy(gate=rules), now=telling(NEW).created, baseline=telling(OLD))
    ruling = next(one for one in found.rulings if one.rule == "no_worse_than_last")
    assert "unpaired; allowed" in ruling.sentence


def test_diff_does_not_import_torch(tmp_path):
    runs = [write_run(tmp_path / name, scores, found=well_behaved()) for name, scores in (("old", OLD), ("new", NEW))]
    assert not torch_was_imported_by("diff", *map(str, runs))
