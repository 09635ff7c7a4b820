"""The verdict is a pure function: one literal table of evidence and answers (DESIGN 7.8)."""

from dataclasses import replace

import pytest

from auditor.findings import Endpoint, Metric, VerdictState, Void
from auditor.stats.estimate import Estimate
from auditor.threat import Access
from auditor.verdict import AccessFacts, Doubt, InversionFacts, Limits, decide_inversion, decide_membership

LEAK, NOTHING, CANNOT = VerdictState.LEAK_FOUND, VerdictState.NOTHING_FOUND, VerdictState.CANNOT_SAY
LIMITS = Limits()


def endpoint(metric=Metric.AUC, value=0.5, upper=0.53, *, rejected=False):
    limit, fpr = (LIMITS.auc, None) if metric is Metric.AUC else (LIMITS.tpr, LIMITS.fpr)
    return Endpoint(
        metric=metric,
        fpr=fpr,
        estimate=Estimate(value, value - 0.02, value + 0.02, 0.95, "made up", {"members": 1000, "non-members": 1000}),
        p_value=0.0001 if rejected else 0.5,
        p_adjusted=0.0005 if rejected else 1.0,
        upper_bound=upper,
        limit=limit,
        rejected=rejected,
    )


QUIET = (endpoint(), endpoint(Metric.TPR_AT_FPR, 0.01, 0.037))
LOUD = (endpoint(value=0.8, upper=0.83, rejected=True), endpoint(Metric.TPR_AT_FPR, 0.14, 0.2, rejected=True))
GAP_QUIET, GAP_LOUD = (endpoint(),), (endpoint(value=0.58, upper=0.61, rejected=True),)

LABELS = AccessFacts(Access.LABELS, GAP_QUIET, 1000, shadows=0, planted_recovered=False)
SCORES = AccessFacts(Access.SCORES, QUIET, 1000, shadows=8, planted_recovered=True)
WEIGHTS = replace(SCORES, access=Access.WEIGHTS)
SHIFTED = {"shift": True, "matched_significant": True, "excess_significant": True}

VOID_LEAK = Doubt("the labels read as a leak", frozenset({Void.LEAK_FOUND}))
VOID_NOTHING = Doubt("the recipe does not fit", frozenset({Void.NOTHING_FOUND}))

TABLE = [
    ("all quiet", LABELS, SCORES, WEIGHTS, [], (CANNOT, NOTHING, NOTHING)),
    ("loud at weights only", LABELS, SCORES, replace(WEIGHTS, endpoints=LOUD), [], (CANNOT, NOTHING, LEAK)),
    ("loud at scores is inherited", LABELS, replace(SCORES, endpoints=LOUD), WEIGHTS, [], (CANNOT, LEAK, LEAK)),
    ("loud at labels is inherited", replace(LABELS, endpoints=GAP_LOUD), SCORES, WEIGHTS, [], (LEAK, LEAK, LEAK)),
    ("recipe voids nothing", LABELS, SCORES, WEIGHTS, [VOID_NOTHING], (CANNOT, CANNOT, CANNOT)),
    (
        "recipe never voids a leak",
        LABELS,
        SCORES,
        replace(WEIGHTS, endpoints=LOUD),
        [VOID_NOTHING],
        (CANNOT, CANNOT, LEAK),
    ),
    ("a voided leak", LABELS, SCORES, replace(WEIGHTS, endpoints=LOUD), [VOID_LEAK], (CANNOT, CANNOT, CANNOT)),
    (
        "nothing planted found again",
        LABELS,
        replace(SCORES, planted_recovered=False),
        WEIGHTS,
        [],
        (CANNOT, CANNOT, NOTHING),
    ),
    (
        "a bound at its limit",
        LABELS,
        replace(SCORES, endpoints=(QUIET[0], endpoint(Metric.TPR_AT_FPR, 0.01, 0.05))),
        WEIGHTS,
        [],
        (CANNOT, CANNOT, CANNOT),
    ),
    ("no shadow-based attack", LABELS, replace(SCORES, shadows=0), WEIGHTS, [], (CANNOT, CANNOT, NOTHING)),
    ("no attack of its own", LABELS, replace(SCORES, endpoints=()), WEIGHTS, [], (CANNOT, CANNOT, NOTHING)),
    (
        "shift, leak attributable",
        LABELS,
        SCORES,
        replace(WEIGHTS, endpoints=LOUD, **SHIFTED),
        [],
        (CANNOT, NOTHING, LEAK),
    ),
    (
        "shift, no matched pairs",
        LABELS,
        SCORES,
        replace(WEIGHTS, endpoints=LOUD, **{**SHIFTED, "matched_significant": None}),
        [],
        (CANNOT, NOTHING, CANNOT),
    ),
    (
        "shift, excess not significant",
        LABELS,
        SCORES,
        replace(WEIGHTS, endpoints=LOUD, **{**SHIFTED, "excess_significant": False}),
        [],
        (CANNOT, NOTHING, CANNOT),
    ),
    (
        "shift, matched not significant",
        LABELS,
        SCORES,
        replace(WEIGHTS, endpoints=LOUD, **{**SHIFTED, "matched_significant": False}),
        [],
        (CANNOT, NOTHING, CANNOT),
    ),
]


@pytest.mark.parametrize(
    ("labels", "scores", "weights", "doubts", "expected"), [row[1:] for row in TABLE], ids=[r[0] for r in TABLE]
)
def test_membership_table(labels, scores, weights, doubts, expected):
    verdicts = decide_membership([weights, labels, scores], doubts, LIMITS)
    assert tuple(verdict.access for verdict in verdicts) == tuple(Access)
    assert tuple(verdict.state for verdict in verdicts) == expected


def test_a_rejected_test_that_shift_explains_is_never_nothing_found():
    confounded = replace(WEIGHTS, endpoints=LOUD, shift=True)
    verdict = decide_membership([LABELS, SCORES, confounded], [], LIMITS)[2]
    assert verdict.state is CANNOT
    assert "random split" in verdict.sentence


def test_inherited_leak_names_its_source():
    verdicts = decide_membership([replace(LABELS, endpoints=GAP_LOUD), SCORES, WEIGHTS], [], LIMITS)
    assert [verdict.inherited_from for verdict in verdicts] == [None, Access.LABELS, Access.LABELS]


def test_below_the_low_fpr_size_it_is_by_auc_only():
    verdict = decide_membership([replace(SCORES, endpoints=QUIET[:1])], [], LIMITS)[0]
    assert verdict.auc_only
    assert verdict.sentence.startswith("By AUC only")


def test_sentences_carry_their_numbers():
    leak = decide_membership([replace(WEIGHTS, endpoints=LOUD)], [], LIMITS)[0].sentence
    assert "recognises 14 % (95 % interval 12 % to 16 %)" in leak
    assert "trains 8 models" in leak
    assert "12 % of the flags" in leak  # 0.01 * 0.14 / (0.01 * 0.14 + 0.99 * 0.01)
    nothing = decide_membership([WEIGHTS], [], LIMITS)[0].sentence
    assert "at most 3.7 %" in nothing
    assert "Attacks not run may do better." in nothing


def inversion(classes=30, bounds=(0.01,), attacks=1):
    return InversionFacts(Access.WEIGHTS, attacks, classes, bounds, class_excess_measured=False)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (inversion(), LEAK),
        (inversion(classes=19), CANNOT),
        (inversion(bounds=(0.0,)), CANNOT),
        (inversion(bounds=()), CANNOT),
        (inversion(attacks=0), CANNOT),
    ],
)
def test_inversion_table(facts, expected):
    assert decide_inversion([facts])[0].state is expected


def test_an_inversion_leak_is_inherited_upward_only():
    labels = InversionFacts(Access.LABELS, 1, 30, (0.1,), class_excess_measured=False)
    weights = inversion(bounds=(-1.0,))
    assert [one.state for one in decide_inversion([weights, labels])] == [LEAK, LEAK]
    assert [one.state for one in decide_inversion([inversion(), replace(labels, attacks=0)])] == [CANNOT, LEAK]
