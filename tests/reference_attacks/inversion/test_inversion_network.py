"""The inversion network on outputs whose images are known, and its input against a loop."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from reference_attacks.inversion import inversion_network
from reference_attacks.inversion.inversion_network import InversionNetwork, Settings, narrow, prepared, train

SMALL = Settings(width=8, learning_rate=5e-3, batch_size=16, epochs=10)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def probabilities(n=64, n_classes=2, seed=1):
    return (3 * torch.randn(n, n_classes, generator=rng(seed), dtype=torch.float64)).softmax(dim=1)


def pictures(outputs, side=8):
    """As bright as the model prefers the first class to the second; labels tell apart only dark and bright."""
    level = (0.5 + (outputs[:, 0] / outputs[:, 1]).log() / 20).clamp(0, 1)
    return level[:, None, None, None].float().expand(-1, 1, side, side).clone()


def trained(outputs=None, settings=SMALL, seed=0):
    outputs = probabilities() if outputs is None else outputs
    return train(outputs=outputs, images=pictures(outputs), rng=rng(seed), settings=settings)


def error(network, outputs):
    return float((network.reconstruct(outputs) - pictures(outputs)).square().mean())


def prepared_by_hand(row, m, *, label=False):
    places = sorted(range(len(row)), key=lambda place: -row[place])[:m]
    values = [50.0 if label else (math.log(row[place]) if row[place] > 0 else -math.inf) for place in places]
    if not label:
        values = [max(value, -1000.0) + 50.0 for value in values]
    lift = max(0.0, -min(values))
    result = [0.0] * len(row)
    for place, value in zip(places, values, strict=True):
        result[place] = value + lift
    return result


ROWS = [[0.7, 0.2, 0.1], [0.0, 1.0, 0.0], [1e-40, 0.25, 0.75], [1.0 - 1e-12, 1e-12, 0.0]]


@pytest.mark.parametrize(("inputs", "m"), [("full", 3), ("truncated", 2), ("label", 1)])
def test_the_input_is_that_of_a_loop_over_the_entries(inputs, m):
    outputs = torch.tensor(ROWS, dtype=torch.float64)
    shown = prepared(outputs, Settings(inputs, kept=2))
    expected = torch.tensor([prepared_by_hand(row, m, label=inputs == "label") for row in ROWS])
    torch.testing.assert_close(shown, expected)
    assert shown.dtype == torch.float32


def test_the_input_by_hand():
    shown = prepared(torch.tensor([[0.5, 0.0, 0.5]]), Settings("full"))
    torch.testing.assert_close(shown, torch.tensor([[1000 - math.log(2), 0.0, 1000 - math.log(2)]]))
    shown = prepared(torch.tensor([[0.25, 0.0, 0.75]]), Settings("truncated", kept=2))
    torch.testing.assert_close(shown, torch.tensor([[50 + math.log(0.25), 0.0, 50 + math.log(0.75)]]))
    assert prepared(torch.tensor([[0.25, 0.0, 0.75]]), Settings("label")).tolist() == [[0.0, 0.0, 50.0]]


def test_truncation_keeps_all_there_is():
    outputs = probabilities()
    torch.testing.assert_close(prepared(outputs, Settings("truncated", kept=9)), prepared(outputs, Settings("full")))


def test_centred_rows_are_logarithms_less_their_mean():
    outputs = torch.tensor(ROWS, dtype=torch.float64)
    shown = prepared(outputs, Settings("full", centred=True))
    logarithms = [[max(math.log(p), -1000.0) if p > 0 else -1000.0 for p in row] for row in ROWS]
    expected = torch.tensor([[value - sum(row) / len(row) for value in row] for row in logarithms])
    torch.testing.assert_close(shown, expected)


def test_a_centred_decoder_rebuilds_from_soft_scores_as_well():
    """The same logits over 4: the code's constant of 50 leaves little to see."""
    outputs, soft = probabilities(256), (probabilities(256).log() / 4).softmax(dim=1)
    settings = replace(SMALL, epochs=20)
    errors = []
    for one, centred in ((outputs, True), (soft, True), (soft, False)):
        network = train(outputs=one, images=pictures(outputs), rng=rng(), settings=replace(settings, centred=centred))
        errors.append(float((network.reconstruct(one) - pictures(outputs)).square().mean()))
    assert errors[1] == pytest.approx(errors[0], rel=0.2)
    assert errors[2] > 3 * errors[1]


def test_a_label_says_only_where():
    outputs = probabilities()
    one_hot = F.one_hot(outputs.argmax(dim=1), 2).float()
    torch.testing.assert_close(prepared(outputs, Settings("label")), prepared(one_hot, Settings("label")))


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 64, 64), (3, 48, 40), (1, 33, 57), (1, 8, 8)])
def test_images_have_the_size_of_the_auxiliary_ones(shape):
    outputs = probabilities(3)
    images = torch.rand(3, *shape, generator=rng())
    network = train(outputs=outputs, images=images, rng=rng(), settings=Settings(width=2, epochs=1))
    made = network.reconstruct(outputs)
    assert made.shape == (3, *shape)
    assert made.dtype == torch.float32
    assert made.min() >= 0
    assert made.max() <= 1


def test_at_64_pixels_the_layers_are_those_of_the_authors():
    decoder = inversion_network._fresh((1, 64, 64), 530, 128, rng())
    layers = [layer for layer in decoder if isinstance(layer, nn.ConvTranspose2d)]
    assert [(layer.in_channels, layer.out_channels) for layer in layers] == [
        (530, 1024),
        (1024, 512),
        (512, 256),
        (256, 128),
        (128, 1),
    ]
    assert [(layer.kernel_size, layer.stride, layer.padding) for layer in layers] == [
        ((4, 4), (1, 1), (0, 0)),
        *[((4, 4), (2, 2), (1, 1))] * 4,
    ]
    kinds = [type(layer) for layer in decoder]
    assert kinds == [nn.ConvTranspose2d, nn.BatchNorm2d, nn.Tanh] * 4 + [nn.ConvTranspose2d, nn.Sigmoid]


def test_first_weights_have_the_spread_of_torchs_own():
    drawn = inversion_network._fresh((1, 16, 16), 40, 16, rng())[3]
    usual = nn.ConvTranspose2d(drawn.in_channels, drawn.out_channels, 4, 2, 1)
    bound = usual.weight.abs().max()
    torch.testing.assert_close(drawn.weight.abs().max(), bound, rtol=1e-2, atol=0.0)
    torch.testing.assert_close(drawn.weight.std(), usual.weight.std(), rtol=3e-2, atol=0.0)


def test_the_first_step_is_that_of_adam_with_amsgrad():
    outputs = probabilities(16)
    settings = Settings(width=4, batch_size=16, epochs=1)
    draws = rng(5)
    decoder = inversion_network._fresh((1, 8, 8), 2, 4, draws).train()
    adam = torch.optim.Adam(decoder.parameters(), lr=2e-4, betas=(0.5, 0.999), amsgrad=True)
    order = torch.randperm(16, generator=draws)
    wrong = decoder(prepared(outputs, Settings("full"))[order, :, None, None]) - pictures(outputs)[order]
    loss = wrong.square().mean()
    loss.backward()
    adam.step()
    network = trained(outputs, settings, seed=5)
    torch.testing.assert_close(network.state(), dict(decoder.state_dict()))
    assert network.losses == pytest.approx([loss.item()])


def test_rebuilds_records_from_probabilities_and_only_classes_from_labels():
    unseen, auxiliary = probabilities(200, seed=2), probabilities(300, seed=3)
    shown, label = pictures(unseen), unseen.argmax(dim=1)
    means = torch.stack([shown[label == c].mean(dim=0) for c in range(2)])
    class_mean = float((means[label] - shown).square().mean())
    blind = float((shown.mean(dim=0) - shown).square().mean())
    from_label = error(trained(auxiliary, replace(SMALL, inputs="label")), unseen)
    assert error(trained(auxiliary), unseen) < 0.35 * class_mean
    assert 0.9 * class_mean < from_label < 0.7 * blind


def test_the_loss_falls():
    losses = trained().losses
    assert len(losses) == SMALL.epochs
    assert losses[-1] < 0.5 * losses[0]


def test_the_same_draws_give_the_same_decoder_whatever_torchs_global_generator_says():
    torch.manual_seed(0)
    first = trained()
    torch.manual_seed(1)
    before = torch.get_rng_state()
    again = trained()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(tensor, again.state()[name]) for name, tensor in first.state().items())
    other = trained(seed=1)
    assert not torch.equal(other.reconstruct(probabilities()), first.reconstruct(probabilities()))


def test_a_record_is_rebuilt_alike_alone_and_with_others():
    network, outputs = trained(), probabilities(40)
    together = network.reconstruct(outputs)
    alone = torch.cat([network.reconstruct(row[None]) for row in outputs])
    torch.testing.assert_close(together, alone)


def test_a_saved_decoder_is_the_same():
    network, outputs = trained(), probabilities()
    state = network.state()
    assert all(isinstance(tensor, torch.Tensor) for tensor in state.values())
    before = network.reconstruct(outputs)
    again = InversionNetwork.restored(state, image_shape=(1, 8, 8), n_classes=2, settings=SMALL)
    assert torch.equal(again.reconstruct(outputs), before)
    for tensor in state.values():
        tensor.zero_()
    assert torch.equal(network.reconstruct(outputs), before)
    with pytest.raises(RuntimeError, match="size mismatch"):
        InversionNetwork.restored(state, image_shape=(1, 8, 8), n_classes=5, settings=SMALL)


def test_leaves_what_it_is_given_and_ticks_once_an_epoch():
    outputs = probabilities()
    images = pictures(outputs).requires_grad_()
    copies, ticks = (outputs.clone(), images.detach().clone()), []
    network = train(outputs=outputs, images=images, rng=rng(), settings=SMALL, tick=lambda *done: ticks.append(done))
    assert torch.equal(outputs, copies[0])
    assert torch.equal(images, copies[1])
    assert images.grad is None
    assert ticks == [(epoch, SMALL.epochs) for epoch in range(1, SMALL.epochs + 1)]
    assert not network.reconstruct(outputs).requires_grad


def test_the_narrow_variant_says_what_it_changes():
    assert narrow("truncated", kept=3, epochs=7) == Settings(
        "truncated", kept=3, width=32, learning_rate=1e-3, batch_size=64, epochs=7
    )
    assert narrow() == Settings(centred=True, width=32, learning_rate=1e-3, batch_size=64, epochs=25)
    with pytest.raises(ValueError, match="at most 25"):
        narrow(epochs=26)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"outputs": probabilities(3)}, "images must be one image"),
        ({"images": torch.full((4, 1, 8, 8), 2.0)}, "images must be one image"),
        ({"images": torch.zeros(4, 8, 8)}, "images must be one image"),
        ({"images": torch.zeros(4, 1, 4, 8)}, "sides of at least 8"),
        ({"outputs": torch.full((4, 4), -1.0)}, "outputs must be probabilities"),
        ({"outputs": torch.full((4, 4), float("nan"))}, "outputs must be probabilities"),
        ({"outputs": torch.zeros(4, 4, dtype=torch.int64)}, "outputs must be probabilities"),
    ],
)
def test_bad_input_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        train(**{"outputs": probabilities(4), "images": pictures(probabilities(4)), "rng": rng(), **change})


def test_outputs_of_another_width_are_refused():
    with pytest.raises(ValueError, match=r"\[image, 2\]"):
        trained().reconstruct(probabilities(n_classes=5))


@pytest.mark.parametrize(
    "values",
    [
        {"inputs": "top"},
        {"centred": True, "inputs": "label"},
        {"kept": 0},
        {"width": 0},
        {"learning_rate": 0.0},
        {"batch_size": 0},
        {"epochs": 0},
    ],
)
def test_bad_settings_are_named(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        Settings(**values)
