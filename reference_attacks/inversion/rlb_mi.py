"""RLB-MI: an agent learns by reward alone where in latent space a class is.

Han, Choi, Lee and Kim (2023), "Reinforcement Learning-Based Black-Box Model Inversion Attacks", CVPR. Checked against
the released code (HanGyojin/RLB-MI, commit 3a113bd).

What it claims
    Moving through latent space to where a model is surest of a class is a task for reinforcement learning: it needs
    probabilities only, and comes close to attacks that use gradients.

What the attacker needs
    Access `scores`: released probabilities. A generator trained on public images whose latents lie around -1..1, as
    those of N(0, I) do.

Algorithm
    For each class t a soft actor-critic of its own, with 40,000 episodes of one step:
    1. Draw a state z from the prior. The actor gives mean m and deviation s; the action is a = tanh(m + e * s), e one
       standard-normal number for all entries. The next state is z' = carried * z + (1 - carried) * a, with carried = 0.
    2. The reward is 2 log p_t(G(z')) + 2 log p_t(G(a)) + 8 log max(1e-7, p_t - largest other p) of G(z').
    3. Once more than 256 episodes are kept, draw 256 of them. The critic Q descends 0.5 * (Q(z, a) - reward)^2, the log
       temperature -log T * (log pi - latent size), the actor T * log pi - Q(z, a), all with Adam at 5e-4. log pi is
       the mean over entries of the log-density of the action.
    4. Draw another state, act, and show the image; the one with the largest p_t in all episodes is handed in.

What we changed
    Tested for its mechanics only: at 80,000 queries and 40,000 updates for each class it is for a GPU.
    As each episode ends after its step, no value of a next state enters: the discount, the second critic and the target
    critics of the released code have no effect and are left out. With carried = 0, z' is a, and the image is shown
    once. Log-probabilities are floored at log 1e-30. Memory is never full.
    As in the released code, e is one number for all entries and rows, and the temperature keeps falling, for log pi is
    a mean while the entropy that it is held against is that of all entries. As there, every class begins with the
    same weights and draws the same numbers.

Published number and ours
    None verified, none measured. With early released code, users saw about 30 % where the paper has more than 60 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from reference_attacks.inversion._gradient_free import looks
from reference_attacks.inversion._rows import by_rows, wanted
from reference_attacks.inversion.material import Generator, Images, Inverted, Snapshot

__all__ = ["RLBMI", "invert", "reward"]

_LEAST_LOG_DEVIATION, _LARGEST_LOG_DEVIATION = -20.0, 2.0
_INSIDE = 1e-6
_TINY = 1e-30
_LAST_BOUND = 3e-3


@dataclass(frozen=True, slots=True)
class RLBMI:
    """What is rewarded and how the agents learn.

    Attributes:
        episodes: Of each class; every one is one step.
        carried: Share of the state that stays in the next one; the rest is the action.
        state_weight: Of the log-probability of the next state's image in the reward.
        action_weight: The same of the action's image.
        margin_weight: Of the logarithm of the margin in the reward.
        margin_floor: Least margin.
        hidden: Width of the two hidden layers of actor and critic.
        learning_rate: Of all of an agent's Adams.
        replayed: Episodes in an update.
        batch_size: Images shown at once; changes nothing but memory.

    Raises:
        ValueError: If a value is out of range.
    """

    episodes: int = 40_000
    carried: float = 0.0
    state_weight: float = 2.0
    action_weight: float = 2.0
    margin_weight: float = 8.0
    margin_floor: float = 1e-7
    hidden: int = 256
    learning_rate: float = 5e-4
    replayed: int = 256
    batch_size: int = 256

    def __post_init__(self) -> None:
        counts = (self.episodes, self.hidden, self.replayed, self.batch_size)
        if min(counts) < 1:
            raise ValueError(f"episodes, hidden, replayed and batch_size must be at least 1, got {counts}")
        if not 0.0 <= self.carried < 1.0:
            raise ValueError(f"carried must lie in 0..1, got {self.carried}")
        weights = (self.state_weight, self.action_weight, self.margin_weight)
        if not all(0.0 <= weight < math.inf for weight in weights):
            raise ValueError(f"state_weight, action_weight and margin_weight must not be negative, got {weights}")
        if not 0.0 < self.margin_floor < 1.0:
            raise ValueError(f"margin_floor must lie in 0..1, got {self.margin_floor}")
        if not 0.0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")


def reward(state: Tensor, action: Tensor, classes: Tensor, settings: RLBMI = RLBMI()) -> Tensor:
    """What an agent gets for a step, float64 [image].

    Args:
        state: The target's probabilities of the next state's image [image, class].
        action: Those of the action's image [image, class].
        classes: Wanted class, int64 [image].
        settings: What is rewarded.
    """
    place = classes[:, None]
    of_state = state.double().gather(1, place).squeeze(1)
    of_action = action.double().gather(1, place).squeeze(1)
    other = state.double().scatter(1, place, -math.inf).amax(dim=1)
    return (
        settings.state_weight * of_state.clamp_min(_TINY).log()
        + settings.action_weight * of_action.clamp_min(_TINY).log()
        + settings.margin_weight * (of_state - other).clamp_min(settings.margin_floor).log()
    )


def invert(
    *,
    released: Images,
    classes: Sequence[int],
    generator: Generator,
    rng: torch.Generator,
    settings: RLBMI = RLBMI(),
) -> Inverted:
    """Let an agent look for each class. Classes do not influence each other, so many may be split over several calls.

    Args:
        released: Images to the target's probabilities [image, class].
        classes: Target class ids. Each takes 4 bytes of memory for each entry of a latent and episode.
        generator: Trained on public images.
        rng: Draws first weights, states, noise and replayed episodes, on the CPU.
        settings: What is rewarded and how the agents learn.

    Returns:
        One image of each class, and what it would have been after fewer episodes.

    Raises:
        ValueError: If there is no class, or the target knows only one.
    """
    like = generator.draw(1, torch.Generator().manual_seed(0))  # tells where the generator runs
    targets = wanted(classes, like.device)
    agents = _Agents(len(targets), like, rng, settings)
    best, confidence = like.expand(len(targets), -1).clone(), torch.full_like(targets, -math.inf, dtype=torch.float64)
    queries_each = 3 if settings.carried else 2
    rounds, snapshots = looks(settings.episodes), []

    def following(state: Tensor, actions: Tensor) -> Tensor:
        return settings.carried * state + (1.0 - settings.carried) * actions

    def show(latents: Tensor) -> Tensor:
        return by_rows(
            lambda some, of: released(generator.images(some, of)), latents, targets, batch_size=settings.batch_size
        )

    def made() -> Tensor:
        return by_rows(generator.images, best, targets, batch_size=settings.batch_size)[:, None]

    with torch.no_grad():
        for episode in range(1, settings.episodes + 1):
            state = generator.draw(1, rng)
            actions = agents.act(state, rng)
            seen = show(actions)
            after = show(following(state, actions)) if settings.carried else seen
            agents.remember(state, actions, reward(after, seen, targets, settings))
            agents.learn(rng)

            state = generator.draw(1, rng)
            tried = following(state, agents.act(state, rng))
            sure = show(tried).double().gather(1, targets[:, None]).squeeze(1)
            better = sure >= confidence
            best, confidence = torch.where(better[:, None], tried, best), torch.where(better, sure, confidence)
            if episode in rounds:
                snapshots.append(Snapshot(episode * queries_each, made()))
        queries = torch.full((len(targets),), settings.episodes * queries_each, dtype=torch.int64)
        return Inverted(made(), confidence[:, None], queries, snapshots=tuple(snapshots))


class _Network:
    """A network of two hidden ReLU layers for each class, their weights [class, in, out] one behind the other."""

    def __init__(self, n_classes: int, sides: Sequence[int], bounds: Sequence[float], rng: torch.Generator) -> None:
        self.parameters: list[Tensor] = []
        for (before, after), bound in zip(pairwise(sides), bounds, strict=True):
            for rows, limit in ((before, bound), (1, 1.0 / math.sqrt(before))):
                first = torch.empty(1, rows, after).uniform_(-limit, limit, generator=rng)
                self.parameters.append(first.repeat(n_classes, 1, 1))

    def to(self, like: Tensor) -> _Network:
        self.parameters = [each.to(like).requires_grad_() for each in self.parameters]
        return self

    def __call__(self, rows: Tensor) -> Tensor:
        """Outputs [class, row, output] of rows [class, row, input]."""
        weights, biases = self.parameters[::2], self.parameters[1::2]
        for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            rows = torch.baddbmm(bias, F.relu(rows) if layer else rows, weight)
        return rows


class _Agents:
    """An actor, a critic, a temperature and a memory for each class."""

    def __init__(self, n_classes: int, like: Tensor, rng: torch.Generator, settings: RLBMI) -> None:
        size, hidden = like.shape[1], settings.hidden
        usual = [1.0 / math.sqrt(before) for before in (size, hidden, hidden)]
        # The released code bounds a critic's first weights by a layer's width, not by its inputs.
        narrow = [1.0 / math.sqrt(hidden), 1.0 / math.sqrt(hidden), _LAST_BOUND]
        self.actor = _Network(n_classes, (size, hidden, hidden, 2 * size), usual, rng).to(like)
        self.critic = _Network(n_classes, (2 * size, hidden, hidden, 1), narrow, rng).to(like)
        self.log_temperature = like.new_zeros(n_classes)
        self.states = like.new_empty(settings.episodes, size)
        self.actions = like.new_empty(n_classes, settings.episodes, size)
        self.rewards = like.new_empty(n_classes, settings.episodes)
        self.kept, self.replayed = 0, settings.replayed
        self.of_actor, self.of_critic, self.of_temperature = (
            torch.optim.Adam(weights, lr=settings.learning_rate)
            for weights in (self.actor.parameters, self.critic.parameters, [self.log_temperature])
        )

    def act(self, state: Tensor, rng: torch.Generator) -> Tensor:
        """An action of each agent [class, latent] in the state [1, latent] that all are in."""
        return self._acted(state, rng)[0][:, 0]

    def remember(self, state: Tensor, actions: Tensor, rewards: Tensor) -> None:
        """Keep an episode: the state [1, latent], the actions [class, latent] and their rewards [class]."""
        self.states[self.kept] = state[0]
        self.actions[:, self.kept] = actions
        self.rewards[:, self.kept] = rewards.to(self.rewards)
        self.kept += 1

    def learn(self, rng: torch.Generator) -> None:
        """One update of everything, once more episodes are kept than are replayed."""
        if self.kept <= self.replayed:
            return
        rows = torch.randperm(self.kept, generator=rng)[: self.replayed].to(self.states.device)
        states, actions, rewards = self.states[rows], self.actions[:, rows], self.rewards[:, rows]
        with torch.enable_grad():
            wrong = self._valued(states, actions) - rewards
            _step(self.of_critic, 0.5 * wrong.square().mean(dim=1))
            temperature = self.log_temperature.exp()
            actions, log_density = self._acted(states, rng)
            value = self._valued(states, actions)
            _step(self.of_actor, (temperature[:, None] * log_density - value).mean(dim=1))
        self.log_temperature.grad = states.shape[1] - log_density.detach().mean(dim=1)
        self.of_temperature.step()

    def _acted(self, states: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Actions [class, row, latent] in states [row, latent], and their mean log-density [class, row]."""
        outputs = self.actor(states.expand(len(self.log_temperature), -1, -1))
        mean, log_deviation = outputs.chunk(2, dim=2)
        log_deviation = log_deviation.clamp(_LEAST_LOG_DEVIATION, _LARGEST_LOG_DEVIATION)
        noise = torch.randn((), generator=rng).to(states)
        actions = (mean + noise * log_deviation.exp()).tanh()
        log_normal = -0.5 * noise.square() - log_deviation - 0.5 * math.log(2.0 * math.pi)
        return actions, (log_normal - (1.0 - actions.square() + _INSIDE).log()).mean(dim=2)

    def _valued(self, states: Tensor, actions: Tensor) -> Tensor:
        """The critics' values [class, row] of actions [class, row, latent] in states [row, latent]."""
        return self.critic(torch.cat([states.expand(len(actions), -1, -1), actions], dim=2))[:, :, 0]


def _step(optimizer: torch.optim.Optimizer, losses: Tensor) -> None:
    """One step down the losses [class], whose weights are their own."""
    optimizer.zero_grad()
    losses.sum().backward()
    optimizer.step()
