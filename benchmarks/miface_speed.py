"""How fast MIFace rebuilds ten digits, beside MIFace of the Adversarial Robustness Toolbox (ART) on the same networks.

Measured, in one run: for each seed a small network is trained on scikit-learn's 8 x 8 digits, or on `--data`, and both
sides invert all ten classes of it, one side after the other, from black images, in batches of ten. Times are CPU
seconds of this process, which has one thread, so that others on the machine count for less; of ours, the median of
five runs. The result is the median over the seeds of ART's time by ours, with its exact interval of at least 95 %
(order statistics).

Same steps  1,000 steps for all ten classes. Nobody stops: ours takes steps that are too short to get anywhere, ART's
            threshold is set to 2, since its stop test is reversed (below).
Until .99   Until the target gives every class .99. ART is stopped by us as soon as its own `predict` says so, which
            costs it nothing, or at 2,000 steps. Both at their defaults (steps of .05, learning rate .1); ART at the
            best of .1, 1, 10 and 100 for that network; and so, with ours at the best of .05, .1, .2, .4 and .8. The
            best takes the fewest steps, is found beforehand and not timed.
As it is    ART at its defaults but for `max_iter` 1,000: how many classes are at .99 in the end. Its stop test is
            reversed: a class goes on while its cost is at most the threshold, and stops above.

The bar is that ours is 10 times faster until .99, and that all ten classes get there. A bar that is missed is said in
its row. Nine CPU minutes; with `--data`, an .npz with `images` [image, height, width] uint8 and `labels`, longer:

    pip install -e . && pip install adversarial-robustness-toolbox==1.20.1
    OMP_NUM_THREADS=1 python benchmarks/miface_speed.py [--seeds 9] [--data mnist/train.npz]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from scipy.stats import binom
from scoring import peer, versions
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

from reference_attacks.inversion import miface
from reference_attacks.inversion.material import Inverted
from reference_attacks.inversion.miface import MIFace

ART = "adversarial-robustness-toolbox"
ART_CLASSIFIER, ART_ATTACK = "art.estimators.classification", "art.attacks.inference.model_inversion"
CLASSES, ENOUGH, BAR = 10, 0.99, 10.0
STEPS, MOST_STEPS, TRIED_STEPS, RUNS_OF_OURS = 1_000, 2_000, 300, 5
DEFAULT_RATE, RATES = 0.1, (100.0, 10.0, 1.0, 0.1)
STEP_SIZES = (0.8, 0.4, 0.2, 0.1, 0.05)
TRAINED_ON = 10_000


@dataclass(frozen=True, slots=True, eq=False)
class Digits:
    """Images in 0..1 [image, 1, height, width] and their labels [image]."""

    images: Tensor
    labels: Tensor

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channel, height, width."""
        return 1, self.images.shape[2], self.images.shape[3]


@dataclass(frozen=True, slots=True)
class Climbed:
    """A run of ART.

    Attributes:
        seconds: CPU time.
        steps: How many it made.
        sure: Classes at .99 in the end.
    """

    seconds: float
    steps: int
    sure: int


@dataclass(frozen=True, slots=True)
class Pair:
    """Both sides on one network, in CPU seconds; steps of the class that took longest."""

    ours: float
    theirs: float
    our_steps: int
    their_steps: int
    all_sure: bool

    @property
    def ratio(self) -> float:
        """How many times faster ours is."""
        return self.theirs / self.ours


class EverybodySureError(Exception):
    """Ends a run of ART."""


def load(path: Path | None) -> Digits:
    """scikit-learn's digits, or the first 10,000 images of a file."""
    if path is None:
        digits = load_digits()
        images, labels = digits.images / 16.0, digits.target
    else:
        with np.load(path) as file:
            images, labels = file["images"][:TRAINED_ON] / 255.0, file["labels"][:TRAINED_ON]
    shaped = torch.tensor(images, dtype=torch.float32).reshape(len(images), 1, *images.shape[1:3])
    return Digits(shaped, torch.tensor(labels, dtype=torch.int64))


def mlp(shape: tuple[int, int, int]) -> nn.Module:
    """One hidden layer of 128."""
    return nn.Sequential(nn.Flatten(), nn.Linear(shape[1] * shape[2], 128), nn.ReLU(), nn.Linear(128, CLASSES))


def cnn(shape: tuple[int, int, int]) -> nn.Module:
    """Two convolutions of 16 and 32 channels, and a hidden layer of 64."""
    side = 32 * (shape[1] // 4) * (shape[2] // 4)
    convolutions = [
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
    ]
    return nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(side, 64), nn.ReLU(), nn.Linear(64, CLASSES))


def train(network: nn.Module, digits: Digits) -> nn.Module:
    """About 500 steps of Adam."""
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    for _ in range(max(1, round(500 * 64 / len(digits.labels)))):
        for some in torch.randperm(len(digits.labels)).split(64):
            optimizer.zero_grad()
            F.cross_entropy(network(digits.images[some]), digits.labels[some]).backward()
            optimizer.step()
    return network.eval()


# --- the two sides ---------------------------------------------------------------------------------------------------


def ours(network: nn.Module, shape: tuple[int, int, int], settings: MIFace) -> tuple[float, Inverted]:
    """Median CPU time of five runs, and what they found."""
    times = []
    for _ in range(RUNS_OF_OURS):
        start = time.process_time()
        found = miface.invert(logits=network, classes=range(CLASSES), image_shape=shape, settings=settings)
        times.append(time.process_time() - start)
    return float(np.median(times)), found


class Art:
    """ART's MIFace on one network, which it wants to end in a softmax."""

    def __init__(self, classifiers: ModuleType, attacks: ModuleType, network: nn.Module, shape: tuple[int, int, int]):
        self._attack = attacks.MIFace
        self._classifier = classifiers.PyTorchClassifier(
            nn.Sequential(network, nn.Softmax(dim=1)),
            nn.CrossEntropyLoss(),
            shape,
            CLASSES,
            clip_values=(0.0, 1.0),
            device_type="cpu",
        )
        self._predict = self._classifier.predict

    def climb(self, steps: int, *, rate: float, threshold: float, stop: bool) -> Climbed:
        """Run it on all classes at once, and stop it at .99 if asked to."""
        made, sure = 0, np.zeros(CLASSES)

        def watched(images: np.ndarray) -> np.ndarray:
            nonlocal made, sure
            answers = self._predict(images)
            made, sure = made + 1, answers.diagonal()
            if stop and sure.min() >= ENOUGH:
                raise EverybodySureError
            return answers

        self._classifier.predict = watched
        attack = self._attack(
            self._classifier,
            max_iter=steps,
            threshold=threshold,
            learning_rate=rate,
            batch_size=CLASSES,
            verbose=False,
        )
        start = time.process_time()
        with contextlib.suppress(EverybodySureError):
            attack.infer(None, np.arange(CLASSES))
        return Climbed(time.process_time() - start, made, int((sure >= ENOUGH).sum()))

    def best_rate(self) -> float:
        """The learning rate that takes the fewest steps to .99, if they are under 300."""
        steps, best = TRIED_STEPS, DEFAULT_RATE
        for rate in RATES:
            run = self.climb(steps, rate=rate, threshold=2.0, stop=True)
            if run.sure == CLASSES and run.steps < steps:
                steps, best = run.steps, rate
        return best


def same_steps(network: nn.Module, shape: tuple[int, int, int], art: Art) -> Pair:
    """1,000 steps of both, on all classes to the end."""
    settings = MIFace(step_size=1e-5, max_iterations=STEPS, patience=STEPS + 1, stop_cost=0.0)
    seconds, found = ours(network, shape, settings)
    run = art.climb(STEPS, rate=DEFAULT_RATE, threshold=2.0, stop=False)
    if found.queries.tolist() != [STEPS + 1] * CLASSES or run.steps != STEPS:
        raise RuntimeError(f"not the same work: {found.queries.tolist()} looks, {run.steps} steps")
    return Pair(seconds, run.seconds, STEPS, run.steps, all_sure=False)


def best_step(network: nn.Module, shape: tuple[int, int, int]) -> float:
    """The step size that takes ours the fewest steps to .99."""

    def longest(size: float) -> int:
        found = miface.invert(
            logits=network, classes=range(CLASSES), image_shape=shape, settings=MIFace(step_size=size)
        )
        return int(found.queries.max())

    return min(STEP_SIZES, key=longest)


def until_sure(network: nn.Module, shape: tuple[int, int, int], art: Art, *, step: float, rate: float) -> Pair:
    """Both until all classes are at .99."""
    seconds, found = ours(network, shape, MIFace(step_size=step))
    run = art.climb(MOST_STEPS, rate=rate, threshold=2.0, stop=True)
    with torch.no_grad():
        shown = network(found.images[:, 0]).double().softmax(dim=1).diagonal()
    steps = int(found.queries.max()) - 1
    return Pair(seconds, run.seconds, steps, run.steps, all_sure=bool((shown >= ENOUGH).all()))


# --- the table -------------------------------------------------------------------------------------------------------


def median_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, and the order statistics that hold the true one with at least 95 %; of under six, the whole range."""
    ordered = sorted(values)
    skipped = max(0, int(binom.ppf(0.025, len(ordered), 0.5)) - 1)
    return float(np.median(ordered)), ordered[skipped], ordered[-1 - skipped]


def row(name: str, pairs: Sequence[Pair], *, judged: bool) -> str:
    """One line of the table."""
    ratio, low, high = median_interval([pair.ratio for pair in pairs])
    seconds = [np.median([getattr(pair, side) for pair in pairs]) for side in ("ours", "theirs")]
    steps = [sorted(getattr(pair, side) for pair in pairs) for side in ("our_steps", "their_steps")]
    told = [f"{few}" if few == many else f"{few}-{many}" for few, many in ((each[0], each[-1]) for each in steps)]
    verdict = ""
    if judged:
        verdict = "met" if low >= BAR and all(pair.all_sure for pair in pairs) else "MISSED"
    spread = f"{ratio:.1f} [{low:.1f}, {high:.1f}]"
    return f"{name:<42}{seconds[0]:>9.4f}{seconds[1]:>9.3f}{told[0]:>9}{told[1]:>11}{spread:>22}  {verdict}"


def study(name: str, build: Callable[[tuple[int, int, int]], nn.Module], digits: Digits, seeds: int) -> None:
    """Train and time one kind of network."""
    classifiers, attacks = peer(ART_CLASSIFIER), peer(ART_ATTACK)
    if classifiers is None or attacks is None:
        raise SystemExit(f"not installed: pip install {ART}==1.20.1")
    accuracies, as_it_is, rates, sizes = [], [], [], []
    steps, default, tuned, both_tuned = [], [], [], []
    for seed in range(seeds):
        torch.manual_seed(seed)
        network = train(build(digits.shape), digits)
        with torch.no_grad():
            accuracies.append((network(digits.images).argmax(dim=1) == digits.labels).double().mean().item())
        art = Art(classifiers, attacks, network, digits.shape)
        as_it_is.append(art.climb(STEPS, rate=DEFAULT_RATE, threshold=ENOUGH, stop=False).sure)
        rates.append(art.best_rate())
        sizes.append(best_step(network, digits.shape))
        steps.append(same_steps(network, digits.shape, art))
        usual = MIFace().step_size
        default.append(until_sure(network, digits.shape, art, step=usual, rate=DEFAULT_RATE))
        tuned.append(until_sure(network, digits.shape, art, step=usual, rate=rates[-1]))
        both_tuned.append(until_sure(network, digits.shape, art, step=sizes[-1], rate=rates[-1]))
    print(f"\n{name}: accuracy on what it was trained on {min(accuracies):.3f}-{max(accuracies):.3f}, {seeds} seeds")
    print(f"{'':<42}{'ours, s':>9}{'ART, s':>9}{'steps':>9}{'ART steps':>11}{'ratio':>22}")
    print(row("same steps", steps, judged=False))
    print(row("until .99, both at their defaults", default, judged=True))
    print(row("until .99, ART at its best rate", tuned, judged=True))
    print(row("until .99, both at their best", both_tuned, judged=True))
    reached = sum(pair.their_steps < MOST_STEPS for pair in default)
    print(f"ART got all ten classes to .99 within {MOST_STEPS:,} steps at .1: {reached} of {seeds} networks")
    print(f"best rates of ART {rates}, best steps of ours {sizes}")
    print(f"ART as it is, {STEPS:,} steps: classes at .99 {as_it_is}", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=9, help="networks of each kind (default: %(default)s)")
    parser.add_argument("--data", type=Path, help="an .npz with images and labels; scikit-learn's digits if not given")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(versions(["numpy", "torch", ART]), f"; OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'not set')}")
    digits = load(arguments.data)
    print(f"{len(digits.labels):,} images of {digits.shape[1]} x {digits.shape[2]}")
    for name, build in (("CNN", cnn), ("MLP", mlp)):
        study(name, build, digits, arguments.seeds)


if __name__ == "__main__":
    main()
