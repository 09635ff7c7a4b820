"""Loading and saving targets that are as they should be."""

import hashlib
import json
import pickle
from contextlib import nullcontext

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from timm.models import save_for_hf
from torch import nn

from auditor.checkpoint.sidecar import wrapper_digest
from auditor.errors import InputError
from auditor.target import Architecture, Target, load_target, save_target
from auditor.threat import Access
from auditor.wrappers import LabelsOnly, OutputWrapper, PurifierNet
from tests.tiny_checkpoints import ARGS, CONFIG, STATED, factories, timm_folder, tiny_net

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)


def expected_logits(module: nn.Module) -> torch.Tensor:
    mean, std = (torch.tensor(CONFIG["pretrained_cfg"][key]).reshape(3, 1, 1) for key in ("mean", "std"))
    pixels = torch.from_numpy(IMAGES).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        return module(((pixels - mean) / std).contiguous())


def random_wrapper(num_classes: int = 4) -> PurifierNet:
    torch.manual_seed(1)
    wrapper = PurifierNet(num_classes, (3, 2, 3))
    wrapper.train()(torch.softmax(torch.randn(16, num_classes), 1))  # gives the running statistics values
    return wrapper


# --- loading -------------------------------------------------------------------------------------------------------


def test_a_folder_in_timms_layout_gives_the_networks_own_logits(tmp_path):
    module = tiny_net()
    target = load_target(timm_folder(tmp_path / "bird-net", module))
    weights = tmp_path / "bird-net" / "model.safetensors"

    assert torch.equal(target.logits(IMAGES), expected_logits(module))
    facts = target.facts
    assert (facts.name, facts.file_format, facts.architecture, facts.num_classes) == (
        "bird-net", "safetensors", "resnet10t", 4,
    )  # fmt: skip
    assert facts.sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert facts.file_bytes == weights.stat().st_size
    assert facts.parameters == sum(parameter.numel() for parameter in module.parameters())
    assert facts.weights == "plain"
    assert not facts.trusted
    assert "config.json" in facts.architecture_evidence
    assert facts.preprocessing.source == "config.json pretrained_cfg"


def test_what_timm_itself_saves_is_read(tmp_path):
    module = tiny_net()
    data = {"input_size": (3, 32, 32), "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.25, 0.3), "crop_pct": 1.0}
    save_for_hf(module, tmp_path / "saved", model_args=ARGS, model_config={"pretrained_cfg": data})
    assert torch.equal(load_target(tmp_path / "saved").logits(IMAGES), expected_logits(module))


def test_a_bare_file_uses_the_config_beside_it(tmp_path):
    folder = timm_folder(tmp_path)
    target = load_target(folder / "model.safetensors")
    assert target.facts.name == "model"
    assert target.facts.architecture == "resnet10t"


def test_a_target_is_at_rest(tmp_path):
    target = load_target(timm_folder(tmp_path))
    assert not target.module.training
    assert not any(parameter.requires_grad for parameter in target.module.parameters())


def test_loading_leaves_the_callers_random_numbers_alone(tmp_path):
    timm_folder(tmp_path)
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    load_target(tmp_path)
    assert torch.equal(torch.rand(2), expected)


def test_logits_are_differentiable_in_images_between_0_and_1(tmp_path):
    target = load_target(timm_folder(tmp_path))
    images = torch.full((1, 32, 32, 3), 0.5, requires_grad=True)
    target.logits(images)[0, 0].backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("wrap", "weights"),
    [
        (lambda plain, ema: plain, "plain"),
        (lambda plain, ema: {"state_dict": plain, "epoch": 3}, "plain"),
        (lambda plain, ema: {"model": plain}, "plain"),
        (lambda plain, ema: {"arch": "x", "state_dict": plain, "state_dict_ema": None}, "plain"),
        (lambda plain, ema: {"state_dict": plain, "state_dict_ema": ema}, "ema"),
        (lambda plain, ema: {"model": plain, "model_ema": ema}, "ema"),
    ],
)
def test_the_state_dict_is_found_and_its_kind_recorded(tmp_path, wrap, weights):
    plain = tiny_net().state_dict()
    ema = {name: tensor + (1 if name == "fc.bias" else 0) for name, tensor in plain.items()}
    torch.save(wrap(plain, ema), tmp_path / "checkpoint.pth.tar")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))

    target = load_target(tmp_path / "checkpoint.pth.tar")

    assert target.facts.weights == weights
    assert target.facts.name == "checkpoint"
    expected = (ema if weights == "ema" else plain)["fc.bias"]
    assert torch.equal(target.module.state_dict()["fc.bias"], expected)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod."])
def test_prefixes_of_wrappers_are_stripped(tmp_path, prefix):
    module = tiny_net()
    torch.save({prefix + name: tensor for name, tensor in module.state_dict().items()}, tmp_path / "model.pt")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    assert torch.equal(load_target(tmp_path).logits(IMAGES), expected_logits(module))


def test_half_precision_weights_compute_in_float32(tmp_path):
    module = tiny_net().half()
    target = load_target(timm_folder(tmp_path, module))
    assert torch.equal(target.logits(IMAGES), expected_logits(module.float()))


def test_a_network_built_for_one_image_size_is_built_for_the_configs(tmp_path):
    module = timm.create_model("test_vit", num_classes=4, img_size=32, embed_dim=8, depth=1, num_heads=2)
    args = {"embed_dim": 8, "depth": 1, "num_heads": 2}
    target = load_target(timm_folder(tmp_path / "a", module, architecture="test_vit", model_args=args))
    assert torch.equal(target.logits(IMAGES), expected_logits(module.eval()))
    save_target(target, tmp_path / "b")
    again = timm.create_model(f"local-dir:{tmp_path / 'b'}", pretrained=True).eval()
    assert torch.equal(target.logits(IMAGES), expected_logits(again))


# --- architecture --------------------------------------------------------------------------------------------------


def test_the_argument_goes_before_the_config(tmp_path):
    module = timm.create_model("test_resnet", num_classes=4)
    target = load_target(timm_folder(tmp_path, module), arch="test_resnet")
    assert target.facts.architecture == "test_resnet"
    assert "named by --arch (config.json says resnet10t)" in target.facts.architecture_evidence


def test_the_argument_keeps_the_configs_model_args_for_the_same_name(tmp_path):
    assert load_target(timm_folder(tmp_path), arch="resnet10t").architecture.model_args == tuple(sorted(ARGS.items()))


def test_metadata_is_a_hint_and_classes_come_from_the_head(tmp_path):
    module = timm.create_model("test_byobnet", num_classes=7)
    save_file(module.state_dict(), tmp_path / "a.safetensors", metadata={"privaudit.architecture": "test_byobnet"})
    target = load_target(tmp_path / "a.safetensors", preprocessing=STATED)
    assert target.facts.num_classes == 7
    assert "hint" in target.facts.architecture_evidence


def test_networks_of_equal_tensors_are_told_apart_by_name_alone(tmp_path):
    args = {"channels": [8, 8, 8, 8]}
    module = timm.create_model("resnetblur18", num_classes=4, zero_init_last=False, **args)
    targets = []
    for name in ("resnet18", "resnetblur18"):
        file = tmp_path / f"{name}.safetensors"
        (tmp_path / "config.json").write_text(json.dumps({**CONFIG, "architecture": name, "model_args": args}))
        save_file(module.state_dict(), file)
        targets.append(load_target(file))
    assert not torch.equal(targets[0].logits(IMAGES), targets[1].logits(IMAGES))


def test_a_factory_is_named_by_its_file_without_folders(tmp_path):
    save_file({"1.weight": torch.ones(4, 3072), "1.bias": torch.zeros(4)}, tmp_path / "a.safetensors")
    target = load_target(tmp_path / "a.safetensors", arch=f"{factories(tmp_path)}:fixed", preprocessing=STATED)
    assert target.facts.architecture == "networks.py:fixed"
    assert target.facts.num_classes == target.architecture.num_classes == 4


@pytest.mark.parametrize("num_classes", [None, 6])
def test_a_factory_that_takes_the_number_of_classes_gets_it(tmp_path, num_classes):
    save_file({"1.weight": torch.ones(6, 3072), "1.bias": torch.zeros(6)}, tmp_path / "a.safetensors")
    arch = f"{factories(tmp_path)}:flexible"
    target = load_target(tmp_path / "a.safetensors", arch=arch, preprocessing=STATED, num_classes=num_classes)
    assert target.facts.num_classes == 6


def test_feature_vectors_are_told_by_an_input_size_of_one_pixel(tmp_path):
    tensors = {
        "0.weight": torch.ones(5, 6), "0.bias": torch.zeros(5), "1.weight": torch.ones(5), "1.bias": torch.zeros(5),
        "1.running_mean": torch.zeros(5), "1.running_var": torch.ones(5), "2.weight": torch.ones(3, 5),
        "2.bias": torch.zeros(3),
    }  # fmt: skip
    torch.save(tensors, tmp_path / "old.pth")  # and, like old checkpoints, it does not count batches
    stated = STATED.model_copy(update={"input_size": (6, 1, 1)})
    target = load_target(tmp_path / "old.pth", arch=f"{factories(tmp_path)}:tabular", preprocessing=stated)
    assert target.logits(np.zeros((2, 6), dtype=np.float32)).shape == (2, 3)


@pytest.mark.parametrize("source", ["timm", "factory"])
def test_an_architecture_survives_pickling(tmp_path, source):
    name = "resnet10t" if source == "timm" else f"{factories(tmp_path)}:flexible"
    args = tuple(ARGS.items()) if source == "timm" else ()
    architecture = pickle.loads(pickle.dumps(Architecture(source, name, 4, 3, args)))  # noqa: S301 - our own
    assert {tuple(tensor.shape) for tensor in architecture.build().state_dict().values()}


def test_building_does_not_change_the_architecture():
    architecture = Architecture("timm", "resnet10t", 4, 3, tuple(ARGS.items()))
    before = repr(architecture)
    architecture.build()
    assert repr(architecture) == before


# --- other weights -------------------------------------------------------------------------------------------------


def test_with_weights_is_a_model_of_its_own(tmp_path):
    target = load_target(timm_folder(tmp_path / "a"))
    before = target.logits(IMAGES)
    torch.manual_seed(9)
    state = target.architecture.build().state_dict()

    other = target.with_wrapper(LabelsOnly()).with_weights(state)

    assert other.wrapper is None
    assert not torch.equal(other.logits(IMAGES), before)
    assert torch.equal(target.logits(IMAGES), before)
    save_target(other, tmp_path / "b")
    assert load_target(tmp_path / "b").facts.sha256 == other.facts.sha256 != target.facts.sha256


def test_with_weights_refuses_what_does_not_fit(tmp_path):
    target = load_target(timm_folder(tmp_path))
    with pytest.raises(InputError, match=r"1 unexpected: extra"):
        target.with_weights({**target.module.state_dict(), "extra": torch.zeros(1)})


def test_starting_weights_may_have_another_head(tmp_path):
    target = load_target(timm_folder(tmp_path / "a"))
    public = tiny_net(num_classes=11)
    torch.save(public.state_dict(), tmp_path / "public.pt")
    start = target.with_weights_from(tmp_path / "public.pt").module.state_dict()
    assert torch.equal(start["conv1.0.weight"], public.state_dict()["conv1.0.weight"])
    assert start["fc.weight"].shape[0] == 4


def test_starting_weights_of_another_network_are_refused(tmp_path):
    target = load_target(timm_folder(tmp_path / "a"))
    torch.save(tiny_net(channels=[4, 4, 4, 4]).state_dict(), tmp_path / "public.pt")
    with pytest.raises(InputError, match="of another shape"):
        target.with_weights_from(tmp_path / "public.pt")


# --- wrappers, saving ----------------------------------------------------------------------------------------------


def test_the_released_scores_are_the_softmax(tmp_path):
    target = load_target(timm_folder(tmp_path))
    logits = torch.tensor([[0.0, 1.0, 2.0, 3.0]])
    torch.testing.assert_close(target.released(logits), logits.exp() / logits.exp().sum())


@pytest.mark.parametrize(
    ("wrapper", "shown"),
    [
        (None, (True, True, True)),
        (random_wrapper(), (True, True, False)),
        (LabelsOnly(), (True, False, False)),
    ],
)
def test_a_wrapper_limits_what_is_exposed(tmp_path, wrapper, shown):
    target = load_target(timm_folder(tmp_path)).with_wrapper(wrapper)
    assert tuple(target.exposes(access) for access in Access) == shown
    assert target.facts.wrapper == (wrapper.kind if wrapper else None)
    assert not target.stochastic


def test_labels_only_releases_the_first_of_tied_classes():
    released = LabelsOnly()(torch.tensor([[0.2, 0.4, 0.4], [1.0, 0.0, 0.0]]))
    assert torch.equal(released, torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]))


def test_purified_scores_are_probabilities_by_the_softmax_of_raw():
    wrapper = random_wrapper().eval()
    scores = torch.softmax(torch.randn(7, 4, generator=torch.Generator().manual_seed(0)), 1)
    assert torch.equal(wrapper(scores), torch.softmax(wrapper.raw(scores), 1))
    kinds = [type(layer).__name__ for layer in wrapper.layers]
    assert kinds == ["Linear", "BatchNorm1d", "ReLU"] * 3 + ["Linear"]


def test_with_wrapper_copies_the_wrapper_and_puts_it_at_rest(tmp_path):
    wrapper = random_wrapper().train()
    target = load_target(timm_folder(tmp_path)).with_wrapper(wrapper)
    assert wrapper.training
    assert target.wrapper is not wrapper
    assert not target.wrapper.training


@pytest.mark.parametrize("wrapper", [None, LabelsOnly(), random_wrapper(), PurifierNet(4, ())])
def test_a_saved_target_comes_back_bit_by_bit(tmp_path, wrapper: OutputWrapper | None):
    target = load_target(timm_folder(tmp_path / "a")).with_wrapper(wrapper)
    save_target(target, tmp_path / "b")
    again = load_target(tmp_path / "b")
    logits = target.logits(IMAGES)
    assert torch.equal(again.logits(IMAGES), logits)
    assert torch.equal(again.released(logits), target.released(logits))
    assert again.facts.wrapper == target.facts.wrapper
    assert again.facts.wrapper_sha256 == wrapper_digest(tmp_path / "b")
    assert (again.facts.wrapper_sha256 is None) == (wrapper is None)
    assert again.facts.preprocessing == target.facts.preprocessing
    assert again.architecture == target.architecture


def test_timm_reads_what_we_save(tmp_path):
    save_target(load_target(timm_folder(tmp_path / "a"), preprocessing=STATED), tmp_path / "b")
    module = timm.create_model(f"local-dir:{tmp_path / 'b'}", pretrained=True).eval()
    assert torch.equal(expected_logits(module), expected_logits(tiny_net()))
    assert timm.data.resolve_model_data_config(module)["mean"] == [0.5, 0.5, 0.5]


def test_a_saved_factory_network_asks_for_its_file_again(tmp_path):
    save_file({"1.weight": torch.ones(4, 3072), "1.bias": torch.zeros(4)}, tmp_path / "a.safetensors")
    arch = f"{factories(tmp_path)}:fixed"
    target = load_target(tmp_path / "a.safetensors", arch=arch, preprocessing=STATED)
    save_target(target, tmp_path / "b")
    assert str(tmp_path) not in (tmp_path / "b" / "config.json").read_text()
    with pytest.raises(InputError, match="only if you name it"):
        load_target(tmp_path / "b")
    assert torch.equal(load_target(tmp_path / "b", arch=arch).logits(IMAGES), target.logits(IMAGES))


def tied_network(folder):
    """Of two layers with one weight."""
    (folder / "tied.py").write_text(
        "from torch import nn\n"
        "def tied():\n"
        "    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))\n"
        "    net[1].weight = net[0].weight\n"
        "    return net\n"
    )
    return f"{folder / 'tied.py'}:tied"


def test_tied_tensors_are_saved_once_per_name(tmp_path):
    arch = tied_network(tmp_path)
    tensors = {"0.weight": torch.eye(4), "0.bias": torch.zeros(4), "1.bias": torch.ones(4)}
    save_file(tensors, tmp_path / "a.safetensors")  # as safetensors.torch.save_model does: the alias is left out
    stated = STATED.model_copy(update={"input_size": (4, 1, 1)})
    target = load_target(tmp_path / "a.safetensors", arch=arch, preprocessing=stated)
    save_target(target, tmp_path / "b")
    assert torch.equal(load_file(tmp_path / "b" / "model.safetensors")["1.weight"], torch.eye(4))


def test_tied_tensors_of_two_values_are_refused(tmp_path):
    arch = tied_network(tmp_path)
    stated = STATED.model_copy(update={"input_size": (4, 1, 1)})
    biases = {"0.bias": torch.zeros(4), "1.bias": torch.ones(4)}
    for second, fits in ((torch.eye(4), True), (torch.ones(4, 4), False)):
        save_file({"0.weight": torch.eye(4), "1.weight": second, **biases}, tmp_path / "a.safetensors")
        told = nullcontext() if fits else pytest.raises(InputError, match=r"0\.weight and 1\.weight, which are one")
        with told:
            load_target(tmp_path / "a.safetensors", arch=arch, preprocessing=stated)


def test_saving_leaves_nothing_half_written(tmp_path, monkeypatch):
    target: Target = load_target(timm_folder(tmp_path / "a"))
    monkeypatch.setattr("auditor.target.write_wrapper", _full_disk)
    with pytest.raises(InputError, match="No space left"):
        save_target(target.with_wrapper(LabelsOnly()), tmp_path / "b")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def _full_disk(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_saving_refuses_a_folder_with_content_and_fills_an_empty_one(tmp_path):
    target = load_target(timm_folder(tmp_path / "a"))
    before = (tmp_path / "a" / "config.json").read_bytes()
    for taken in (tmp_path / "a", tmp_path / "a" / "config.json"):
        with pytest.raises(InputError, match="exists already"):
            save_target(target, taken)
    assert (tmp_path / "a" / "config.json").read_bytes() == before
    (tmp_path / "empty").mkdir()
    save_target(target, tmp_path / "empty")
    assert load_target(tmp_path / "empty").facts.name == "empty"
