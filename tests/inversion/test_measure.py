"""What is made of reconstructions: known gains, exact expectations, no excess without a leak."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.stats import binom
from torch import nn

from auditor.findings import AttackCard, Family, Fidelity, InversionResult, Paper, VerdictState
from auditor.inversion.evaluators import Evaluator
from auditor.inversion.given import Rebuilt
from auditor.inversion.measure import (
    LeftOut,
    best_of_draws,
    inversion_facts,
    measure_classes,
    measure_records,
    with_findings,
)
from auditor.inversion.scene import Scene
from auditor.stats.intervals import proportion
from auditor.threat import Access
from auditor.verdict import decide_inversion
from reference_attacks.inversion.material import Inverted, Snapshot

CLASSES, RECORDS, SIDE = 24, 6, 12
CARD = AttackCard(
    id="any",
    title="Any",
    family=Family.INVERSION,
    paper=Paper(citation="none", url=""),
    fidelity=Fidelity.OWN,
    access=Access.SCORES,
    needs=(),
)


class Nearest(nn.Module):
    """Knows each class by its mean: the nearer, the surer."""

    def __init__(self, means):
        super().__init__()
        self.body = nn.Flatten()
        self.means = means.flatten(1)

    def forward(self, images):
        return -40 * torch.cdist(self.body(images), self.means).square() / self.means.shape[1]


def scene(seed=0):
    """Each class is a pattern of its own, each record the pattern with noise."""
    rng = torch.Generator().manual_seed(seed)
    patterns = torch.rand(CLASSES, 1, SIDE, SIDE, generator=rng)

    def records():
        noise = 0.1 * torch.randn(CLASSES, RECORDS, 1, SIDE, SIDE, generator=rng)
        return (patterns[:, None] + noise).clamp(0, 1)

    judge = Nearest(patterns)
    judge.register_parameter("where", nn.Parameter(torch.zeros(1)))
    evaluator = Evaluator("nearest", judge.eval(), proportion(9, 10, unit="records"))
    members, non_members, others = records(), records(), records()
    return Scene(tuple(range(CLASSES)), tuple(members), tuple(non_members), others.mean(1), (evaluator,))


def inverted(images, **more):
    return Inverted(images, None, torch.full((len(images),), 10), **more)


def noisy(base, seed, scale=0.1):
    rng = torch.Generator().manual_seed(seed)
    return (base + scale * torch.randn(base.shape, generator=rng)).clamp(0, 1)


def own(found, world):
    """One image per class as an attack hands it in."""
    return inverted(torch.stack([image[:1] for image in found(world)]))


# --- record excess ---------------------------------------------------------------------------------------------------


def test_a_copied_member_is_a_record_excess_against_both_controls():
    world = scene()
    result = measure_classes(
        CARD, own(lambda w: w.members, world), inverted(noisy(world.class_means, 1)[:, None]), world
    )
    assert all(one.estimate.low > 0.005 for one in result.record_excess)
    assert result.record_p_value < 1e-6
    (found,) = with_findings([result], 0.05)
    assert found.record_found
    assert found.record_p_adjusted == pytest.approx(result.record_p_value)


def test_a_copied_non_member_is_none():
    world = scene()
    result = measure_classes(CARD, own(lambda w: w.non_members, world), inverted(world.class_means[:, None]), world)
    assert all(one.estimate.high < 0 for one in result.record_excess)
    assert result.record_p_value > 0.99
    assert not with_findings([result], 0.05)[0].record_found


def test_the_gain_is_the_difference_of_nearest_errors_by_hand():
    world = scene()
    images = noisy(world.class_means, 3)[:, None]
    control = noisy(world.class_means, 4)[:, None]

    def gain(image, label):
        inside, outside = (
            min(float((image - one).square().mean()) for one in side[label])
            for side in (world.members, world.non_members)
        )
        return outside - inside

    expected = np.mean([gain(images[i, 0], i) - gain(control[i, 0], i) for i in range(CLASSES)])
    result = measure_classes(CARD, inverted(images), inverted(control), world)
    assert result.record_excess[0].estimate.value == pytest.approx(expected, abs=1e-9)


def test_without_a_leak_one_in_twenty_is_found_at_most():
    rejected = 0
    for seed in range(200):
        world = scene(seed)
        images, control = (noisy(world.class_means, 1000 * k + seed)[:, None] for k in (1, 2))
        found = with_findings([measure_classes(CARD, inverted(images), inverted(control), world)], 0.05)[0]
        rejected += found.record_found
    assert rejected <= 17  # 99 % of a binomial with 5 %


def test_few_classes_find_nothing():
    world = scene()
    few = Scene(
        world.classes[:19], world.members[:19], world.non_members[:19], world.class_means[:19], world.evaluators
    )
    result = measure_classes(CARD, own(lambda w: w.members, few), inverted(few.class_means[:, None]), few)
    found = with_findings([result], 0.05)[0]
    assert found.record_p_value < 1e-6
    assert not found.record_found
    assert found.record_p_adjusted is None


# --- class excess ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "draws"), [(7, 1), (7, 3), (7, 7), (5, 9)])
def test_every_subset_is_drawn_as_often(n, draws):
    values = np.random.default_rng(n + draws).normal(size=n)
    rng = np.random.default_rng(0)
    drawn = [best_of_draws(values, draws, rng) for _ in range(4_000)]
    subsets = [max(one) for one in combinations(values, min(draws, n))]
    assert set(drawn) == set(subsets)
    assert np.mean(drawn) == pytest.approx(np.mean(subsets), abs=5 * np.std(subsets) / 4_000**0.5 + 1e-12)


class Certain(nn.Module):
    """Is sure of one class: the one that the first pixel of an image names, times the number of classes."""

    def __init__(self):
        super().__init__()
        self.body = nn.Flatten()
        self.where = nn.Parameter(torch.zeros(1))

    def forward(self, images):
        named = (self.body(images)[:, 0] * CLASSES).long()
        return 20.0 * nn.functional.one_hot(named, CLASSES) + self.where


def test_luck_of_many_restarts_finds_no_class():
    """Images that name a random class, own and control alike: an expected best of as many let 12 % through here."""
    restarts = 50
    judge = Evaluator("certain", Certain().eval(), proportion(9, 10, unit="records"))
    flat = torch.rand(CLASSES, 2, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    found, runs = 0, 250
    for seed in range(runs):
        rng = torch.Generator().manual_seed(seed)
        images = torch.rand(CLASSES, restarts, 1, 1, 1, generator=rng)
        public = torch.rand(1_000, 1, 1, 1, generator=rng)
        world = Scene(tuple(range(CLASSES)), tuple(flat), tuple(flat), flat[:, 0], (judge,), public)
        others = torch.rand(2, 12 * restarts, 1, 1, 1, generator=rng)
        halved = (frozenset(range(12)), frozenset(range(12, CLASSES)))
        left_out = [LeftOut(*one) for one in zip(halved, others, strict=True)]
        result = measure_classes(CARD, inverted(images), inverted(images), world, left_out)
        found += result.class_p_value <= 0.05
    assert found <= binom.ppf(0.999, runs, 0.05)


def halves(world, images):
    """Two models, each without one half of the classes, that rebuild the others."""
    first = frozenset(range(CLASSES // 2))
    second = frozenset(world.classes) - first
    return [
        LeftOut(without, images[[c for c in world.classes if c not in without]].flatten(0, 1))
        for without in (first, second)
    ]


def test_a_class_that_is_rebuilt_is_a_class_excess():
    world = scene()
    images = noisy(world.class_means, 1)[:, None]
    public = torch.rand(40, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(5))
    shown = replace(world, public=public)
    result = measure_classes(CARD, inverted(images), inverted(images), shown, halves(world, images))
    assert [one.estimate.low > 0.3 for one in result.class_excess] == [True, True]
    assert with_findings([result], 0.05)[0].class_found


def test_images_that_anyone_has_are_none():
    world = scene()
    public = torch.rand(200, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(5))
    images = public[:CLASSES, None]
    shown = replace(world, public=public)
    result = measure_classes(CARD, inverted(images), inverted(images), shown, halves(world, images))
    assert result.class_p_value > 0.05
    assert not with_findings([result], 0.05)[0].class_found


def test_one_control_alone_finds_no_class():
    world = scene()
    images = noisy(world.class_means, 1)[:, None]
    result = measure_classes(CARD, inverted(images), inverted(images), world, halves(world, images))
    assert len(result.class_excess) == 1
    assert result.class_p_value is None
    assert not with_findings([result], 0.05)[0].class_found


def test_every_test_of_the_family_is_corrected_together():
    results = [
        InversionResult(card=CARD, status="completed", classes=24, record_p_value=p, class_p_value=q)
        for p, q in ((0.02, None), (0.9, 0.01))
    ]
    found = with_findings(results, 0.05)
    assert [one.record_p_adjusted for one in found] == pytest.approx([0.04, 0.9])
    assert found[1].class_p_adjusted == pytest.approx(0.03)
    assert (found[0].record_found, found[1].class_found) == (True, True)


# --- what else is told -----------------------------------------------------------------------------------------------


def test_recognition_counts_classes_and_snapshots():
    world = scene()
    images = noisy(world.class_means, 1)[:, None]
    wrong = images.roll(1, 0)
    given = inverted(images, shared_queries=48, snapshots=(Snapshot(5, wrong), Snapshot(9, images)))
    result = measure_classes(CARD, given, inverted(images), world)
    told = {one.name: one.estimate for one in result.measurements}
    assert told["Recognised by the nearest evaluation network (top 1)"].value == 1.0
    units = {one.unit for one in result.measurements if one.name.startswith("Recognised")}
    assert units == {"share"}
    assert [(one.queries, one.success.value) for one in result.success_by_queries] == [(5, 0.0), (9, 1.0)]
    assert result.queries_per_class == 12


def test_feature_distance_is_one_between_records_of_a_class():
    world = scene()
    held = torch.stack([one[:1] for one in scene().non_members])
    apart = world.feature_distances(held[:, 0], torch.cat(list(world.members)))
    own_class = np.concatenate([apart[i, i * RECORDS : (i + 1) * RECORDS] for i in range(CLASSES)])
    assert own_class.mean() == pytest.approx(1.0, abs=0.1)


# --- images of records -----------------------------------------------------------------------------------------------


def everyone(world, members, non_members):
    return torch.cat([part for pair in zip(members, non_members, strict=True) for part in pair])


def test_members_rebuilt_better_than_others_are_a_record_excess():
    world = scene()
    blurred = [mean.expand(RECORDS, -1, -1, -1) for mean in world.class_means]
    leaky = Rebuilt(everyone(world, [noisy(one, 2, 0.01) for one in world.members], blurred), 240)
    other = Rebuilt(everyone(world, blurred, blurred), 240)
    result = measure_records(CARD, leaky, other, world)
    assert all(one.estimate.low > 0.005 for one in result.record_excess)
    told = {one.name: one.estimate for one in result.measurements}
    assert told["Right record found among those of its class, above chance"].value == pytest.approx(1 - 1 / RECORDS)
    assert told["Structural similarity of members (SSIM)"].low > 0.9
    assert told["What it shows beyond the class mean (MSE)"].low > 0.005
    assert result.queries_per_class == 10


def test_a_decoder_that_gives_the_class_mean_shows_no_record():
    world = scene()
    blurred = [mean.expand(RECORDS, -1, -1, -1) for mean in world.class_means]
    alike = Rebuilt(everyone(world, blurred, blurred), 240)
    result = measure_records(CARD, alike, alike, world)
    assert [one.estimate.value for one in result.record_excess] == pytest.approx([0.0, 0.0], abs=1e-9)
    assert not with_findings([result], 0.05)[0].record_found
    told = {one.name: one.estimate for one in result.measurements}
    assert told["What it shows beyond the class mean (MSE)"].value == pytest.approx(0.0, abs=1e-9)


# --- verdict ---------------------------------------------------------------------------------------------------------


def result_of(**fields):
    return InversionResult(card=CARD, status="completed", classes=24, record_p_value=0.5, class_p_value=0.5, **fields)


@pytest.mark.parametrize(
    ("fields", "person", "words"),
    [
        ({"record_found": True}, False, "nearer to training records"),
        ({"class_found": True}, True, "what is rebuilt is personal"),
        ({"class_found": True}, False, "a prototype and no individual"),
    ],
)
def test_what_is_found_is_a_leak_from_its_access_upward(fields, person, words):
    facts = inversion_facts([result_of(**fields)], ["a"] * 24, person=person)
    told = {one.access: one for one in decide_inversion(facts)}
    assert [told[access].state for access in Access] == [
        VerdictState.CANNOT_SAY,
        VerdictState.LEAK_FOUND,
        VerdictState.LEAK_FOUND,
    ]
    assert words in told[Access.SCORES].sentence


def test_nothing_found_is_cannot_say():
    told = decide_inversion(inversion_facts([result_of()], ["a"] * 24))
    assert {one.state for one in told} == {VerdictState.CANNOT_SAY}
    assert "no more of training records than the controls" in told[-1].sentence
    assert [one.left_out for one in inversion_facts([result_of()], ["a"] * 26)] == [0, 2, 2]
