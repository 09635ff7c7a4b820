import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from torch import nn

from auditor.checkpoint.new_head import BottleneckHead, LowRankHead, NewHead
from auditor.checkpoint.preprocessing import blank_input
from auditor.defense import Applied, Inspected, UnfitDefenseError
from auditor.defenses import DEFENSES, calor
from auditor.defenses.calibration import less_out_mean
from auditor.defenses.heads import head_for
from auditor.findings import ModelFacts, Preprocessing
from auditor.records import Records
from auditor.signals import accuracy, class_probabilities
from auditor.splits import Recipe
from auditor.target import Architecture, Target, load_target, save_target
from auditor.training import train
from tests.defenses.lessons import head_only, holding
from tests.digits import RECIPE, template, write_network

ROWS = {row.card.id: row for row in DEFENSES}


class Given(nn.Module):
    """Logits of a probability p of class 0 against one other class."""

    def forward(self, p):
        return torch.stack([p.log(), (1 - p).log()], 1)


def loss_at(p, scale=0.25, power=8.0):
    labels = torch.zeros(len(p), dtype=torch.int64)
    return calor.ConfidenceAdaptation(scale, power).loss(Given(), p, labels, RECIPE)


@pytest.mark.parametrize("power", [1.0, 4.0, 8.0])
def test_the_loss_is_smallest_where_the_paper_says(power):
    def at(p):
        return loss_at(torch.tensor([p], dtype=torch.float64), power=power).item()

    found = minimize_scalar(at, bounds=(1e-3, 1 - 1e-3), method="bounded", options={"xatol": 1e-10})
    assert found.x == pytest.approx(math.exp(-1 / power), abs=1e-4)
    assert found.fun == pytest.approx(-0.25 / (power * math.e), abs=1e-6)
    assert calor.CALoR(power=power).goal == pytest.approx(found.x, abs=1e-4)


def test_the_loss_of_a_batch_is_the_mean_of_a_p_to_the_b_ln_p():
    values = [0.2, 0.7, 0.95]
    expected = sum(0.5 * p**3 * math.log(p) for p in values) / 3
    assert loss_at(torch.tensor(values), scale=0.5, power=3.0).item() == pytest.approx(expected, rel=1e-5)


def test_the_squared_error_is_zero_at_its_goal_and_a_mean_of_squares_elsewhere():
    def at(*values):
        p = torch.tensor(values, dtype=torch.float64)
        return calor.SquaredError(0.8).loss(Given(), p, torch.zeros(len(p), dtype=torch.int64), RECIPE).item()

    assert at(0.8) == pytest.approx(0, abs=1e-12)
    assert at(0.5, 0.9, 0.8) == pytest.approx((0.3**2 + 0.1**2) / 3, rel=1e-5)


def test_the_part_with_the_squared_error_aims_where_the_whole_does():
    part, goal = ROWS["squared-error"], math.exp(-1 / 8)
    assert (part.card.part_of, part.budget, part.card.settings["goal"]) == ("calor", "thorough", round(goal, 3))
    assert "MSELogitLoss" in part.card.changed
    for row in ("calor", "confidence-adaptation", "squared-error"):
        assert {one.aim for one in ROWS[row].inverters} - {1.0} == {goal}
    names = [one.id for row in DEFENSES for one in (*row.probes, *row.inverters)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("p", [0.05, 0.6, 0.99])
def test_the_gradient_on_the_true_logit_dies_at_both_ends(p):
    logits = torch.tensor([[math.log(p / (1 - p)), 0.0]], dtype=torch.float64, requires_grad=True)
    lesson = calor.ConfidenceAdaptation(0.25, 8.0)
    lesson.loss(nn.Identity(), logits, torch.tensor([0]), RECIPE).backward()
    expected = 0.25 * p**8 * (8 * math.log(p) + 1) * (1 - p)
    assert logits.grad[0, 0].item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("features", "classes", "rank"), [(2048, 530, 50), (512, 10, 10), (64, 2, 2), (12, 10, 6), (1, 2, 1)]
)
def test_the_rank_is_the_scripts_or_what_the_network_leaves_room_for(features, classes, rank):
    assert calor.rank_for(features, classes) == rank


def test_the_second_stage_is_told_from_the_recipe():
    sgd = Recipe(epochs=30, lr=0.1, batch_size=64, weight_decay=5e-4, augmentation=("flip", "crop"))
    second = calor.CALoR().second_stage(sgd)
    assert (second.optimizer, second.epochs, second.weight_decay, second.augmentation) == ("adam", 10, 0.0, ("flip",))
    assert second.lr == pytest.approx(0.001)
    short = calor.CALoR().second_stage(Recipe(epochs=3, optimizer="adamw", lr=0.01, batch_size=8))
    assert (short.epochs, short.lr) == (5, pytest.approx(0.003))


# --- heads ---------------------------------------------------------------------------------------------------------

TINY = {
    "resnet18": (("block_args", None),),
    "vit_tiny_patch16_224": (("embed_dim", 24), ("depth", 1), ("num_heads", 2), ("img_size", 32), ("patch_size", 8)),
    "convnext_atto": (("depths", [1, 1, 1, 1]), ("dims", [8, 8, 8, 16])),
}


def of_timm(name):
    arguments = tuple((key, value) for key, value in TINY[name] if value is not None)
    architecture = Architecture("timm", name, 10, 3, arguments)
    preprocessing = Preprocessing(mean=(0.5,), std=(0.5,), input_size=(3, 32, 32), source="test")
    facts = ModelFacts(
        name=name,
        file_format="in memory",
        sha256="0" * 64,
        file_bytes=0,
        architecture=name,
        architecture_evidence="test",
        parameters=0,
        num_classes=10,
        weights="plain",
        preprocessing=preprocessing,
    )
    return Target(architecture.build().eval(), architecture, facts, torch.device("cpu"))


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize(("kind", "made"), [("low-rank", LowRankHead), ("bottleneck", BottleneckHead)])
def test_a_head_goes_where_the_networks_own_sat(name, kind, made, tmp_path):
    plain = of_timm(name)
    head = ROWS["calor" if kind == "low-rank" else "mid"].head(plain)
    changed = plain.with_head(head)
    placed = [part for part in changed.module.modules() if isinstance(part, made)]
    assert len(placed) == 1
    assert changed.module.get_classifier() is placed[0]
    assert changed.module(blank_input(plain.facts.preprocessing, plain.device)).shape == (1, 10)
    assert changed.fingerprint != plain.fingerprint
    assert head_for(changed, kind, lambda features, classes: 1) == head
    row = Applied(ROWS["calor" if kind == "low-rank" else "mid"])
    save_target(row.marked(changed), tmp_path / "saved")
    loaded = load_target(tmp_path / "saved")
    assert loaded.architecture.head == head
    assert loaded.has_weights_of(changed)
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    assert np.array_equal(class_probabilities(loaded, images), class_probabilities(changed, images))


def test_a_network_without_one_linear_head_is_unfit():
    distilled = Architecture(
        "timm", "deit_tiny_distilled_patch16_224", 10, 3, (("embed_dim", 24), ("depth", 1), ("num_heads", 2))
    )
    target = of_timm("resnet18")
    facts = target.facts.model_copy(update={"architecture": distilled.name})
    with pytest.raises(UnfitDefenseError, match="last linear layer"):
        calor.head(Target(distilled.build().eval(), distilled, facts, target.device))


PER_PATCH = """
from torch import nn


class Patches(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.head = nn.Linear(8, num_classes)

    def forward(self, images):
        return self.head(images[:, 0]).mean(1)


def network(num_classes=10):
    return Patches(num_classes)
"""


def test_a_head_on_many_vectors_per_record_is_unfit(tmp_path):
    (tmp_path / "patches.py").write_text(PER_PATCH)
    architecture = Architecture("factory", f"{tmp_path / 'patches.py'}:network", 10, 1)
    target = template(tmp_path)
    with pytest.raises(UnfitDefenseError, match="more than one vector"):
        calor.head(Target(architecture.build(), architecture, target.facts, target.device))


@pytest.mark.parametrize("row", ["calor", "low-rank", "mid", "bottleneck"])
def test_a_recipe_for_the_head_alone_is_unfit(row, tmp_path):
    with pytest.raises(UnfitDefenseError, match="the head alone"):
        Applied(ROWS[row]).retrained(template(tmp_path), head_only(), 1)


BARE = """
from torch import nn


def network(num_classes=10):
    return nn.Linear(64, num_classes)
"""


@pytest.mark.parametrize("kind", ["low-rank", "bottleneck"])
@pytest.mark.parametrize("bare", [True, False])
def test_public_weights_stay_under_a_fresh_head(kind, bare, tmp_path):
    """What `init` gives is kept below the head, and the head is fresh; also where the network is nothing but a head."""
    plain = template(tmp_path)
    if bare:
        (tmp_path / "bare.py").write_text(BARE)
        architecture = Architecture("factory", f"{tmp_path / 'bare.py'}:network", 10, 1)
        facts = plain.facts.model_copy(
            update={"preprocessing": Preprocessing(mean=(0.0,), std=(1.0,), input_size=(64, 1, 1), source="test")}
        )
        plain = Target(architecture.build().eval(), architecture, facts, plain.device)
    public = plain.with_weights(plain.architecture.build().state_dict())
    save_target(public, tmp_path / "public")
    members = holding(members=40).members
    inputs = members.inputs.reshape(40, 64).astype(np.float32) / 255 if bare else members.inputs
    recipe = Recipe(epochs=1, lr=1e-12, momentum=0.0, batch_size=8, init=tmp_path / "public" / "model.safetensors")
    other = plain.with_head(NewHead(kind=kind, width=4))
    first, second = (train(other, inputs, members.labels, recipe, seed=seed) for seed in (1, 2))
    shared = public.module.state_dict().keys() & first.module.state_dict().keys()
    assert shared == (set() if bare else {"1.weight", "1.bias"})
    for name in shared:
        assert torch.allclose(first.module.state_dict()[name], public.module.state_dict()[name], atol=1e-8)
    assert sum(isinstance(part, LowRankHead | BottleneckHead) for part in first.module.modules()) == 1
    assert not first.has_weights_of(second)


# --- training ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What the rows make of 150 digits, by id."""
    folder, held = tmp_path_factory.mktemp("calor"), holding()
    return {
        name: Applied(ROWS[name]).retrained(template(folder), held, 3)
        for name in ("calor", "low-rank", "confidence-adaptation", "squared-error")
    }


def confidence(target, records):
    return class_probabilities(target, records.inputs)[np.arange(records.n), records.labels].astype(np.float64)


@pytest.mark.parametrize(("row", "part"), [("calor", 0.7), ("squared-error", 0.8)])
def test_stage_two_draws_members_to_its_goal(trained, row, part):
    members = holding().members
    before, after = (np.abs(confidence(trained[name], members) - calor.CALoR().goal) for name in ("low-rank", row))
    assert np.median(after) < part * np.median(before)
    assert accuracy(trained[row], members.inputs, members.labels) > 0.9
    assert trained[row].architecture.head == NewHead(kind="low-rank", width=10)


def test_the_adaptation_alone_keeps_the_networks_own_head(trained):
    assert trained["confidence-adaptation"].architecture.head is None
    assert trained["calor"].architecture.head == NewHead(kind="low-rank", width=10)
    assert not trained["calor"].stochastic


def test_the_same_seed_gives_the_same_weights(trained, tmp_path):
    again = Applied(ROWS["calor"]).retrained(template(tmp_path), holding(), 3)
    assert again.has_weights_of(trained["calor"])


def test_a_saved_model_of_a_factory_comes_back_with_its_head(trained, tmp_path):
    save_target(trained["calor"], tmp_path / "saved")
    loaded = load_target(tmp_path / "saved", arch=write_network(tmp_path))
    assert loaded.trained_with.defense == loaded.facts.trained_with == "calor"
    assert loaded.architecture.head == trained["calor"].architecture.head
    assert loaded.has_weights_of(trained["calor"])
    assert Applied(ROWS["calor"]).template(loaded).architecture.head == loaded.architecture.head


# --- probes --------------------------------------------------------------------------------------------------------


def inspected(target, records, *, shadows=(), inclusion=None, own=None):
    inclusion = np.zeros((len(shadows), records.n), dtype=bool) if inclusion is None else inclusion
    return Inspected(target, records, shadows, inclusion, own or records, 0)


def test_the_band_is_the_distance_from_the_goal(trained):
    members = holding().members
    expected = [-abs(float(p) - math.exp(-1 / 8)) for p in confidence(trained["calor"], members)]
    assert calor.in_band(inspected(trained["calor"], members)) == pytest.approx(expected)


def test_features_reach_behind_the_neck(trained):
    """The refitted head sees what the neck hides: its score does not change with the neck's own weights."""
    members, own = holding().members, holding().reference
    target = trained["calor"]
    other = target.module.state_dict() | {"3.3.weight": torch.zeros(10, 10), "3.1.bias": torch.ones(10)}
    blind = target.with_weights(other)
    assert not np.allclose(class_probabilities(blind, members.inputs), class_probabilities(target, members.inputs))
    inclusion = np.ones((1, members.n), dtype=bool)
    seen, behind = (
        calor.through_features(inspected(one, members, shadows=(target,), inclusion=inclusion, own=own))
        for one in (target, blind)
    )
    assert np.array_equal(seen, behind)


def test_the_refitted_head_is_ridge_regression(trained):
    records, own, target = holding().members, holding().reference, trained["low-rank"]
    score = calor.through_features(inspected(target, records, shadows=(target,), own=own))
    assert score == pytest.approx(np.zeros(records.n), abs=1e-12)
    halves = Records.of(own.inputs[:150], own.labels[:150])
    first = calor._refitted_margin(target, inspected(target, own, own=halves))
    right = (first > 0).mean()
    assert right > 0.7
    known = calor._before_the_neck(target, halves)
    expected = target.module[:3](target.prepare(halves.inputs)).numpy()
    assert known == pytest.approx(expected, abs=1e-5)


def test_shadows_that_saw_a_record_do_not_count():
    signal, shadows = np.array([1.0, 2.0, 5.0]), np.array([[10.0, 1.0, 7.0], [4.0, 3.0, 7.0]])
    inclusion = np.array([[True, False, True], [False, False, True]])
    overall = (1.0 + 4.0 + 3.0) / 3
    assert less_out_mean(signal, shadows, inclusion) == pytest.approx([1 - 4, 2 - 2, 5 - overall])
    assert less_out_mean(signal, shadows, np.ones((2, 3), dtype=bool)) == pytest.approx(signal)
