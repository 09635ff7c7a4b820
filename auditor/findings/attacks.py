"""Membership attacks: what they are, what became of them, who is exposed, what is seen at once."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from auditor.findings.credible import Count, Estimate, Part, Probability, Rate
from auditor.findings.words import Family, Fidelity, Metric, Role
from auditor.threat import Access

__all__ = [
    "AttackCard",
    "AttackResult",
    "ClassExposure",
    "Completed",
    "Endpoint",
    "Failed",
    "GroupExposure",
    "Histogram",
    "InstantAnswer",
    "Measurement",
    "Outcome",
    "OutputLeak",
    "Paper",
    "RecordExposure",
    "RocCurve",
    "SecondaryChoice",
    "Skipped",
    "TailEstimate",
]


class Measurement(Part):
    """A number with the name under which it is printed, and the control it is measured against where there is one.

    `unit` says how it is printed: "share" of 1 as percent, "points" for a difference of shares, anything else ("ms",
    "s", "") as it is.
    """

    name: str
    estimate: Estimate
    against: str = ""
    unit: str = ""


class Paper(Part):
    """Where a method was published."""

    citation: str
    url: str


class AttackCard(Part):
    """What an attack is, before it runs."""

    id: str
    title: str
    family: Family
    paper: Paper
    fidelity: Fidelity
    access: Access
    needs: tuple[str, ...]
    formula: str = ""
    changed: str = ""
    settings: dict[str, str | int | float | bool] = Field(default_factory=dict)


class Endpoint(Part):
    """One metric of one membership attack.

    `p_value` is one-sided against chance. For primary endpoints `p_adjusted` is Holm's, `upper_bound` the
    simultaneous upper bound that is held against `limit`, and `rejected` the decision at the family-wise level.
    `appendix` marks numbers that n is too small for: never a headline, never a gate.
    """

    metric: Metric
    fpr: Probability | None = None
    estimate: Rate
    p_value: Probability
    p_adjusted: Probability | None = None
    upper_bound: Probability | None = None
    limit: Probability | None = None
    rejected: bool | None = None
    appendix: bool = False


class RocCurve(Part):
    """Points for drawing, thinned for the page; `low`/`high` are the pointwise band on the true positive rate."""

    fpr: tuple[Probability, ...]
    tpr: tuple[Probability, ...]
    low: tuple[Probability, ...] = ()
    high: tuple[Probability, ...] = ()

    @model_validator(mode="after")
    def _drawable(self) -> RocCurve:
        if len(self.fpr) != len(self.tpr) or {len(self.low), len(self.high)} - {0, len(self.fpr)}:
            raise ValueError("fpr, tpr and the band must hold as many points as each other")
        return self


class Completed(Part):
    """An attack that ran. Primary attacks are evaluated on all audit records, secondary ones on the reporting half."""

    status: Literal["completed"] = "completed"
    endpoints: tuple[Endpoint, ...]
    roc: RocCurve
    evaluated_on: str
    queries_per_record: Count


class Skipped(Part):
    """An attack or defense that could not run here, and why, in one sentence."""

    status: Literal["skipped"] = "skipped"
    reason: str


class Failed(Part):
    """An attack or defense that crashed; the rest of the report still comes."""

    status: Literal["failed"] = "failed"
    error: str


Outcome = Annotated[Completed | Skipped | Failed, Field(discriminator="status")]


class AttackResult(Part):
    """One membership attack with what became of it."""

    card: AttackCard
    role: Role
    outcome: Outcome


class SecondaryChoice(Part):
    """The best of the secondary attacks that an access allows: chosen on one half of the records, told of the other."""

    access: Access
    attack_id: str
    chosen_from: Count
    metric: Metric
    fpr: Probability | None = None
    selection_value: Rate
    reported_value: Rate


class ClassExposure(Part):
    """The primary attack's AUC inside one class; `label` is the class name, or a pseudonym where classes are people."""

    label: str
    auc: Rate


class RecordExposure(Part):
    """Which audited members the target treats as a model without them would not (rule 9 of docs/rules-of-evidence.md).

    `records` are opaque ids under the owner's key. `stability` is the overlap (intersection over union) of the lists
    that two disjoint halves of the shadows give; `unstable` says that there are too few shadows to lean on the list.
    """

    status: Literal["completed", "skipped"]
    reason: str = ""
    attack_id: str = ""
    false_discovery_rate: Probability = 0.05
    flagged: Rate | None = None
    stability: Rate | None = None
    uniformity_p_value: Probability | None = None
    unstable: bool = False
    records: tuple[str, ...] = ()


class GroupExposure(Part):
    """How many audited members of one group (a person, a patient) are exposed records; `id` is opaque."""

    id: str
    flagged: Rate


class OutputLeak(Part):
    """What one granularity of the output gives away, to the same attacker each time.

    `seen` says what he is shown, with the floor that stands for what he is not. Nothing here is corrected or gated.
    """

    granularity: str
    access: Access
    seen: str
    attack: str
    outcome: Outcome


class TailEstimate(Part):
    """The reference-free estimate: share of non-members with a loss that all but `missed` of the members stay under.

    Without a leak it is `missed`.
    """

    missed: Probability
    estimate: Rate


class InstantAnswer(Part):
    """What the target alone shows, before any shadow is trained: an estimate of what shadows will find, no verdict.

    `found` is what shadows then did find, beside which the estimate is judged; empty before.
    """

    tail: tuple[TailEstimate, ...]
    sentence: str
    found: tuple[Measurement, ...] = ()


class Histogram(Part):
    """A signal's distribution over members and non-members; counts per bin, shared edges."""

    signal: str
    edges: tuple[float, ...]
    members: tuple[Count, ...]
    non_members: tuple[Count, ...]

    @model_validator(mode="after")
    def _drawable(self) -> Histogram:
        if not len(self.edges) - 1 == len(self.members) == len(self.non_members):
            raise ValueError("there must be a count for each bin: one fewer than edges")
        return self
