"""SARIF 2.1.0, for code scanning: what leaks, what is open and what failed, as results; the rest as notifications.

What came out well is no result, because readers show every result as an alert whatever its `kind`. For the same reason
"cannot say" and a rule that is inconclusive are warnings and not `kind: open`, which has to be without a level. A rule
that is waived is a suppressed note.

A result points to the checkpoint by its name, line 1: paths stay with the owner. Its fingerprint is made of the name,
the rule, the access and the attack, never of a number, so that the next audit updates an alert instead of opening
another.
"""

from __future__ import annotations

from typing import TypedDict
from urllib.parse import quote

from auditor.findings import AuditReport, Severity
from auditor.gate.ruling import Gate
from auditor.report import points, rulings, stage
from auditor.report.jsonfile import inert_json
from auditor.report.markdown import escape
from auditor.report.points import Kind, Point, Rule, State
from auditor.report.terms import TERMS
from auditor.report.text import clean, short
from auditor.threat import Access

__all__ = ["place", "render_sarif"]

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_RESULTS = 5000
_NOT_RUN = 500
_SECURITY_SEVERITY = {
    Severity.LOW: "3.0",
    Severity.MODERATE: "5.5",
    Severity.HIGH: "8.0",
    Severity.CRITICAL: "9.5",
}
_ACCESSES = {f"verdict/membership-{access}": access for access in Access}
_INVERSION = tuple(f"verdict/inversion-{access}" for access in Access)


class Text(TypedDict):
    """A message."""

    text: str


def render_sarif(report: AuditReport, gate: Gate | None = None) -> str:
    """The report, with what a policy says of it, as a SARIF log of one run.

    Raises:
        ValueError: a number in the report is not finite.
    """
    return inert_json({"$schema": _SCHEMA, "version": "2.1.0", "runs": [_run(report, gate)]})


def place(report: AuditReport) -> str:
    """The name of the checkpoint as a relative reference: what stands where other tools name a file."""
    return quote(short(report.model.name) or "model", safe="")


def _run(report: AuditReport, gate: Gate | None) -> dict[str, object]:
    found = points.of(report, gate)
    rules = {point.rule.id: point.rule for point in found}
    order = {name: index for index, name in enumerate(rules)}
    version = short(report.environment.privaudit)
    driver = {
        "name": "privaudit",
        "version": version,
        "semanticVersion": version,
        "rules": [_rule(rule, report) for rule in rules.values()],
    }
    return {
        "tool": {"driver": driver},
        "automationDetails": {"id": f"privaudit/{points.slug(report.model.name)}/"},
        "invocations": [_invocation(report, found, gate)],
        "artifacts": [
            {
                "location": {"uri": place(report)},
                "roles": ["analysisTarget"],
                "length": report.model.file_bytes,
                "hashes": {"sha-256": clean(report.model.sha256, 64)},
            }
        ],
        "results": [_result(report, one, order[one.rule.id]) for one in found if one.level != "none"][:_RESULTS],
        "properties": {
            "release": str(report.plan.release),
            "severity": str(report.severity),
            "plan": short(report.plan.digest),
            "stage": report.stage,
            **({} if gate is None else {"gate": _judged(gate)}),
        },
    }


def _judged(gate: Gate) -> dict[str, str]:
    return {
        "policy": short(gate.policy),
        "outcome": gate.outcome,
        "mode": gate.mode,
        "release": str(gate.release),
        "judgedOn": str(gate.day),
        **{note.about: clean(note.sentence) for note in gate.notes},
    }


def _rule(rule: Rule, report: AuditReport) -> dict[str, object]:
    read_on = f"Read on: {rule.page}." if rule.page else "Read on in the full report."
    properties: dict[str, object] = {"tags": ["security", "privacy", *_terms(rule)], "precision": "high"}
    if _ACCESSES.get(rule.id) is report.plan.release and (score := _SECURITY_SEVERITY.get(report.severity)):
        properties["security-severity"] = score
    return {
        "id": rule.id,
        "name": rule.title,
        "shortDescription": _text(rule.title),
        "fullDescription": _text(rule.about),
        "help": {"text": _plain(f"{rule.about} {read_on}"), "markdown": escape(f"{rule.about} {read_on}")},
        "properties": properties,
    }


def _terms(rule: Rule) -> tuple[str, ...]:
    """What others call it: MITRE ATLAS, OWASP AISVS and ML."""
    membership, inversion = TERMS
    if rule.id in _ACCESSES:
        return membership[2:5]
    return inversion[2:5] if rule.id in _INVERSION else ()


def _result(report: AuditReport, point: Point, index: int) -> dict[str, object]:
    waived = {"suppressions": [{"kind": "external", "justification": point.told}]}
    where = {"artifactLocation": {"uri": place(report), "index": 0}, "region": _LINE}
    return {
        "ruleId": point.rule.id,
        "ruleIndex": index,
        "level": point.level,
        "message": _text(point.told),
        "locations": [{"physicalLocation": where}],
        "partialFingerprints": {"primaryLocationLineHash": f"{points.fingerprint(report.model.name, point)}:1"},
        **(waived if point.state is State.WAIVED else {}),
        "properties": {"state": str(point.state), "counts": point.counts},
    }


_LINE = {"startLine": 1, "startColumn": 1, "endLine": 1, "endColumn": 1}


def _invocation(report: AuditReport, found: tuple[Point, ...], gate: Gate | None) -> dict[str, object]:
    """The run itself: what came out well, and what did not run; readers that show neither have `.md` for it."""
    well = [one.told for one in found if one.level == "none" and one.kind in {Kind.POLICY, Kind.VERDICT}]
    missing = [f"Not run: {told}" for told in points.not_run(report)[:_NOT_RUN]]
    judged = () if gate is None else rulings.notes(gate)
    told = [stage.scope(report), stage.best_of_all(report), *well, *judged, *missing]
    return {
        "executionSuccessful": True,
        "endTimeUtc": report.created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "toolExecutionNotifications": [{"level": "note", "message": _text(each)} for each in told],
    }


def _text(text: str) -> Text:
    return {"text": _plain(text)}


def _plain(text: str) -> str:
    """Text in which SARIF sees neither placeholders nor links."""
    for character in "\\[]":
        text = text.replace(character, f"\\{character}")
    return text.replace("{", "{{").replace("}", "}}")
