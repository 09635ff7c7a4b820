from dataclasses import replace
from importlib.metadata import version

import numpy as np
import pytest

from auditor.battery.plan import Plan, software
from auditor.checks.shadows import recipe, stale_shadows
from auditor.controls.nulls import two_class_signals
from auditor.findings import CheckLevel, Void
from auditor.laboratory import Answers
from tests.checks.subjects import changed, sound
from tests.worlds import world


@pytest.fixture(scope="module")
def subject():
    return sound()


def of(subject, simulated, change=lambda margin: margin, *, target_alone=True):
    """The same subject with the answers of another world; the target's margins changed, or everybody's."""

    def answered(answers, *, changed):
        signals = two_class_signals(change(answers.audit.released_margin)) if changed else answers.audit
        return Answers(signals, answers.calibration)

    evidence = simulated.evidence
    target, shadows = answered(evidence.target, changed=True), answered(evidence.shadows, changed=not target_alone)
    return replace(subject, jury=simulated.jury, evidence=replace(evidence, target=target, shadows=shadows))


@pytest.mark.parametrize("shadows", [4, 8, 16])
@pytest.mark.parametrize("temperature", [0.5, 4.0])
def test_a_temperature_that_leaves_the_accuracy_alone_fails_the_recipe(subject, shadows, temperature):
    simulated = world(n=1000, shadows=shadows, leak=2.0)
    assert recipe(of(subject, simulated)).level is CheckLevel.PASS
    check = recipe(of(subject, simulated, lambda margin: margin / temperature))
    assert check.level is CheckLevel.FAIL
    assert check.voids == (Void.NOTHING_FOUND, Void.PER_RECORD, Void.POWER)
    assert "accuracy on" not in check.sentence
    assert "as after a temperature in its last layer or training by another recipe" in check.sentence


def test_each_margin_is_held_apart(subject):
    """A wrapper changes what is released only, and a margin of the logits may move while nothing else does."""
    margin = subject.evidence.target.audit.logit_margin[:, 0]
    assert "logit margin on" in recipe(changed(subject, logit_margin=margin / 4)).sentence
    assert "released margin on" in recipe(changed(subject, released_margin=margin - 2)).sentence


def test_what_differs_is_told_by_how_much(subject):
    check = recipe(changed(subject, logit_margin=subject.evidence.target.audit.logit_margin[:, 0] + 3.0))
    assert "the median logit margin on" in check.sentence
    assert "records lies +2.53 from what shadows give the same records, and shadows reach -0." in check.sentence
    assert "(2 of 8 such comparisons fail)" in check.sentence


@pytest.mark.parametrize("shadows", [2, 4, 8])
def test_a_target_of_the_same_recipe_seldom_fails(subject, shadows):
    """Also where members are easier: margins are held against those of the same records. 5 is the 99.9 % quantile."""
    worlds = (world(n=100, shadows=shadows, leak=1.0, shift=2.0, seed=seed) for seed in range(120))
    assert sum("margin" in recipe(of(subject, simulated)).sentence for simulated in worlds) <= 5


@pytest.mark.parametrize(
    "change",
    [
        lambda margin: np.full_like(margin, 120.0),
        lambda margin: np.where(margin > 0, 40.0, -40.0),
        lambda margin: np.where(margin > 3, np.inf, margin),
        lambda margin: np.where(margin > 3, np.nan, margin),
    ],
)
def test_saturated_coarse_and_endless_margins_are_no_reason_of_their_own(subject, change):
    simulated = world(n=300, shadows=4, leak=1.0)
    same = of(subject, simulated)
    for name in ("logit_margin", "released_margin"):
        audits = [
            replace(one.audit, **{name: change(getattr(one.audit, name))})
            for one in (same.evidence.target, same.evidence.shadows)
        ]
        both = [
            replace(one, audit=audit)
            for one, audit in zip((same.evidence.target, same.evidence.shadows), audits, strict=True)
        ]
        given = replace(same, evidence=replace(same.evidence, target=both[0], shadows=both[1]))
        assert recipe(given).level is CheckLevel.PASS


def test_a_target_that_answers_coarsely_where_shadows_do_not_fails(subject):
    margin = subject.evidence.target.audit.released_margin[:, 0]
    assert recipe(changed(subject, released_margin=np.where(margin > 0, 40.0, -40.0))).level is CheckLevel.FAIL


def test_a_plan_of_other_versions_is_told_with_both():
    then = Plan.model_construct(privaudit="0.0.9", torch="2.6.0").software
    check = stale_shadows(replace(sound(), planned_with=then, running=software()))
    assert (check.level, check.voids) == (CheckLevel.WARN, ())
    assert "privaudit 0.0.9 with torch 2.6.0" in check.sentence
    assert f"torch {version('torch')} runs now" in check.sentence
