"""What a defense does to inversion: paired on the same records, and held against what decoders differ by."""

import pickle
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from auditor.battery import DECODER, GRADIENTS, INVERSION
from auditor.checkpoint.new_head import NewHead
from auditor.comparison.inversion import Exhibit, _changed, exhibit, inversion_effects
from auditor.comparison.inversion import _half as inversion_half
from auditor.compute import SILENT, Clock, RunFolder
from auditor.cost import inversion_trials
from auditor.cost.price import Spent
from auditor.defense import InversionProbe
from auditor.defenses import DEFENSES
from auditor.inversion import adapters, evaluators, jobs
from auditor.inversion.given import unit_images
from auditor.inversion.kept import read_material
from auditor.inversion.scene import rows_of
from auditor.inversion.workshop import Models, Workshop
from auditor.laboratory import Blueprint, Laboratory
from auditor.limits import Limits
from auditor.shadows import AuditSet, TrainingSet
from auditor.splits import Records
from auditor.stats.intervals import mean
from auditor.threat import Access
from auditor.training import train
from auditor.wrappers import LabelsOnly
from tests.digits import RECIPE, parts, template

N = 120


@dataclass(frozen=True)
class InThisProcess:
    clock: Clock

    def run(self, function, items, **_):
        for item in items:
            function(item)


class Broken(LabelsOnly):
    kind = "broken"

    def forward(self, probabilities):
        raise RuntimeError("no answer")


def silent(target):
    """The same network, saying the same of everything."""
    state = target.module.state_dict()
    return target.with_weights({name: torch.zeros_like(one) for name, one in state.items()})


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Judges that learn little, short climbs."""
    monkeypatch.setattr(evaluators, "_MOST_STEPS", 5)
    monkeypatch.setattr(adapters, "_MIFACE_STEPS", 5)


@pytest.fixture(scope="module")
def confident(tmp_path_factory):
    """A trained network with logits three times as large, so that its scores tell more than its labels."""
    (members,) = (Records.of(*part) for part in parts(N))
    made = train(template(tmp_path_factory.mktemp("network")), members.inputs, members.labels, RECIPE, seed=11)
    state = made.module.state_dict()
    head = list(state)[-2:]
    return made.with_weights({name: one * 3 if name in head else one for name, one in state.items()})


@pytest.fixture
def workshop(tmp_path, confident):
    members, non_members, population = (Records.of(*part) for part in parts(N, N, 500))
    audit_set = AuditSet(
        Records.concatenate([members, non_members]),
        np.arange(2 * N) < N,
        members.take(np.arange(0)),
        population.take(np.arange(400)),
        population.take(np.arange(400, 500)),
        "test",
    )
    blueprint, run = Blueprint(confident.architecture, confident.facts, "cpu"), RunFolder(tmp_path / "run")
    laboratory = Laboratory(run, InThisProcess(Clock()), blueprint, RECIPE, ("identity",), audit_set, SILENT)
    laboratory.publish()
    return Workshop(laboratory, audit_set, None, None, 0)


@pytest.fixture
def briefly(monkeypatch):
    """Decoders that see few images: what they rebuild is not looked at."""
    monkeypatch.setattr(adapters, "_LEARNED_FROM", 32)


def answers(workshop):
    folder = workshop.laboratory.folder.root / "inversion"
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.safetensors")}


def equal(one, other):
    names = ("members", "non_members", "recognised")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


# --- what it does to an attack ---------------------------------------------------------------------------------------


def test_labels_alone_raise_the_error(workshop, confident):
    before = exhibit(workshop, confident, name="target")
    after = exhibit(workshop, confident.with_wrapper(LabelsOnly()), name="labels-only")
    assert after.reasons == {GRADIENTS: "not asked for"}
    effects = inversion_effects(before, after, Limits())
    assert len(effects) == 4
    for error, times in (effects[:2], effects[2:]):
        assert (error.attack_id, error.access, error.better) == (DECODER, Access.SCORES, "higher")
        assert error.change.low > 0
        assert times.defended.low > 1.1
        assert set(error.change.n) == {"records", "decoders"}


def test_errors_are_those_of_each_record(workshop, confident, briefly):
    shown = exhibit(workshop, confident, name="target", decoders=2)
    rows = rows_of(workshop.audit_set, 10, 64)
    inputs = workshop.audit_set.records.inputs
    made = [read_material(workshop.laboratory.folder, f"inversion/{name}") for name in answers(workshop)]
    expected, at = [[], []], 0
    for inside, outside in zip(rows.members, rows.non_members, strict=True):
        for side, positions in enumerate((inside, outside)):
            for position in positions:
                truth = unit_images(confident, inputs[position : position + 1])[0]
                expected[side].append([float(((one.images[at] - truth) ** 2).mean()) for one in made])
                at += 1
    for found, by_hand in zip((shown.members, shown.non_members), expected, strict=True):
        assert found.dtype == np.float64
        assert np.allclose(np.sort(found, axis=0), np.sort(np.transpose(by_hand), axis=0), atol=1e-6)


def test_an_equal_target_changes_nothing(workshop, confident, briefly):
    before = exhibit(workshop, confident, name="target", white_box=True, decoders=2)
    after = exhibit(workshop, confident, name="twin", white_box=True, decoders=2)
    assert {name.split("-target-")[0] for name in answers(workshop) if "-target-" in name} == {DECODER, GRADIENTS}
    assert equal(before, after)
    effects = inversion_effects(before, after, Limits())
    assert len(effects) == 5
    assert all((one.change.value, one.change.low, one.change.high) == (0, 0, 0) for one in effects)
    assert (effects[-1].attack_id, effects[-1].access, effects[-1].better) == (GRADIENTS, Access.WEIGHTS, "lower")
    assert set(effects[-1].change.n) == {"classes"}


# --- whatever happens to it ------------------------------------------------------------------------------------------


def test_a_crash_is_a_reason(workshop, confident, briefly):
    shown = exhibit(workshop, confident.with_wrapper(Broken()), name="broken", white_box=True, decoders=2)
    assert "RuntimeError: no answer" in shown.reasons[DECODER]
    assert shown.members is shown.non_members is None
    assert shown.recognised.shape == (10,)
    whole = exhibit(workshop, confident, name="target", white_box=True, decoders=2)
    assert {one.attack_id for one in inversion_effects(whole, shown, Limits())} == {GRADIENTS}


def test_lost_judges_lose_only_images_of_classes(workshop, confident, briefly, monkeypatch):
    def no_memory(*_, **__):
        raise RuntimeError("no memory for judges")

    monkeypatch.setattr(jobs, "train_evaluator", no_memory)
    shown = exhibit(workshop, confident, name="target", white_box=True, decoders=2)
    assert "no memory for judges" in shown.reasons[GRADIENTS]
    assert DECODER not in shown.reasons
    assert (shown.recognised, len(shown.members)) == (None, 2)


def test_a_folder_that_cannot_be_read_is_a_reason(workshop, confident):
    (workshop.laboratory.folder.root / "models").write_text("a file")
    shown = exhibit(workshop, confident, name="target")
    assert "FileExistsError" in shown.reasons[DECODER]
    assert inversion_effects(shown, shown, Limits()) == ()


def test_what_is_finished_is_not_made_again(workshop, confident, briefly):
    first = exhibit(workshop, confident, name="target", white_box=True, decoders=2)
    before = answers(workshop)
    assert equal(first, exhibit(workshop, confident, name="target", white_box=True, decoders=2))
    assert answers(workshop) == before
    exhibit(workshop, silent(confident), name="target", decoders=2)
    assert len(answers(workshop)) == len(before) + 2


def test_the_battery_takes_over_what_was_made_of_the_target(workshop, confident, briefly):
    exhibit(workshop, confident, name="target", white_box=True)
    control = TrainingSet("control-00", ~workshop.audit_set.membership, 5, others=False)
    workshop.laboratory.train([control], task="control")
    rows = [attack for attack in INVERSION if attack.card.id in (DECODER, GRADIENTS)]
    before = answers(workshop)
    found = workshop.run(rows, Models(confident, control))
    assert [one.status for one in found.results] == ["completed", "completed"]
    made = answers(workshop)
    assert before.items() <= made.items()
    assert all("-control-00-" in name for name in made.keys() - before.keys())


def test_images_are_needed(workshop, confident):
    numbers = Records.of(np.zeros((4, 3), dtype=np.float32), np.arange(4) % 2)
    features = replace(workshop.audit_set, records=numbers, membership=np.arange(4) < 2)
    shown = exhibit(replace(workshop, audit_set=features), confident, name="target", white_box=True)
    assert set(shown.reasons.values()) == {"rebuilds images, and the records are features"}
    assert inversion_effects(shown, shown, Limits()) == ()


# --- other heads -----------------------------------------------------------------------------------------------------


def test_another_head_is_rebuilt_and_its_noise_repeats(workshop, confident, briefly):
    torch.manual_seed(2)
    random = confident.with_head(NewHead(kind="bottleneck", width=8))
    assert random.stochastic
    shown = exhibit(workshop, random, name="mid", white_box=True, decoders=2)
    assert shown.reasons == {}
    assert np.isfinite(shown.recognised).all()
    again = exhibit(workshop, random, name="again", white_box=True, decoders=2)
    assert equal(shown, again)


def test_who_holds_the_weights_opens_the_model_first(workshop, confident, briefly):
    closed = exhibit(workshop, confident, name="trained", white_box=True, decoders=2)
    opened = exhibit(workshop, confident, name="trained", white_box=True, opened=silent, decoders=2)
    found = exhibit(workshop, silent(confident), name="silent", white_box=True, decoders=2)
    assert closed.reasons == opened.reasons == found.reasons == {}
    assert np.array_equal(closed.members, opened.members)
    assert np.array_equal(opened.recognised, found.recognised)
    assert not np.array_equal(opened.recognised, closed.recognised)


# --- who knows of a defense ------------------------------------------------------------------------------------------

KNOWING = (InversionProbe("open", "On a silent copy", opened=silent), InversionProbe("aim", "Towards .3", aim=0.3))


def test_who_knows_of_a_defense_changes_miface(workshop, confident, briefly, monkeypatch):
    monkeypatch.setattr(adapters, "_MIFACE_STEPS", 200)
    shown = exhibit(workshop, confident, name="trained", white_box=True, probes=KNOWING, decoders=2)
    assert shown.reasons == {}
    assert set(shown.knowing) == {"open", "aim"}
    on_a_silent_one = exhibit(workshop, silent(confident), name="silent", white_box=True, decoders=2)
    assert np.array_equal(shown.knowing["open"], on_a_silent_one.recognised)
    made = {name.split("-trained-")[0]: name for name in answers(workshop) if "-trained-" in name}
    plain, aimed = (read_material(workshop.laboratory.folder, f"inversion/{made[name]}") for name in (GRADIENTS, "aim"))
    assert (aimed.confidence - 0.3).abs().max() <= 0.01
    assert plain.confidence.min() > 0.9
    again = exhibit(workshop, confident, name="trained", white_box=True, probes=KNOWING, decoders=2)
    assert all(np.array_equal(again.knowing[name], seen) for name, seen in shown.knowing.items())


def test_who_knows_of_calor_runs_on_its_neck_in_workers_too(workshop, confident, briefly):
    """Untrained, but with its header: the copies are attacked, and what is sent to workers can be sent."""
    row = next(one for one in DEFENSES if one.card.id == "calor")
    torch.manual_seed(2)
    with_neck = confident.with_head(row.head(confident))
    shown = exhibit(workshop, with_neck, name="calor", white_box=True, probes=row.inverters, decoders=2)
    assert shown.reasons == {}
    assert set(shown.knowing) == {one.id for one in row.inverters}
    assert all(seen.shape == (10,) and np.isfinite(seen).all() for seen in shown.knowing.values())
    assert len({seen.tobytes() for seen in (shown.recognised, *shown.knowing.values())}) > 2
    sent = [pickle.loads(pickle.dumps(_changed(one))) for one in row.inverters]  # noqa: S301 - our own
    assert [(one.card.id, one.opened, one.run.keywords) for one in sent] == [
        (one.id, one.opened, {"aim": one.aim}) for one in row.inverters
    ]


def test_who_knows_of_a_defense_runs_on_weights_and_images_alone(workshop, confident, briefly):
    shown = exhibit(workshop, confident, name="output", probes=KNOWING, decoders=2)
    assert shown.knowing == {}
    assert shown.reasons == {GRADIENTS: "not asked for"}
    numbers = Records.of(np.zeros((4, 3), dtype=np.float32), np.arange(4) % 2)
    features = replace(workshop.audit_set, records=numbers, membership=np.arange(4) < 2)
    lost = exhibit(
        replace(workshop, audit_set=features), confident, name="features", white_box=True, probes=KNOWING, decoders=2
    )
    assert lost.reasons["aim"] == lost.reasons["open"] == "rebuilds images, and the records are features"


def test_the_strongest_is_chosen_on_one_half_of_the_classes_and_told_of_the_other():
    rng = np.random.default_rng(0)
    before, plain = rng.uniform(size=(2, 20))
    half = inversion_half(20)
    assert half.sum() == 10
    lucky, steady = np.where(half, 0.9, 0.1), np.where(half, 0.8, 0.7)
    after = Exhibit(recognised=plain * 0.1, knowing={"open": lucky, "aim": steady})
    told = inversion_effects(Exhibit(recognised=before), after, Limits(), KNOWING)
    names = [(one.attack_id, one.title, one.chosen_from) for one in told]
    assert names == [
        (GRADIENTS, "", 0),
        ("open", "On a silent copy", 0),
        ("aim", "Towards .3", 0),
        ("open", "On a silent copy", 3),
    ]
    assert [one.defended.value for one in told[1:3]] == [pytest.approx(0.5), pytest.approx(0.75)]
    assert all(one.undefended.value == pytest.approx(before.mean()) for one in told[:3])
    strongest = told[-1]
    assert strongest.defended.value == pytest.approx(0.1)
    assert strongest.undefended.value == pytest.approx(before[~half].mean())
    assert strongest.change.n == {"classes": 10}


def test_a_lost_attack_takes_no_other_along_and_few_classes_choose_nothing():
    before, after = Exhibit(recognised=np.full(3, 0.5)), Exhibit(knowing={"aim": np.full(3, 0.4)})
    (only,) = inversion_effects(before, after, Limits(), KNOWING)
    assert (only.attack_id, only.access, only.better) == ("aim", Access.WEIGHTS, "lower")
    both = replace(after, recognised=np.full(3, 0.2))
    assert [one.chosen_from for one in inversion_effects(before, both, Limits(), KNOWING)] == [0, 0]


def test_a_plan_counts_those_who_know_of_a_defense():
    plan = SimpleNamespace(defenses=("calor", "mid", "top-3"))
    trials = SimpleNamespace(inverting=lambda attack: Spent(1.0, 1.0))
    found = {item.name: item.count for item in inversion_trials._through_defenses(plan, trials)}
    assert found == {"inversion-network of defended models": 3 * 5, "miface of defended models": 3 + 4}


# --- intervals -------------------------------------------------------------------------------------------------------


def test_numbers_by_hand():
    before = Exhibit(np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 6.0]]), None, np.array([0.5, 0.9]))
    after = Exhibit(np.array([[2.0, 4.0, 6.0], [2.0, 4.0, 12.0]]), None, np.array([0.1, 0.3]))
    error, times, seen = inversion_effects(before, after, Limits(confidence=0.9))
    assert (error.undefended.value, error.defended.value, error.change.value) == (2.5, 5.0, 2.5)
    by_record = mean([1.0, 2.0, 4.5], confidence=0.9, unit="records")
    by_decoder = mean([2.0, 3.0], confidence=0.9, unit="decoders")
    reach = np.hypot(by_record.high - 2.5, by_decoder.high - 2.5)
    assert error.change.high == pytest.approx(2.5 + reach)
    assert error.change.low == pytest.approx(2.5 - reach)
    assert error.change.n == {"records": 3, "decoders": 2}
    assert (times.undefended.value, times.defended.value, times.change.value) == (1, 2, 1)
    assert (times.defended.low, times.defended.high) == (2, 2)
    assert (seen.undefended.value, seen.defended.value) == (pytest.approx(0.7), pytest.approx(0.2))
    assert seen.change.value == pytest.approx(-0.5)


def test_decoders_that_differ_by_chance_are_no_effect():
    rng = np.random.default_rng(4)
    records = rng.gamma(4, 0.01, 100)
    held = 0
    for _ in range(40):
        before, after = (
            records * (1 + 0.05 * rng.normal(size=(3, 1))) + 0.005 * rng.normal(size=(3, 100)) for _ in range(2)
        )
        error, _ = inversion_effects(Exhibit(before), Exhibit(after), Limits())
        held += error.change.low <= 0 <= error.change.high
    assert held >= 35


def test_one_decoder_says_nothing_of_its_spread():
    one = Exhibit(np.ones((1, 5)))
    with pytest.raises(ValueError, match="at least 2"):
        inversion_effects(one, one, Limits())


def test_photographs_of_one_person_are_no_more_than_one():
    rng = np.random.default_rng(5)
    one, other, groups = rng.gamma(4, 0.01, (3, 20)), rng.gamma(5, 0.01, (3, 20)), np.repeat(np.arange(20), 7)
    before, after = (Exhibit(None, np.repeat(values, 7, axis=1), non_member_groups=groups) for values in (one, other))
    alone = inversion_effects(Exhibit(None, one), Exhibit(None, other), Limits())
    for found, once in zip(inversion_effects(before, after, Limits()), alone, strict=True):
        for told in ("undefended", "defended", "change"):
            often, single = getattr(found, told), getattr(once, told)
            assert (often.value, often.low, often.high) == pytest.approx((single.value, single.low, single.high))
        assert found.change.n == {"records": 140, "groups": 20, "decoders": 3}


def test_few_persons_say_nothing_of_the_error_and_no_multiple_is_told():
    values = np.random.default_rng(6).gamma(4, 0.01, (3, 40))
    few = Exhibit(values, member_groups=np.arange(40) % 9)
    (error,) = inversion_effects(few, few, Limits())
    assert (error.undefended.low, error.undefended.high) == (0, 1)
    assert (error.change.low, error.change.high, error.change.n["groups"]) == (-1, 1, 9)


def test_an_exhibit_knows_who_belongs_together(workshop, confident, briefly):
    records = workshop.audit_set.records
    grouped = replace(records, groups=np.arange(records.n, dtype=np.int64) // 2)
    asked = replace(workshop, audit_set=replace(workshop.audit_set, records=grouped))
    shown = exhibit(asked, confident, name="target", decoders=2)
    assert shown.member_groups.max() < N // 2 <= shown.non_member_groups.min()
    assert (len(shown.member_groups), len(shown.non_member_groups)) == (
        shown.members.shape[1],
        shown.non_members.shape[1],
    )
    assert exhibit(workshop, confident, name="target", decoders=2).member_groups is None
