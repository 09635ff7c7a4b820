"""Early stopping: when it stops, and whose weights it keeps."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from auditor.defense import UnfitDefenseError
from auditor.defenses import early_stopping
from auditor.defenses.early_stopping import EarlyStopping, StopEarly, patience_for, retrain
from auditor.signals import accuracy
from auditor.training import train
from tests.defenses.lessons import Watched, features, head_only, holding, mislabelled, room
from tests.digits import template


@pytest.mark.parametrize(("epochs", "patience"), [(5, 3), (30, 3), (31, 4), (300, 30)])
def test_it_waits_for_a_tenth_of_the_epochs(epochs, patience):
    assert patience_for(epochs, EarlyStopping()) == patience


@pytest.mark.parametrize(
    ("accuracies", "stops_after", "kept"),
    [
        ([0.5, 0.6, 0.7, 0.8, 0.9], 5, 5),
        ([0.5, 0.8, 0.7, 0.8, 0.9], 4, 2),
        ([0.5, 0.8, 0.7, 0.9, 0.8], 5, 4),
        ([0.0, 0.0, 0.0, 0.1, 0.2], 3, 1),
    ],
    ids=["always rising", "equal is no rise", "the last is not the best", "never rising"],
)
def test_it_stops_when_the_accuracy_stays_and_keeps_the_best(accuracies, stops_after, kept, monkeypatch):
    coming = iter(accuracies)
    monkeypatch.setattr(early_stopping, "share_right", lambda *_: next(coming))
    module, lesson = Watched(), StopEarly(features(4, 0), patience=2)
    for epoch in range(1, 6):
        module.weight.data.fill_(epoch)
        there = room(module, torch.zeros(1, 3), torch.zeros(1, dtype=torch.int64), epoch=epoch, epochs=5)
        if not lesson.between_epochs(there):
            break
        assert module.training
    assert (epoch, module.weight.item()) == (stops_after, kept)


def test_the_model_is_the_best_of_those_after_each_epoch(tmp_path):
    given = holding(members=60, epochs=8, schedule="constant", lr=0.05)
    given = replace(given, members=mislabelled(given.members, 1))
    members, reference = given.members, given.reference

    def after(epochs):
        recipe = given.recipe.model_copy(update={"epochs": epochs})
        return train(template(tmp_path), members.inputs, members.labels, recipe, seed=6)

    reached = [accuracy(after(epochs), reference.inputs, reference.labels) for epochs in range(1, 9)]
    best = int(np.argmax(reached)) + 1
    assert best < 8
    made = retrain(template(tmp_path), given, 6, EarlyStopping(at_least=8))
    assert made.has_weights_of(after(best))


def test_it_does_not_fit_without_held_out_records(tmp_path):
    given = holding()
    with pytest.raises(UnfitDefenseError, match="no held-out records"):
        retrain(template(tmp_path), replace(given, reference=given.reference.take(np.arange(0))), 0)


def test_it_does_not_fit_where_the_head_alone_is_trained(tmp_path):
    with pytest.raises(UnfitDefenseError, match="the head alone"):
        retrain(template(tmp_path), head_only(), 0)
