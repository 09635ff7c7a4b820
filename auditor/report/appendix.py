"""The appendix: attack by attack, the data, the recipe, the machine, and the words of others for the same things."""

from __future__ import annotations

import json

from auditor.findings import (
    AttackCard,
    AuditReport,
    Completed,
    Endpoint,
    Failed,
    ModelFacts,
    Skipped,
)
from auditor.queries import describe
from auditor.report import limits, wording
from auditor.report.terms import TERMS
from auditor.report.text import (
    cell,
    clean,
    count,
    counts,
    interval_name,
    link,
    metric_name,
    metric_unit,
    p_value,
    seconds,
    short,
)
from auditor.report.view import Facts, Method, Row, Table, Unrun
from auditor.threat import Access

__all__ = ["data_facts", "environment", "methods", "read_as", "recipe_facts", "terms", "timings", "unrun"]

_SHADOW_SOURCES = {
    "trained": "of {} epochs",
    "given": "trained by the owner",
    "proxy": "frozen-feature proxies of {} epochs",
}


def read_as(report: AuditReport) -> Facts:
    """What all attacks have in common, so that none of them repeats it."""
    seen = [result.card.access for result in report.membership]
    ways = tuple(f"{access}: {access.description}" for access in Access if access in seen)
    facts: Facts = (("Access", ways), ("Intervals", tuple(_methods_of(report).values())))
    return tuple((name, told) for name, told in facts if told)


def methods(report: AuditReport) -> tuple[Method, ...]:
    """Every attack that ran: what it is, was given, and what became of it."""
    told = _methods_of(report)
    found = [
        _method(result.card, str(result.role), _outcome(result.outcome, told, tested=report.stage == "complete"))
        for result in report.membership
        if isinstance(result.outcome, Completed)
    ]
    for result in report.inversion:
        if result.status == "completed":
            asked = f", {count(result.queries_per_class)} queries per class" if result.queries_per_class else ""
            found.append(_method(result.card, "inversion", (f"ran on {count(result.classes)} classes{asked}",)))
    return tuple(found)


def _methods_of(report: AuditReport) -> dict[str, str]:
    """By metric, how the intervals of its endpoints were made; not there where attacks differ."""
    made: dict[str, set[str]] = {}
    for result in report.membership:
        if isinstance(result.outcome, Completed):
            for end in result.outcome.endpoints:
                made.setdefault(_metric(end), set()).add(_made(end))
    return {name: f"{name}: {only}" for name, (only, *others) in made.items() if not others}


def _metric(end: Endpoint) -> str:
    return metric_name(end.metric, end.fpr)


def _made(end: Endpoint) -> str:
    return f"{clean(end.estimate.method)}, {interval_name(end.estimate)}"


def unrun(report: AuditReport) -> tuple[Unrun, ...]:
    """The attacks that did not run, in a line each, membership first."""
    found = []
    for result in report.membership:
        match result.outcome:
            case Skipped(reason=reason):
                found.append(_unrun(result.card, reason))
            case Failed(error=error):
                found.append(_unrun(result.card, f"failed: {error}"))
    found += [
        _unrun(result.card, f"{'failed: ' if result.status == 'failed' else ''}{result.reason}")
        for result in report.inversion
        if result.status != "completed"
    ]
    return tuple(found)


def _unrun(card: AttackCard, reason: str) -> Unrun:
    told = clean(reason).rstrip(".")
    return Unrun(clean(card.title), short(card.id), clean(card.paper.citation), link(card.paper.url), told)


def _outcome(done: Completed, told: dict[str, str], *, tested: bool) -> tuple[str, ...]:
    asked = "1 query" if done.queries_per_record == 1 else f"{count(done.queries_per_record)} queries"
    where = f"{clean(done.evaluated_on)}, {asked} per record"
    sizes = list(dict.fromkeys(counts(end.estimate.n) for end in done.endpoints))
    ends = tuple(_endpoint_told(end, told, n=len(sizes) > 1, tested=tested) for end in done.endpoints)
    return (*ends, f"{sizes[0]}: {where}" if len(sizes) == 1 else where)


def _endpoint_told(end: Endpoint, told: dict[str, str], *, n: bool, tested: bool) -> str:
    """An endpoint in a line; its p only once every test of the family is there."""
    name, p = _metric(end), p_value(end.p_value)
    parts = (
        f"{name} {cell(end.estimate, metric_unit(end.metric))}",
        counts(end.estimate.n) if n else "",
        (f"p {p}" if p.startswith("<") else f"p = {p}") if tested else "",
        "" if name in told else _made(end),
        "n too small for a headline" if end.appendix else "",
    )
    return ", ".join(part for part in parts if part)


def _method(card: AttackCard, role: str, outcome: tuple[str, ...]) -> Method:
    facts: Facts = (
        ("Access", f"{card.access}; {role}"),
        ("Needs", wording.needs(card)),
        ("Score", clean(card.formula)),
        ("Settings", wording.settings(card.settings)),
        ("Fidelity", wording.fidelity(card)),
        ("Result", outcome),
    )
    kept = tuple((name, told) for name, told in facts if told)
    return Method(clean(card.title), short(card.id), clean(card.paper.citation), link(card.paper.url), kept)


def data_facts(report: AuditReport) -> Facts:
    """The owner's splits in counts."""
    data = report.data
    random = {True: "yes", False: "no", None: "not stated"}[data.random_split]
    return (
        ("Members", count(data.members)),
        ("Non-members", count(data.non_members)),
        ("Evaluated", f"{count(data.evaluated)} a side"),
        ("Population", count(data.population)),
        ("Public", count(data.public)),
        ("Classes", count(len(data.classes)) + (", each a person" if data.class_is_person else "")),
        ("Random split", random),
        ("Groups", "yes" if data.grouped else "no"),
        ("Duplicates dropped", count(data.duplicates_dropped)),
        ("Record shape", " × ".join(count(size) for size in data.image_shape)),
        ("Key fingerprint", short(data.key_fingerprint)),
    )


def recipe_facts(report: AuditReport) -> Facts:
    """What was planned, and how shadows were trained."""
    plan, prep = report.plan, report.model.preprocessing
    mean, std = (" ".join(f"{number:g}" for number in numbers) for numbers in (prep.mean, prep.std))
    size, scaling = " × ".join(map(count, prep.input_size)), f"{clean(prep.interpolation)}, crop {prep.crop_pct:g}"
    return (
        ("Budget", short(plan.budget)),
        ("Shadow models", f"{count(plan.shadows)}, {_SHADOW_SOURCES[plan.shadow_source].format(count(plan.epochs))}"),
        ("Null and control models", f"{count(plan.null_models)} and {count(plan.control_models)}"),
        ("Recipe", clean(plan.recipe)),
        ("Queries", clean(describe(plan.queries))),
        *limits.facts(report),
        ("Preprocessing", f"{size}; mean {mean}; std {std}; {scaling}; from {clean(prep.source)}"),
        ("Architecture", clean(report.model.architecture_evidence)),
        *_network(report.model),
    )


def _network(model: ModelFacts) -> Facts:
    """How the network was built, where the report tells."""
    known = model.model_args is not None and model.head is not None
    arguments = json.dumps(model.model_args, sort_keys=True)
    return (("Arguments", clean(arguments)), ("Last layer", clean(model.head or ""))) if known else ()


def environment(report: AuditReport) -> Facts:
    """Where it ran, and the hashes that bind the report to its inputs."""
    env, plan, model = report.environment, report.plan, report.model
    versions = f"privaudit {env.privaudit}, Python {env.python}, torch {env.torch}, timm {env.timm}, NumPy {env.numpy}"
    return (
        ("Made", report.created.isoformat(timespec="seconds")),
        ("Versions", clean(versions)),
        ("Machine", clean(f"{env.platform}, {env.machine}, {env.device}, {env.threads_per_worker} threads per worker")),
        ("Self-test", clean(env.selftest)),
        ("Seed", str(plan.seed)),
        ("Weights file", f"sha256 {clean(model.sha256)}, {count(model.file_bytes)} bytes, {model.weights} weights"),
        ("Plan", f"digest {clean(plan.digest)}"),
        ("Report schema", short(report.schema_version)),
    )


def timings(report: AuditReport) -> Table:
    """What each phase cost."""
    rows = tuple(
        Row((clean(timing.phase), seconds(timing.wall_seconds), seconds(timing.cpu_seconds)))
        for timing in report.timings
    )
    return Table("Timings", ("Phase", "Wall clock", "CPU"), rows, frozenset({1, 2}))


def terms() -> Table:
    """The same two questions in the vocabularies of others."""
    head = (
        "This report", "NIST AI 100-2", "MITRE ATLAS", "OWASP AISVS", "OWASP ML Top 10", "EDPB Opinion 28/2024",
    )  # fmt: skip
    return Table("What others call the two questions of this report", head, tuple(Row(cells) for cells in TERMS))
