"""`privaudit.toml`, or `[tool.privaudit]` of a pyproject.toml: what the owner's policy asks of a release.

[limits]                        # a verdict is "nothing found" only where every upper bound lies under its limit
auc = 0.60
tpr_at_fpr."0.01" = 0.05        # true positive rate at 1 % false positives

[severity]                      # a leak is this severe when a lower bound reaches either number
moderate = { tpr = 0.03, auc = 0.60 }
high = { tpr = 0.10, auc = 0.70 }
critical = { tpr = 0.50, auc = 0.90 }

What is left out has its default, from `auditor.limits`.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field

from auditor.errors import InputError
from auditor.limits import Limits, SeverityRow, SeverityTable
from auditor.records import printable
from auditor.toml_file import Section, parse_toml, settings_in

__all__ = ["LimitsSection", "Policy", "TprLimits", "read_policy"]

_SHARED_FILE = "pyproject.toml"


class TprLimits(Section):
    """Limits on the true positive rate, by the false positive rate at which it is taken."""

    at_one_percent: float = Field(default=Limits.tpr, gt=Limits.fpr, lt=1, alias="0.01")


class LimitsSection(Section):
    """What the upper bounds of the primary endpoints must stay under (DESIGN 7.8)."""

    auc: float = Field(default=Limits.auc, gt=0.5, lt=1)
    tpr_at_fpr: TprLimits = TprLimits()

    def stated(self) -> Limits:
        """The limits as verdicts take them; what a policy cannot change is as by default."""
        return Limits(auc=self.auc, tpr=self.tpr_at_fpr.at_one_percent)


class Policy(Section):
    """The whole policy; without a file, every field has its default."""

    limits: LimitsSection = LimitsSection()
    severity: SeverityTable = SeverityTable()


_TABLES: dict[str, type[BaseModel]] = {
    "": Policy,
    "limits": LimitsSection,
    "limits.tpr_at_fpr": TprLimits,
    "severity": SeverityTable,
    "severity.moderate": SeverityRow,
    "severity.high": SeverityRow,
    "severity.critical": SeverityRow,
}


def read_policy(path: Path) -> Policy:
    """Read a policy.

    Args:
        path: A file of its own, or a pyproject.toml with a table [tool.privaudit].

    Raises:
        InputError: the file cannot be read or is not TOML, has no such table, an unknown key or a value out of bounds.
    """
    content = parse_toml(path)
    if path.name != _SHARED_FILE:
        return settings_in(content, Policy, _TABLES, path)
    tools = content.get("tool")
    if not isinstance(tools, dict) or "privaudit" not in tools:
        raise InputError(f"{printable(path)} has no table [tool.privaudit].", "Add it; see docs/policy.md.")
    return settings_in(tools["privaudit"], Policy, _TABLES, path, under="tool.privaudit.")
