"""The section on membership: the curve that carries the verdict, what has no low FPR, and who competed."""

import base64
from dataclasses import replace

import pytest

from auditor.findings import Completed, Metric, Role
from auditor.report import captions, membership, pick, terms
from auditor.report.endpoints import in_cell, missing
from auditor.report.webpage import _unbroken
from auditor.threat import Access
from tests.report.example import EXAMPLES, leaky


def changed(report, test, **changes):
    """The report with the outcome of every attack changed that passes a test."""
    attacks = tuple(
        one.model_copy(update={"outcome": one.outcome.model_copy(update=changes)}) if test(one) else one
        for one in report.membership
    )
    return report.model_copy(update={"membership": attacks})


def is_primary(one):
    return one.role is Role.PRIMARY and isinstance(one.outcome, Completed)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_curve_that_carries_the_verdict_is_bold_and_alone_has_a_band(name):
    report = EXAMPLES[name]()
    curves = membership._curves(report)
    (bold,) = [curve for curve in curves if curve.line.band]
    assert bold is curves[0]
    assert any(pick.headline(report).attack.card.title in told for told in bold.names)
    assert bold.roc.low
    assert all(curve.line.width < bold.line.width / 2 for curve in curves[1:])


def test_equal_curves_are_drawn_once_under_every_name():
    report = leaky()
    first = next(one for one in report.membership if is_primary(one) and pick.has_curve(one, report))
    same = changed(report, is_primary, roc=first.outcome.roc)
    (curve,) = [one for one in membership._curves(same) if one.line.band]
    assert len(curve.names) == sum(is_primary(one) and pick.has_curve(one, same) for one in same.membership) > 1
    picture = membership.pictures(same)[0]
    drawn = base64.b64decode(picture.uri.partition("base64,")[2]).decode()
    assert all(name in drawn for name in curve.names)
    assert [row.cells[0] for row in picture.table.rows][: len(curve.names)] == list(curve.names)


def test_what_has_no_low_fpr_says_why():
    report = leaky()
    auc = next(
        pick.endpoint(one.outcome, Metric.AUC, 0.01) for one in report.membership if isinstance(one.outcome, Completed)
    )
    few = auc.model_copy(update={"estimate": replace(auc.estimate, n={"members": 99, "non-members": 99})})
    assert missing(None, 0.01) == "not measured"
    assert missing(few, 0.01) == "n too small"
    assert in_cell(None, missing(auc, 0.01)) == "too coarse"
    assert "Too coarse: " in captions.ATTACKS
    assert "Too coarse: " in captions.OUTPUTS


def test_who_did_not_compete_is_named_with_the_reason():
    report, told = leaky(), "Not among them"
    assert told not in membership.secondary(report)
    secondary = [one for one in report.membership if one.role is Role.SECONDARY and isinstance(one.outcome, Completed)]
    sampled, oracle = secondary[:2]
    report = changed(report, lambda one: one is sampled, evaluated_on="the reporting half of a sample of 100 records")
    card = oracle.card.model_copy(update={"needs": ("true membership of half of the records",)})
    report = report.model_copy(
        update={
            "membership": tuple(
                one.model_copy(update={"card": card}) if one is oracle else one for one in report.membership
            )
        }
    )
    words = membership.secondary(report).partition(told)[2]
    assert f"{sampled.card.title} (asked of a sample of the records only)" in words
    assert f"{oracle.card.title} (given true membership of half of the records" in words


def test_exposure_names_its_attack_and_what_it_sees():
    report = leaky()
    assert "(primary, weights)" in membership.exposure(report).caption
    plan = report.plan.model_copy(update={"release": Access.SCORES})
    less = membership.exposure(report.model_copy(update={"plan": plan}))
    assert "(primary, weights, which sees more than scores)" in less.caption
    assert "(primary, weights, which sees more than scores)" in less.alt


def test_options_and_intervals_are_not_parted_and_stay_escaped():
    assert _unbroken("<b> at 5 % (0.48–0.53): from --budget quick") == (
        '&lt;b&gt; at 5\u00a0% (<span class="whole">0.48–0.53</span>): from <span class="whole">--budget</span> quick'
    )


def drawn(picture):
    return base64.b64decode(picture.uri.partition("base64,")[2]).decode()


def test_the_chart_of_attacks_marks_chance_and_controls_where_their_number_is_known():
    report = leaky()
    tpr, auc = (membership._panel(report, metric).marks for metric in (Metric.TPR_AT_FPR, Metric.AUC))
    assert [mark.label for mark in tpr] == ["Owner-label null"]
    assert [mark.label for mark in auc] == ["Blind classifier", "Owner-label null"]
    found = membership.all_attacks(report)
    assert "Owner-label null" in drawn(found)
    assert "Controls: Blind classifier: AUC 0.51 (" in found.alt
    assert captions.CONTROLS in found.caption
    assert captions.CONTROLS_AUC_ONLY not in found.caption


def test_a_null_of_one_access_is_marked_there_and_on_auc_alone():
    report = leaky()
    null = pick.control(report, "null")
    named = tuple(
        one.model_copy(update={"name": f"AUC on models that never saw the record ({access})"})
        for one in null.measurements[1:]
        for access in ("scores", "weights")
    )
    controls = tuple(one.model_copy(update={"measurements": named}) if one is null else one for one in report.controls)
    report = report.model_copy(update={"controls": controls})
    assert [mark.group for mark in membership._panel(report, Metric.AUC).marks] == ["", "scores", "weights"]
    assert captions.CONTROLS_AUC_ONLY in membership.all_attacks(report).caption
    bare = membership.all_attacks(report.model_copy(update={"controls": ()}))
    assert captions.CONTROLS not in bare.caption
    assert "Controls" not in bare.alt


def test_what_is_too_few_is_starred_in_chart_and_table_and_is_not_called_the_highest():
    report = leaky()
    few = report.model_copy(
        update={"membership": tuple(starred(one) if one.role is Role.SECONDARY else one for one in report.membership)}
    )
    found = membership.all_attacks(few)
    assert drawn(found).count(">*</text>") == sum(str(row.cells[3]).endswith(" *") for row in found.table.rows) > 1
    assert ">*</text>" not in drawn(membership.all_attacks(report))
    assert "Highest with enough records: LiRA on logits" in found.alt
    (told,) = [text for name, text in terms.METHODS if name == "TPR at low FPR"]
    assert "starred" in told
    assert "appendix only" not in told


def starred(result):
    if not isinstance(result.outcome, Completed):
        return result
    ends = tuple(
        end.model_copy(update={"appendix": end.metric is Metric.TPR_AT_FPR}) for end in result.outcome.endpoints
    )
    return result.model_copy(update={"outcome": result.outcome.model_copy(update={"endpoints": ends})})
