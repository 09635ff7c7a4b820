"""Queries follow the training augmentation, in plans and in what models are shown."""

from datetime import UTC, datetime

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from auditor.battery.plan import Plan, queries_for
from auditor.limits import Limits
from auditor.queries import Query, copies, crop_pad, describe, largest_shift
from auditor.splits import Recipe
from auditor.training import _augment

FULL = copies(4, mirrored=True)
AUGMENTATIONS = [(), ("flip",), ("crop",), ("flip", "crop")]


def images(count=3, side=8, channels=2, seed=0):
    return np.random.default_rng(seed).integers(1, 256, (count, side, side, channels), dtype=np.uint8)


def recipe(*augmentation):
    return Recipe(epochs=1, lr=0.1, batch_size=8, augmentation=augmentation)


# --- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "count"),
    [
        (copies(), 1),
        (copies(mirrored=True), 2),
        (copies(4), 9),
        (FULL, 18),
        (copies(4, diagonal=True), 3),
        (copies(4, mirrored=True, diagonal=True), 6),
    ],
)
def test_copies_are_distinct_and_begin_with_the_record_itself(names, count):
    assert len(names) == len(set(names)) == count
    assert names[0] == "identity"
    assert [Query.named(name).name for name in names] == list(names)


@pytest.mark.parametrize(
    "name",
    ["", "flip", "identity mirror", "shift 4 4", "shift +0 +0", "shift -0 +4", "shift +04 +4", "shift +4 +4 mirror "],
)
def test_other_names_are_refused(name):
    with pytest.raises(ValueError, match="is no query"):
        Query.named(name)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (copies(), "1 query: the record itself"),
        (copies(mirrored=True), "2 queries: the record and its mirror image"),
        (copies(1), "9 queries: shifts by 1 pixel"),
        (FULL, "18 queries: mirror images and shifts by 4 pixels"),
        (copies(4, mirrored=True, diagonal=True), "6 queries: mirror images and shifts by 4 pixels along a diagonal"),
        (("identity", "somersault"), "identity, somersault"),
    ],
)
def test_queries_in_a_phrase(names, told):
    assert describe(names) == told


def test_the_farthest_shift_is_found():
    assert [largest_shift(names) for names in ((), ("mirror",), ("identity", "shift -3 +1"))] == [0, 0, 3]


# --- copies --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_the_queries_are_what_training_draws(augmentation):
    """On 8 x 8 the crop moves by one pixel at most, so that every draw is a query."""
    image = images(1)
    torch.manual_seed(0)
    drawn = _augment(torch.from_numpy(np.repeat(image, 2000, axis=0)), augmentation).numpy()
    asked = [
        Query.named(name).of(image)[0].tobytes() for name in queries_for(recipe(*augmentation), "standard", (8, 8, 2))
    ]
    assert len(set(asked)) == len(asked)
    assert set(asked) == {one.tobytes() for one in drawn}


@pytest.mark.parametrize("name", copies(2, mirrored=True))
def test_a_copy_is_a_crop_of_the_padded_image(name):
    query, stored = Query.named(name), images()
    before = stored.copy()
    padded = np.pad(stored, ((0, 0), (2, 2), (2, 2), (0, 0)))
    cropped = padded[:, 2 - query.down : 10 - query.down, 2 - query.right : 10 - query.right]
    np.testing.assert_array_equal(query.of(stored), cropped[:, :, ::-1] if query.mirror else cropped)
    np.testing.assert_array_equal(stored, before)


@pytest.mark.parametrize("shift", ["+8", "-8", "+999", "-999"])
def test_a_shift_beyond_the_image_leaves_zeros(shift):
    assert not Query.named(f"shift {shift} +0").of(images()).any()


def test_features_have_no_copy():
    features = np.ones((4, 64), dtype=np.float32)
    assert Query().of(features) is features
    for name in ("mirror", "shift +1 +0"):
        with pytest.raises(ValueError, match="only images"):
            Query.named(name).of(features)


# --- plans ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("augmentation", "budget", "count"),
    [
        (("flip", "crop"), "quick", 2),
        (("flip", "crop"), "standard", 18),
        (("flip", "crop"), "thorough", 6),
        (("crop",), "quick", 1),
        (("crop",), "standard", 9),
        (("crop",), "thorough", 3),
        (("flip",), "thorough", 2),
        ((), "standard", 1),
    ],
)
def test_the_budget_pays_for_copies(augmentation, budget, count):
    queries = queries_for(recipe(*augmentation), budget, (32, 32, 3))
    assert len(queries) == count
    assert largest_shift(queries) == (4 if count in {3, 6, 9, 18} else 0)
    assert queries_for(recipe(*augmentation), budget, (64,)) == ("identity",)


@pytest.mark.parametrize(("height", "pad"), [(1, 1), (8, 1), (15, 1), (32, 4), (224, 28)])
def test_the_pad_is_an_eighth_of_the_side(height, pad):
    assert crop_pad(height) == pad


def plan(queries, *augmentation, budget="standard"):
    return Plan(
        created=datetime(2026, 1, 1, tzinfo=UTC),
        privaudit="0",
        model="m",
        data="d",
        design="d",
        budget=budget,
        seed=0,
        cap=100,
        shadows=8,
        recipe=recipe(*augmentation),
        recipe_stated=True,
        queries=queries,
        attacks=("gap",),
        defenses=(),
        limits=Limits(),
        image_side=32,
        inverted_classes=10,
        public=0,
        evaluated=100,
        others=0,
        calibration=50,
        reference=50,
    )


@pytest.mark.parametrize("budget", ["quick", "standard", "thorough"])
@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
@pytest.mark.parametrize("shape", [(8, 8, 1), (32, 32, 3), (224, 224, 3), (64,)])
def test_a_plan_takes_what_the_recipe_asks_for(budget, augmentation, shape):
    queries = queries_for(recipe(*augmentation), budget, shape)
    assert plan(queries, *augmentation, budget=budget).queries == queries


@pytest.mark.parametrize(
    ("queries", "augmentation", "budget"),
    [
        (("mirror",), ("flip",), "standard"),
        (("identity", "mirror"), (), "quick"),
        (("identity", "mirror"), ("flip", "crop"), "standard"),
        (("identity",) * 9, ("crop",), "standard"),
        (copies(4), ("flip", "crop"), "standard"),
        (copies(4), ("crop",), "quick"),
        (copies(4), ("crop",), "thorough"),
        (copies(4)[:5], ("crop",), "standard"),
        (copies(4)[1:], ("crop",), "standard"),
        ((*copies(4)[:-1], "shift +5 +5"), ("crop",), "standard"),
        (("identity", "somersault"), ("flip",), "standard"),
    ],
)
def test_a_plan_takes_no_other_queries(queries, augmentation, budget):
    with pytest.raises(ValidationError):
        plan(queries, *augmentation, budget=budget)


def test_a_plan_tells_its_queries_in_a_phrase():
    assert "queries    18 queries: mirror images and shifts by 4 pixels\n" in plan(FULL, "flip", "crop").describe()
