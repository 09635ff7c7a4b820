"""The design of an audit: who is evaluated, who trains on whom (rules 1 and 4 of docs/rules-of-evidence.md)."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from auditor.errors import InputError
from auditor.shadows import draw_audit_set, inclusion_pairs, null_halves
from auditor.splits import ClassOrder, Records, Splits, SplitsFile


def records(n, seed, groups=None):
    rng = np.random.default_rng(seed)
    return Records.of(rng.integers(0, 256, (n, 4, 4, 1), dtype=np.uint8), rng.integers(0, 3, n), groups)


def splits(members=300, non_members=500, population=None, validation=None, groups=None):
    return Splits(
        members=records(members, 1, groups),
        non_members=records(non_members, 2),
        population=population,
        public=None,
        validation=validation,
        class_names=("a", "b", "c"),
        class_names_source="test",
        class_order=ClassOrder.FIXED,
        class_orders=None,
        settings=SplitsFile(),
        duplicates_dropped=0,
        folder=Path("splits"),
    )


def names(part):
    return set(part.digests)


def test_every_record_has_one_place():
    drawn = draw_audit_set(splits(population=records(200, 3)), cap=100, seed=0)
    assert drawn.evaluated == 100
    assert drawn.records.n == 200
    parts = [drawn.records, drawn.others, drawn.calibration, drawn.reference]
    assert len(set().union(*map(names, parts))) == sum(part.n for part in parts)
    assert names(drawn.others) | names(drawn.records.take(drawn.membership)) == names(splits().members)
    assert drawn.calibration.n + drawn.reference.n == 200 + 400  # unused test records join the population
    assert names(drawn.records.take(~drawn.membership)) < names(splits().non_members)


def test_a_member_that_stands_twice_is_not_evaluated():
    base = splits(members=300)
    twice = Records.concatenate([base.members, base.members.take(np.arange(20))])
    drawn = draw_audit_set(replace(base, members=twice), cap=5000, seed=0)
    assert drawn.evaluated == 280
    assert drawn.others.n == 40
    assert not names(drawn.others) & names(drawn.records)


@pytest.mark.parametrize(("test", "set_aside"), [(600, 200), (150, 100)])
def test_without_population_a_third_of_test_is_set_aside_or_the_least_there_must_be(test, set_aside):
    drawn = draw_audit_set(splits(members=600, non_members=test), cap=5000, seed=0)
    assert drawn.evaluated == test - set_aside
    assert drawn.calibration.n + drawn.reference.n == set_aside
    assert drawn.population_source == f"the {set_aside} of {test} records of test/ that were set aside"


def test_validation_may_calibrate_and_is_never_evaluated():
    validation = records(150, 9)
    drawn = draw_audit_set(splits(validation=validation), cap=5000, seed=0)
    assert "validation" in drawn.population_source
    assert not names(validation) & names(drawn.records)


def test_too_little_population_is_refused():
    with pytest.raises(InputError, match="population"):
        draw_audit_set(splits(members=50, non_members=50), cap=50, seed=0)


def test_the_seed_fixes_the_audit_set():
    first, again, other = (draw_audit_set(splits(), cap=100, seed=seed) for seed in (0, 0, 1))
    assert first.records.digests == again.records.digests != other.records.digests


@pytest.mark.parametrize("models", [2, 8, 16])
def test_each_record_is_in_half_of_the_shadows_and_pairs_are_complementary(models):
    matrix = inclusion_pairs(100, models, np.random.default_rng(0))
    assert (matrix.sum(0) == models // 2).all()
    assert (matrix.sum(1) == 50).all()
    assert (matrix[0::2] ^ matrix[1::2]).all()


@pytest.mark.parametrize(("records_", "models"), [(100, 3), (99, 4)])
def test_pairs_need_even_numbers(records_, models):
    with pytest.raises(ValueError, match="even"):
        inclusion_pairs(records_, models, np.random.default_rng(0))


def test_null_models_never_train_on_a_non_member_and_share_no_member():
    drawn = draw_audit_set(splits(), cap=100, seed=0)
    halves = null_halves(drawn, np.random.default_rng(0))
    assert not halves[:, ~drawn.membership].any()
    assert (halves[0] ^ halves[1])[drawn.membership].all()
    assert abs(int(halves[0].sum()) - int(halves[1].sum())) <= 1


def test_null_models_keep_a_person_together():
    drawn = draw_audit_set(splits(), cap=100, seed=0)
    grouped = replace(drawn, records=replace(drawn.records, groups=np.arange(200, dtype=np.int64) // 4))
    first = null_halves(grouped, np.random.default_rng(0))[0][:100].reshape(25, 4)
    assert set(first.sum(1)) == {0, 4}
