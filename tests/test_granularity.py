"""What each kind of output gives away: the same attacker, coarser and coarser outputs, on simulated class vectors."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import spearmanr

from auditor.battery import MEMBERSHIP
from auditor.controls.nulls import two_class_signals
from auditor.findings import Completed, Metric, Skipped
from auditor.laboratory import Answers
from auditor.limits import Limits
from auditor.membership.evidence import Evidence
from auditor.membership.granularity import output_matrix
from auditor.membership.measure import Jury
from auditor.shadows import inclusion_pairs
from auditor.signals import _coarse_margins, _signals
from auditor.splits import Records
from auditor.stats.auc import auc
from auditor.threat import Access
from tests.worlds import attack, world

LIMITS = Limits()
NAMES = ["Logits", "Probabilities", "Top 3", "Top 1", "Rounded to 2 decimals", "Rounded to 1 decimal", "Label"]


def vectors(n=500, shadows=8, leak=0.0, classes=10, seed=0):
    """Answers from whole class vectors: `leak` raises the true logit of a model's own records."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=2 * n)
    base = rng.normal(size=(2 * n, classes))
    base[np.arange(2 * n), labels] += rng.normal(3.0, 3.0, 2 * n)

    def model(inside):
        logits = base + 0.7 * rng.normal(size=base.shape)
        logits[np.arange(2 * n), labels] += leak * inside
        logits = logits.astype(np.float32)
        released = softmax(logits, axis=1)
        calibration = two_class_signals(rng.normal(size=(200, 1)))
        return Answers(_signals(logits, released, labels), calibration, coarse=_coarse_margins(released, labels))

    member = np.arange(2 * n) < n
    inclusion = inclusion_pairs(2 * n, shadows, rng)
    evidence = Evidence(model(member), Answers.stack([model(row) for row in inclusion]), inclusion)
    return evidence, Jury.of(Records.of(np.zeros((2 * n, 1), np.float32), labels, None), member, seed)


def matrix(evidence, jury, *, shows=Access.WEIGHTS, classes=10):
    return output_matrix(attack("lira-weights"), attack("gap"), evidence, jury, LIMITS, shows=shows, classes=classes)


def values(found):
    return [leak.outcome.endpoints[0].estimate.value for leak in found]


def test_coarser_outputs_give_less_away():
    found = matrix(*vectors(leak=1.0, n=2000))
    assert [leak.granularity for leak in found] == NAMES
    logits, full, top3, top1, rounded2, rounded1, label = values(found)
    assert logits == pytest.approx(full, abs=0.002)
    assert full > top3 > top1 > label
    assert full > rounded2 > rounded1 > label
    assert label > 0.52


def test_numbers_are_of_the_reporting_half_and_not_corrected():
    evidence, jury = vectors(leak=1.0)
    for leak in matrix(evidence, jury):
        assert leak.outcome.evaluated_on == "the reporting half"
        assert leak.outcome.queries_per_record == 1
        for end in leak.outcome.endpoints:
            assert (end.p_adjusted, end.upper_bound, end.limit, end.rejected) == (None,) * 4
    half = ~jury.selection
    scores = attack("lira-weights").score(evidence)
    assert values(matrix(evidence, jury))[0] == auc(scores[half], jury.membership[half]).value


def test_without_a_leak_every_output_reads_zero():
    readings = np.array([values(matrix(*vectors(n=1000, seed=seed))) for seed in range(12)])
    assert np.abs(readings.mean(axis=0) - 0.5).max() < 0.02  # the standard error of a mean is 0.005


def test_only_the_record_itself_is_asked():
    evidence, jury = vectors(leak=1.0)

    def with_noise(answers):
        rng = np.random.default_rng(0)
        audit = answers.audit.arrays()
        wide = {name: np.concatenate([array, rng.normal(size=array.shape)], axis=-1) for name, array in audit.items()}
        return replace(answers, audit=type(answers.audit)(**wide))

    noisy = replace(evidence, target=with_noise(evidence.target), shadows=with_noise(evidence.shadows))
    # the gap attack reads the first query by itself
    assert values(matrix(noisy, jury)) == values(matrix(evidence, jury))


@pytest.mark.parametrize(("n", "metrics", "appendix"), [(100, 1, []), (400, 2, [True]), (2000, 2, [False])])
def test_low_fpr_follows_the_rule_for_the_half(n, metrics, appendix):
    for leak in matrix(*vectors(n=n))[:-1]:
        assert len(leak.outcome.endpoints) == metrics
        assert [end.appendix for end in leak.outcome.endpoints if end.metric is Metric.TPR_AT_FPR] == appendix


def test_labels_have_no_low_fpr():
    assert [end.metric for end in matrix(*vectors(n=2000))[-1].outcome.endpoints] == [Metric.AUC]


def reasons(found):
    return {leak.granularity: leak.outcome.reason for leak in found if isinstance(leak.outcome, Skipped)}


def test_what_cannot_be_measured_is_skipped_with_its_reason():
    evidence, jury = vectors(n=60)
    for classes, all_shown in ((10, set()), (4, set()), (3, {"Top 3"}), (2, {"Top 3"})):
        assert set(reasons(matrix(evidence, jury, classes=classes))) == all_shown
    assert reasons(matrix(evidence, jury, classes=3))["Top 3"].startswith("the model has 3 classes")

    wrapped = reasons(matrix(evidence, jury, shows=Access.LABELS))
    assert set(wrapped) == set(NAMES) - {"Logits", "Label"}
    assert set(wrapped.values()) == {"the wrapped model releases labels only"}

    few = reasons(matrix(*vectors(n=60, shadows=2)))
    assert set(few) == set(NAMES) - {"Label"}
    assert all("needs 4 shadows" in reason for reason in few.values())

    bare = replace(evidence, target=replace(evidence.target, coarse=None))
    assert set(reasons(matrix(bare, jury))) == {name for name in NAMES if name.startswith(("Top", "Rounded"))}


def test_four_shadows_are_enough():
    assert all(isinstance(leak.outcome, Completed) for leak in matrix(*vectors(shadows=4, n=60)))


# --- eighteen queries ----------------------------------------------------------------------------------------------

FROM_SIGNALS = [one for one in MEMBERSHIP if one.probe is None and not one.combines]


def noisy_copies(answers, count, rng):
    """Each model's margin as seen through `count` copies of the record with noise of their own."""

    def widened(signals):
        margin = signals.logit_margin
        return two_class_signals(margin + 2 * rng.normal(size=(*margin.shape[:-1], count)))

    return Answers(widened(answers.audit), widened(answers.calibration))


@pytest.mark.parametrize("row", FROM_SIGNALS, ids=[one.card.id for one in FROM_SIGNALS])
def test_every_attack_reads_eighteen_queries(row):
    simulated = world(leak=3.0, n=300)
    rng = np.random.default_rng(1)
    target = noisy_copies(simulated.evidence.target, 18, rng)
    shadows = noisy_copies(simulated.evidence.shadows, 18, rng)
    many = replace(simulated.evidence, target=target, shadows=shadows)
    first = replace(many, target=only(target, [0]), shadows=only(shadows, [0]))
    scores, alone = row.score(many), row.score(first)
    assert np.isfinite(scores).all()
    member = simulated.jury.membership
    if row.queries == 1:
        np.testing.assert_array_equal(scores, alone)
    else:
        assert auc(scores, member).value > auc(alone, member).value


@pytest.mark.parametrize("row", FROM_SIGNALS, ids=[one.card.id for one in FROM_SIGNALS])
def test_the_order_of_the_copies_does_not_matter(row):
    simulated = world(leak=3.0, n=200)
    rng = np.random.default_rng(1)
    target = noisy_copies(simulated.evidence.target, 18, rng)
    shadows = noisy_copies(simulated.evidence.shadows, 18, rng)
    order = [0, *(1 + rng.permutation(17))]
    many = replace(simulated.evidence, target=target, shadows=shadows)
    shuffled = replace(many, target=only(target, order), shadows=only(shadows, order))
    assert spearmanr(row.score(many), row.score(shuffled)).statistic > 0.9999


def only(answers, chosen):
    def columns(signals):
        return type(signals)(**{name: array[..., chosen] for name, array in signals.arrays().items()})

    return Answers(columns(answers.audit), columns(answers.calibration))
