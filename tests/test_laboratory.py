"""What the laboratory hands to training and to probes: the right records, and none of them twice in memory."""

import tracemalloc

import numpy as np
import pytest

from auditor.compute import RunFolder
from auditor.laboratory import share_records
from auditor.laboratory.probes import asked_about
from auditor.laboratory.shared import training_records
from auditor.shadows import Planting, TrainingSet
from auditor.splits import Records
from tests.digits import parts, template

INCLUDED = np.arange(200) % 3 > 0
PLANTING = Planting(np.array([2, 3, 11]), np.array([7, 1, 0]), np.array([True, False, True]))


def published(folder, images=None):
    run = RunFolder.create(folder / "run")
    for name, (inputs, labels) in zip(("audit", "others", "reference"), parts(200, 90, 40), strict=True):
        share_records(run, name, Records.of(inputs if images is None else images[: len(labels)], labels))
    return run


@pytest.mark.parametrize("others", [False, True])
@pytest.mark.parametrize("planting", [None, PLANTING])
@pytest.mark.parametrize("without", [(), (1, 4, 7)])
def test_a_model_trains_on_its_records_in_order(others, planting, without, tmp_path):
    audit, rest, reference = parts(200, 90, 40)
    expected = [(image, label) for image, label, kept in zip(*audit, INCLUDED, strict=True) if kept]
    expected += list(zip(*rest, strict=True)) if others else []
    expected += [] if planting is None else [(reference[0][2], 7), (reference[0][11], 0)]
    expected = [pair for pair in expected if pair[1] not in without]
    learned = TrainingSet("one", INCLUDED, seed=0, others=others, planting=planting, without_classes=without)
    inputs, labels = training_records(published(tmp_path), learned)
    assert (inputs.dtype, labels.dtype) == (np.uint8, np.int64)
    np.testing.assert_array_equal(inputs, [image for image, _ in expected])
    np.testing.assert_array_equal(labels, [label for _, label in expected])


def test_no_record_is_held_twice_on_its_way_into_training(tmp_path):
    images = np.random.default_rng(0).integers(256, size=(200, 64, 64, 3), dtype=np.uint8)
    run = published(tmp_path, images)
    learned = TrainingSet("one", INCLUDED, seed=0, others=True, planting=PLANTING, without_classes=(1,))
    tracemalloc.start()
    try:
        inputs, _ = training_records(run, learned)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert inputs.nbytes < most < 1.2 * inputs.nbytes


def test_a_probe_about_all_records_reads_them_where_they_lie(tmp_path):
    run, target = published(tmp_path), template(tmp_path)
    share_records(run, "calibration", Records.of(*parts(200, 50)[1]))
    everyone = asked_about(target, run, np.arange(200), None, 0).records
    some = asked_about(target, run, np.array([3, 5]), None, 0).records
    assert isinstance(everyone.inputs, np.memmap)
    np.testing.assert_array_equal(everyone.inputs, parts(200)[0][0])
    np.testing.assert_array_equal(some.inputs, everyone.inputs[[3, 5]])
