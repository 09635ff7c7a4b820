"""What was audited, how, and where."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue, model_validator

from auditor.findings.credible import Count, Part, Probability, Seconds
from auditor.findings.words import Metric
from auditor.limits import SeverityTable
from auditor.threat import Access

__all__ = [
    "DataFacts",
    "EndpointPower",
    "Environment",
    "ModelFacts",
    "PlanFacts",
    "Preprocessing",
    "Timing",
]


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
    file_bytes: Count
    architecture: str
    architecture_evidence: str
    model_args: dict[str, JsonValue] | None = None
    head: str | None = None
    parameters: Count
    num_classes: Count
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

    members: Count
    non_members: Count
    evaluated: Count
    population: Count
    public: Count
    classes: tuple[str, ...]
    class_is_person: bool
    random_split: bool | None
    grouped: bool
    duplicates_dropped: Count
    image_shape: tuple[int, ...]
    key_fingerprint: str
    audit_set: str = ""

    @model_validator(mode="after")
    def _enough(self) -> DataFacts:
        for side, there in (("members", self.members), ("non-members", self.non_members)):
            if self.evaluated > there:
                raise ValueError(f"{self.evaluated:,} records a side were evaluated, of {there:,} {side}")
        return self


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
    fpr: Probability | None = None
    limit: Probability
    n: Count
    grouped: bool = False
    power: Probability
    level: Probability
    smallest: Probability | None
    needed: Count | None
    decided: bool
    sentence: str


class PlanFacts(Part):
    """What was decided before anything was trained.

    `default_policy`: limits and severity are the defaults. `waits_for`: the smallest budget that runs each attack and
    defense that this one did not pay for, by id.
    """

    digest: str
    budget: str
    seed: int
    release: Access
    shadows: Count
    shadow_source: Literal["trained", "given", "proxy"] = "trained"
    null_models: Count
    control_models: Count
    epochs: Count
    recipe: str
    queries: tuple[str, ...]
    primary: tuple[str, ...]
    secondary: tuple[str, ...]
    inversion: tuple[str, ...] = ()
    skipped: tuple[str, ...]
    waits_for: dict[str, str] = Field(default_factory=dict)
    auc_limit: Probability
    tpr_limit: Probability
    tpr_fpr: Probability
    family_wise_error: Probability
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
    threads_per_worker: Count
    selftest: str = "never run on this machine"


class Timing(Part):
    """Cost of one phase; the only part of a report that differs between two runs of one plan."""

    phase: str
    wall_seconds: Seconds
    cpu_seconds: Seconds
