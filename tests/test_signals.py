"""Asking a model: one column per query, coarser outputs in the same pass, and files of an earlier version."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from auditor.compute import SILENT, RunFolder
from auditor.findings import ModelFacts, Preprocessing
from auditor.laboratory import Answers, Blueprint, Laboratory
from auditor.queries import Query, copies
from auditor.shadows import AuditSet, TrainingSet
from auditor.signals import CoarseMargins, Signals, class_vectors, observe, observe_outputs
from auditor.splits import Recipe, Records
from auditor.target import Architecture, Target
from auditor.wrappers import PurifierNet
from reference_attacks.membership import signals as formulas

NETWORK = """
from torch import nn


def network():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 5))
"""
QUERIES = copies(1, mirrored=True)
RECIPE = Recipe(epochs=1, lr=0.1, batch_size=16, augmentation=("flip", "crop"))


def images(count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 8, 8, 1), dtype=np.uint8), rng.integers(5, size=count)


def target(network="unused"):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 5)).eval()
    facts = ModelFacts(
        name="tiny",
        file_format="safetensors",
        sha256="0" * 64,
        file_bytes=0,
        architecture="tiny",
        architecture_evidence="test",
        parameters=0,
        num_classes=5,
        weights="plain",
        preprocessing=Preprocessing(mean=(0.5,), std=(0.2,), input_size=(1, 8, 8), source="test"),
    )
    return Target(module, Architecture("factory", network, 0, 1, ()), facts, torch.device("cpu"))


def purified():
    torch.manual_seed(1)
    return target().with_wrapper(PurifierNet(5, (4,)))


@pytest.mark.parametrize("model", [target(), purified()], ids=["bare", "wrapped"])
def test_every_query_has_its_column_in_the_order_of_the_plan(model):
    inputs, labels = images(20)
    together = observe(model, inputs, labels, QUERIES)
    for column, name in enumerate(QUERIES):
        alone = observe(model, Query.named(name).of(inputs).copy(), labels)
        for field, array in together.arrays().items():
            assert array.shape == (20, 18)
            np.testing.assert_allclose(array[:, column], alone.arrays()[field][:, 0], rtol=1e-5)


@pytest.mark.parametrize("queries", [QUERIES, QUERIES[:1]])
@pytest.mark.parametrize("model", [target(), purified()], ids=["bare", "wrapped"])
def test_coarser_outputs_are_of_what_is_released_for_the_record_itself(model, queries):
    inputs, labels = images(20)
    signals, coarse = observe_outputs(model, inputs, labels, queries)
    for field, array in observe(model, inputs, labels, queries).arrays().items():
        np.testing.assert_array_equal(signals.arrays()[field], array)
    released = class_vectors(model, inputs)[1]
    expected = {
        "top3": formulas.top_margin(released, labels, shown=3),
        "top1": formulas.top_margin(released, labels, shown=1),
        "rounded2": formulas.rounded_margin(released, labels, decimals=2),
        "rounded1": formulas.rounded_margin(released, labels, decimals=1),
    }
    assert set(coarse.names()) == set(expected)
    for field, array in coarse.arrays().items():
        np.testing.assert_array_equal(array, expected[field][:, None])


def test_the_record_itself_must_be_asked_first():
    with pytest.raises(ValueError, match="the record itself"):
        observe_outputs(target(), *images(3), ("mirror", "identity"))


def answers(seed):
    rng = np.random.default_rng(seed)
    audit, calibration = (Signals(**{name: rng.normal(size=(size, 2)) for name in Signals.names()}) for size in (4, 3))
    return Answers(
        audit, calibration, coarse=CoarseMargins(**{name: rng.normal(size=(4, 1)) for name in CoarseMargins.names()})
    )


def test_answers_are_stacked_and_taken_apart_with_all_their_parts():
    models = [answers(seed) for seed in range(4)]
    stacked = Answers.stack(models)
    for part in ("audit", "calibration", "coarse"):
        for name in getattr(models[0], part).names():
            array = getattr(getattr(stacked.model(2), part), name)
            np.testing.assert_array_equal(array, getattr(getattr(models[2], part), name))
            without = getattr(getattr(stacked.without_models([1, 2]), part), name)
            np.testing.assert_array_equal(without[1], getattr(getattr(models[3], part), name))
    assert Answers.stack([*models, replace(models[0], coarse=None)]).coarse is None


class InThisProcess:
    def run(self, function, items, *, task, progress):
        for item in items:
            function(item)


def laboratory(folder):
    (folder / "network.py").write_text(NETWORK)
    model = target(f"{folder / 'network.py'}:network")
    records, others = (Records.of(*images(size, seed), None) for size, seed in ((40, 1), (20, 2)))
    audit_set = AuditSet(records, np.arange(40) < 20, others.take(np.arange(0)), others, others, "test")
    blueprint = Blueprint(model.architecture, model.facts, "cpu")
    run = RunFolder.create(folder / "run")
    return model, Laboratory(run, InThisProcess(), blueprint, RECIPE, QUERIES[:2], audit_set, SILENT)


def test_answers_of_an_earlier_version_are_made_again_from_the_same_weights(tmp_path):
    model, made = laboratory(tmp_path)
    made.publish()
    shadow = TrainingSet("shadow-00", np.arange(40) % 2 == 0, 3)
    first = [made.ask(model), *made.train([shadow], task="shadows")]
    files = sorted((tmp_path / "run" / "signals").iterdir())
    weights = [path.read_bytes() for path in (tmp_path / "run" / "models").iterdir()]
    assert len(files) == 2
    for path in files:
        arrays = made.folder.read_arrays(f"signals/{path.name}")
        older = {name: array for name, array in arrays.items() if not name.startswith("coarse.")}
        assert len(older) < len(arrays)
        made.folder.write_arrays(f"signals/{path.name}", older)
    again = [made.ask(model), *made.train([shadow], task="shadows")]
    assert [path.read_bytes() for path in (tmp_path / "run" / "models").iterdir()] == weights
    for before, after in zip(first, again, strict=True):
        for name, array in before.coarse.arrays().items():
            np.testing.assert_array_equal(array, after.coarse.arrays()[name])
