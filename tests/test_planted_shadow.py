"""The trained planted shadow: what it plants, and that it tells a model that learned by heart from one that did not."""

import weakref
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from auditor import audit
from auditor.controls.planted_shadow import planted_shadow_control
from auditor.shadows import draw_planting
from auditor.splits import Recipe, Records
from auditor.training import train
from tests.digits import parts, template

RECIPE = Recipe(epochs=60, optimizer="adam", lr=0.01, batch_size=32)


@pytest.fixture(scope="module")
def reference():
    return Records.of(*parts(400, 300)[1])


@pytest.fixture(scope="module")
def trained(tmp_path_factory, reference):
    """A model of 300 digits and the planted records, and two models without these."""
    empty = template(tmp_path_factory.mktemp("net"))
    images, labels = parts(300)[0]
    planting = draw_planting(reference, np.random.default_rng(0))
    rows = planting.rows[planting.included]
    with_them = (
        np.concatenate([images, reference.inputs[rows]]),
        np.concatenate([labels, planting.labels[planting.included]]),
    )
    planted = train(empty, *with_them, RECIPE, seed=1)
    return planting, planted, [train(empty, images, labels, RECIPE, seed=seed) for seed in (2, 3, 4)]


def test_planted_records_carry_a_wrong_class_that_occurs(reference):
    planting = draw_planting(reference, np.random.default_rng(3))
    assert len(planting.rows) == len(set(planting.rows.tolist())) == 200
    assert (planting.labels != reference.labels[planting.rows]).all()
    assert set(planting.labels.tolist()) <= set(reference.labels.tolist())
    assert 60 < planting.included.sum() < 140


def test_what_was_learned_by_heart_is_found(reference, trained):
    planting, planted, shadows = trained
    control = planted_shadow_control(planting, reference, planted, shadows)
    assert control.status == "pass"
    assert control.measurements[0].estimate.low > 0.6
    assert not control.voids


def test_a_model_without_them_keeps_nothing_and_blocks_nothing(reference, trained):
    planting, _, shadows = trained
    control = planted_shadow_control(planting, reference, shadows[0], shadows[1:])
    estimate = control.measurements[0].estimate
    assert estimate.low <= 0.5 <= estimate.high
    assert (control.status, control.voids) == ("warn", ())


def test_shadows_are_loaded_one_after_another(reference, trained):
    """Besides the planted one, the last may wait to be let go, and no more."""
    planting, planted, shadows = trained
    loaded = []

    def load(model):
        assert sum(one() is not None for one in loaded) <= 2
        fresh = replace(model)
        loaded.append(weakref.ref(fresh))
        return fresh

    design = SimpleNamespace(
        planting=planting, planted=planted, shadows=shadows, audit_set=SimpleNamespace(reference=reference)
    )
    case = SimpleNamespace(design=design, laboratory=SimpleNamespace(load=load))
    assert audit._ask_planted_shadow(case) == planted_shadow_control(planting, reference, planted, shadows)
    assert len(loaded) == 4
