"""Whether a folder says of its model what was audited: equal weights, used otherwise, are another model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from auditor.checkpoint.config import CONFIG_NAME, Config, read_config
from auditor.checkpoint.new_head import words_of
from auditor.checkpoint.sidecar import TRAINING_SIDECAR_NAME, read_trained_with
from auditor.errors import InputError
from auditor.findings import ModelFacts, Preprocessing
from auditor.records import printable

__all__ = ["Setting", "in_words", "settings_beside"]

_LONGEST_TOLD = 80
_BY_FILE = ".py:"  # what marks `module.py:factory`


@dataclass(frozen=True)
class Setting:
    """One thing beside the weights that decides what they answer.

    Attributes:
        file: What states it, or would.
        name: What it is called there.
        audited: As the report has it, in words; None: the report does not tell.
        shown: As the file has it, in words; None: it does not tell.
    """

    file: Path
    name: str
    audited: str | None
    shown: str | None

    @property
    def differs(self) -> bool:
        """Whether both tell, and not the same."""
        return None not in (self.audited, self.shown) and self.audited != self.shown

    def __str__(self) -> str:
        return f"{_short(self.name)} is {_short(self.shown)} in {self.file}, and {_short(self.audited)} was audited"


def settings_beside(facts: ModelFacts, folder: Path) -> tuple[Setting, ...]:
    """What a folder states of the network and its inputs, setting by setting, beside what was audited.

    Args:
        facts: Of the audited model; the weights in the folder must be its weights.
        folder: Where the weights lie.

    Raises:
        InputError: a file there is damaged.
    """
    config, mark = read_config(folder), read_trained_with(folder, facts.sha256)
    own_as_ever = facts.head is None and facts.trained_with is None
    head = Setting(
        folder / TRAINING_SIDECAR_NAME,
        "head",
        words_of(None) if own_as_ever else facts.head,
        words_of(None if mark is None else mark.head),
    )
    file = folder / CONFIG_NAME
    return (*_network(facts, config, file), *_inputs(facts.preprocessing, config, file), head)


def in_words(settings: Sequence[Setting]) -> str:
    """How far a folder was held against the report, and where it could not be."""
    known = [one for one in settings if one.audited is not None]
    silent = [one.name for one in known if one.shown is None]
    unkept = [_short(one.name) for one in settings if one.audited is None]
    if all(one.shown is None for one in known if one.file.name == CONFIG_NAME):
        told = f"by its weights alone: no {CONFIG_NAME} beside them states how they are used"
    elif silent:
        told = f"and used alike as far as {CONFIG_NAME} states it, which leaves out {', '.join(silent)}"
    else:
        told = "and used alike"
    older = f"; not compared: {', '.join(unkept)}, which a report of that age does not tell"
    return f"{told}{older if unkept else ''}"


def _network(facts: ModelFacts, config: Config | None, file: Path) -> Iterator[Setting]:
    named = None if config is None else config.architecture
    classes = None if config is None else config.num_classes
    yield Setting(file, "architecture", _untagged(facts.architecture), None if named is None else _untagged(named))
    yield Setting(file, "num_classes", str(facts.num_classes), None if classes is None else str(classes))
    stated = None if config is None or named is None else dict(config.model_args)
    if facts.model_args is None or stated is None:
        both = (None if given is None else json.dumps(given, sort_keys=True) for given in (facts.model_args, stated))
        yield Setting(file, "model_args", *both)
        return
    for key in sorted({*facts.model_args, *stated}):
        both = (
            json.dumps(given[key], sort_keys=True) if key in given else "absent" for given in (facts.model_args, stated)
        )
        yield Setting(file, f"model_args.{key}", *both)


def _untagged(architecture: str) -> str:
    """A name without what timm puts behind a dot: which weights, not which network."""
    return architecture if _BY_FILE in architecture else architecture.partition(".")[0]


def _inputs(audited: Preprocessing, config: Config | None, file: Path) -> Iterator[Setting]:
    known = audited.model_dump(exclude={"source"})
    given = {} if config is None else {key: config.input[key] for key in known if config.input.get(key) is not None}
    try:
        shown = Preprocessing.model_validate({**known, **given, "source": CONFIG_NAME}).model_dump()
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise InputError(
            f"{file}: {where} in pretrained_cfg is impossible: {problem['msg']}.", "Audit the folder as it is."
        ) from error
    for key, value in known.items():
        yield Setting(file, key, _told(value), _told(shown[key]) if key in given else None)


def _told(value: object) -> str:
    """Numbers in full; one for all channels where they are equal, since either way of writing it means the same."""
    if not isinstance(value, tuple):
        return str(value)
    return " ".join(map(str, value[:1] if len(set(value)) == 1 else value))


def _short(told: str | None) -> str:
    text = str(told)
    return printable(text if len(text) <= _LONGEST_TOLD else f"{text[:_LONGEST_TOLD]}…")
