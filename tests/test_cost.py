"""What a plan costs: the arithmetic of the estimate, --max-time, and the plans that come of it."""

import json

import pytest

from auditor import cli, planning
from auditor.audit import AuditOptions, audit
from auditor.battery import MEMBERSHIP
from auditor.battery.plan import GivenFacts
from auditor.compute import RunFolder
from auditor.controls.nulls import instrument_null
from auditor.controls.planted import planted_control
from auditor.cost import price
from auditor.cost.price import Cost, Item, Spent, spoken
from auditor.errors import InputError
from auditor.findings import Family, Role, VerdictState
from auditor.intake import open_inputs
from auditor.limits import Limits
from auditor.membership.measure import run_attack
from auditor.planning import fresh
from auditor.report import write_outputs
from auditor.threat import Access
from tests.digits import parts, trained_weights, write_splits
from tests.worlds import attack, world

SHADOWS = Item("train shadows", "shadows", Spent(10.0, 20.0), 16, spread=True, per_shadow=True)
CONTROLS = Item("controls and checks", "controls", Spent(5.0, 6.0))
FEW = ("gap", "loss", "rmia", "lira-scores", "lira-weights", "merlin")
COST = Cost((SHADOWS, CONTROLS), workers=3)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cost")
    members, others, population = parts(100, 100, 200)
    trained_weights(folder, *members)
    write_splits(folder / "splits", members, others, population)
    return folder


def options(place, **changes):
    return AuditOptions(
        **{
            "checkpoint": place / "digits.safetensors",
            "data": place / "splits",
            "arch": f"{place / 'network.py'}:network",
            "budget": "quick",
            "device": "cpu",
            "workers": 1,
            **changes,
        }
    )


def settle(asked, folder):
    target, splits = open_inputs(asked.checkpoint, asked.data, arch=asked.arch, device="cpu", trust=False)
    return planning.settle_plan(asked, target, splits, folder)


def ten_seconds_a_shadow(plan):
    return Cost((Item("train shadows", "shadows", Spent(1.0, 10.0), plan.shadows, per_shadow=True),), workers=1)


@pytest.fixture
def costs(monkeypatch):
    """Trials that are never run: each shadow takes 10 s, the rest none; counts how often costs are asked for."""
    asked = []

    def known(plan, audit_set, public, target, workers):
        asked.append(plan)
        return ten_seconds_a_shadow(plan)

    monkeypatch.setattr(fresh, "cost_of", known)
    return asked


def test_workers_share_what_can_be_shared_and_pieces_are_not_cut():
    assert COST.cpu_seconds == 165
    assert COST.wall_seconds - Cost((), 3).wall_seconds == 6 * 20 + 6
    assert COST.by_name() == {"shadows": 160, "controls": 5}
    assert COST.by_phase() == {"train shadows": 160, "controls and checks": 5}
    assert COST.with_shadows(4).by_name() == {"shadows": 40, "controls": 5}


@pytest.mark.parametrize(("rounds", "shadows"), [(6, 16), (5, 14), (4, 12), (3, 8), (2, 6)])
def test_as_many_shadows_as_fit_even_in_number(rounds, shadows):
    seconds = Cost((CONTROLS,), 3).wall_seconds + 20 * rounds
    assert COST.shadows_within(seconds, most=16) == shadows


def test_where_not_even_four_shadows_fit_the_error_says_what_would():
    with pytest.raises(InputError, match=r"4 shadows takes about 66 s .*--max-time 2m"):
        COST.shadows_within(30, most=16)


@pytest.mark.parametrize(("seconds", "said"), [(0.99, "< 1 s"), (1.2, "1 s"), (12.4, "12 s"), (12345.0, "12,300 s")])
def test_seconds_are_said_as_far_as_they_are_known(seconds, said):
    assert spoken(seconds) == said


@pytest.mark.parametrize("full", [3, 40, 1000])
def test_a_cost_that_grows_by_a_line_is_carried_on_exactly(monkeypatch, full):
    monkeypatch.setattr(price, "timed", lambda run, part: Spent(2.0 + 0.5 * part, 4.0 + part))
    line = price.line_of(None, int, least=8, most=40)
    assert line.at(full).cpu == pytest.approx(2.0 + 0.5 * full)
    assert line.at(full).wall == pytest.approx(4.0 + full)


def test_what_no_second_trial_is_there_for_is_in_proportion(monkeypatch):
    monkeypatch.setattr(price, "timed", lambda run, part: Spent(2.0, 3.0))
    assert price.line_of(None, int, least=8, most=5).at(10) == Spent(4.0, 6.0)


def test_every_planned_part_has_a_price(place):
    target, splits = open_inputs(
        place / "digits.safetensors",
        place / "splits",
        arch=f"{place / 'network.py'}:network",
        device="cpu",
        trust=False,
    )
    plan, design = planning.settle_plan(options(place, attacks=("gap", "lira-scores", "merlin")), target, splits, None)
    told = planning.preview(plan, design, target, workers=2)
    names = told.cost.by_name()
    assert names.keys() >= {"shadows", "null models", "control model", "controls", "probe merlin", "purifier"}
    assert names.keys() >= {"gap", "lira-scores", "merlin"}
    assert names["shadows"] > names["null models"] > 0
    assert names["probe merlin"] > 0
    assert "after probe merlin" in told.describe()
    assert "with 2 workers" in told.describe()


@pytest.mark.parametrize(
    ("said", "seconds"), [("45m", 2700), ("90s", 90), ("2h", 7200), ("1h30m", 5400), ("1h1s", 3601)]
)
def test_a_length_of_time_is_read(place, costs, capsys, said, seconds):
    assert _plan(place, said) == 0
    assert json.loads(capsys.readouterr().out)["max_time"] == seconds


@pytest.mark.parametrize("said", ["", "0m", "45", "m", "-5m", "1m1h", "1.5h", "٣m", "1 h", "30s", "99999h"])
def test_what_is_no_length_of_time_or_too_short_is_refused(place, costs, said):
    assert _plan(place, said) == 2


def _plan(place, max_time):
    arch, data = f"{place / 'network.py'}:network", str(place / "splits")
    asked = ["--data", data, "--arch", arch, "--budget", "quick", "--device", "cpu", "--max-time", max_time, "--json"]
    return cli.main(["plan", str(place / "digits.safetensors"), *asked])


def test_a_replayed_plan_keeps_its_shadows_and_times_nothing(place, costs, tmp_path):
    folder = RunFolder.create(tmp_path / "run")
    first, design = settle(options(place, max_time=88), folder)
    assert (first.shadows, first.max_time, len(design.inclusion)) == (6, 88, 6)
    again, same = settle(options(place, max_time=88), folder)
    silent, _ = settle(options(place), folder)
    assert first == again == silent
    assert same.digest() == design.digest()
    assert len(costs) == 1
    with pytest.raises(InputError, match="another --max-time"):
        settle(options(place, max_time=89), folder)


def test_more_time_than_needed_changes_nothing_but_the_note(place, costs):
    plain, timed = settle(options(place), None)[0], settle(options(place, max_time=10_000), None)[0]
    assert timed == plain.model_copy(update={"max_time": 10_000, "created": timed.created})


def test_how_many_shadows_are_given_is_not_for_max_time_to_decide(place, costs):
    asked = options(place, max_time=1000)
    target, splits = open_inputs(asked.checkpoint, asked.data, arch=asked.arch, device="cpu", trust=False)
    plan, design = planning.settle_plan(options(place), target, splits, None)
    plan = plan.model_copy(update={"given": GivenFacts(name="ours", digest="0")})
    with pytest.raises(InputError, match="--shadows gives them"):
        fresh._fitted(plan, design, asked, target, splits)


@pytest.mark.parametrize(
    ("shadows", "primary"), [(4, {"gap", "rmia", "lira-weights"}), (6, {"gap", "lira-scores", "lira-weights"})]
)
def test_rmia_is_primary_at_scores_where_shadows_are_few(place, costs, shadows, primary):
    plan, _ = settle(options(place), None)
    plan = plan.model_copy(update={"shadows": shadows})
    assert {one.card.id for one in MEMBERSHIP if plan.role(one) is Role.PRIMARY} == primary
    assert ("needs 6 shadows, and the plan has 4" in plan.describe()) is (shadows == 4)
    assert f"primary {'rmia' if shadows == 4 else 'lira-scores'}" in plan.describe()


def test_rmia_reads_zero_where_there_is_nothing_and_finds_nothing_where_nothing_is_planted():
    simulated = world(n=1000, shadows=4)
    scored = run_attack(attack("rmia"), Role.PRIMARY, simulated.evidence, simulated.jury, Limits())
    null = instrument_null([scored], simulated.jury, Limits(), 0)
    assert null.status == "pass"
    assert sum("RMIA" in measurement.name for measurement in null.measurements) == 3
    planted = planted_control([scored.attack], simulated.evidence, simulated.jury, Limits(), tests=3, seed=0)
    assert planted.result.doses[0].detected.value <= 0.2


@pytest.fixture(scope="module")
def few(place):
    """A scan that has time for four shadows only, and the same again."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(fresh, "cost_of", lambda plan, *_: ten_seconds_a_shadow(plan))
        asked = options(place, max_time=68, run_dir=place / "few", defenses=("labels-only",), attacks=FEW)
        return audit(asked), audit(asked)


def test_an_audit_with_four_shadows_rests_on_rmia(few):
    report = few[0]
    assert (report.plan.shadows, report.plan.primary) == (4, ("gap", "rmia", "lira-weights"))
    results = {result.card.id: result for result in report.membership}
    endpoints = [one for one in results["rmia"].outcome.endpoints if not one.appendix]
    assert results["rmia"].role is Role.PRIMARY
    assert endpoints
    assert all(one.p_adjusted is not None for one in endpoints)
    assert results["lira-scores"].role is Role.SECONDARY
    assert results["lira-weights"].outcome.reason == "needs 6 shadows, and the plan has 4"
    weights = report.verdict(Access.WEIGHTS, Family.MEMBERSHIP)
    assert weights.state is VerdictState.CANNOT_SAY or weights.inherited_from is not None
    assert {point.attack_id for control in report.controls for point in control.doses} == {"rmia"}
    assert {effect.attack_id for defense in report.defenses for effect in defense.effects} == {"gap", "rmia"}


def test_a_report_on_four_shadows_can_be_written(few, tmp_path):
    write_outputs(few[0], [tmp_path / "report.html", tmp_path / "report.md"])
    assert "RMIA" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_attacks_and_probes_are_timed_under_their_own_names(few):
    report, again = few
    timed = {timing.phase: timing for timing in report.attack_timings}
    assert timed.keys() == {"gap", "loss", "rmia", "merlin", "probe merlin"}
    assert timed["probe merlin"].cpu_seconds > 0
    assert not any(timing.phase.startswith("probe ") for timing in report.timings)
    assert {timing.phase for timing in again.attack_timings} == {"gap", "loss", "rmia", "merlin"}
