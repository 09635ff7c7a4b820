"""What the evidence was held against, and what so many records can decide, in every form of the report."""

import re

import pytest

from auditor.findings import Metric, Severity, Void
from auditor.limits import SeverityRow, SeverityTable
from auditor.report import limits, wording
from auditor.report.markdown import render_markdown
from auditor.report.webpage import render_html
from tests.report.example import confounded, leaky, well_behaved

OWN = {
    "auc_limit": 0.625,
    "tpr_limit": 0.125,
    "severity": SeverityTable(high=SeverityRow(tpr=0.25, auc=0.75)),
    "default_policy": False,
}


def planned(report, **changes):
    return report.model_copy(update={"plan": report.plan.model_copy(update=changes)})


def text_of(page):
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())


def test_limits_and_severity_are_told_with_whose_they_are():
    usual, own = (dict(limits.facts(report)) for report in (leaky(), planned(leaky(), **OWN)))
    assert usual["Limits"] == "AUC 0.60, TPR 5\u00a0% at 1\u00a0% FPR; the defaults"
    assert own["Limits"] == "AUC 0.625, TPR 12.5\u00a0% at 1\u00a0% FPR; the owner's, not the defaults"
    assert "high from AUC 0.70 or TPR 10\u00a0%" in usual["Severity"]
    assert "high from AUC 0.75 or TPR 25\u00a0%" in own["Severity"]


@pytest.mark.parametrize("render", [render_html, render_markdown])
def test_a_policy_of_the_owner_stands_where_nobody_overlooks_it(render):
    first = text_of(render(planned(leaky(), **OWN))).partition("Contents")[0]
    assert "not the defaults of privaudit" in first
    assert "TPR 12.5 % at 1 % FPR" in first
    assert "not the defaults" not in render(leaky())


def test_the_severity_says_of_what_it_is_and_names_its_row():
    told = wording.severity(leaky()).replace("\u00a0", " ")
    assert told == "high: the interval of the membership leak lies above AUC 0.70 or TPR 10 % at 1 % FPR"
    assert wording.severity(planned(leaky(), **OWN)).endswith(", by the table of the policy")
    low = leaky().model_copy(update={"severity": Severity.LOW})
    assert "does not lie above AUC 0.60" in wording.severity(low)
    assert wording.severity(well_behaved()) == "none: no membership leak was found"
    assert wording.severity(confounded()) == "not determined: membership is not answered"


def test_limits_are_printed_as_declared():
    page = text_of(render_html(planned(well_behaved(), auc_limit=0.625, tpr_limit=0.125)))
    assert "AUC 0.625, TPR 12.5 % at 1 % FPR" in page


def test_power_is_a_table_that_says_it_is_computed():
    table = limits.power(leaky())
    assert table.caption.startswith("Computed, not measured")
    assert [row.cells for row in table.rows] == [
        ("AUC", "5,000 records", "0.52", "0.60", "175", "yes"),
        ("TPR at 1\u00a0% FPR", "5,000 records", "1.8\u00a0%", "5\u00a0%", "1,000", "yes"),
    ]
    assert "What this number of records can show" in text_of(render_html(leaky()))
    assert "What this number of records" not in render_html(planned(leaky(), power=()))


def test_what_cannot_be_decided_stands_out():
    auc, tpr = leaky().plan.power
    few = tpr.model_copy(
        update={"n": 60, "smallest": None, "decided": False, "sentence": "TPR cannot be decided with 60 records."}
    )
    grouped = few.model_copy(update={"needed": None, "grouped": True})
    report = planned(leaky(), power=(auc, few))
    assert [row.mark for row in limits.power(report).rows] == ["", "warn"]
    assert limits.power(report).rows[1].cells[1:] == ("60 records", "nothing", "5\u00a0%", "1,000", "no")
    assert limits.power(planned(report, power=(grouped,))).rows[0].cells[1:5:3] == ("60 groups", "–")
    assert "rough guide" in limits.power_told(planned(report, power=(grouped,)))
    assert "TPR cannot be decided with 60 records." in render_markdown(report)
    assert "cannot be decided" not in render_markdown(leaky())


def test_a_check_that_voids_power_is_named_beside_it():
    report = leaky()
    assert "Taken away" not in limits.power_told(report)
    recipe = report.checks[0].model_copy(update={"title": "Recipe", "level": "fail", "voids": (Void.POWER,)})
    assert "Taken away by: Recipe" in limits.power_told(report.model_copy(update={"checks": (recipe,)}))


def test_a_preliminary_report_has_its_power_too():
    early = leaky().model_copy(update={"stage": "target alone"})
    assert "What this number of records can show" in render_html(early)
    assert {one.metric for one in early.plan.power} == set(Metric)
