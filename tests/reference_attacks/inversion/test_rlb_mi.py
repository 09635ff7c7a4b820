"""RLB-MI's reward by hand, its agents against a complete soft actor-critic, and a class that they must find."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from reference_attacks.inversion import rlb_mi
from reference_attacks.inversion.rlb_mi import RLBMI, invert, reward

SHAPE = (1, 2, 2)
N_CLASSES = 3
LATENT = 2
QUICK = RLBMI(episodes=12, hidden=8, replayed=4)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


class Decoder:
    """A fixed linear map and a sigmoid."""

    image_shape = SHAPE
    conditional = 0
    latent_size = LATENT

    def __init__(self):
        self.weight = 2 * torch.tensor([[1.0, 1.0, -1.0, -1.0], [1.0, -1.0, 1.0, -1.0]])

    def draw(self, count, rng):
        return torch.randn(count, LATENT, generator=rng)

    def images(self, latents, classes=None):
        return (latents @ self.weight).sigmoid().unflatten(1, SHAPE)


def corners(images):
    """Class c likes pixel c white: latents (1, 1), (1, -1) and (-1, 1) are their corners."""
    return (6 * images.flatten(1)[:, :N_CLASSES]).softmax(dim=1)


def network():
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Flatten(), nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, N_CLASSES), nn.Softmax(dim=1)
        ).eval()


def run(**changes):
    given = {"released": network(), "classes": range(N_CLASSES), "generator": Decoder(), "rng": rng()}
    return invert(**{**given, "settings": QUICK, **changes})


def test_the_reward_by_hand():
    state = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1]])
    action = torch.tensor([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]])
    got = reward(state, action, torch.tensor([0, 0]))
    assert got[0].item() == pytest.approx(2 * math.log(0.7) + 2 * math.log(0.5) + 8 * math.log(0.5))
    assert got[1].item() == pytest.approx(2 * math.log(0.3) + 2 * math.log(1e-30) + 8 * math.log(1e-7))
    settings = RLBMI(state_weight=1.0, action_weight=0.5, margin_weight=3.0, margin_floor=0.01)
    got = reward(state, action, torch.tensor([0, 1]), settings)
    expected = [
        math.log(0.7) + 0.5 * math.log(0.5) + 3 * math.log(0.5),
        math.log(0.6) + 3 * math.log(0.3),
    ]
    assert got.tolist() == pytest.approx(expected)


class OneAgent:
    """The released code's soft actor-critic as it stands, twin and target critics and all, for one class."""

    def __init__(self, agents, lr=5e-4):
        self.actor, self.critics = self.net(agents.actor), [self.net(agents.critic), self.net(agents.critic)]
        self.targets = copy.deepcopy(self.critics)
        with torch.no_grad():
            for parameter in self.critics[1].parameters():
                parameter.add_(0.1)  # must not matter
        self.log_alpha = torch.zeros(1, requires_grad=True)
        self.adams = [torch.optim.Adam(net.parameters(), lr=lr) for net in (self.actor, *self.critics)]
        self.of_alpha = torch.optim.Adam([self.log_alpha], lr=lr)
        self.memory, self.alpha = [], 1.0

    @staticmethod
    def net(weights):
        layers = []
        for weight, bias in zip(weights.parameters[::2], weights.parameters[1::2], strict=True):
            layer = nn.Linear(*weight.shape[1:])
            with torch.no_grad():
                layer.weight.copy_(weight[0].T)
                layer.bias.copy_(bias[0, 0])
            layers += [layer, nn.ReLU()]
        return nn.Sequential(*layers[:-1])

    def evaluate(self, states, noise):
        mean, log_std = self.actor(states).chunk(2, dim=1)
        log_std = log_std.clamp(-20, 2)
        before = mean + noise * log_std.exp()
        action = before.tanh()
        density = torch.distributions.Normal(mean, log_std.exp()).log_prob(before)
        return action, (density - torch.log(1 - action.pow(2) + 1e-6)).mean(1, keepdim=True)

    def learn(self, rows, noise):
        s, a, r, s2 = (torch.cat(column) for column in zip(*(self.memory[row] for row in rows), strict=True))
        done = torch.ones(len(rows), 1)
        a2, density2 = self.evaluate(s2, 1.7)
        following = torch.min(*(net(torch.cat([s2, a2], 1)) for net in self.targets))
        wanted = (r[:, None] + 0.99 * (1 - done) * (following - self.alpha * density2)).detach()
        for net, adam in zip(self.critics, self.adams[1:], strict=True):
            adam.zero_grad()
            (0.5 * F.mse_loss(net(torch.cat([s, a], 1)), wanted)).backward()
            adam.step()
        alpha = self.log_alpha.detach().exp()
        a, density = self.evaluate(s, noise)
        self.of_alpha.zero_grad()
        (-(self.log_alpha * (density - LATENT).detach()).mean()).backward()
        self.of_alpha.step()
        self.alpha = alpha
        self.adams[0].zero_grad()
        (alpha * density - self.critics[0](torch.cat([s, a], 1))).mean().backward()
        self.adams[0].step()
        for net, target in zip(self.critics, self.targets, strict=True):
            for mine, theirs in zip(target.parameters(), net.parameters(), strict=True):
                mine.data.copy_(0.01 * theirs.data + 0.99 * mine.data)


@pytest.mark.parametrize("carried", [0.0, 0.3])
def test_the_run_is_that_of_a_complete_soft_actor_critic(carried):
    settings = RLBMI(episodes=40, hidden=8, replayed=4, carried=carried, learning_rate=1e-2)
    target, decoder, model, draws = 2, Decoder(), network(), rng(3)
    agent = OneAgent(rlb_mi._Agents(1, torch.zeros(1, LATENT), draws, settings), lr=1e-2)

    def p(z):
        return model(decoder.images(z))[0].double().detach()

    best, best_p = None, -1.0
    for episode in range(40):
        z = decoder.draw(1, draws)
        a = agent.evaluate(z, torch.randn((), generator=draws))[0].detach()
        z2 = carried * z + (1 - carried) * a
        margin = max(1e-7, float(p(z2)[target] - max(p(z2)[0], p(z2)[1])))
        gain = 2 * p(z2)[target].log() + 2 * p(a)[target].log() + 8 * math.log(margin)
        agent.memory.append((z, a, gain.float()[None], z2))
        if episode + 1 > 4:
            rows = torch.randperm(episode + 1, generator=draws)[:4].tolist()
            agent.learn(rows, torch.randn((), generator=draws))
        z = decoder.draw(1, draws)
        z = carried * z + (1 - carried) * agent.evaluate(z, torch.randn((), generator=draws))[0].detach()
        if p(z)[target] >= best_p:
            best, best_p = z, float(p(z)[target])
    found = run(classes=[target], rng=rng(3), settings=settings)
    torch.testing.assert_close(found.images[0], decoder.images(best), rtol=1e-3, atol=1e-4)
    assert found.confidence.item() == pytest.approx(best_p, rel=1e-4)


def test_agents_learn_where_their_class_is():
    settings = RLBMI(episodes=500, hidden=32, replayed=32, learning_rate=6e-3)
    draws, decoder = rng(1), Decoder()
    agents = rlb_mi._Agents(N_CLASSES, torch.zeros(1, LATENT), draws, settings)
    first = torch.stack([agents.act(decoder.draw(1, draws), draws) for _ in range(50)])
    classes = torch.arange(N_CLASSES)
    for _ in range(500):
        state = decoder.draw(1, draws)
        with torch.no_grad():
            actions = agents.act(state, draws)
            seen = corners(decoder.images(actions))
        agents.remember(state, actions, reward(seen, seen, classes, settings))
        agents.learn(draws)
    later = torch.stack([agents.act(decoder.draw(1, draws), draws) for _ in range(50)])

    def sure(actions):
        shown = corners(decoder.images(actions.detach().flatten(0, 1)))
        return shown.unflatten(0, (50, N_CLASSES)).diagonal(dim1=1, dim2=2).mean(dim=0)

    assert (sure(first) < 0.5).all()
    assert (sure(later) > 0.75).all()


def test_the_image_handed_in_shows_the_class_and_is_the_best_so_far():
    settings = RLBMI(episodes=60, hidden=8, replayed=16)
    found = run(released=corners, settings=settings)
    shown = corners(found.images[:, 0]).double()
    torch.testing.assert_close(found.confidence[:, 0], shown.diagonal())
    assert torch.equal(shown.argmax(dim=1), torch.arange(N_CLASSES))
    path = torch.stack([corners(look.images[:, 0]).diagonal() for look in found.snapshots])
    assert (path.diff(dim=0) >= 0).all()
    assert (shown.diagonal() >= path[-1]).all()


def test_snapshots_are_what_a_shorter_run_hands_in():
    found = run(settings=RLBMI(episodes=50, hidden=8, replayed=4))
    assert 5 <= len(found.snapshots) <= 8
    queries = [look.queries for look in found.snapshots]
    assert queries == sorted(queries)
    assert queries[-1] < found.queries[0]
    look = found.snapshots[-2]
    shorter = run(settings=RLBMI(episodes=look.queries // 2, hidden=8, replayed=4))
    torch.testing.assert_close(shorter.images, look.images)


@pytest.mark.parametrize(("carried", "each"), [(0.0, 2), (0.5, 3)])
def test_counts_every_image_that_the_target_saw_and_leaves_it_alone(carried, each):
    target, seen = network(), []
    before = copy.deepcopy(target.state_dict())

    def counting(images):
        seen.append(len(images))
        return target(images)

    found = run(released=counting, settings=RLBMI(episodes=12, hidden=8, replayed=4, carried=carried, batch_size=2))
    assert found.queries.tolist() == [12 * each] * N_CLASSES
    assert int(found.queries.sum()) == sum(seen)
    assert max(seen) == 2
    assert found.images.shape == (N_CLASSES, 1, *SHAPE)
    assert not found.images.requires_grad
    assert all(parameter.grad is None for parameter in target.parameters())
    torch.testing.assert_close(target.state_dict(), before, rtol=0, atol=0)


def test_a_class_alone_ends_where_it_does_beside_others():
    together = run()
    for c in range(N_CLASSES):
        torch.testing.assert_close(run(classes=[c]).images[0], together.images[c])


def test_first_weights_are_bounded_as_in_the_released_code():
    agents = rlb_mi._Agents(2, torch.zeros(1, 50), rng(), RLBMI(episodes=1))
    bounds = [weights.abs().max().item() for weights in (*agents.actor.parameters, *agents.critic.parameters)]
    by_inputs, by_hidden, by_both = 1 / math.sqrt(50), 1 / 16, 0.1
    expected = [by_inputs, by_inputs, *[by_hidden] * 4, by_hidden, by_both, by_hidden, by_hidden, 3e-3, by_hidden]
    for bound, limit in zip(bounds[:-1], expected[:-1], strict=True):
        assert 0.9 * limit < bound <= limit
    assert bounds[-1] <= expected[-1]
    assert torch.equal(agents.actor.parameters[0][0], agents.actor.parameters[0][1])


def test_the_same_draws_give_the_same_result():
    assert torch.equal(run().images, run().images)
    assert not torch.equal(run(rng=rng(1)).images, run().images)


def test_a_class_is_needed():
    with pytest.raises(ValueError, match="at least one class"):
        run(classes=[])


@pytest.mark.parametrize(
    "values",
    [
        {"episodes": 0},
        {"carried": 1.0},
        {"state_weight": -1.0},
        {"action_weight": math.nan},
        {"margin_weight": math.inf},
        {"margin_floor": 0.0},
        {"hidden": 0},
        {"learning_rate": 0.0},
        {"replayed": 0},
        {"batch_size": 0},
    ],
)
def test_bad_settings_are_named(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        RLBMI(**values)
