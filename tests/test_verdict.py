"""The verdict is a pure function: one literal table of evidence and answers (rule 8 of docs/rules-of-evidence.md)."""

from dataclasses import replace

import pytest

from auditor.findings import Endpoint, Metric, SecondaryChoice, VerdictState, Void
from auditor.limits import Limits
from auditor.stats.estimate import Estimate
from auditor.threat import Access
from auditor.verdict import AccessFacts, Doubt, InversionFacts, decide_inversion, decide_membership

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
        "a null that leans, excess significant",
        LABELS,
        SCORES,
        replace(WEIGHTS, endpoints=LOUD, leans=True, excess_significant=True),
        [],
        (CANNOT, NOTHING, LEAK),
    ),
    (
        "a null that leans, excess not significant",
        LABELS,
        SCORES,
        replace(WEIGHTS, endpoints=LOUD, leans=True, excess_significant=False),
        [],
        (CANNOT, NOTHING, CANNOT),
    ),
    (
        "a null that leans takes nothing away",
        LABELS,
        SCORES,
        replace(WEIGHTS, leans=True),
        [],
        (CANNOT, NOTHING, NOTHING),
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


def test_a_leak_that_a_lean_might_explain_says_so():
    leaning = replace(WEIGHTS, endpoints=LOUD, leans=True, excess_significant=False)
    verdict = decide_membership([LABELS, SCORES, leaning], [], LIMITS)[2]
    assert "lean the same way" in verdict.sentence
    assert not any(reason.startswith("At weights") for reason in verdict.reasons)


@pytest.mark.parametrize(
    ("changes", "doubts", "why"),
    [
        ({"leans": True}, [], "But models that never saw the members lean the same way, so neither a leak nor nothing"),
        ({"shift": True}, [], "But the records may differ without the model, so neither a leak nor nothing"),
        ({}, [VOID_LEAK], "But a check or control takes that away, so neither a leak nor nothing"),
    ],
)
def test_a_rejection_at_lesser_access_that_is_no_leak_is_told_with_its_numbers(changes, doubts, why):
    labels = replace(LABELS, endpoints=GAP_LOUD, attack="Gap attack", **changes)
    verdict = decide_membership([labels, SCORES], doubts, LIMITS)[1]
    assert verdict.state is CANNOT
    told = verdict.reasons[1] if doubts else verdict.sentence
    assert told.startswith("At labels the primary attack (Gap attack) rejects: AUC 0.580 (0.560 to 0.600")
    assert why in told


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({}, "More records, or a random split, may settle it."),
        ({"random_split": True}, "more records, or more null models than two, may settle it."),
        ({"shift": True}, "Use a random split of one data set."),
        ({"shift": True, "random_split": True}, "more records, or more null models than two, may settle it."),
    ],
)
def test_an_excess_that_is_not_significant_is_told_as_it_was_tested(changes, remedy):
    tested = Estimate(0.0158, -0.0063, 0.0379, 1 - 0.1 / 3, "made up", {"members": 1000, "non-members": 1000})
    told = {"leans": True, "matched_significant": True, "excess_significant": False, "excess_tested": tested}
    own = replace(WEIGHTS, endpoints=LOUD, **told, **changes)
    sentence = decide_membership([own], [], LIMITS)[0].sentence
    assert "it is +0.0158 (96.7 % interval -0.0063 to +0.0379), and it must lie above 0 as a whole" in sentence
    assert "two null models carry this" in sentence
    assert sentence.endswith(remedy)


def test_inherited_leak_names_its_source():
    verdicts = decide_membership([replace(LABELS, endpoints=GAP_LOUD), SCORES, WEIGHTS], [], LIMITS)
    assert [verdict.inherited_from for verdict in verdicts] == [None, Access.LABELS, Access.LABELS]


WIDE = replace(SCORES, endpoints=(QUIET[0], endpoint(Metric.TPR_AT_FPR, 0.01, 0.05)))


@pytest.mark.parametrize(
    ("own", "doubts", "too_wide"),
    [
        (WIDE, [], True),
        (SCORES, [], False),
        (WIDE, [VOID_NOTHING], False),
        (replace(WIDE, planted_recovered=False), [], False),
        (replace(WIDE, shadows=0), [], False),
        (replace(WIDE, endpoints=LOUD, leans=True), [], False),
        (replace(SCORES, endpoints=LOUD), [], False),
    ],
)
def test_a_verdict_says_when_bounds_alone_are_in_the_way(own, doubts, too_wide):
    (verdict,) = decide_membership([own], doubts, LIMITS)
    assert verdict.too_wide == too_wide


def test_labels_without_shadows_behind_them_say_that_no_budget_changes_it():
    labels = decide_membership([LABELS, SCORES, WEIGHTS], [], LIMITS)[0]
    assert labels.sentence.startswith("The primary attack on labels uses no shadows, at any budget")


def with_secondary(own, value, low, title="X"):
    told = replace(endpoint(value=value).estimate, low=low)
    choice = SecondaryChoice(
        access=Access.SCORES,
        attack_id="x",
        chosen_from=20,
        metric=Metric.AUC,
        selection_value=told,
        reported_value=told,
    )
    return replace(own, secondary=choice, secondary_title=title)


@pytest.mark.parametrize(("low", "told"), [(0.507, True), (0.49, False)])
def test_a_secondary_attack_above_chance_is_said_to_decide_nothing(low, told):
    sentence = decide_membership([with_secondary(WEIGHTS, 0.533, low)], [], LIMITS)[0].sentence
    assert f"attacks (X), chosen on one half, reached AUC 0.53 ({low:.2f} to 0.55) on the other" in sentence
    assert ("above chance, but not corrected, so it decides nothing" in sentence) is told


def test_each_access_tells_of_the_secondary_attack_that_it_allows():
    weights, scores = with_secondary(WEIGHTS, 0.52, 0.49, "white box"), with_secondary(SCORES, 0.51, 0.48, "black box")
    verdicts = decide_membership([scores, weights], [], LIMITS)
    assert ["white box" in one.sentence for one in verdicts] == [False, True]
    assert ["black box" in one.sentence for one in verdicts] == [True, False]


@pytest.mark.parametrize(("low", "expected"), [(0.6, CANNOT), (0.599, NOTHING)])
def test_nothing_is_not_said_beside_a_secondary_attack_that_surely_reaches_the_limit(low, expected):
    scores, weights = with_secondary(SCORES, 0.64, low), with_secondary(WEIGHTS, 0.64, 0.5)
    by_access = decide_membership([LABELS, scores, weights], [], LIMITS)
    assert [one.state for one in by_access[1:]] == [expected, expected]
    told = "AUC 0.64 (0.60 to 0.66) on the other: all of that lies at or above the limit of 0.60."
    assert (told in by_access[1].sentence) is (expected is CANNOT)
    assert not by_access[1].too_wide
    assert decide_membership([with_secondary(replace(WEIGHTS, endpoints=LOUD), 0.7, 0.6)], [], LIMITS)[0].state is LEAK


@pytest.mark.parametrize("endpoints", [(), QUIET])
def test_a_declared_primary_attack_that_broke_off_is_remembered_with_more_access(endpoints):
    broken = replace(SCORES, endpoints=endpoints, attack="LiRA", not_made="it crashed")
    verdicts = decide_membership([LABELS, broken, WEIGHTS], [], LIMITS)
    assert [one.state for one in verdicts] == [CANNOT, CANNOT, CANNOT]
    told = "At scores the plan declared a primary attack (LiRA) that did not complete (it crashed)"
    assert verdicts[2].sentence.startswith(told)
    assert decide_membership([broken, replace(WEIGHTS, endpoints=LOUD)], [], LIMITS)[1].state is LEAK


def test_below_the_low_fpr_size_it_is_by_auc_only():
    verdict = decide_membership([replace(SCORES, endpoints=QUIET[:1])], [], LIMITS)[0]
    assert verdict.auc_only
    assert verdict.sentence.startswith("By AUC only")


def test_sentences_carry_their_numbers():
    leak = decide_membership([replace(WEIGHTS, endpoints=LOUD)], [], LIMITS)[0].sentence
    assert "recognises 14 % (95 % interval 12 % to 16 %)" in leak
    assert "trains 8 models on half of the audited records recognises" in leak
    assert "12 % of the flags would be right (11 % to 14 %)" in leak  # 0.01 * 0.14 / (0.01 * 0.14 + 0.99 * 0.01)
    holding = decide_membership([replace(WEIGHTS, endpoints=LOUD, shadow_data="audited and others")], [], LIMITS)[
        0
    ].sentence
    assert "trains 8 models on half of the audited records and all other training records recognises" in holding
    given = decide_membership([replace(WEIGHTS, endpoints=LOUD, shadow_data="given")], [], LIMITS)[0].sentence
    assert "holds a candidate record and 8 models, each trained on a known part of such records, recognises" in given
    nothing = decide_membership([WEIGHTS], [], LIMITS)[0].sentence
    assert "at most 3.7 %" in nothing
    assert "Attacks not run may do better." in nothing


def inversion(access=Access.WEIGHTS, **found):
    return InversionFacts(access, attacks=1, classes=30, **found)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (inversion(record_found=("MIFace",)), LEAK),
        (inversion(class_found=("MIFace",), class_measured=True), LEAK),
        (inversion(class_measured=True), CANNOT),
        (inversion(), CANNOT),
        (InversionFacts(Access.WEIGHTS, attacks=0, classes=30), CANNOT),
        (InversionFacts(Access.WEIGHTS, attacks=1, classes=19), CANNOT),
    ],
)
def test_inversion_table(facts, expected):
    assert decide_inversion([facts])[0].state is expected


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (inversion(class_measured=True), "no more of training records than the controls"),
        (InversionFacts(Access.WEIGHTS, attacks=1, classes=19), "19 classes are too few"),
        (
            InversionFacts(Access.WEIGHTS, attacks=1, classes=10, left_out=1),
            "1 class with too few records is left out.",
        ),
        (InversionFacts(Access.WEIGHTS, attacks=0, classes=30), "No inversion attack ran for weights"),
    ],
)
def test_why_inversion_cannot_say(facts, words):
    assert words in decide_inversion([facts])[0].sentence


def test_classes_left_out_are_counted_where_there_are_enough_others_too():
    reasons = decide_inversion([replace(inversion(), left_out=2)])[0].reasons
    assert "2 classes with too few records are left out." in reasons


def test_an_inversion_leak_is_inherited_upward_only():
    labels, weights = inversion(Access.LABELS, record_found=("Any",)), inversion()
    assert [one.state for one in decide_inversion([weights, labels])] == [LEAK, LEAK]
    assert [
        one.state for one in decide_inversion([inversion(record_found=("Any",)), replace(labels, record_found=())])
    ] == [CANNOT, LEAK]


def test_under_a_shift_being_nearer_to_members_says_nothing_but_a_rebuilt_class_does():
    nearer, rebuilt = inversion(record_found=("Any",)), inversion(class_found=("Any",), class_measured=True)
    assert decide_inversion([nearer], shift=True)[0].state is CANNOT
    assert "may differ without the model" in decide_inversion([nearer], shift=True)[0].sentence
    assert decide_inversion([rebuilt], shift=True)[0].state is LEAK


def test_what_voids_a_leak_voids_it_for_inversion_too():
    doubt = Doubt("The two sides overlap.", frozenset({Void.LEAK_FOUND}))
    other = Doubt("Few records.", frozenset({Void.NOTHING_FOUND}))
    found = inversion(record_found=("Any",))
    assert decide_inversion([found], [doubt])[0].sentence == "The two sides overlap."
    assert decide_inversion([found], [doubt])[0].state is CANNOT
    assert decide_inversion([found], [other])[0].state is LEAK
    assert "no more of training records" in decide_inversion([inversion()], [doubt])[0].sentence
