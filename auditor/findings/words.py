"""The words of a report: closed lists, each member as it stands in the JSON."""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "BUDGET_NAMES",
    "LABELS_ONLY",
    "CheckLevel",
    "Family",
    "Fidelity",
    "Metric",
    "Role",
    "Severity",
    "VerdictState",
    "Void",
]

BUDGET_NAMES = ("quick", "standard", "thorough")  # each pays for more than the one before
LABELS_ONLY = "labels-only"  # the id of the defense whose release is the labels release


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
