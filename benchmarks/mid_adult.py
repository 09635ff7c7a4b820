"""UCI Adult for the MID study: who is in which part, and what a model sees of a person.

Marital status, in three values, is the sensitive attribute. Codes, scales and thresholds are round numbers fixed
without the data. Relationship, census weight and capital are left out.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from auditor.compute import generator
from auditor.errors import InputError

__all__ = ["AGE_MOST", "VALUES", "People", "asked_of", "draw", "load", "rows_of"]

VALUES = ("never married", "married", "formerly married")
AGE_MOST = 2.0

_PEOPLE, _PART = 48_842, 6_000
_MARRIED = {"Married-civ-spouse", "Married-spouse-absent", "Married-AF-spouse"}
_WORK = (
    {"Self-emp-inc", "Self-emp-not-inc"},
    {"Federal-gov", "Local-gov", "State-gov"},
)
_OCCUPATION = (
    {"Exec-managerial", "Prof-specialty", "Tech-support"},
    {"Adm-clerical", "Sales"},
    {"Other-service", "Priv-house-serv", "Protective-serv", "Armed-Forces"},
)
_SCHOOLING, _HOURS = tuple(range(2, 17)), (20, 30, 35, 40, 45, 50, 60)
_AGES = tuple(range(20, 75, 5))

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class People:
    """Some people, by record.

    Attributes:
        marital: Index into `VALUES`.
        age: In years.
        rich: 1 where the income is above 50K.
        groups: Yes or no, bool [record, group]: workclass, occupation, sex, race, country.
        schooling: Years, 1 to 16.
        hours: A week, 1 to 99.
    """

    marital: Ints
    age: Floats
    rich: Ints
    groups: Bools
    schooling: Floats
    hours: Floats

    @property
    def outcome(self) -> Floats:
        """What the regression predicts: age, in units of 15 years from 40."""
        return (self.age - 40.0) / 15.0

    def take(self, chosen: Ints) -> People:
        """These people, in this order."""
        return People(
            self.marital[chosen],
            self.age[chosen],
            self.rich[chosen],
            self.groups[chosen],
            self.schooling[chosen],
            self.hours[chosen],
        )


def load(folder: Path) -> People:
    """Everybody in `adult.data`, then in `adult.test`.

    Raises:
        InputError: The two files together don't have the 48,842 people of the original.
    """
    lines = [line for name in ("adult.data", "adult.test") for line in _lines(folder / name)]
    if len(lines) != _PEOPLE:
        raise InputError(
            f"{folder} has {len(lines)} people, not {_PEOPLE}", hint="give the folder of the original files"
        )
    columns = list(zip(*lines, strict=True))
    work, occupation = columns[1], columns[6]
    groups = [np.isin(work, sorted(kind)) for kind in _WORK]
    groups += [np.isin(occupation, sorted(kind)) for kind in _OCCUPATION]
    groups += [np.equal(columns[place], name) for place, name in ((9, "Male"), (8, "White"), (13, "United-States"))]
    return People(
        marital=np.array([_value(status) for status in columns[5]]),
        age=np.array(columns[0], dtype=np.float64),
        rich=np.array([answer.startswith(">") for answer in columns[14]], dtype=np.int64),
        groups=np.column_stack(groups),
        schooling=np.array(columns[4], dtype=np.float64),
        hours=np.array(columns[12], dtype=np.float64),
    )


def draw(everybody: People, seed: int) -> tuple[People, People]:
    """Training and test people of a seed, 0 to 3; no person is in two seeds."""
    order = generator(0, "adult order").permutation(len(everybody.age))
    mine = order[2 * _PART * seed : 2 * _PART * (seed + 1)]
    return everybody.take(mine[:_PART]), everybody.take(mine[_PART:])


def rows_of(people: People, marital: Ints) -> Floats:
    """What the regression sees if this is their marital status, float [record, feature], all within -0.5 to 0.5."""
    status = marital[:, None] == [0, 2]
    yes = np.column_stack([people.groups, people.rich == 1, status]) - 0.5
    return np.column_stack([yes, (people.schooling - 8.5) / 15.0, (people.hours - 50.0) / 98.0])


def asked_of(people: People, marital: Ints) -> tuple[Bools, Bools]:
    """Answers to every question of a tree if this is their marital status, and which values can give a yes.

    Returns:
        Answers bool [record, test], and bool [test, value]; the last tests ask for the status, the others don't.
    """
    answers = np.column_stack(
        [
            people.groups,
            people.schooling[:, None] >= _SCHOOLING,
            people.hours[:, None] >= _HOURS,
            people.age[:, None] >= _AGES,
            marital[:, None] == range(len(VALUES)),
        ]
    )
    open_to = np.ones((answers.shape[1] - len(VALUES), len(VALUES)), dtype=np.bool_)
    return answers, np.vstack([open_to, np.eye(len(VALUES), dtype=np.bool_)])


def _lines(path: Path) -> list[Sequence[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [line for line in csv.reader(file, skipinitialspace=True) if len(line) == 15]


def _value(status: str) -> int:
    if status == "Never-married":
        return 0
    return 1 if status in _MARRIED else 2
