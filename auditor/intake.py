"""Opens checkpoint and data together: what one of them leaves open, the other may settle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from auditor.checkpoint.config import read_config
from auditor.checkpoint.preprocessing import agreed_preprocessing
from auditor.checkpoint.weights import locate
from auditor.compute import digest
from auditor.errors import InputError
from auditor.findings import DataFacts, Preprocessing
from auditor.records import Records
from auditor.shadows import AuditSet
from auditor.signals import accuracy
from auditor.splits import ClassOrder, Splits, key_fingerprint, load_splits, record_id
from auditor.splits_file import read_splits_file
from auditor.stats.intervals import proportion
from auditor.target import Target, load_target

__all__ = ["audit_set_id", "by_number", "data_digest", "data_facts", "open_inputs", "published"]


def open_inputs(
    checkpoint: Path, data: Path, *, arch: str | None, device: torch.device, trust: bool
) -> tuple[Target, Splits]:
    """Load the target and the splits that belong to it.

    How images are preprocessed is settled first, from `splits.toml` and the checkpoint's `config.json`, so that images
    of other sizes are brought to theirs in the same way; a class order that the folder names leave open is decided by
    the target's accuracy.

    Raises:
        InputError: either cannot be used, or they do not belong together.
    """
    weights = locate(checkpoint)  # what is not there is refused before the data is read
    preprocessing = _preprocessing(weights.folder, data)
    splits = load_splits(data, preprocessing=preprocessing)
    _refuse_augmented_features(splits)
    target = load_target(
        checkpoint,
        arch=arch,
        preprocessing=preprocessing,
        num_classes=None,
        device=device,
        trust=trust,
    )
    if splits.num_classes > target.facts.num_classes:
        raise InputError(
            f"{data}: the splits hold {splits.num_classes} classes, and the model has {target.facts.num_classes}.",
            "Audit the model with the data that it was trained for.",
        )
    named = splits.class_names_source in {"class folders", "class names"}
    if splits.num_classes < target.facts.num_classes and named:
        raise InputError(
            f"{data} holds {splits.num_classes} {splits.class_names_source}, and the model has "
            f"{target.facts.num_classes} classes.",
            "Write classes.txt: one class name per line, in the order of the model's outputs.",
        )
    return target, _in_class_order(target, splits)


def _preprocessing(model: Path, data: Path) -> Preprocessing | None:
    """What both folders say; None where that is not enough, which is told once the data are known to be there."""
    return agreed_preprocessing(read_splits_file(data).preprocessing, read_config(model), data)


def _refuse_augmented_features(splits: Splits) -> None:
    recipe = splits.settings.training
    if recipe is not None and recipe.augmentation and splits.members.inputs.ndim == 2:
        raise InputError(
            f"{splits.folder}: augmentation in [training] of splits.toml is {' and '.join(recipe.augmentation)}, "
            "which needs images, and the records are features.",
            "Remove augmentation from splits.toml.",
        )


def _in_class_order(target: Target, splits: Splits) -> Splits:
    if splits.class_order is not ClassOrder.AMBIGUOUS:
        return splits
    natural, text = (splits.with_class_order(order) for order in (ClassOrder.NATURAL, ClassOrder.TEXT))
    correct = [_correct(target, one) for one in (natural, text)]
    n = splits.non_members.n
    bounds = [proportion(count, n, unit="non-members") for count in correct]
    for first, second, winner in ((0, 1, natural), (1, 0, text)):
        if bounds[first].low > bounds[second].high:
            return winner
    raise InputError(
        f"{splits.folder}: the class names sort differently by number and by text, and the model's accuracy does not "
        f"tell which was used ({correct[0] / n:.1%} and {correct[1] / n:.1%}).",
        "Write classes.txt: one class name per line, in the order of the model's outputs.",
    )


def _correct(target: Target, splits: Splits) -> int:
    return round(accuracy(target, splits.non_members.inputs, splits.non_members.labels) * splits.non_members.n)


def data_digest(splits: Splits) -> str:
    """What data this is, by the content, labels and groups of every role."""
    roles = (splits.members, splits.non_members, splits.population, splits.public, splits.validation)
    return digest([None if records is None else _parts(records) for records in roles], splits.class_names)


def _parts(records: Records) -> tuple[str, list[int], list[int] | None]:
    groups = None if records.groups is None else records.groups.tolist()
    return b"".join(records.digests).hex(), records.labels.tolist(), groups


def data_facts(splits: Splits, audit_set: AuditSet, key: bytes) -> DataFacts:
    """What the report says of the data: counts, and class names by index unless a class is a person."""
    person = splits.settings.class_is_person
    return DataFacts(
        members=splits.members.n,
        non_members=splits.non_members.n,
        evaluated=audit_set.evaluated,
        population=audit_set.calibration.n + audit_set.reference.n,
        public=0 if splits.public is None else splits.public.n,
        classes=_pseudonyms(splits.class_names, key) if person else splits.class_names,
        class_is_person=person,
        random_split=splits.settings.random_split,
        grouped=audit_set.records.groups is not None,
        duplicates_dropped=splits.duplicates_dropped,
        image_shape=tuple(splits.members.inputs.shape[1:]),
        key_fingerprint=key_fingerprint(key),
        audit_set=audit_set_id(audit_set, key),
    )


def _pseudonyms(names: Sequence[str], key: bytes) -> tuple[str, ...]:
    """Names by class index, numbered as the key draws: who knows the order of the model's outputs learns no name."""
    drawn = sorted(names, key=lambda name: record_id(key, f"privaudit-class {name}".encode()))
    numbers = {name: place for place, name in enumerate(drawn, 1)}
    return tuple(f"person {numbers[name]}" for name in names)


def published(data: DataFacts) -> DataFacts:
    """The facts as reports hold them: pseudonyms in their own order, not in that of the model's outputs."""
    classes = sorted(data.classes, key=by_number) if data.class_is_person else data.classes
    return data.model_copy(update={"classes": tuple(classes)})


def by_number(pseudonym: str) -> tuple[int, str]:
    """What sorts pseudonyms by their numbers."""
    return len(pseudonym), pseudonym


def audit_set_id(audit_set: AuditSet, key: bytes) -> str:
    """Names who is evaluated, whatever the order, without telling it to anyone who lacks the key."""
    digests, membership = audit_set.records.digests, audit_set.membership.tolist()
    sides = sorted(f"{int(member)} {one.hex()}" for one, member in zip(digests, membership, strict=True))
    return record_id(key, "\n".join(["privaudit-audit-set", *sides]).encode())
