"""A report whose parts contradict each other is not read: a verdict without its tests, a severity without either."""

import json

import pytest

from auditor.errors import InputError
from auditor.findings import Failed, Family, Metric, Role, Severity, VerdictState, Void
from auditor.report import load_json, render_json
from auditor.report.agreement import _untested, contradiction
from auditor.stats.multiplicity import holm
from auditor.threat import Access
from tests.report.example import EXAMPLES, at_once, leaky, well_behaved

LEAK, NOTHING, UNSURE = VerdictState.LEAK_FOUND, VerdictState.NOTHING_FOUND, VerdictState.CANNOT_SAY


def with_verdict(report, access, family=Family.MEMBERSHIP, **changes):
    """The report with one verdict changed."""
    verdicts = tuple(
        one.model_copy(update=changes) if (one.access, one.family) == (access, family) else one
        for one in report.verdicts
    )
    return report.model_copy(update={"verdicts": verdicts})


def with_endpoint(report, name, metric, **changes):
    """The report with one endpoint of one attack changed; changed to None: without it."""

    def of(outcome):
        kept = (
            one if one.metric is not metric else one.model_copy(update=changes) if changes else None
            for one in outcome.endpoints
        )
        return outcome.model_copy(update={"endpoints": tuple(one for one in kept if one is not None)})

    attacks = tuple(
        one.model_copy(update={"outcome": of(one.outcome)}) if one.card.id == name else one for one in report.membership
    )
    return report.model_copy(update={"membership": attacks})


def voiding(report, void):
    first, *rest = report.checks
    return report.model_copy(update={"checks": (first.model_copy(update={"voids": (void,)}), *rest)})


def finding(report, **changes):
    first, *rest = report.inversion
    return report.model_copy(update={"inversion": (first.model_copy(update=changes), *rest)})


def without(report, attack_id):
    kept = tuple(one for one in report.membership if one.card.id != attack_id)
    return report.model_copy(update={"membership": kept})


def planning(report, **changes):
    return report.model_copy(update={"plan": report.plan.model_copy(update=changes)})


def controlling(report, name, **changes):
    """The report with one control changed."""
    controls = tuple(one.model_copy(update=changes) if one.id == name else one for one in report.controls)
    return report.model_copy(update={"controls": controls})


def too_wide(**changes):
    """The well-behaved report at weights, had its AUC reached the limit there; and what else is changed."""
    report = with_verdict(well_behaved(), Access.WEIGHTS, **{"state": UNSURE, "too_wide": True, **changes})
    return with_endpoint(report, "lira-weights", Metric.AUC, upper_bound=0.6)


def all_nothing(report):
    """What was done by hand: every verdict on membership turned, nothing else."""
    for access in Access:
        report = with_verdict(report, access, state=NOTHING, inherited_from=None)
    return report


@pytest.mark.parametrize("make", [*EXAMPLES.values(), at_once], ids=lambda make: make.__name__)
def test_honest_reports_agree(make):
    assert contradiction(make()) == ""


AUC = ("lira-scores", Metric.AUC)
INVERSION = Family.INVERSION


@pytest.mark.parametrize(
    ("altered", "told"),
    [
        (all_nothing(leaky()), "'nothing found', but"),
        (with_verdict(leaky(), Access.WEIGHTS, state=UNSURE), "is 'cannot say', but what leaks at scores leaks there"),
        (with_verdict(well_behaved(), Access.WEIGHTS, state=LEAK), "no primary test rejects there"),
        (
            with_verdict(well_behaved(), Access.WEIGHTS, inherited_from=Access.SCORES),
            "nothing is inherited from",
        ),
        (with_verdict(well_behaved(), Access.WEIGHTS, auc_only=True), "it rests on AUC alone, unlike its tests"),
        (with_verdict(well_behaved(), Access.WEIGHTS, INVERSION, state=NOTHING), "no audit can say that of inversion"),
        (with_verdict(well_behaved(), Access.WEIGHTS, INVERSION, state=LEAK), "no inversion attack found anything"),
        (leaky().model_copy(update={"severity": Severity.NONE}), "the severity is 'none', but verdicts and tests make"),
        (well_behaved().model_copy(update={"severity": Severity.LOW}), "the severity is 'low', but"),
        (leaky().model_copy(update={"verdicts": ()}), "one verdict on membership at labels, and there are 0"),
        (leaky().model_copy(update={"verdicts": leaky().verdicts * 2}), "and there are 2"),
        (leaky().model_copy(update={"membership": leaky().membership * 2}), " is told 2 times"),
        (without(leaky(), "loss"), "the plan has loss among its secondary attacks, and the results do not"),
        (without(leaky(), "boundary"), "the plan has boundary among its secondary attacks, and the results do not"),
        (planning(leaky(), primary=("gap",)), "the plan has gap among its primary attacks, and the results do not"),
        (planning(leaky(), secondary=("rmia",)), "completed, and the plan does not name it"),
        (planning(leaky(), inversion=("miface", "gmi")), "the plan has gmi among its inversion attacks, and the"),
        (leaky().model_copy(update={"defenses": ()}), "was not measured"),
        (voiding(leaky(), Void.LEAK_FOUND), "'leak found', but this takes it away: "),
        (voiding(well_behaved(), Void.NOTHING_FOUND), "'nothing found', but this takes it away: "),
        (finding(well_behaved(), record_found=True, record_excess=()), "does not stand above every control"),
        (with_endpoint(leaky(), *AUC), "lira-scores completed, and must have one AUC"),
        (with_endpoint(leaky(), *AUC, rejected=False), "the AUC of lira-scores was not rejected, but its adjusted p"),
        (with_endpoint(leaky(), *AUC, p_adjusted=0.5), "has an adjusted p of 0.5, but Holm's is"),
        (with_endpoint(leaky(), *AUC, limit=None), "decides, and lacks its correction"),
        (with_endpoint(leaky(), *AUC, limit=0.9), "held against 0.9, but the plan's limit is 0.6"),
        (with_endpoint(leaky(), *AUC, upper_bound=0.1), "but bounded by 0.1"),
        (well_behaved().model_copy(update={"controls": ()}), "'nothing found', but the planted control is missing"),
        (controlling(well_behaved(), "planted", status="fail"), "but the planted control ended with fail"),
        (controlling(well_behaved(), "planted", doses=()), "'nothing found', but no leak was planted there"),
        (leaky().model_copy(update={"controls": leaky().controls * 2}), "the control or check null-owner is told 2"),
        (leaky().model_copy(update={"checks": leaky().checks * 2}), "the control or check random-split is told 2"),
        (voiding(too_wide(), Void.NOTHING_FOUND), "and nothing else to be missing, and this takes it away: "),
        (controlling(too_wide(), "planted", status="fail"), "missing, and the planted control ended with fail"),
        (with_endpoint(too_wide(), "lira-weights", Metric.AUC, upper_bound=0.59), "and every bound is under its limit"),
        (with_verdict(well_behaved(), Access.WEIGHTS, too_wide=True), "only a verdict on membership that cannot say"),
        (
            leaky().model_copy(update={"data": leaky().data.model_copy(update={"evaluated": 100})}),
            "records a side, but 100 were evaluated",
        ),
    ],
)
def test_a_report_that_contradicts_itself_is_refused_in_one_sentence(altered, told, tmp_path):
    path = tmp_path / "report.json"
    path.write_text(render_json(altered), encoding="utf-8")
    with pytest.raises(InputError, match="the report contradicts itself: ") as caught:
        load_json(path)
    assert told in caught.value.message
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message


def test_bounds_that_are_too_wide_and_nothing_else_agree():
    assert contradiction(too_wide()) == ""


@pytest.mark.parametrize(("more", "told"), [(2, ""), (0, "but Holm's is")])
def test_tests_of_an_attack_that_crashed_are_counted_in_the_correction(more, told):
    """What was declared and not made counts as p = 1: the p of the others are Holm's of two more tests."""
    report = leaky()
    made = [
        (one.card.id, end.metric)
        for one in report.membership
        if one.role is Role.PRIMARY and one.card.id != "lira-scores"
        for end in one.outcome.endpoints
        if not end.appendix
    ]
    broken = tuple(
        one.model_copy(update={"outcome": Failed(error="MemoryError")}) if one.card.id == "lira-scores" else one
        for one in report.membership
    )
    report = report.model_copy(update={"membership": broken, "primary_tests": len(made) + more})
    for (name, metric), p in zip(made, holm([0.001] * len(made) + [1.0, 1.0])[: len(made)], strict=True):
        report = with_endpoint(report, name, metric, p_value=0.001, p_adjusted=float(p), rejected=True)
    found = list(_untested(report))
    assert any(told in one for one in found) if told else found == []


def test_what_decides_nothing_may_lack_its_correction():
    report = json.loads(render_json(at_once()))
    assert {one["role"] for one in report["membership"]} >= {"primary"}
    assert contradiction(with_endpoint(leaky(), "lira-scores", Metric.TPR_AT_FPR, appendix=True)) != ""
    assert contradiction(at_once()) == ""
