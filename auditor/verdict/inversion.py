"""The verdicts on inversion (rule 11 of docs/rules-of-evidence.md): *leak found*, or *cannot say*."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from auditor.findings import Family, Verdict, VerdictState, Void
from auditor.limits import LEAST_CLASSES
from auditor.threat import Access
from auditor.verdict.doubt import Doubt

__all__ = ["InversionFacts", "decide_inversion"]


@dataclass(frozen=True)
class InversionFacts:
    """What was measured for inversion at one access.

    Attributes:
        access: Which.
        attacks: How many were completed.
        classes: How many they rebuilt.
        record_found: Titles of those that show more of members than every control does, after correction.
        class_found: Titles of those that show more of classes than every control does, after correction.
        class_measured: Whether that second question was asked.
        class_is_person: Whether a class is one person.
        left_out: How many classes have too few records to be rebuilt.
    """

    access: Access
    attacks: int
    classes: int
    record_found: tuple[str, ...] = ()
    class_found: tuple[str, ...] = ()
    class_measured: bool = False
    class_is_person: bool = False
    left_out: int = 0


def decide_inversion(
    facts: Sequence[InversionFacts], doubts: Sequence[Doubt] = (), *, shift: bool = False
) -> tuple[Verdict, ...]:
    """The inversion verdicts, from least to most access (rule 11 of docs/rules-of-evidence.md).

    Args:
        facts: What was measured, one per access.
        doubts: Checks and controls that did not pass; what voids a leak voids every finding here.
        shift: Whether members and non-members may differ without the model: being nearer to members then says nothing.
    """
    against = tuple(doubt.sentence for doubt in doubts if Void.LEAK_FOUND in doubt.voids)
    verdicts: list[Verdict] = []
    for one in sorted(facts, key=lambda fact: fact.access.rank):
        below = next((verdict for verdict in verdicts if verdict.state is VerdictState.LEAK_FOUND), None)
        verdicts.append(_inversion_verdict(replace(one, record_found=()) if shift else one, below, against, one))
    return tuple(verdicts)


def _inversion_verdict(
    own: InversionFacts, below: Verdict | None, against: tuple[str, ...], seen: InversionFacts
) -> Verdict:
    inherited = None
    if (seen.record_found or seen.class_found) and against:
        state, reasons = VerdictState.CANNOT_SAY, against
    elif own.record_found or own.class_found:
        state, reasons = VerdictState.LEAK_FOUND, tuple(_found_by_inversion(own))
    elif below is not None:
        state, reasons, inherited = VerdictState.LEAK_FOUND, below.reasons, below.inherited_from or below.access
    else:
        state, reasons = VerdictState.CANNOT_SAY, tuple(_missing_for_inversion(own, seen))
    return Verdict(
        access=own.access,
        family=Family.INVERSION,
        state=state,
        sentence=reasons[0],
        reasons=reasons,
        inherited_from=inherited,
    )


def _found_by_inversion(own: InversionFacts) -> list[str]:
    found = []
    if own.record_found:
        found.append(
            f"{', '.join(own.record_found)}: reconstructions lie nearer to training records than to other records of "
            "the same class, by more than every control's."
        )
    if own.class_found:
        kind = (
            "each is one person, so what is rebuilt is personal"
            if own.class_is_person
            else "a class is a kind of thing here, so what is rebuilt is a prototype and no individual"
        )
        found.append(
            f"{', '.join(own.class_found)}: classes are rebuilt better than by anyone without a model of them; {kind}."
        )
    return found


def _missing_for_inversion(own: InversionFacts, seen: InversionFacts) -> list[str]:
    if not own.attacks:
        return [f"No inversion attack ran for {own.access.value}."]
    if seen.record_found:
        nearer = "Reconstructions lie nearer to members than to other records"
        return [f"{nearer}, but members and non-members may differ without the model, and then they would."]
    missing = []
    if own.classes < LEAST_CLASSES:
        left = f" {_left_out(own)}" if own.left_out else ""
        few = f"{own.classes} classes are too few: an interval over classes needs at least {LEAST_CLASSES}.{left}"
        missing.append(few)
    else:
        missing.append("The reconstructions show no more of training records than the controls do.")
        if own.class_measured:
            missing.append("They show no more of classes than can be drawn without a model of them.")
        if own.left_out:
            missing.append(_left_out(own))
    if not own.class_measured:
        missing.append("Whether a whole class can be rebuilt was not measured.")
    return missing


def _left_out(own: InversionFacts) -> str:
    classes, verb = ("class", "is") if own.left_out == 1 else ("classes", "are")
    return f"{own.left_out} {classes} with too few records {verb} left out."
