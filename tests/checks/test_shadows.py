from dataclasses import replace
from importlib.metadata import version

from auditor.battery.plan import Plan, software
from auditor.checks.shadows import stale_shadows
from auditor.findings import CheckLevel
from tests.checks.subjects import sound


def test_a_plan_of_other_versions_is_told_with_both():
    then = Plan.model_construct(privaudit="0.0.9", torch="2.6.0").software
    check = stale_shadows(replace(sound(), planned_with=then, running=software()))
    assert (check.level, check.voids) == (CheckLevel.WARN, ())
    assert "privaudit 0.0.9 with torch 2.6.0" in check.sentence
    assert f"torch {version('torch')} runs now" in check.sentence
