"""`AuditReport` and its parts: everything that an audit found, and the only source of every output format.

The report is data that crosses the disk, so these are Pydantic models: frozen, no unknown fields, no naked floats
for what was measured (`Estimate`). Nothing here measures, decides or renders.

`SCHEMA_VERSION` changes when a reader of an older `report.json` would misread a newer one.
"""

from __future__ import annotations

import math
from base64 import b64decode
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationInfo

from auditor.limits import SeverityTable
from auditor.stats.estimate import Estimate as Measured
from auditor.threat import Access

__all__ = [
    "PICTURES",
    "PICTURE_SIDE",
    "SCHEMA_VERSION",
    "AttackCard",
    "AttackResult",
    "AuditReport",
    "CanaryAudit",
    "CanaryBound",
    "Check",
    "CheckLevel",
    "ClassExposure",
    "Completed",
    "ControlResult",
    "DataFacts",
    "DefenseAdvice",
    "DefenseCard",
    "DefenseEffect",
    "DefenseProbeResult",
    "DefenseResult",
    "DosePoint",
    "Endpoint",
    "EndpointPower",
    "Environment",
    "Failed",
    "Family",
    "Fidelity",
    "GalleryPicture",
    "GroupExposure",
    "Histogram",
    "ImpliedEpsilon",
    "InstantAnswer",
    "InversionEffect",
    "InversionResult",
    "InversionSetup",
    "Measurement",
    "Metric",
    "ModelFacts",
    "Outcome",
    "OutputLeak",
    "Paper",
    "PlanFacts",
    "Preprocessing",
    "PrivacyClaim",
    "QueryPoint",
    "RecordExposure",
    "RocCurve",
    "Role",
    "SecondaryChoice",
    "Severity",
    "Skipped",
    "StrongestAttack",
    "TailEstimate",
    "Timing",
    "Verdict",
    "VerdictState",
    "Void",
]

SCHEMA_VERSION = "1"
PICTURES = 12
PICTURE_SIDE = 128
_PICTURE_TEXT = 100_000
_ROUNDING = 1e-9  # an end may be computed by another way than the value


class Part(BaseModel):
    """A part of the report: immutable and closed to unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _credible(told: Measured, info: ValidationInfo) -> Measured:
    """Refuse a number from a file that is belied by its own interval, confidence or n."""
    if info.mode != "json":  # what was measured here is not read back yet
        return told
    slack = _ROUNDING * max(1.0, abs(told.value))
    if not told.low - slack <= told.value <= told.high + slack or not math.isfinite(told.high - told.low):
        raise ValueError(f"the value {told.value:g} must lie in its interval, {told.low:g} to {told.high:g}")
    if not 0 < told.confidence < 1:
        raise ValueError(f"the confidence must lie between 0 and 1, and is {told.confidence:g}")
    if negative := [count for count in told.n.values() if count < 0]:
        raise ValueError(f"n must not be negative, and is {negative[0]}")
    return told


Estimate: TypeAlias = Annotated[Measured, AfterValidator(_credible)]


# --- words ---------------------------------------------------------------------------------------------------------


class Family(StrEnum):
    """The two questions an audit asks."""

    MEMBERSHIP = "membership"
    INVERSION = "inversion"


class Role(StrEnum):
    """Primary: declared before the run, and corrected. Secondary: chosen on one half, told on the other."""

    PRIMARY = "primary"
    SECONDARY = "secondary"


class Fidelity(StrEnum):
    """How far an implementation goes back to the method it is named after."""

    OFFICIAL_CODE = "official-code-derived"
    THIRD_PARTY = "third-party-derived"
    ACCOUNT = "account-derived"
    RECONSTRUCTION = "reconstruction"
    MECHANICS = "mechanics-tested only"
    OWN = "privaudit's own"


class Metric(StrEnum):
    """The endpoints on which membership attacks are judged."""

    AUC = "auc"
    TPR_AT_FPR = "tpr_at_fpr"


class CheckLevel(StrEnum):
    """How a check ended."""

    PASS = "pass"  # noqa: S105 - a level, not a password
    WARN = "warn"
    FAIL = "fail"


class VerdictState(StrEnum):
    """The three things an audit can say."""

    LEAK_FOUND = "leak found"
    NOTHING_FOUND = "nothing found"
    CANNOT_SAY = "cannot say"


class Void(StrEnum):
    """What a failed check or control takes away."""

    LEAK_FOUND = "leak found"
    NOTHING_FOUND = "nothing found"
    PER_RECORD = "per-record p-values"
    POWER = "power"


class Severity(StrEnum):
    """How bad a found leak is, by the plan's table (`auditor.policy`); ordered."""

    NONE = "none"
    LOW = "low"
    MODERATE = "moderate"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """Position in the order from none to critical."""
        return list(Severity).index(self)


# --- what was audited ----------------------------------------------------------------------------------------------


class Preprocessing(Part):
    """How an image of the splits becomes the tensor that the model receives.

    Attributes:
        mean: Per-channel mean in units of [0, 1] pixels.
        std: Per-channel standard deviation in the same units.
        input_size: (channels, height, width) of the tensor.
        interpolation: Resampling filter when the stored images have another size.
        crop_pct: Share of the resized image that is kept by the centre crop.
        source: Where these values came from, e.g. "config.json pretrained_cfg".
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    input_size: tuple[int, int, int]
    interpolation: str = "bilinear"
    crop_pct: float = 1.0
    source: str


class ModelFacts(Part):
    """The audited checkpoint. `sha256` is of the weights file.

    `wrapper` names an output-time defense saved with it, `wrapper_sha256` its files together, and `trained_with` the
    training-time defense that made its weights, `head` the last layer that this gave it. `model_args` are the further
    arguments by which timm built the network. `head` and `model_args` are None in reports from before they were kept.
    """

    name: str
    file_format: str
    sha256: str
    file_bytes: int
    architecture: str
    architecture_evidence: str
    model_args: dict[str, JsonValue] | None = None
    head: str | None = None
    parameters: int
    num_classes: int
    weights: Literal["plain", "ema"]
    trusted: bool = False
    preprocessing: Preprocessing
    wrapper: str | None = None
    wrapper_sha256: str | None = None
    trained_with: str | None = None


class DataFacts(Part):
    """The owner's splits, in counts. `evaluated` is m: as many members and as many non-members are evaluated.

    `audit_set` is opaque, and equal where the same records were evaluated under the same key; empty: not known.
    """

    members: int
    non_members: int
    evaluated: int
    population: int
    public: int
    classes: tuple[str, ...]
    class_is_person: bool
    random_split: bool | None
    grouped: bool
    duplicates_dropped: int
    image_shape: tuple[int, ...]
    key_fingerprint: str
    audit_set: str = ""


class EndpointPower(Part):
    """What so many records can find and decide on one endpoint: computed before the run, not measured.

    Attributes:
        metric: AUC or TPR.
        fpr: Where the TPR is taken.
        limit: What an upper bound has to stay under for *nothing found*.
        n: Evaluated on each side: records, or where they are `grouped` what the groups are worth in equal ones.
        grouped: Whether records come in groups.
        power: The probability that is asked for.
        level: One-sided level of the test and of the bound.
        smallest: The least value that is found with this probability; None: none is, n is too small.
        needed: How many a side bring the upper bound under the limit with this probability where nothing leaks; None:
            more than anybody has.
        decided: Whether n is as many.
        sentence: The same in words.
    """

    metric: Metric
    fpr: float | None = None
    limit: float
    n: int
    grouped: bool = False
    power: float
    level: float
    smallest: float | None
    needed: int | None
    decided: bool
    sentence: str


class PlanFacts(Part):
    """What was decided before anything was trained; `default_policy`: limits and severity are the defaults."""

    digest: str
    budget: str
    seed: int
    release: Access
    shadows: int
    shadow_source: Literal["trained", "given", "proxy"] = "trained"
    null_models: int
    control_models: int
    epochs: int
    recipe: str
    queries: tuple[str, ...]
    primary: tuple[str, ...]
    secondary: tuple[str, ...]
    skipped: tuple[str, ...]
    auc_limit: float
    tpr_limit: float
    tpr_fpr: float
    family_wise_error: float
    severity: SeverityTable = SeverityTable()
    default_policy: bool = True
    power: tuple[EndpointPower, ...] = ()


class Environment(Part):
    """Where it ran. `selftest` says whether the instrument was ever tested there, and CPU and CUDA compared."""

    privaudit: str
    python: str
    torch: str
    timm: str
    numpy: str
    platform: str
    machine: str
    device: str
    threads_per_worker: int
    selftest: str = "never run on this machine"


class Timing(Part):
    """Cost of one phase; the only part of a report that differs between two runs of one plan."""

    phase: str
    wall_seconds: float
    cpu_seconds: float


# --- numbers -------------------------------------------------------------------------------------------------------


class Measurement(Part):
    """A number with the name under which it is printed, and the control it is measured against where there is one.

    `unit` says how it is printed: "share" of 1 as percent, "points" for a difference of shares, anything else ("ms",
    "s", "") as it is.
    """

    name: str
    estimate: Estimate
    against: str = ""
    unit: str = ""


# --- attacks -------------------------------------------------------------------------------------------------------


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
    fpr: float | None = None
    estimate: Estimate
    p_value: float
    p_adjusted: float | None = None
    upper_bound: float | None = None
    limit: float | None = None
    rejected: bool | None = None
    appendix: bool = False


class RocCurve(Part):
    """Points for drawing, thinned for the page; `low`/`high` are the pointwise band on the true positive rate."""

    fpr: tuple[float, ...]
    tpr: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


class Completed(Part):
    """An attack that ran. Primary attacks are evaluated on all audit records, secondary ones on the reporting half."""

    status: Literal["completed"] = "completed"
    endpoints: tuple[Endpoint, ...]
    roc: RocCurve
    evaluated_on: str
    queries_per_record: int


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
    """The best of the secondary attacks: chosen on one half of the records, reported on the other."""

    attack_id: str
    chosen_from: int
    metric: Metric
    fpr: float | None = None
    selection_value: Estimate
    reported_value: Estimate


class ClassExposure(Part):
    """The primary attack's AUC inside one class; `label` is the class name, or a pseudonym where classes are people."""

    label: str
    auc: Estimate


class RecordExposure(Part):
    """Which audited members the target treats as a model without them would not (DESIGN 7.9).

    `records` are opaque ids under the owner's key. `stability` is the overlap (intersection over union) of the lists
    that two disjoint halves of the shadows give; `unstable` says that there are too few shadows to lean on the list.
    """

    status: Literal["completed", "skipped"]
    reason: str = ""
    attack_id: str = ""
    false_discovery_rate: float = 0.05
    flagged: Estimate | None = None
    stability: Estimate | None = None
    uniformity_p_value: float | None = None
    unstable: bool = False
    records: tuple[str, ...] = ()


class GroupExposure(Part):
    """How many audited members of one group (a person, a patient) are exposed records; `id` is opaque."""

    id: str
    flagged: Estimate


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

    missed: float
    estimate: Estimate


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
    members: tuple[int, ...]
    non_members: tuple[int, ...]


# --- inversion -----------------------------------------------------------------------------------------------------


class QueryPoint(Part):
    """Share of classes that the evaluation networks recognise after so many queries per class."""

    queries: int
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
    classes: int = 0
    record_excess: tuple[Measurement, ...] = ()
    record_p_value: float | None = None
    record_p_adjusted: float | None = None
    record_found: bool = False
    class_excess: tuple[Measurement, ...] = ()
    class_p_value: float | None = None
    class_p_adjusted: float | None = None
    class_found: bool = False
    measurements: tuple[Measurement, ...] = ()
    success_by_queries: tuple[QueryPoint, ...] = ()
    queries_per_class: int = 0
    gallery: tuple[GalleryPicture, ...] = Field(default=(), max_length=PICTURES)


class InversionSetup(Part):
    """What all inversion attacks of an audit share: the judges, and what the attacker had."""

    evaluators: tuple[Measurement, ...]
    public_images: int
    prior: str
    prior_quality: tuple[Measurement, ...] = ()
    class_controls: int


# --- controls and checks -------------------------------------------------------------------------------------------


class DosePoint(Part):
    """Planted control: a share `dose` of pseudo-members made leaky, and how often the attack's tests then reject."""

    attack_id: str
    access: Access
    dose: float
    tpr: Estimate
    detected: Estimate


class ControlResult(Part):
    """One control of DESIGN section 7: what it asked, what it measured, what it voids where it did not pass."""

    id: str
    title: str
    question: str
    status: Literal["pass", "warn", "fail", "skipped"]
    sentence: str
    measurements: tuple[Measurement, ...] = ()
    voids: tuple[Void, ...] = ()
    roc: RocCurve | None = None
    doses: tuple[DosePoint, ...] = ()


class Check(Part):
    """A reason to distrust, with what it takes away."""

    id: str
    title: str
    level: CheckLevel
    sentence: str
    voids: tuple[Void, ...] = ()


# --- defenses ------------------------------------------------------------------------------------------------------


class DefenseCard(Part):
    """What a defense is, before it is applied.

    `claims` is what its paper was read to report; empty: nothing that may be quoted. `part_of` names the defense of
    which this one is a part, measured alone.
    """

    id: str
    title: str
    paper: Paper | None
    fidelity: Fidelity
    acts_on: Literal["output", "training"]
    counts_for: tuple[Access, ...]
    changed: str = ""
    claims: str = ""
    part_of: str = ""
    settings: dict[str, str | int | float | bool] = Field(default_factory=dict)


class DefenseEffect(Part):
    """One attack endpoint before and after a defense, on the same records.

    `static` is the attacker who does not know of the defense, `adaptive` the one who refits everything through it.
    `change` is adaptive minus undefended, paired. None: that attacker cannot run against what is released.
    """

    attack_id: str
    access: Access
    metric: Metric
    fpr: float | None = None
    undefended: Estimate
    static: Estimate | None = None
    adaptive: Estimate | None = None
    change: Estimate | None = None


class StrongestAttack(Part):
    """The attack that did best against a defended model at one access, of all that were refitted through the defense.

    It was chosen among `chosen_from` attacks by its AUC on one half of the records, `chosen_at`; so was the strongest
    against the undefended model. `adaptive`, `undefended` and `change`, the paired difference, are of the other half.
    """

    access: Access
    attack_id: str
    chosen_from: int
    chosen_at: Estimate
    adaptive: Estimate
    undefended_attack_id: str
    undefended_chosen_at: Estimate
    undefended: Estimate
    change: Estimate


class DefenseProbeResult(Part):
    """An attack that exists only because of one defense: the AUC of its scores.

    It `asks` for the members among all audit records; or for the records that the defense held out while it trained,
    which shape the weights too, among those and fresh ones.
    """

    id: str
    title: str
    access: Access
    asks: Literal["members", "held out"] = "members"
    status: Literal["completed", "skipped", "failed"]
    reason: str = ""
    auc: Estimate | None = None


class InversionEffect(Part):
    """What an inversion attack gets before and after a defense, refitted through it; `change` is paired.

    `better` says in which direction the defender wants the measure to go. `title` is that of an attack that exists only
    because of the defense; what stands undefended beside it is MIFace. With `chosen_from` it is the strongest of so
    many, MIFace among them, chosen on one half of the classes and told of the other.
    """

    attack_id: str
    title: str = ""
    access: Access
    measure: str
    chosen_from: int = 0
    better: Literal["higher", "lower"]
    undefended: Estimate
    defended: Estimate
    change: Estimate


class DefenseResult(Part):
    """One defense, measured in the same run by the same attacks.

    `baseline` is what stands beside it: the audited model for output-time defenses, and for training-time ones an
    undefended twin, retrained by the same recipe. `shadows` is how many both were attacked with. `chosen` is what was
    tuned, before anything was measured. `not_run` names attacks that did not run through it. `accuracy_change` is
    paired, on the half of the non-members on which nothing was chosen. `void_when_weights` says why it buys nothing.
    """

    card: DefenseCard
    status: Literal["completed", "skipped", "failed"]
    reason: str = ""
    baseline: Literal["target", "twin"] = "target"
    shadows: int = 0
    chosen: dict[str, float] = Field(default_factory=dict)
    effects: tuple[DefenseEffect, ...] = ()
    strongest: tuple[StrongestAttack, ...] = ()
    not_run: tuple[str, ...] = ()
    probes: tuple[DefenseProbeResult, ...] = ()
    inversion: tuple[InversionEffect, ...] = ()
    costs: tuple[Measurement, ...] = ()
    accuracy_change: Estimate | None = None
    accuracy_change_at_choice: Estimate | None = None
    seeds: int = 1
    void_when_weights: str = ""
    timings: tuple[Timing, ...] = ()


class DefenseAdvice(Part):
    """Which measured defense to take for one way of release, or that none is worth it; and what none of them stops.

    `front` names the defenses that no other beats on both accuracy and leakage, by the half on which they were chosen;
    the numbers of `strongest` and `accuracy_change` of the one advised are of the other half.
    """

    release: Access
    defense_id: str | None
    front: tuple[str, ...]
    strongest: StrongestAttack | None = None
    accuracy_change: Estimate | None = None
    sentence: str
    not_stopped: str = ""


# --- canaries ------------------------------------------------------------------------------------------------------


class PrivacyClaim(Part):
    """What the owner claims of the training: (epsilon, delta) differential privacy for each `unit`."""

    epsilon: float = Field(ge=0)
    delta: float = Field(ge=0, lt=1)
    unit: Literal["record", "group"] = "record"


class CanaryBound(Part):
    """A lower bound of epsilon at one access. `ceiling` is the most that these coins could have shown.

    `assumes` names what the bound takes for granted about the training; empty: nothing. A claim is held against the
    bound that was `declared` before any model was asked, and against no other.
    """

    access: Access
    assumes: str
    declared: bool
    epsilon: float
    delta: float
    confidence: float
    ceiling: float
    guesses: int
    correct: int
    auc: Estimate
    method: str


class CanaryAudit(Part):
    """What the model kept of records that were added to its training by logged coin flips (DESIGN 7.10)."""

    canaries: int
    included: int
    mislabelled: int
    bounds: tuple[CanaryBound, ...]
    claim: PrivacyClaim | None
    contradicted: bool | None
    sentence: str


class ImpliedEpsilon(Part):
    """The log-ratio of an attack's two rates where `fpr` of the non-members are flagged: descriptive, no bound.

    Who is a member was drawn at random, though not by logged coin flips: it is approximate, and decides nothing.
    """

    attack_id: str
    access: Access
    fpr: float
    estimate: Estimate


# --- the answer ----------------------------------------------------------------------------------------------------


class Verdict(Part):
    """The answer for one access and one family, with the reasons that decided it, most important first.

    `too_wide`: nothing but upper bounds that reach their limits keeps *cannot say* from being *nothing found*.
    """

    access: Access
    family: Family
    state: VerdictState
    sentence: str
    reasons: tuple[str, ...]
    inherited_from: Access | None = None
    auc_only: bool = False
    too_wide: bool = False


class AuditReport(Part):
    """Everything that an audit found. Every other format is made from this alone.

    At the stage "target alone" no shadow has been trained: what needs one is skipped and every verdict is open.
    """

    schema_version: str = SCHEMA_VERSION
    stage: Literal["target alone", "complete"] = "complete"
    created: datetime
    model: ModelFacts
    data: DataFacts
    plan: PlanFacts
    environment: Environment
    membership: tuple[AttackResult, ...]
    secondary_choice: SecondaryChoice | None
    exposure: tuple[ClassExposure, ...]
    record_exposure: RecordExposure = RecordExposure(status="skipped", reason="not measured")
    group_exposure: tuple[GroupExposure, ...] = ()
    output_matrix: tuple[OutputLeak, ...] = ()
    instant: InstantAnswer | None = None
    canaries: CanaryAudit | None = None
    implied_epsilon: tuple[ImpliedEpsilon, ...] = ()
    histograms: tuple[Histogram, ...]
    inversion: tuple[InversionResult, ...]
    inversion_setup: InversionSetup | None = None
    controls: tuple[ControlResult, ...]
    checks: tuple[Check, ...]
    defenses: tuple[DefenseResult, ...]
    defenses_not_planned: tuple[DefenseResult, ...] = ()
    advice: tuple[DefenseAdvice, ...] = ()
    verdicts: tuple[Verdict, ...]
    severity: Severity
    timings: tuple[Timing, ...]
    attack_timings: tuple[Timing, ...] = ()

    def verdict(self, access: Access, family: Family) -> Verdict:
        """The verdict for one access and family.

        Raises:
            KeyError: the report holds none.
        """
        for verdict in self.verdicts:
            if verdict.access is access and verdict.family is family:
                return verdict
        raise KeyError(f"no verdict for {access}, {family}")
