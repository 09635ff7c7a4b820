"""What a model card says of an audit: a section between two marks, and entries of `model-index` in the front matter.

Both are ours to write again: the audit of the next version replaces them, and whatever else the card holds stays as it
is. The entries are made by huggingface_hub, without the network. Aggregates only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from auditor.errors import InputError
from auditor.findings import AuditReport, Family, Metric
from auditor.report import pick, points, stage, wording
from auditor.report.front_matter import line_end, read_key, split, with_key
from auditor.report.markdown import banner, escape, numbers, subtitle, verdicts
from auditor.report.text import clean, count, interval, interval_name, metric_name, metric_unit, short, unit_of
from auditor.stats.estimate import Estimate

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

__all__ = ["END", "START", "render_section", "update_card"]

START = "<!-- privaudit:start -->"
END = "<!-- privaudit:end -->"

_KEY = "model-index"
_DIGITS = 64
_DATASET = "privaudit-audit-set"
_BY_HAND = "Correct it by hand, or name another file."


def render_section(report: AuditReport) -> str:
    """The section with its marks, without a line end at its end."""
    parts = (
        [START, "## Privacy audit"],
        banner(report),
        [subtitle(report), f"Audited file: sha256 {escape(clean(report.model.sha256, _DIGITS))}."],
        verdicts(report),
        numbers(report),
        [escape(stage.scope(report)), *(f"* Not run: {escape(told)}" for told in points.not_run(report))],
        [END],
    )
    return "\n\n".join("\n".join(part) for part in parts if part)


def update_card(text: str, report: AuditReport) -> str:
    """The card with this audit in it; twice gives the same as once.

    Args:
        text: The card as it is, with its front matter and line ends; empty: there is none yet.
        report: The audit.

    Raises:
        InputError: the marks do not pair, or the front matter is none that can be edited.
    """
    card, end = split(text), line_end(text)
    index = _merged(read_key(card.front, _KEY), _entry(report))
    front = with_key(card.front, _KEY, index or None, end)
    head = card.head or (f"---{end}" if front else "")
    close = card.close if card.close.endswith(("\r", "\n")) else f"---{end}" if head else ""
    body = card.body if text else f"{end}# {escape(short(report.model.name))}{end}"
    section = render_section(report).replace("\n", end)
    return f"{card.mark}{head}{front}{close}{_with_section(body, section, end)}"


def _with_section(body: str, section: str, end: str) -> str:
    """The body with the section in the place of the old one, else at its end."""
    start, stop = body.find(START), body.find(END)
    if start < 0 and stop < 0:
        gap = "" if not body.strip() or body.endswith(2 * end) else end if body.endswith(end) else 2 * end
        return f"{body}{gap}{section}{end}"
    if (body.count(START), body.count(END)) != (1, 1) or stop < start:
        raise InputError(f"The card must hold {START} and {END} once each, in this order, or neither.", _BY_HAND)
    return body[:start] + section + body[stop + len(END) :]


# --- model-index -----------------------------------------------------------------------------------------------------


def _entry(report: AuditReport) -> dict[str, object] | None:
    """This audit as an entry of `model-index`; None before anything is decided."""
    from huggingface_hub.repocard_data import eval_results_to_model_index

    results = [] if stage.is_preliminary(report) else [*_verdicts(report), *_membership(report), *_inversion(report)]
    if not results:
        return None
    found = eval_results_to_model_index(short(report.model.name) or "model", results)
    return dict(found[0])


def _merged(index: object, entry: dict[str, object] | None) -> list[object]:
    """The index with our results in the entry that has them already, else in the first, else in one of their own."""
    if index is not None and not (isinstance(index, list) and all(isinstance(one, dict) for one in index)):
        raise InputError(f"`{_KEY}` in the front matter of the card is not a list of mappings.", _BY_HAND)
    entries = [dict(one) for one in index or ()]
    home = next((one for one in entries if any(map(_is_ours, _results(one)))), entries[0] if entries else None)
    for one in entries:
        if any(map(_is_ours, _results(one))):
            one["results"] = [result for result in _results(one) if not _is_ours(result)]
    if entry is not None and home is None:
        entries.append(entry)
    elif entry is not None and home is not None:
        home["name"] = home.get("name", entry["name"]) if _results(home) else entry["name"]
        home["results"] = [*_results(home), *_results(entry)]
    return [one for one in entries if one.get("results") or one is not home]


def _results(entry: dict[str, object]) -> Sequence[object]:
    found = entry.get("results")
    return found if isinstance(found, list) else ()


def _is_ours(result: object) -> bool:
    dataset = result.get("dataset") if isinstance(result, dict) else None
    return isinstance(dataset, dict) and dataset.get("type") == _DATASET


def _verdicts(report: AuditReport) -> Iterator[EvalResult]:
    for verdict in pick.verdicts_at(report, report.plan.release):
        name = f"Verdict on {verdict.family}, release of {verdict.access}"
        yield _result(report, verdict.family, "verdict", wording.state_name(verdict.state), name)


def _membership(report: AuditReport) -> Iterator[EvalResult]:
    """The attack that carries the report, on every endpoint that n allows."""
    shown = pick.headline(report)
    if shown is None:
        return
    card = shown.attack.card
    for metric, fpr in ((Metric.TPR_AT_FPR, report.plan.tpr_fpr), (Metric.AUC, None)):
        end = pick.endpoint(shown.attack.outcome, metric, fpr or 0.0)
        if end is not None and not end.appendix:
            name = f"{metric_name(metric, fpr)} of {short(card.title)}, an attacker who sees {card.access}"
            asked = {} if fpr is None else {"fpr": fpr}
            told = f"membership_inference_{metric}"
            yield _number(report, Family.MEMBERSHIP, told, name, end.estimate, metric_unit(metric), asked)


def _inversion(report: AuditReport) -> Iterator[EvalResult]:
    best = pick.best_inversion(report)
    if best is not None:
        card, found = best.result.card, best.measurement
        over = clean(found.against or "its control")
        name = f"{best.question} excess of {short(card.title)} over {over}, an attacker who sees {card.access}"
        told = f"model_inversion_{best.question}_excess"
        yield _number(report, Family.INVERSION, told, name, found.estimate, unit_of(found), {})


def _number(
    report: AuditReport,
    family: Family,
    type_: str,
    name: str,
    estimate: Estimate,
    unit: str,
    asked: dict[str, float],
) -> EvalResult:
    """A number with its interval, in the name for readers and in the arguments for machines."""
    arguments: dict[str, object] = {
        **asked,
        "confidence": estimate.confidence,
        "interval": [_rounded(estimate.low), _rounded(estimate.high)],
        "n": {short(what): n for what, n in estimate.n.items()},
    }
    told = f"{name} ({interval_name(estimate)} {interval(estimate, unit)})"
    return _result(report, family, type_, _rounded(estimate.value), told, arguments)


def _result(
    report: AuditReport,
    family: Family,
    type_: str,
    value: str | float,
    name: str,
    arguments: dict[str, object] | None = None,
) -> EvalResult:
    from huggingface_hub import EvalResult

    return EvalResult(
        task_type="image-classification",
        task_name="Privacy audit",
        dataset_type=_DATASET,
        dataset_name=f"Audit set, {count(report.data.evaluated)} records a side",
        dataset_config=str(family),
        metric_type=type_,
        metric_value=value,
        metric_name=name.replace("\u00a0", " "),
        metric_args=arguments,
    )


def _rounded(number: float) -> float:
    """Four significant digits."""
    return float(f"{number:.4g}")
