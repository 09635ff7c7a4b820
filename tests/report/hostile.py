"""A report in which every string was chosen by somebody who means harm."""

import json

from auditor.findings import AuditReport
from auditor.report import render_json

EVIL = (
    "<script>alert(1)</script>\n\u202e| `x` [a](javascript:alert(2)) $\\frac{1}{0}$ {{ 7*7 }} </style>]]>%0A::error::猫"
    + "A" * 10_000
)
_KEEP = frozenset(
    {
        *(
            "schema_version",
            "png",
            "created",
            "status",
            "severity",
            "state",
            "level",
            "fidelity",
            "family",
            "access",
            "metric",
        ),
        *(
            "metric",
            "role",
            "release",
            "acts_on",
            "weights",
            "inherited_from",
            "voids",
            "counts_for",
            "stage",
            "shadow_source",
            "baseline",
            "better",
            "asks",
        ),
    }
)
_UNITS_OF_A_CLAIM = {"record", "group"}


def hostile(report: AuditReport) -> AuditReport:
    """The report with `EVIL` before every free string (ids of controls keep their meaning)."""
    return AuditReport.model_validate(_poisoned(json.loads(render_json(report))))


def _poisoned(part, name=""):
    if isinstance(part, dict):
        return {key: _poisoned(value, key) for key, value in part.items()}
    if isinstance(part, list):
        return [_poisoned(value, name) for value in part]
    if isinstance(part, str) and name not in _KEEP and part not in _UNITS_OF_A_CLAIM:
        named = {"url": "javascript:alert(3)", **dict.fromkeys(("id", "defense_id", "front", "part_of"), part + EVIL)}
        return named.get(name, EVIL + part)
    return part
