"""What a defense does to model inversion: two attacks on a model with it and on one without, paired.

The inversion network is taught anew on what each model releases, so its attacker knows of the defense. MIFace climbs
the weights themselves: it says something of training-time defenses alone. Neither needs a control here, since a control
asks what is due to the members, and this asks what the defense changes.

Who knows of a defense and holds the weights may change MIFace: `Defense.inverters`. They stand beside MIFace on the
undefended model, and so does the strongest of them, chosen on one half of the classes and told of the other.

Which decoder one gets is chance: two of one model differ by more than the same records tell apart. So several are
taught, from the same seeds for both models, and what they differ by is in the intervals beside what records differ by.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from auditor.battery import DECODER, DECODERS, GRADIENTS, INVERSION
from auditor.compute import generator
from auditor.defense import InversionProbe
from auditor.errors import WorkerKilledError, crash_report
from auditor.findings import InversionEffect
from auditor.inversion import InversionAttack, adapters
from auditor.inversion.given import Rebuilt, unit_images
from auditor.inversion.workshop import Shown, Workshop
from auditor.limits import Limits
from auditor.stats.bootstrap import bca
from auditor.stats.estimate import Estimate
from auditor.stats.groups import enough_groups
from auditor.stats.intervals import TOO_FEW_GROUPS, grouped_mean, mean, paired_mean
from auditor.target import Target
from auditor.threat import Access
from reference_attacks.inversion.material import Inverted

__all__ = ["NOT_ASKED", "Exhibit", "exhibit", "inversion_effects"]

Floats = npt.NDArray[np.float64]
Groups: TypeAlias = npt.NDArray[np.int64] | None

NOT_ASKED = "not asked for"
_RECOGNISED = "Probability of the class by the evaluation networks"
_LEAST_IN_HALF = 2


@dataclass(frozen=True, eq=False)
class Exhibit:
    """What inversion shows of one model; None where an attack did not run, and `reasons` says why.

    Attributes:
        members: Mean squared error per pixel of the inversion network, float64 [decoder, record], class by class.
        non_members: The same of as many non-members of each class.
        recognised: Probability of its class that the evaluation networks give to MIFace's image, their mean,
            float64 [class].
        knowing: The same of the images of those who know of the defense, by attack.
        reasons: By attack.
        member_groups: Which of the members belong together, int64 [record]; None where none do.
        non_member_groups: The same of the non-members.
    """

    members: Floats | None = None
    non_members: Floats | None = None
    recognised: Floats | None = None
    knowing: Mapping[str, Floats] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    member_groups: Groups = None
    non_member_groups: Groups = None


def exhibit(
    workshop: Workshop,
    target: Target,
    *,
    name: str,
    white_box: bool = False,
    opened: Callable[[Target], Target] | None = None,
    probes: Sequence[InversionProbe] = (),
    decoders: int = DECODERS,
) -> Exhibit:
    """Attack one model, defended or not; what is finished in the run folder is not made again.

    Args:
        workshop: Of the audited model: the records, the attacker's own images, workers and run folder.
        target: The model, behind its wrapper if it has one; a head other than the audited model's is no hindrance.
        name: Names it in files, e.g. by the key of its defense; "target" for the audited model alone.
        white_box: Whether to run MIFace too; it sees no difference where only the output is defended.
        opened: What MIFace's attacker makes of the model first (`Defense.opened`).
        probes: Who knows of the defense, where MIFace runs (`Defense.inverters`).
        decoders: How many inversion networks are taught, two at least: one says nothing of its own spread.
    """
    attacks = [one for one in INVERSION if one.card.id == DECODER or (white_box and one.card.id == GRADIENTS)]
    if white_box:
        attacks += [_changed(probe) for probe in probes]
    reasons = {} if white_box else {GRADIENTS: NOT_ASKED}
    try:
        shown = workshop.rebuild(attacks, target, name=name, opened=opened, decoders=decoders)
    except WorkerKilledError:
        raise
    except Exception as error:  # noqa: BLE001 - without inversion, the rest of what is said of a defense still comes
        return Exhibit(reasons=reasons | {one.card.id: crash_report(error) for one in attacks})
    values = dict[str, Floats]()
    reasons |= shown.reasons
    for attack, made in shown.made.items():
        try:
            values[attack] = np.stack([_measured(one, shown, workshop, target) for one in made])
        except Exception as error:  # noqa: BLE001 - whatever an attack gives back, the other is told
            reasons[attack] = crash_report(error)
    errors, seen, inside = values.get(DECODER), values.get(GRADIENTS), workshop.audit_set.membership[shown.rows.all]
    stated = workshop.audit_set.records.groups
    groups = None if stated is None else stated[shown.rows.all]
    return Exhibit(
        members=None if errors is None else errors[:, inside],
        non_members=None if errors is None else errors[:, ~inside],
        recognised=None if seen is None else seen[0],
        knowing={probe.id: values[probe.id][0] for probe in probes if probe.id in values},
        reasons=reasons,
        member_groups=None if groups is None else groups[inside],
        non_member_groups=None if groups is None else groups[~inside],
    )


def _changed(probe: InversionProbe) -> InversionAttack:
    """MIFace as somebody runs it who knows of a defense."""
    row = next(one for one in INVERSION if one.card.id == GRADIENTS)
    settings = {**row.card.settings, "aim": probe.aim}
    card = row.card.model_copy(update={"id": probe.id, "title": probe.title, "settings": settings})
    return replace(row, card=card, run=partial(adapters.miface, aim=probe.aim), opened=probe.opened)


def inversion_effects(
    before: Exhibit, after: Exhibit, limits: Limits, probes: Sequence[InversionProbe] = ()
) -> tuple[InversionEffect, ...]:
    """Compare two models by what the same attack gets of them; nothing where it did not run on both.

    Args:
        before: Of the undefended model.
        after: Of the defended one, on the same records.
        limits: Their confidence is that of the intervals.
        probes: Who knew of the defense; beside each stands MIFace on the undefended model.
    """
    effects: list[InversionEffect] = []
    for who, one, other, groups in (
        ("non-members", before.non_members, after.non_members, before.non_member_groups),
        ("members", before.members, after.members, before.member_groups),
    ):
        if one is not None and other is not None:
            effects.extend(_on_error(who, one, other, groups, limits.confidence))
    if before.recognised is not None:
        effects.extend(_on_recognition(before.recognised, after, probes, limits.confidence))
    return tuple(effects)


# --- what attacks made -----------------------------------------------------------------------------------------------


def _measured(made: Inverted | Rebuilt, shown: Shown, workshop: Workshop, target: Target) -> Floats:
    """Errors [record] of images of records, probabilities [class] of images of classes."""
    if isinstance(made, Rebuilt):
        truth = unit_images(target, workshop.audit_set.records.inputs[shown.rows.all])
        values = (made.images - truth).square().mean((1, 2, 3)).double().numpy()
    else:
        classes = list(shown.rows.classes)
        seen = np.mean([one.probabilities(made.images[:, 0]) for one in shown.evaluators], axis=0)
        values = seen[np.arange(len(classes)), classes]
    if not np.isfinite(values).all():
        raise ValueError("images are not finite")
    return np.asarray(values, dtype=np.float64)


# --- effects ---------------------------------------------------------------------------------------------------------


def _on_error(who: str, before: Floats, after: Floats, groups: Groups, confidence: float) -> list[InversionEffect]:
    """The error as it is, and as a multiple of what it was, if groups are enough; errors are [decoder, record]."""
    undefended, defended = (_mean_of_both(one, groups, confidence, least=0.0) for one in (before, after))
    change = _mean_of_both(after - before, groups, confidence, least=-1.0)
    error = _effect(DECODER, f"Inversion error of {who} (MSE)", undefended, defended, change)
    if undefended.value <= 0 or (groups is not None and not enough_groups(groups)):
        return [error]
    rng = generator(0, f"inversion error of {who}")
    by_record = bca((after.mean(0), before.mean(0)), _ratio, rng, confidence=confidence, groups=groups, unit="records")
    by_decoder = mean(after.mean(1) / before.mean(1), confidence=confidence, unit="decoders")
    times = _over_both(by_record, by_decoder)
    once = Estimate(1.0, 1.0, 1.0, confidence, "by definition", times.n)
    more = replace(times, value=times.value - 1, low=times.low - 1, high=times.high - 1)
    return [error, _effect(DECODER, f"Inversion error of {who}, times the undefended", once, times, more)]


def _mean_of_both(values: Floats, groups: Groups, confidence: float, *, least: float) -> Estimate:
    """The mean over records and decoders; errors of images in [0, 1] are at most 1, and their change at least -1."""
    by_decoder = mean(values.mean(1), confidence=confidence, unit="decoders")
    if groups is None:
        return _over_both(mean(values.mean(0), confidence=confidence, unit="records"), by_decoder)
    by_record = grouped_mean(values.mean(0), groups, least=least, most=1.0, confidence=confidence, unit="records")
    if by_record.method == TOO_FEW_GROUPS:
        return replace(by_record, n={**by_record.n, **by_decoder.n})
    return _over_both(by_record, by_decoder)


def _over_both(by_record: Estimate, by_decoder: Estimate) -> Estimate:
    """The estimate over records, each end moved out by what decoders differ by: squares of the distances added."""
    value = by_record.value
    return Estimate(
        value=value,
        low=value - math.hypot(value - by_record.low, by_decoder.value - by_decoder.low),
        high=value + math.hypot(by_record.high - value, by_decoder.high - by_decoder.value),
        confidence=by_record.confidence,
        method=f"{by_record.method} over records, {by_decoder.method} over decoders",
        n={**by_record.n, **by_decoder.n},
    )


def _on_recognition(
    before: Floats, after: Exhibit, probes: Sequence[InversionProbe], confidence: float
) -> Iterator[InversionEffect]:
    """MIFace, those who changed it, and the strongest of all of them."""
    found = {} if after.recognised is None else {GRADIENTS: after.recognised}
    found |= after.knowing
    titles = {probe.id: probe.title for probe in probes}
    for name, seen in found.items():
        yield _recognition(name, before, seen, confidence).model_copy(update={"title": titles.get(name, "")})
    chosen_on = _half(len(before))
    if len(found) < 2 or min(chosen_on.sum(), (~chosen_on).sum()) < _LEAST_IN_HALF:
        return
    best = max(found, key=lambda name: float(found[name][chosen_on].mean()))
    strongest = _recognition(best, before[~chosen_on], found[best][~chosen_on], confidence)
    yield strongest.model_copy(update={"title": titles.get(best, ""), "chosen_from": len(found)})


def _half(classes: int) -> npt.NDArray[np.bool_]:
    """The classes on which the strongest is chosen, the same for every defense."""
    order = generator(0, "classes that choose an inversion attack").permutation(classes)
    return np.isin(np.arange(classes), order[: classes // 2])


def _recognition(attack: str, before: Floats, after: Floats, confidence: float) -> InversionEffect:
    undefended, defended = (mean(one, confidence=confidence, unit="classes") for one in (before, after))
    change = paired_mean(after, before, confidence=confidence, unit="classes")
    return _effect(attack, _RECOGNISED, undefended, defended, change)


def _effect(attack: str, measure: str, undefended: Estimate, defended: Estimate, change: Estimate) -> InversionEffect:
    of_records = attack == DECODER
    return InversionEffect(
        attack_id=attack,
        access=Access.SCORES if of_records else Access.WEIGHTS,
        measure=measure,
        better="higher" if of_records else "lower",
        undefended=undefended,
        defended=defended,
        change=change,
    )


def _ratio(after: Floats, before: Floats) -> float:
    return float(after.mean() / before.mean())
