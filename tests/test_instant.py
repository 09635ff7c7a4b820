"""The instant answer: what runs before any shadow, the tail estimate against a naive one, and the report it gives."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from pypdf import PdfReader

from auditor.audit import AuditOptions, audit
from auditor.battery import MEMBERSHIP
from auditor.battery.instant import answer_at_once, answer_with_shadows, tail_estimates
from auditor.cli import main
from auditor.findings import CheckLevel, Completed, Role, Severity, Skipped, VerdictState
from auditor.limits import Limits
from auditor.membership.measure import run_attack
from auditor.policy import judge
from auditor.report import load_json, render_html, render_markdown, write_outputs
from auditor.report.text import phrase
from auditor.threat import Access
from tests.digits import parts, trained_weights, write_network, write_splits
from tests.report.example import at_once
from tests.worlds import attack, world

BANNER = "Preliminary: no shadow model has been trained; nothing is decided."
ALONE = {one.card.id for one in MEMBERSHIP if not (one.least_shadows or one.probe or one.combines)}


def plan(*attacks):
    return SimpleNamespace(
        attacks=attacks or tuple(one.card.id for one in MEMBERSHIP),
        budget="thorough",
        shadows=64,
        limits=Limits(),
        role=lambda one: Role.PRIMARY if one.primary else Role.SECONDARY,
    )


def answer(here, *attacks, shows=Access.SCORES):
    return answer_at_once(
        plan(*attacks), here.evidence.target, here.evidence.context, here.jury, shows=shows, release=Access.WEIGHTS
    )


# --- the tail estimate -----------------------------------------------------------------------------------------------


def naive_tail(losses, membership, missed):
    """Share of non-members above the smallest member loss that at most a share `missed` of the members exceeds."""
    members = losses[membership]
    threshold = min(one for one in members if (members > one).mean() <= missed)
    return (losses[~membership] > threshold).mean()


@pytest.mark.parametrize("leak", [0.0, 2.0])
def test_the_tail_is_counted_as_told(leak):
    here = world(n=1000, shadows=2, leak=leak, seed=3)
    found = tail_estimates(here.evidence.target, here.jury, Limits())
    losses = here.evidence.target.audit.loss[:, 0]
    assert [one.missed for one in found] == [0.01, 0.05]
    for one in found:
        assert one.estimate.value == naive_tail(losses, here.jury.membership, one.missed)
        assert one.estimate.low <= one.estimate.value <= one.estimate.high
        assert one.estimate.n == {"members": 1000, "non-members": 1000}


def test_without_a_leak_the_interval_holds_what_is_expected_and_with_one_it_lies_above():
    nothing = [world(n=1000, shadows=2, seed=seed) for seed in range(20)]
    covered = [
        one.estimate.low <= one.missed <= one.estimate.high
        for here in nothing
        for one in tail_estimates(here.evidence.target, here.jury, Limits())
    ]
    assert np.mean(covered) >= 0.9
    leaky = world(n=1000, shadows=2, leak=4.0)
    assert all(one.estimate.low > one.missed for one in tail_estimates(leaky.evidence.target, leaky.jury, Limits()))


@pytest.mark.parametrize(("n", "levels"), [(19, []), (20, [0.05]), (99, [0.05]), (100, [0.01, 0.05])])
def test_a_tail_needs_members_enough(n, levels):
    here = world(n=100, shadows=2)
    kept = np.arange(200) % 100 < n
    answers = replace(here.evidence.target, audit=here.evidence.target.audit.records(kept))
    assert [one.missed for one in tail_estimates(answers, here.jury.only(kept), Limits())] == levels


def test_records_of_one_group_widen_the_interval_and_make_no_headline():
    here = world(n=1000, shadows=2, leak=4.0)
    grouped = world(n=1000, shadows=2, leak=4.0, grouped=True)
    plain, clustered = (tail_estimates(one.evidence.target, one.jury, Limits())[0].estimate for one in (here, grouped))
    assert clustered.n["groups"] == 1000
    assert clustered.value == plain.value
    assert clustered.low <= plain.low <= plain.high <= clustered.high
    first = answer(grouped)
    assert first.answer.tail
    assert "too few independent losses" in first.answer.sentence
    assert {end.metric for one in first.scored if one.scores is not None for end in one.outcome.endpoints} == {"auc"}


# --- what runs -------------------------------------------------------------------------------------------------------


def test_what_needs_the_target_alone_runs_and_nothing_is_decided():
    first = answer(world(n=300, shadows=2))
    ran = {one.attack.card.id: one.outcome for one in first.scored if isinstance(one.outcome, Completed)}
    assert set(ran) == ALONE
    assert all(
        end.rejected is end.p_adjusted is end.upper_bound is None for one in ran.values() for end in one.endpoints
    )
    reasons = {one.attack.card.id: one.outcome.reason for one in first.scored if isinstance(one.outcome, Skipped)}
    assert reasons["lira-scores"] == "needs shadows, which are not trained yet"
    assert reasons["merlin"] == "asks further queries, which come after the shadows"
    assert first.choice.chosen_from == len(ALONE) - 1


def test_the_sentence_names_the_best_attack_its_choice_and_the_estimate():
    told = answer(world(n=1000, shadows=2, leak=4.0)).answer.sentence
    assert f"best of {len(ALONE) - 1} attacks, chosen on one half of the records) reaches AUC 0." in told
    assert "above all but 1 % of the members', where 1 % is expected without a leak: an estimate" in told
    assert told.endswith("not an attack, and it decides nothing.")
    assert len(told) < 600


@pytest.mark.parametrize(
    ("attacks", "shows", "told"),
    [
        (("gap", "lira-scores"), Access.SCORES, "Gap attack reaches AUC 0."),
        (("lira-scores",), Access.SCORES, "no attack on the target alone ran."),
        ((), Access.LABELS, "Gap attack reaches AUC 0."),
    ],
)
def test_little_to_go_by_is_told_as_it_is(attacks, shows, told):
    first = answer(world(n=300, shadows=2), *attacks, shows=shows)
    assert told in first.answer.sentence
    assert bool(first.answer.tail) is (shows is Access.SCORES)


# --- what shadows then found -----------------------------------------------------------------------------------------


def with_shadows(here, *names):
    scored = [run_attack(attack(name), Role.PRIMARY, here.evidence, here.jury, Limits()) for name in names]
    return answer_with_shadows(answer(here, "loss").answer, scored), scored


def test_what_shadows_found_stands_beside_the_estimate():
    found, scored = with_shadows(world(n=1000, shadows=8, leak=4.0), "lira-weights", "lira-scores")
    end = scored[1].outcome.endpoints[1]
    assert [(one.name, one.estimate) for one in found.found] == [("TPR at 1 % FPR, LiRA on scores", end.estimate)]
    assert f"LiRA on scores, with shadows, then found a TPR of {phrase(end.estimate, 'share')}" in found.sentence
    assert len(found.sentence) < 600
    assert "predict" not in found.sentence


@pytest.mark.parametrize(
    ("n", "names", "count", "told"),
    [(300, ("lira-scores",), 1, "for the appendix only"), (1000, ("loss",), 0, "No TPR of LiRA on scores")],
)
def test_what_was_not_found_is_not_told(n, names, count, told):
    found, _ = with_shadows(world(n=n, shadows=8, leak=4.0), *names)
    assert len(found.found) == count
    assert told in found.sentence


# --- the report of a real scan ---------------------------------------------------------------------------------------


class StoppedError(Exception):
    """Ends a scan where the instant answer has been told."""


class Listener:
    """Remembers what was said, and ends the scan there."""

    def __init__(self):
        self.said = []

    def note(self, message):
        self.said.append(message)
        raise StoppedError

    def start(self, task, total):
        raise AssertionError(f"{task} began before the instant answer")


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """The options of a tiny scan, what it said, and the report that it left before any shadow."""
    folder = tmp_path_factory.mktemp("instant")
    members, others, population = parts(300, 300, 400)
    options = AuditOptions(
        checkpoint=trained_weights(folder, *members),
        data=write_splits(folder / "splits", members, others, population),
        arch=write_network(folder),
        budget="quick",
        device="cpu",
        run_dir=folder / "run",
        attacks=("gap", "loss", "quantile", "lira-scores", "miface"),
        defenses=(),
        workers=1,
    )
    listener = Listener()
    with pytest.raises(StoppedError):
        audit(options, listener)
    return options, listener.said, load_json(folder / "run" / "report-at-once.json")


def test_the_scan_says_at_once_where_the_preliminary_report_is(stopped):
    options, said, report = stopped
    assert said == [f"{report.instant.sentence} The preliminary report: {options.run_dir / 'report-at-once.json'}"]
    assert not (options.run_dir / "report.json").exists()
    assert not (options.run_dir / "models").exists()


def test_every_verdict_is_open_and_the_gate_with_it(stopped):
    report = stopped[2]
    assert report.stage == "target alone"
    assert len(report.verdicts) == 6
    assert {verdict.state for verdict in report.verdicts} == {VerdictState.CANNOT_SAY}
    assert report.severity is Severity.NONE
    assert report.instant.found == report.controls == report.defenses == ()
    assert {result.status for result in report.inversion} == {"skipped"}
    assert {check.id for check in report.checks} >= {"members-learned", "random-split", "population"}
    assert {check.id for check in report.checks}.isdisjoint({"recipe", "few-shadows"})
    assert judge(report, now=report.created, fail_on=Severity.CRITICAL).outcome == "inconclusive"


def test_a_killed_scan_leaves_the_same_preliminary_report_again(stopped):
    options, said, report = stopped
    listener = Listener()
    with pytest.raises(StoppedError):
        audit(options, listener)
    again = load_json(options.run_dir / "report-at-once.json")
    assert listener.said == said
    left_out = {"timings": True, "attack_timings": True, "defenses": {"__all__": {"timings"}}}
    kept = [one.model_dump(exclude=left_out) for one in (report, again)]
    assert kept[0] == kept[1]


def test_it_renders_in_every_format_from_its_file_alone(stopped, tmp_path):
    kept = stopped[0].run_dir / "report-at-once.json"
    files = [tmp_path / f"at-once.{suffix}" for suffix in ("html", "pdf", "json", "md")]
    named = [part for file in files for part in ("-o", str(file))]
    assert main(["render", str(kept), *named]) == 0
    assert load_json(files[2]) == load_json(kept)
    first_page = PdfReader(files[1]).pages[0].extract_text().replace("\u00a0", " ")
    for text in (files[0].read_text(), first_page, files[3].read_text()):
        assert BANNER in " ".join(text.split())
        assert "Leak found" not in text
        assert "Nothing found" not in text
    assert "· preliminary" in PdfReader(files[1]).pages[-1].extract_text()


# --- pages -----------------------------------------------------------------------------------------------------------


def test_a_preliminary_page_promises_nothing_and_advises_nothing(tmp_path):
    report = at_once()
    write_outputs(report, [tmp_path / "report.json"])
    assert load_json(tmp_path / "report.json") == report
    for text in (render_html(report), render_markdown(report)):
        assert BANNER in text
        assert "Release the file" not in text
        assert "was part of this audit" not in text
        assert "Let the scan end before anything is decided" in text
        assert "p = " not in text
        assert "9.1\u00a0% (" in text
        assert "8.3–9.9" in text
        assert "an estimate without shadows, and it decides nothing" in text


def test_a_failed_check_is_to_be_settled_first():
    report = at_once()
    check = SimpleNamespace(title="Members were learned", sentence="Near chance.", level=CheckLevel.FAIL, voids=())
    text = render_markdown(report.model_copy(update={"checks": (check,)}))
    assert text.index("Settle first: Members were learned") < text.index("Let the scan end")
