"""A CycloneDX 1.7 bill of materials with the model and its card: what an inventory of models keeps of an audit.

Metrics are strings in that format: plain decimals here, each with its interval, so that an inventory can compare them.
Aggregates only, and no address: the report itself stays where its owner keeps it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from uuid import NAMESPACE_OID, uuid5

from auditor.findings import AttackResult, AuditReport, Completed, Endpoint, Metric, Role, VerdictState
from auditor.report import pick, points, stage, wording
from auditor.report.jsonfile import inert_json
from auditor.report.text import clean, count, counts, level, listing, metric_name, short, unit_of
from auditor.stats.estimate import Estimate

__all__ = ["render_bom"]

_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAMED = 200
_LONGEST = 1500


def render_bom(report: AuditReport) -> str:
    """The audited model as a component with a model card.

    Raises:
        ValueError: a number in the report is not finite.
    """
    identity = f"{report.model.sha256} {report.plan.digest} {report.created.isoformat()}"
    version = short(report.environment.privaudit)
    return inert_json(
        {
            "$schema": "http://cyclonedx.org/schema/bom-1.7.schema.json",
            "bomFormat": "CycloneDX",
            "specVersion": "1.7",
            "serialNumber": f"urn:uuid:{uuid5(NAMESPACE_OID, identity.encode('utf-8', 'replace').decode())}",
            "version": 1,
            "metadata": {
                "timestamp": report.created.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "tools": {"components": [{"type": "application", "name": "privaudit", "version": version}]},
            },
            "components": [_model(report)],
        }
    )


def _model(report: AuditReport) -> dict[str, object]:
    model = report.model
    hashes = [{"alg": "SHA-256", "content": model.sha256}] if _SHA256.fullmatch(model.sha256) else []
    return {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": short(model.name) or "model",
        **({"hashes": hashes} if hashes else {}),
        "modelCard": {
            "modelParameters": _parameters(report),
            "quantitativeAnalysis": {"performanceMetrics": [*_membership(report), *_others(report)]},
            "considerations": _considerations(report),
        },
        "properties": [{"name": f"privaudit:{name}", "value": value} for name, value in _facts(report)],
    }


def _parameters(report: AuditReport) -> dict[str, object]:
    model, data = report.model, report.data
    people = {"sensitiveData": ["classes are persons"]} if data.class_is_person else {}
    size = " x ".join(map(str, model.preprocessing.input_size))
    return {
        "approach": {"type": "supervised"},
        "task": "image classification",
        "modelArchitecture": short(model.architecture),
        "datasets": [
            {"type": "dataset", "name": name, "description": f"{count(n)} records", **people}
            for name, n in (
                ("training set (members)", data.members),
                ("non-members", data.non_members),
                ("population", data.population),
                ("public", data.public),
            )
            if n
        ],
        "inputs": [{"format": f"float32, {size}"}],
        "outputs": [{"format": f"{count(model.num_classes)} classes"}],
    }


def _facts(report: AuditReport) -> tuple[tuple[str, str], ...]:
    verdicts = ((f"verdict:{one.family}:{one.access}", str(one.state)) for one in report.verdicts)
    return (
        ("release", str(report.plan.release)),
        ("severity", str(report.severity)),
        ("stage", report.stage),
        ("plan", short(report.plan.digest)),
        ("seed", str(report.plan.seed)),
        ("parameters", str(report.model.parameters)),
        *verdicts,
    )


# --- numbers ---------------------------------------------------------------------------------------------------------


def _membership(report: AuditReport) -> Iterator[dict[str, object]]:
    """What the declared attacks reached, and the best of the others where it was not chosen."""
    for result in report.membership:
        if result.role is Role.PRIMARY and isinstance(result.outcome, Completed):
            yield from (_endpoint(result, end) for end in result.outcome.endpoints if not end.appendix)
    if choice := report.secondary_at(report.plan.release):
        titles = {result.card.id: result.card.title for result in report.membership}
        title = short(titles.get(choice.attack_id, choice.attack_id))
        what = f"the best of {count(choice.chosen_from)} secondary attacks, {title}, on the half it was not chosen on"
        yield _metric(_membership_name(choice.metric, choice.fpr), what, choice.reported_value)


def _endpoint(result: AttackResult, end: Endpoint) -> dict[str, object]:
    what = f"{short(result.card.title)}, an attacker who sees {result.card.access}"
    return _metric(_membership_name(end.metric, end.fpr), what, end.estimate)


def _membership_name(metric: Metric, fpr: float | None) -> str:
    return f"membership inference, {metric_name(metric, fpr)}"


def _others(report: AuditReport) -> Iterator[dict[str, object]]:
    """Inversion by its best attack, and what the controls measured."""
    if best := pick.best_inversion(report):
        card, found = best.result.card, best.measurement
        what = f"{short(card.title)}, an attacker who sees {card.access}, over {clean(found.against or 'its control')}"
        yield _metric(f"model inversion, {best.question} excess", what, found.estimate, unit_of(found))
    for control in report.controls:
        for found in control.measurements:
            name = f"control: {short(control.title)}, {clean(found.name)}"
            yield _metric(name, control.status, found.estimate, unit_of(found))


def _metric(name: str, what: str, estimate: Estimate, unit: str = "") -> dict[str, object]:
    scale = f", in {clean(unit)}" if unit not in {"", "share", "points"} else ""
    return {
        "type": _spaced(name),
        "value": _decimal(estimate.value),
        "slice": _spaced(f"{what}; {counts(estimate.n)}; {level(estimate.confidence)} interval{scale}"),
        "confidenceInterval": {"lowerBound": _decimal(estimate.low), "upperBound": _decimal(estimate.high)},
    }


def _decimal(number: float) -> str:
    """Four significant digits; shares of 1, not percent."""
    return f"{number:.4g}"


def _spaced(text: str) -> str:
    """One bounded line with ordinary spaces only."""
    return clean(text, _LONGEST).replace("\u00a0", " ")


# --- words -----------------------------------------------------------------------------------------------------------


def _considerations(report: AuditReport) -> dict[str, object]:
    missing = [f"Not run: {told}" for told in points.not_run(report)[:_NAMED]]
    limitations = [stage.scope(report), stage.best_of_all(report), *missing]
    tradeoffs = [
        f"{short(defense.card.title)}: {listing([wording.measured(cost) for cost in defense.costs])}"
        for defense in report.defenses
        if defense.status == "completed" and defense.costs
    ]
    return {
        "technicalLimitations": [_spaced(one) for one in limitations if one],
        "performanceTradeoffs": [_spaced(one) for one in tradeoffs],
        "ethicalConsiderations": [
            {"name": _spaced(name), "mitigationStrategy": _spaced(_strategy(report))} for name in _risks(report)
        ],
    }


def _risks(report: AuditReport) -> Iterator[str]:
    """What was found, or could not be ruled out, for an attacker whom the declared release lets in."""
    for verdict in report.verdicts:
        if verdict.state is not VerdictState.NOTHING_FOUND and report.plan.release.includes(verdict.access):
            name = wording.state_name(verdict.state)
            yield f"{verdict.family}, release of {verdict.access}: {name}. {clean(verdict.sentence)}"


def _strategy(report: AuditReport) -> str:
    return " ".join(f"{one.title}. {one.effect} {one.command}".strip() for one in stage.actions(report))
