"""JUnit XML: the audit as a test run, for the tab of tests that every CI server has.

One test case per rule of a policy, where one was asked, and per verdict, privacy claim, declared attack, control and
check. A rule that is violated fails, and so do a leak that counts under the declared release and a control or a check
that failed; an attack that crashed is an error. What is not decided, did not run or is waived is skipped, with the
reason: a test run in which nothing failed may still have decided nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from xml.etree import ElementTree as ET

from auditor.findings import AuditReport
from auditor.gate.ruling import Gate
from auditor.report import points
from auditor.report.points import Kind, Point, State
from auditor.report.text import clean, short

__all__ = ["render_junit"]

_SUITES = {
    Kind.POLICY: "policy",
    Kind.VERDICT: "verdicts",
    Kind.CLAIM: "privacy claim",
    Kind.ATTACK: "declared attacks",
    Kind.CONTROL: "controls",
    Kind.CHECK: "checks",
}


def render_junit(report: AuditReport, gate: Gate | None = None) -> str:
    """The report, with what a policy says of it, as JUnit XML, one suite per kind of statement."""
    found = points.of(report, gate)
    root = ET.Element("testsuites", {"name": f"privaudit {short(report.model.name)}", **_counts(found)})
    for kind, name in _SUITES.items():
        if some := [point for point in found if point.kind is kind]:
            root.append(_suite(report, name, some, gate if kind is Kind.POLICY else None))
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _suite(report: AuditReport, name: str, some: Sequence[Point], gate: Gate | None) -> ET.Element:
    made = report.created if gate is None else gate.judged_at.astimezone(UTC)
    moment = made.strftime("%Y-%m-%dT%H:%M:%S")
    skipped = {"skipped": str(sum(map(_is_skipped, some)))}
    suite = ET.Element("testsuite", {"name": name, "timestamp": moment, **_counts(some), **skipped})
    properties = ET.SubElement(suite, "properties")
    for key, value in (*_facts(report), *(() if gate is None else _judged(gate))):
        ET.SubElement(properties, "property", {"name": key, "value": value})
    suite.extend(_case(report, name, point) for point in some)
    return suite


def _facts(report: AuditReport) -> tuple[tuple[str, str], ...]:
    return (
        ("model", short(report.model.name)),
        ("sha256", clean(report.model.sha256, 64)),
        ("release", str(report.plan.release)),
        ("severity", str(report.severity)),
        ("stage", report.stage),
        ("plan", short(report.plan.digest)),
        ("seed", str(report.plan.seed)),
        ("privaudit", short(report.environment.privaudit)),
    )


def _judged(gate: Gate) -> tuple[tuple[str, str], ...]:
    return (
        ("policy", short(gate.policy)),
        ("gate", gate.outcome),
        ("mode", gate.mode),
        ("judged release", str(gate.release)),
        ("judged on", str(gate.day)),
        *((f"judged: {note.about}", clean(note.sentence)) for note in gate.notes),
    )


def _counts(some: Sequence[Point]) -> dict[str, str]:
    return {
        "tests": str(len(some)),
        "failures": str(sum(map(_is_failure, some))),
        "errors": str(sum(map(_is_error, some))),
    }


def _is_failure(point: Point) -> bool:
    return point.state is State.FAILED and point.counts


def _is_error(point: Point) -> bool:
    return point.state is State.BROKEN and point.counts


def _is_skipped(point: Point) -> bool:
    """Not decided, not run, waived, or about a way of release that was not declared."""
    apart = not point.counts and point.state in {State.FAILED, State.BROKEN}
    return apart or point.state in {State.OPEN, State.WAIVED}


def _case(report: AuditReport, suite: str, point: Point) -> ET.Element:
    case = ET.Element("testcase", {"name": point.rule.title, "classname": f"privaudit.{suite.replace(' ', '-')}"})
    if _is_failure(point):
        case.append(_told("failure", point, point.level))
    elif _is_error(point):
        case.append(_told("error", point, "crashed"))
    elif _is_skipped(point):
        apart = "" if point.counts else f"Does not count under release of {report.plan.release}. "
        ET.SubElement(case, "skipped", {"message": apart + point.told})
    else:
        ET.SubElement(case, "system-out").text = point.told
    return case


def _told(tag: str, point: Point, type_: str) -> ET.Element:
    element = ET.Element(tag, {"message": point.told, "type": type_})
    element.text = f"{point.rule.about} {point.rule.page}".strip()
    return element
