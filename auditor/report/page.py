"""From the findings to the page: the first page here, the evidence and the appendix next door.

The templates print a `Page` and decide nothing. HTML and PDF are made from the same one.
"""

from __future__ import annotations

from dataclasses import replace

from auditor.findings import AuditReport, Family, Verdict, VerdictState
from auditor.gate.ruling import Gate
from auditor.report import (
    appendix,
    canaries,
    defaults,
    defended,
    defenses,
    evidence,
    granularity,
    inversion,
    limits,
    membership,
    pick,
    rulings,
    stage,
    wording,
)
from auditor.report.terms import DATA_STATEMENT, GLOSSARY, METHODS, SHOWN_STATEMENT
from auditor.report.text import clean, count, date, short
from auditor.report.view import Facts, Page, Tile, VerdictLine
from auditor.threat import Access

__all__ = ["build_page"]


def build_page(report: AuditReport, gate: Gate | None = None) -> Page:
    """Turn a report, and what a policy says of it, into what the templates print."""
    return Page(
        title=short(report.model.name),
        created=date(report.created),
        created_iso=report.created.isoformat(timespec="seconds"),
        short_hash=clean(report.model.sha256, 13).rstrip("…"),
        banner=stage.banner(report),
        facts=_title_facts(report),
        tiles=tuple(_tile(report, access) for access in pick.RELEASES),
        judged=None if gate is None else rulings.judged(gate),
        numbers=stage.carrying_numbers(report),
        actions=stage.actions(report),
        scope=stage.scope(report),
        best_of_all=stage.best_of_all(report),
        not_run=_not_run(report),
        primary_endpoints=replace(membership.primary_endpoints(report), links=defaults.of("limits")),
        power_told=limits.power_told(report),
        power=limits.power(report),
        membership=membership.pictures(report),
        attacks=membership.all_attacks(report),
        secondary=membership.secondary(report),
        instant_told=stage.instant_told(report),
        instant=stage.instant(report),
        outputs=granularity.output_figure(report),
        output_table=granularity.output_table(report),
        canaries_told=canaries.told(report),
        canary_bounds=replace(canaries.bounds(report), links=defaults.of("epsilon")),
        implied=canaries.implied(report),
        exposure=membership.exposure(report),
        record_exposure=wording.record_exposure(report),
        exposed_groups=granularity.exposed_groups(report),
        inversion=inversion.section(report),
        defenses=defenses.section(report),
        controls=evidence.controls(report),
        doses=evidence.doses(report),
        checks=evidence.checks(report),
        read_as=appendix.read_as(report),
        methods=appendix.methods(report),
        unrun=appendix.unrun(report),
        interval_methods=METHODS,
        data_statement=SHOWN_STATEMENT if _shows_pictures(report) else DATA_STATEMENT,
        data_facts=appendix.data_facts(report),
        recipe_facts=appendix.recipe_facts(report),
        defaults=defaults.table(),
        default_links=defaults.by_part(),
        environment=appendix.environment(report),
        timings=appendix.timings(report),
        terms=appendix.terms(),
        glossary=GLOSSARY,
    )


def _title_facts(report: AuditReport) -> Facts:
    model, data = report.model, report.data
    wrapper = f", with {clean(model.wrapper)}" if model.wrapper else ""
    claim, policy = canaries.claim(report), limits.own_policy(report)
    return (
        (
            "Model",
            (
                f"{short(model.architecture)}, {count(model.parameters)} parameters{wrapper}; "
                f"{short(model.file_format)}, sha256 {clean(model.sha256, 13).rstrip('…')}"
            ),
        ),
        (
            "Data",
            (
                f"{count(data.members)} members, {count(data.non_members)} non-members, {count(data.public)} public; "
                f"{count(data.evaluated)} a side evaluated"
            ),
        ),
        ("Release", f"{report.plan.release} ({report.plan.release.description})"),
        ("Severity", wording.severity(report)),
        *((("Policy", policy),) if policy else ()),
        *((("Privacy claim", claim),) if claim else ()),
        *((("Pictures", _PICTURES),) if _shows_pictures(report) else ()),
        ("Date", f"{date(report.created)}, privaudit {short(report.environment.privaudit)}"),
    )


def _not_run(report: AuditReport) -> Facts:
    """What did not run and why; many inversion attacks are counted, as their section tells the reasons."""
    inverted = sum(result.status != "completed" for result in report.inversion)
    apart = Family.INVERSION if inverted > _NAMED else None
    found = [
        (wording.named(kept), clean(reason).rstrip("."))
        for cards, reason in pick.not_run_by_reason(report)
        if (kept := [card for card in cards if card.family is not apart])
    ]
    if apart:
        found.append((f"{count(inverted)} inversion attacks", "by reason in the section on inversion"))
    if undefended := sum(len(one) for one, _ in defended.unmeasured_by_reason(report)):
        many = f"{count(undefended)} defense{'s' * (undefended > 1)}"
        found.append((many, "by reason in the section on defenses"))
    return tuple(found)


_NAMED = 5
_PICTURES = "what attacks rebuilt is shown, as asked: keep this report as you keep the training data"


def _shows_pictures(report: AuditReport) -> bool:
    return any(result.gallery for result in report.inversion)


def _tile(report: AuditReport, access: Access) -> Tile:
    lines = tuple(
        VerdictLine(
            family=str(verdict.family),
            name=wording.state_name(verdict.state),
            icon=wording.state_icon(verdict.state),
            kind=_kind(verdict.state),
            note=wording.verdict_note(verdict),
            sentence=_said_once(report, verdict),
        )
        for verdict in pick.verdicts_at(report, access)
    )
    return Tile(
        title=wording.release_name(access),
        access=str(access),
        description=access.description,
        declared=access is report.plan.release,
        kind=_kind(pick.state_at(report, access)),
        lines=lines,
    )


def _said_once(report: AuditReport, verdict: Verdict) -> str:
    """The verdict's sentence, unless the tile of the next greater access says the very same."""
    above = {Access.SCORES: Access.WEIGHTS, Access.LABELS: Access.SCORES}.get(verdict.access)
    same = [
        other
        for other in report.verdicts
        if other.access is above and other.family is verdict.family and other.sentence == verdict.sentence
    ]
    return f"The same as with {above} released." if same else clean(verdict.sentence)


def _kind(state: VerdictState) -> str:
    return state.value.replace(" ", "-")
