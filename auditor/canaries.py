"""Canaries: records that the owner adds to the training set by logged coin flips, and what the model kept of them.

The coins make an experiment of the training run: which canaries are in is chance and nothing else, so that an attack
that tells them apart bounds the epsilon of the training from below (rule 10). The canaries imitate records at risk:
mislabelled ones, and ones unlike any other. They are no members: `train/` of the data folder stays without them.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import stats

from auditor.compute import rename_into_place
from auditor.errors import InputError
from auditor.records import Inputs, Records, printable
from auditor.shadows import LEAST_POPULATION
from auditor.sources.npz import read_flags, read_npz
from auditor.splits import ClassOrder, Splits

__all__ = ["KINDS", "Canaries", "default_count", "flip_coins", "make_canaries", "read_canaries", "without_canaries"]

Flags = npt.NDArray[np.bool_]

KINDS = ("mislabelled", "out-of-distribution")
FEWEST = 20
_LOG, _ADDITION = "canaries.npz", "add-to-training.npz"
_SHARE, _LEAST, _MOST = 0.05, 100, 1_000
_NEVER_FAIR = 1e-9  # probability of so uneven coins
_AS_WRITTEN = "Give canaries.npz as `canaries make` wrote it."


@dataclass(frozen=True, eq=False)
class Canaries:
    """All canaries, those that the coins left out included.

    Attributes:
        records: Inputs and the labels under which they are added.
        included: bool [canary], the coins.
        mislabelled: bool [canary]; the others are out of distribution.
    """

    records: Records
    included: Flags
    mislabelled: Flags

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write the log, which stays secret, and the records to add to the training set; returns both paths.

        Only the owner may read the files.

        Raises:
            InputError: the folder holds canaries already, or cannot be written.
        """
        log, addition = folder / _LOG, folder / _ADDITION
        if log.exists() or addition.exists():
            raise InputError(
                f"{folder} holds canaries already, and new coins would not be those of a model trained with them.",
                "Choose another folder.",
            )
        name = "images" if self.records.inputs.ndim == 4 else "features"
        added = self.records.take(self.included)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _save(addition, {name: added.inputs, "labels": added.labels})
            _save(
                log,
                {
                    name: self.records.inputs,
                    "labels": self.records.labels,
                    "included": self.included,
                    "mislabelled": self.mislabelled,
                },
            )
        except OSError as error:
            raise InputError(f"{folder} cannot be written: {error.strerror}.", "Choose another folder.") from error
        return log, addition


def make_canaries(
    splits: Splits, *, count: int, kinds: Sequence[str], coins: Flags, rng: np.random.Generator
) -> Canaries:
    """Make canaries of the wanted kinds, in equal numbers.

    Mislabelled ones are records of `population/`, as long as enough stay there to calibrate, or else of `public/`,
    under a class drawn from the others. Ones out of distribution are uniform noise in the range of an image, or
    features drawn each on its own, under any class.

    Args:
        splits: The owner's data.
        count: How many canaries.
        kinds: One or both of `KINDS`.
        coins: bool [canary], who is included; see `flip_coins`.
        rng: Draws everything but the coins.

    Raises:
        InputError: a kind needs records that are not there, or the classes are not known well enough to mislabel.
        ValueError: `coins` has another length than `count`, or no kind is wanted.
    """
    if coins.shape != (count,) or not set(kinds) & set(KINDS):
        raise ValueError(f"need {count} coins [canary] and a kind of {KINDS}, got shape {coins.shape} and {kinds}")
    _check_classes(splits)
    wrong = 0 if KINDS[0] not in kinds else count // 2 if KINDS[1] in kinds else count
    parts = [_mislabelled(splits, wrong, rng)] if wrong else []
    if wrong < count:
        parts.append(_out_of_distribution(splits, count - wrong, rng))
    order = rng.permutation(count)
    return Canaries(Records.concatenate(parts).take(order), coins, (np.arange(count) < wrong)[order])


def flip_coins(count: int) -> Flags:
    """Independent fair coins from the operating system, bool [canary]: no seed gives them away."""
    return np.array([bool(secrets.randbits(1)) for _ in range(count)])


def default_count(members: int) -> int:
    """One canary for twenty members: half of them are added, and accuracy suffers little."""
    return int(np.clip(round(_SHARE * members), _LEAST, _MOST))


def read_canaries(path: Path, splits: Splits) -> Canaries:
    """Read the log that `Canaries.write` left.

    Raises:
        InputError: it cannot be read, does not fit the data, holds fewer than 20 canaries, or no fair coins.
    """
    arrays = read_npz(path)
    count = len(arrays.labels)
    flags = read_flags(path, {"included": (count,), "mislabelled": (count,)})
    if missing := {"included", "mislabelled"} - flags.keys():
        raise InputError(f"{printable(path)} lacks the array `{min(missing)}`.", _AS_WRITTEN)
    if arrays.inputs.shape[1:] != splits.members.inputs.shape[1:]:
        raise InputError(
            f"{printable(path)}: canaries have the shape {list(arrays.inputs.shape[1:])}, and the records of "
            f"{printable(splits.folder)} {list(splits.members.inputs.shape[1:])}.",
            "Give the canaries that were made from this data; if only their channels differ, state [preprocessing] "
            "input_size in splits.toml and make them again.",
        )
    if count < FEWEST or arrays.labels.min() < 0 or arrays.labels.max() >= splits.num_classes:
        raise InputError(
            f"{printable(path)} must hold {FEWEST} canaries or more, labelled from 0 to {splits.num_classes - 1}.",
            _AS_WRITTEN,
        )
    heads = int(flags["included"].sum())
    if heads in {0, count} or stats.binomtest(heads, count).pvalue < _NEVER_FAIR:
        raise InputError(
            f"{printable(path)} includes {heads} of {count} canaries: these are no fair coins, and bound nothing.",
            _AS_WRITTEN,
        )
    records = Records.of(arrays.inputs, arrays.labels)
    if len(set(records.digests)) < count:
        raise InputError(
            f"{printable(path)} holds a canary more than once, so that it would be in and out at a time.",
            "Give canaries.npz as `canaries make` wrote it.",
        )
    return Canaries(records, flags["included"], flags["mislabelled"])


def without_canaries(splits: Splits, canaries: Canaries, path: Path) -> Splits:
    """The splits without the population and public records that a mislabelled canary was made of.

    Raises:
        InputError: a canary stands among the members or the non-members.
    """
    kept = splits.keeping_out(frozenset(canaries.records.digests))
    for role, before, after in (
        ("train", splits.members, kept.members),
        ("test", splits.non_members, kept.non_members),
    ):
        if common := before.n - after.n:
            raise InputError(
                f"{printable(splits.folder)}: {common} records of {role}/ are canaries of {printable(path)}.",
                f"Take the canaries out of {role}/: they are added when the model is trained, and judged on their own.",
            )
    return kept


def _check_classes(splits: Splits) -> None:
    if splits.class_order is ClassOrder.AMBIGUOUS:
        raise InputError(
            f"{printable(splits.folder)}: the class folders sort differently by number and by text, and a canary needs "
            "the number of its class.",
            "Write classes.txt: one class name per line, in the order of the model's outputs.",
        )
    if splits.num_classes < 2:
        raise InputError(f"{printable(splits.folder)} holds one class only.", "Canaries need two classes or more.")


def _mislabelled(splits: Splits, count: int, rng: np.random.Generator) -> Records:
    spare = 0 if splits.population is None else max(0, splits.population.n - LEAST_POPULATION)
    source = splits.population if spare >= count else splits.public
    if source is None or source.n < count:
        raise InputError(
            f"{printable(splits.folder)}: {count} mislabelled canaries need as many records in population/, beside "
            f"{LEAST_POPULATION} that stay there to calibrate, or in public/; there are {spare} and "
            f"{0 if source is None else source.n}.",
            "Add records that the model will not be trained on, ask for fewer, or use --kind out-of-distribution.",
        )
    drawn = source.take(rng.permutation(source.n)[:count])
    others = rng.integers(splits.num_classes - 1, size=count)
    wrong = others + (others >= drawn.labels)
    return Records.of(drawn.inputs, np.where(drawn.labels < 0, rng.integers(splits.num_classes, size=count), wrong))


def _out_of_distribution(splits: Splits, count: int, rng: np.random.Generator) -> Records:
    labels = rng.integers(splits.num_classes, size=count)
    made = Records.of(_noise(splits.non_members.inputs, count, rng), labels)
    known = {*splits.members.digests, *splits.non_members.digests}
    if known & set(made.digests):
        raise InputError(
            f"{printable(splits.folder)}: its features take so few values that a canary made of them equals a record.",
            "Use --kind mislabelled.",
        )
    return made


def _noise(like: Inputs, count: int, rng: np.random.Generator) -> Inputs:
    if like.ndim == 4:
        return rng.integers(256, size=(count, *like.shape[1:]), dtype=np.uint8)
    columns = [rng.choice(column, count) for column in like.T]
    return np.stack(columns, axis=1).astype(np.float32)


def _save(path: Path, arrays: dict[str, npt.NDArray[np.generic]]) -> None:
    def write(temporary: Path) -> None:
        with temporary.open("wb") as handle:
            np.savez_compressed(handle, **arrays)  # type: ignore[arg-type]  # no array is called allow_pickle

    rename_into_place(path, write)
