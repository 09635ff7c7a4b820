"""Inversion attacks: what they showed over their controls, and what they shared."""

from __future__ import annotations

from base64 import b64decode
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from auditor.findings.attacks import AttackCard, Measurement
from auditor.findings.credible import Count, Estimate, Part, Probability

__all__ = [
    "PICTURES",
    "PICTURE_SIDE",
    "GalleryPicture",
    "InversionResult",
    "InversionSetup",
    "QueryPoint",
]

PICTURES = 12
PICTURE_SIDE = 128
_PICTURE_TEXT = 100_000


class QueryPoint(Part):
    """Share of classes that the evaluation networks recognise after so many queries per class."""

    queries: Count
    success: Estimate


def _small_png(text: str) -> str:
    """Refuse what is no PNG, and one that would unfold to more than it may."""
    head = b64decode(text, validate=True)[:24]
    sides = int.from_bytes(head[16:20]), int.from_bytes(head[20:24])
    if head[:8] != b"\x89PNG\r\n\x1a\n" or head[12:16] != b"IHDR" or not all(0 < one <= PICTURE_SIDE for one in sides):
        raise ValueError(f"must be a PNG of at most {PICTURE_SIDE} pixels a side")
    return text


class GalleryPicture(Part):
    """What an attack rebuilt: a class, or a record of it. Only where the owner asked to see it (`--show-records`).

    `label` is the class name, or a pseudonym where classes are people; `png` is base64.
    """

    label: str
    caption: str
    png: Annotated[str, Field(max_length=_PICTURE_TEXT), AfterValidator(_small_png)]


class InversionResult(Part):
    """One inversion attack. `record_excess` holds one measurement per control; so does class excess, if measured.

    A p-value is the largest over its controls; it is adjusted, and something found, only where classes are enough.
    """

    card: AttackCard
    status: Literal["completed", "skipped", "failed"]
    reason: str = ""
    classes: Count = 0
    record_excess: tuple[Measurement, ...] = ()
    record_p_value: Probability | None = None
    record_p_adjusted: Probability | None = None
    record_found: bool = False
    class_excess: tuple[Measurement, ...] = ()
    class_p_value: Probability | None = None
    class_p_adjusted: Probability | None = None
    class_found: bool = False
    measurements: tuple[Measurement, ...] = ()
    success_by_queries: tuple[QueryPoint, ...] = ()
    queries_per_class: Count = 0
    gallery: tuple[GalleryPicture, ...] = Field(default=(), max_length=PICTURES)


class InversionSetup(Part):
    """What all inversion attacks of an audit share: the judges, and what the attacker had."""

    evaluators: tuple[Measurement, ...]
    public_images: Count
    prior: str
    prior_quality: tuple[Measurement, ...] = ()
    class_controls: Count
