"""privaudit: can an outsider tell who was in the training set of this classifier, or rebuild what they looked like?

The public names are loaded on first use, so that `import auditor` costs nothing and rendering a report needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from auditor.audit import AuditOptions, plan_audit
    from auditor.audit import audit as run_audit
    from auditor.errors import InputError, PrivauditError
    from auditor.findings import AuditReport, Severity
    from auditor.policy import Gate, judge
    from auditor.report import load_json as load_report
    from auditor.report import write_outputs
    from auditor.splits import Splits, load_splits
    from auditor.stats.estimate import Estimate
    from auditor.target import Target, load_target
    from auditor.threat import Access

    __version__: str

__all__ = [
    "Access",
    "AuditOptions",
    "AuditReport",
    "Estimate",
    "Gate",
    "InputError",
    "PrivauditError",
    "Severity",
    "Splits",
    "Target",
    "__version__",
    "judge",
    "load_report",
    "load_splits",
    "load_target",
    "plan_audit",
    "run_audit",
    "write_outputs",
]

# `auditor.audit` names the module, so its function goes by `run_audit` here.
_HOMES = {
    "Access": "auditor.threat:Access",
    "AuditOptions": "auditor.audit:AuditOptions",
    "AuditReport": "auditor.findings:AuditReport",
    "Estimate": "auditor.stats.estimate:Estimate",
    "Gate": "auditor.policy:Gate",
    "InputError": "auditor.errors:InputError",
    "PrivauditError": "auditor.errors:PrivauditError",
    "Severity": "auditor.findings:Severity",
    "Splits": "auditor.splits:Splits",
    "Target": "auditor.target:Target",
    "judge": "auditor.policy:judge",
    "load_report": "auditor.report:load_json",
    "load_splits": "auditor.splits:load_splits",
    "load_target": "auditor.target:load_target",
    "plan_audit": "auditor.audit:plan_audit",
    "run_audit": "auditor.audit:audit",
    "write_outputs": "auditor.report:write_outputs",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        return import_module("importlib.metadata").version("privaudit")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
