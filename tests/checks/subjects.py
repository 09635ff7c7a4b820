"""A subject that passes every check, to be changed in one respect."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from auditor.checks import CHECKS, Subject
from auditor.findings import Role
from auditor.limits import Limits
from auditor.membership.measure import Scored, measure
from auditor.shadows import draw_audit_set
from auditor.splits import Recipe, Records, Splits, SplitsFile
from tests.worlds import attack, world

N = 1000
CLASSES = 5
RECIPE = Recipe(epochs=2, lr=0.1, batch_size=16)


def images(count, seed):
    return np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 1), dtype=np.uint8)


def records(inputs, labels=None):
    return Records.of(inputs, np.arange(len(inputs)) * 7 % 11 % CLASSES if labels is None else labels)


def splits(members, non_members, population, **changes):
    told = {
        "public": None,
        "validation": None,
        "class_names": tuple("abcde"),
        "class_names_source": "test",
        "settings": SplitsFile(random_split=True),
        "duplicates_dropped": 0,
        "folder": Path("splits"),
    }
    return Splits(members, non_members, population, **{**told, **changes})


def with_data(subject, members, non_members, population=None, **changes):
    """The same subject of other records."""
    data = splits(members, non_members, population or records(images(200, 3)), **changes)
    return replace(subject, splits=data, audit_set=draw_audit_set(data, cap=N, seed=0))


def scored(jury, scores):
    """A primary attack with these scores [record]."""
    lira = attack("lira-weights")
    found = measure(lira, scores, jury, Limits(), where="all audit records", queries=1)
    return Scored(lira, Role.PRIMARY, scores, found)


def sound():
    """Nothing to distrust."""
    simulated = world(n=N, leak=1.0, classes=CLASSES)
    jury, evidence = simulated.jury, simulated.evidence
    answered = replace(evidence, target=replace(evidence.target, repeat_difference=0.0))
    data = splits(records(images(N, 1)), records(images(N, 2)), records(images(200, 3)))
    return Subject(
        splits=data,
        audit_set=draw_audit_set(data, cap=N, seed=0),
        jury=jury,
        evidence=answered,
        recipe_stated=True,
        recipe=RECIPE,
        predicted=jury.labels[~jury.membership],
        scored=(scored(jury, evidence.target.audit.logit_margin[:, 0]),),
        planned_with="privaudit 1 with torch 2",
        running="privaudit 1 with torch 2",
    )


def changed(subject, **signals):
    """The same subject, some signals of the target changed, [record]."""
    target = subject.evidence.target
    audit = replace(target.audit, **{name: values[:, None] for name, values in signals.items()})
    return replace(subject, evidence=replace(subject.evidence, target=replace(target, audit=audit)))


def ask(name, subject):
    """One check of the table."""
    return next(row for row in CHECKS if row.id == name).ask(subject)
