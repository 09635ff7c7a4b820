"""Fine-tuned targets: shadows start where the target started, and heads are trained alone where only they were."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from auditor import checks, training
from auditor.audit import AuditOptions, audit
from auditor.battery.plan import Plan
from auditor.checkpoint.head import heads_of
from auditor.errors import InputError
from auditor.findings import CheckLevel, Family, Preprocessing, VerdictState, Void
from auditor.planning import settle_plan
from auditor.splits import Recipe, load_splits
from auditor.target import Target, load_target, save_target
from auditor.training import default_recipe, reuses_features, source_of, train
from auditor.verdict import decide_membership, doubts_of
from tests.digits import digits
from tests.test_verdict import LABELS, LIMITS, SCORES, WEIGHTS

RESNET = ("resnet10t", {"channels": [8, 8, 16, 16], "stem_width": 8})
VIT = ("vit_tiny_patch16_224", {"img_size": 8, "patch_size": 2, "embed_dim": 64, "depth": 2, "num_heads": 2})
PUBLIC, PRIVATE = 6, 4  # classes: the digits 0 to 5 for pre-training, 6 to 9 for fine-tuning
STATED = Preprocessing(mean=(0.3,), std=(0.35,), input_size=(1, 8, 8), source="test")
RECIPE = Recipe(epochs=6, optimizer="adamw", lr=0.004, batch_size=32, schedule="cosine")
SPLITS = """
random_split = true
[preprocessing]
mean = [0.3]
std = [0.35]
input_size = [1, 8, 8]
"""


def untrained(folder: Path, network, classes: int) -> Target:
    name, arguments = network
    torch.manual_seed(3)
    folder.mkdir()
    save_file(
        timm.create_model(name, num_classes=classes, in_chans=1, **arguments).state_dict(), folder / "m.safetensors"
    )
    layout = {"input_size": [1, 8, 8], "mean": [0.3], "std": [0.35]}
    config = {"architecture": name, "num_classes": classes, "model_args": arguments, "pretrained_cfg": layout}
    (folder / "config.json").write_text(json.dumps(config))
    return load_target(folder, preprocessing=STATED)


def private_digits():
    images, labels = digits()
    return images[labels >= PUBLIC], labels[labels >= PUBLIC] - PUBLIC


@dataclass(frozen=True)
class Start:
    """A network for the private digits, the public weights, and what fine-tuning does with them."""

    template: Target
    weights: Path

    def recipe(self, **changes) -> Recipe:
        return Recipe(**{**RECIPE.model_dump(), "init": self.weights, **changes})


def pretrained(folder: Path, network) -> Start:
    images, labels = digits()
    chosen = labels < PUBLIC
    public = train(untrained(folder / "public", network, PUBLIC), images[chosen], labels[chosen], RECIPE, seed=5)
    save_file(public.module.state_dict(), folder / "public.safetensors")
    return Start(untrained(folder / "private", network, PRIVATE), folder / "public.safetensors")


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    return pretrained(tmp_path_factory.mktemp("resnet"), RESNET)


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    return pretrained(tmp_path_factory.mktemp("vit"), VIT)


@pytest.fixture(params=["resnet", "vit"])
def start(request):
    return request.getfixturevalue(request.param)


def in_file(folder: Path, code: str) -> Target:
    """A network of ten classes from a Python file."""
    (folder / "network.py").write_text(f"from torch import nn\n\n\ndef network():\n    return {code}\n")
    weights = folder / "start.safetensors"
    save_file(eval(code, {"nn": nn}).state_dict(), weights)  # noqa: S307 - code of this test
    return load_target(weights, arch=f"{folder / 'network.py'}:network", preprocessing=STATED)


# --- the records ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("augmentation", [(), ("crop", "flip")])
def test_records_are_trained_on_where_they_lie_and_stay_as_they_are(augmentation, tmp_path):
    template = in_file(tmp_path, "nn.Sequential(nn.Flatten(), nn.Linear(64, 10))")
    images, labels = (part[:96] for part in digits())
    locked = images.copy()
    locked.setflags(write=False)
    assert np.shares_memory(training._shared(images).numpy(), images)
    assert not np.shares_memory(training._shared(locked).numpy(), locked)
    recipe = Recipe(epochs=2, optimizer="adam", lr=0.01, batch_size=32, augmentation=augmentation)
    one, other = (train(template, inputs, labels, recipe, seed=1).facts.sha256 for inputs in (images, locked))
    assert one == other
    np.testing.assert_array_equal(images, locked)


# --- the head alone ------------------------------------------------------------------------------------------------


def frozen_by_hand(template, recipe, images, labels, seed):
    """An oracle: the whole module runs in every step, in eval mode, and all but its head is frozen."""
    torch.manual_seed(seed)
    module = template.architecture.build()
    module.load_state_dict(template.with_weights_from(recipe.init).module.state_dict())
    module.eval().requires_grad_(requires_grad=False)
    [head] = heads_of(module, template.facts.num_classes)
    head.requires_grad_()
    optimizer = torch.optim.SGD(module.parameters(), lr=recipe.lr, momentum=0.9, weight_decay=recipe.weight_decay)
    labels, steps, step = torch.from_numpy(labels), recipe.epochs * len(labels) // recipe.batch_size, 0
    for _ in range(recipe.epochs):
        for index in torch.randperm(len(labels)).split(recipe.batch_size):
            optimizer.param_groups[0]["lr"] = recipe.lr * 0.5 * (1 + math.cos(math.pi * step / steps))
            optimizer.zero_grad()
            functional.cross_entropy(module(template.prepare(images[index.numpy()])), labels[index]).backward()
            optimizer.step()
            step += 1
    return module.state_dict()


def assert_same(state, expected):
    for name, tensor in expected.items():
        torch.testing.assert_close(state[name], tensor, atol=1e-5, rtol=0)


SGD = {"optimizer": "sgd", "lr": 0.1, "weight_decay": 1e-3, "epochs": 3}


def test_a_head_on_kept_features_learns_what_it_learns_in_its_frozen_network(start):
    images, labels = (part[:320] for part in private_digits())
    recipe = start.recipe(trainable="head", **SGD)
    assert reuses_features(recipe)
    state = train(start.template, images, labels, recipe, seed=4).module.state_dict()
    assert_same(state, frozen_by_hand(start.template, recipe, images, labels, seed=4))


@pytest.mark.parametrize("last", ["nn.LogSoftmax(1)", "nn.Hardtanh(-0.1, 0.1)"])
def test_a_head_that_is_not_the_last_word_is_trained_in_its_network(last, tmp_path):
    template = in_file(
        tmp_path, f"nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10), {last})"
    )
    images, labels = (part[:320] for part in digits())
    recipe = Recipe(batch_size=32, schedule="cosine", trainable="head", init=tmp_path / "start.safetensors", **SGD)
    state = train(template, images, labels, recipe, seed=4).module.state_dict()
    assert_same(state, frozen_by_hand(template, recipe, images, labels, seed=4))


@pytest.mark.parametrize("changes", [{}, {"augmentation": ("flip", "crop")}, {"shadows": "frozen-features"}])
def test_only_the_head_moves(start, changes):
    images, labels = (part[:160] for part in private_digits())
    recipe = start.recipe(**{"trainable": "all" if "shadows" in changes else "head", **changes})
    trained = train(start.template, images, labels, recipe, seed=1)
    again = train(start.template, images, labels, recipe, seed=1)
    assert trained.facts.sha256 == again.facts.sha256
    before, after = load_file(start.weights), trained.module.state_dict(keep_vars=True)
    head = {id(one) for one in trained.module.get_classifier().parameters()}
    assert sum(id(tensor) in head for tensor in after.values()) == 2
    for name, tensor in after.items():
        assert id(tensor) in head or torch.equal(tensor, before[name]), name


def test_fine_tuning_starts_from_the_public_weights_and_moves_all(resnet):
    images, labels = (part[:64] for part in private_digits())
    nudged = train(resnet.template, images, labels, resnet.recipe(epochs=1, lr=1e-5), seed=1).module.state_dict()
    for name, tensor in load_file(resnet.weights).items():
        if name.endswith(("weight", "bias")) and not name.startswith("fc."):
            assert not torch.equal(nudged[name], tensor)
            torch.testing.assert_close(nudged[name], tensor, atol=1e-3, rtol=0)


def test_without_a_layer_for_the_classes_there_is_no_head(tmp_path):
    template = in_file(tmp_path, "nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.AvgPool1d(2))")
    images, labels = digits()
    recipe = Recipe(epochs=1, lr=0.1, batch_size=32, trainable="head", init=tmp_path / "start.safetensors")
    with pytest.raises(InputError, match="no head to train alone"):
        train(template, images, labels, recipe, seed=0)


def test_distilled_transformers_have_two_heads():
    arguments = {**VIT[1], "num_classes": 3}
    module = timm.create_model("deit_tiny_distilled_patch16_224", **arguments)
    assert [one.out_features for one in heads_of(module, 3)] == [3, 3]


# --- where it starts -----------------------------------------------------------------------------------------------


def renamed(state, names):
    return {names.get(name, name): tensor for name, tensor in state.items()}


@pytest.mark.parametrize(
    "file",
    [
        lambda state: state,
        lambda state: renamed(state, {"fc.weight": "classifier.1.weight", "fc.bias": "classifier.1.bias"}),
        lambda state: {name: tensor for name, tensor in state.items() if not name.startswith("fc.")},
        lambda state: {**state, "fc.weight": torch.zeros(PRIVATE, 5)},
    ],
    ids=["other classes", "other name", "none", "other features"],
)
def test_another_head_is_left_out_and_the_fresh_one_kept(file, resnet, tmp_path):
    public = load_file(resnet.weights)
    save_file(file(public), tmp_path / "init.safetensors")
    loaded = resnet.template.with_weights_from(tmp_path / "init.safetensors").module.state_dict()
    assert loaded["fc.weight"].shape == (PRIVATE, 16)
    assert loaded["fc.weight"].any()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in public.items() if not name.startswith("fc."))


def test_a_head_that_fits_is_loaded_too(resnet):
    images, labels = private_digits()
    tuned = train(resnet.template, images[:64], labels[:64], resnet.recipe(epochs=1), seed=0).module.state_dict()
    path = resnet.weights.with_name("tuned.safetensors")
    save_file(tuned, path)
    assert torch.equal(resnet.template.with_weights_from(path).module.state_dict()["fc.weight"], tuned["fc.weight"])


@pytest.mark.parametrize(
    ("file", "named"),
    [
        (lambda state: {**state, "bn1.weight": torch.ones(3)}, "1 of another shape: bn1.weight is 3 instead of 16"),
        (lambda state: {name: one for name, one in state.items() if name != "bn1.bias"}, "1 missing: bn1.bias"),
        (lambda state: {**state, "layer5.weight": torch.ones(3)}, "1 unexpected: layer5.weight"),
        (
            lambda state: {**renamed(state, {"fc.weight": "a.weight", "fc.bias": "a.bias"}), "b.weight": torch.ones(1)},
            "3 unexpected: ",
        ),
    ],
)
def test_more_than_another_head_is_refused_by_name(file, named, resnet, tmp_path):
    save_file(file(load_file(resnet.weights)), tmp_path / "init.safetensors")
    with pytest.raises(InputError, match=named) as caught:
        resnet.template.with_weights_from(tmp_path / "init.safetensors")
    assert "only the head may differ" in caught.value.hint


# --- where nothing is stated ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "made_for", "optimizer"),
    [
        (timm.create_model("resnet10t", **RESNET[1]), "convolutional networks with batch normalisation", "sgd"),
        (timm.create_model(VIT[0], **VIT[1]), "networks with layer normalisation", "adamw"),
        (nn.Sequential(nn.Conv2d(1, 1, 1), nn.LayerNorm(4)), "networks with layer normalisation", "adamw"),
        (nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)), "networks of other makes", "adamw"),
        (nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), "networks of other makes", "adamw"),
        (nn.Conv2d(1, 1, 1), "networks of other makes", "adamw"),
    ],
)
def test_the_default_recipe_goes_by_what_is_inside(module, made_for, optimizer):
    recipe = default_recipe(module)
    assert recipe.optimizer == optimizer
    assert source_of(recipe, stated=False) == f"the default for {made_for} (none in splits.toml)"
    assert source_of(recipe, stated=True) == "the recipe in splits.toml"


def test_the_default_recipes_learn(start):
    images, labels = (part[:240] for part in private_digits())
    model = train(start.template, images, labels, default_recipe(start.template.module), seed=0)
    found = model.logits(images).argmax(1).numpy()
    assert (found == labels).mean() > 0.6  # guessing: a quarter


# --- whole audits --------------------------------------------------------------------------------------------------


def write_splits(folder: Path, training: str) -> Path:
    images, labels = private_digits()
    folder.mkdir()
    (folder / "splits.toml").write_text(SPLITS + training)
    (folder / "classes.txt").write_text("6\n7\n8\n9\n")
    for role, rows in (("train", slice(200)), ("test", slice(200, 400)), ("population", slice(400, 700))):
        np.savez(folder / f"{role}.npz", images=images[rows], labels=labels[rows])
    return folder


def stated(start: Start, extra: str) -> str:
    recipe = start.recipe()
    return (
        f'[training]\nepochs = {recipe.epochs}\noptimizer = "adamw"\nlr = {recipe.lr}\nbatch_size = 32\n'
        f'schedule = "cosine"\ninit = "{start.weights}"\n{extra}'
    )


def audited(start: Start, folder: Path, training: str, *, target: Recipe):
    """A target fine-tuned by one recipe on private digits, and audited by what is stated of it."""
    images, labels = private_digits()
    save_target(train(start.template, images[:200], labels[:200], target, seed=8), folder / "target")
    return audit(
        AuditOptions(
            checkpoint=folder / "target",
            data=write_splits(folder / "splits", stated(start, training)),
            budget="quick",
            device="cpu",
            workers=1,
            run_dir=folder / "run",
            attacks=("gap", "lira-scores", "lira-weights"),
            defenses=(),
        )
    )


def moved(folder: Path, start: Start) -> set[str]:
    """The tensors in which a trained shadow differs from the public weights."""
    shadow = load_file(next((folder / "run" / "models").glob("shadow-00-*")))
    return {name for name, one in load_file(start.weights).items() if not torch.equal(one, shadow[name])}


def check_of(report, name):
    return next((one for one in report.checks if one.id == name), None)


def test_a_fine_tuned_target_is_audited_by_shadows_that_start_where_it_did(resnet, tmp_path):
    report = audited(resnet, tmp_path, "", target=resnet.recipe())
    assert check_of(report, "recipe").level is CheckLevel.PASS
    assert check_of(report, "proxy-shadows") is None
    assert report.plan.shadow_source == "trained"
    assert "started from given weights" in report.plan.recipe
    assert {"conv1.0.weight", "fc.weight"} < moved(tmp_path, resnet)


def test_a_fine_tuned_head_is_audited_by_heads_that_are_no_proxies(resnet, tmp_path):
    report = audited(resnet, tmp_path, 'trainable = "head"', target=resnet.recipe(trainable="head"))
    assert check_of(report, "recipe").level is CheckLevel.PASS
    assert check_of(report, "proxy-shadows") is None
    assert report.plan.shadow_source == "trained"
    assert "only the head trained" in report.plan.recipe
    assert moved(tmp_path, resnet) == {"fc.weight", "fc.bias"}


def test_proxies_are_labelled_and_never_find_nothing(resnet, tmp_path):
    report = audited(resnet, tmp_path, 'shadows = "frozen-features"', target=resnet.recipe())
    check = check_of(report, "proxy-shadows")
    assert (check.level, set(check.voids)) == (CheckLevel.WARN, {Void.NOTHING_FOUND, Void.PER_RECORD, Void.POWER})
    assert report.plan.shadow_source == "proxy"
    assert "proxies" in report.plan.recipe
    assert "frozen-feature proxies" in Plan.model_validate_json((tmp_path / "run/plan.json").read_text()).describe()
    states = {one.state for one in report.verdicts if one.family is Family.MEMBERSHIP}
    assert VerdictState.NOTHING_FOUND not in states
    assert report.record_exposure.status == "skipped"
    assert moved(tmp_path, resnet) == {"fc.weight", "fc.bias"}


def test_what_would_be_nothing_found_is_not_said_by_proxies(resnet):
    facts = (LABELS, SCORES, WEIGHTS)
    assert decide_membership(facts, [], LIMITS)[-1].state is VerdictState.NOTHING_FOUND
    subject = SimpleNamespace(
        recipe=resnet.recipe(shadows="frozen-features"),
        evidence=SimpleNamespace(shadow_membership=np.ones((8, 4), bool)),
        shadows_given=False,
    )
    [last] = decide_membership(facts, doubts_of((), [checks.shadows.proxy_shadows(subject)]), LIMITS)[-1:]
    assert last.state is VerdictState.CANNOT_SAY
    assert "only a head on frozen features" in last.sentence


def test_the_plan_says_which_default_it_takes(resnet, tmp_path):
    checkpoint = resnet.weights.parent / "private"
    splits = load_splits(write_splits(tmp_path / "splits", ""))
    target = load_target(checkpoint, preprocessing=STATED)
    plan, _ = settle_plan(AuditOptions(checkpoint, tmp_path / "splits"), target, splits, None)
    assert "the default for convolutional networks with batch normalisation (none in splits.toml)" in plan.describe()


def test_an_init_that_is_the_audited_model_or_does_not_fit_is_refused_before_anything_runs(tmp_path):
    from safetensors.torch import load_file, save_file

    from auditor.audit import AuditOptions, plan_audit
    from auditor.errors import InputError
    from tests.digits import SPLITS, parts, trained_weights, write_splits

    members, others, population = parts(120, 120, 200)
    checkpoint = trained_weights(tmp_path, *members)
    stated = write_splits(
        tmp_path / "splits", members, others, population, settings=f'{SPLITS}init = "init.safetensors"\n'
    )
    options = AuditOptions(checkpoint=checkpoint, data=stated, arch=f"{tmp_path / 'network.py'}:network", device="cpu")
    save_file(load_file(checkpoint), stated / "init.safetensors")
    with pytest.raises(InputError, match="the audited model itself"):
        plan_audit(options)
    (stated / "init.safetensors").write_bytes(b"\x80\x04no tensors")
    with pytest.raises(InputError, match="init"):
        plan_audit(options)
