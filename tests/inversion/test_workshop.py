"""The workshop on a small real case: every attack once on every model, whatever happens to one of them."""

from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch

from auditor.battery import INVERSION
from auditor.compute import SILENT, Clock, RunFolder
from auditor.findings import AttackCard, Family, Fidelity, Paper
from auditor.inversion import InversionAttack, adapters, evaluators, jobs
from auditor.inversion.scene import rows_of
from auditor.inversion.workshop import Models, Workshop
from auditor.laboratory import Blueprint, Laboratory
from auditor.shadows import AuditSet, TrainingSet
from auditor.splits import Records
from auditor.threat import Access
from reference_attacks.inversion.material import Inverted
from tests.digits import RECIPE, parts, template

RECIPE = RECIPE.model_copy(update={"epochs": 2})


@dataclass(frozen=True)
class InThisProcess:
    clock: Clock

    def run(self, function, items, **_):
        for item in items:
            function(item)


def black(given):
    shape = (len(given.classes), 1, *given.view.image_shape)
    return Inverted(torch.zeros(shape), None, torch.ones(len(given.classes), dtype=torch.int64))


def broken(given):
    if given.view.target.facts.sha256:
        raise RuntimeError("no gradient")


def two_heads(given):
    with patch("auditor.inversion.given.heads_of", return_value=[1, 2]):
        given.view.features(torch.zeros(1, *given.view.image_shape))


def row(run, name="any", **more):
    card = AttackCard(
        id=name,
        title="Any",
        family=Family.INVERSION,
        paper=Paper(citation="none", url=""),
        fidelity=Fidelity.OWN,
        access=Access.SCORES,
        needs=(),
    )
    return InversionAttack(card, run, **more)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Judges that learn little: what they say is not looked at here."""
    monkeypatch.setattr(evaluators, "_MOST_STEPS", 5)


@pytest.fixture
def bench(tmp_path):
    (members, non_members, population) = (Records.of(*part) for part in parts(150, 150, 150))
    records = Records.concatenate([members, non_members])
    audit_set = AuditSet(
        records,
        np.arange(300) < 150,
        members.take(np.arange(0)),
        population.take(np.arange(75)),
        population.take(np.arange(75, 150)),
        "test",
    )
    fresh = template(tmp_path)
    target = fresh.with_weights(fresh.module.state_dict())
    blueprint = Blueprint(target.architecture, target.facts, "cpu")
    run = RunFolder(tmp_path / "run")
    laboratory = Laboratory(run, InThisProcess(Clock()), blueprint, RECIPE, ("identity",), audit_set, SILENT)
    laboratory.publish()
    control = TrainingSet("control-00", ~audit_set.membership, 5, others=False)
    laboratory.train([control], task="control")
    return Workshop(laboratory, audit_set, None, None, 0), Models(target, control)


def kept(workshop: Workshop) -> dict[str, int]:
    folder = workshop.laboratory.folder.root / "inversion"
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_a_crash_is_an_outcome_and_the_others_go_on(bench):
    workshop, models = bench
    found = workshop.run([row(broken, "broken"), row(black, "black")], models)
    crashed, done = found.results
    assert crashed.status == "failed"
    assert "RuntimeError: no gradient (test_workshop.py:" in crashed.reason
    assert (done.status, done.classes, done.queries_per_class) == ("completed", 10, 1)
    assert found.setup is not None
    assert len(found.setup.evaluators) == 2
    assert {one.phase for one in found.timings} == {"broken", "black"}


@pytest.mark.parametrize(
    ("adapter", "reason"),
    [
        (adapters.gmi_style, "no image prior was made"),
        (adapters.confident_public, "there are no public images"),
        (two_heads, "the network has no single layer that gives the classes"),
    ],
)
def test_what_an_attack_finds_missing_is_a_reason_and_no_crash(bench, adapter, reason):
    workshop, models = bench
    (found,) = workshop.run([row(adapter)], models).results
    assert (found.status, found.reason) == ("skipped", reason)


def test_what_is_finished_is_not_made_again(bench):
    workshop, models = bench
    first = workshop.run([row(black)], models)
    before = kept(workshop)
    again = workshop.run([row(black)], models)
    assert again == first
    assert kept(workshop) == before


def test_what_was_cut_is_made_again(bench):
    workshop, models = bench
    first = workshop.run([row(black)], models)
    (answer,) = (workshop.laboratory.folder.root / "inversion").glob("any-target-*")
    answer.write_bytes(answer.read_bytes()[:40])
    assert workshop.run([row(black)], models).results == first.results


def test_a_crash_is_tried_again(bench):
    workshop, models = bench
    assert workshop.run([row(broken)], models).results[0].status == "failed"
    assert workshop.run([row(black)], models).results[0].status == "completed"


def test_a_lost_prior_fails_only_what_searches_it(bench, monkeypatch):
    def no_memory(*_):
        raise RuntimeError("no memory for the prior")

    monkeypatch.setattr(jobs, "train_prior", no_memory)
    workshop, models = bench
    workshop = replace(workshop, public=Records.of(parts(150, 0, 0)[0][0], np.full(150, -1)))
    searching, plain = workshop.run([row(black, "searching", needs="prior"), row(black, "plain")], models).results
    assert searching.status == "failed"
    assert "no memory for the prior" in searching.reason
    assert plain.status == "completed"


def test_other_weights_are_asked_again(bench):
    workshop, models = bench
    workshop.run([row(black)], models)
    state = {name: tensor + 0.1 for name, tensor in models.target.module.state_dict().items()}
    workshop.run([row(black)], replace(models, target=models.target.with_weights(state)))
    names = [name for name in kept(workshop) if name.startswith("any-target-")]
    assert len(names) == 2


@pytest.mark.parametrize(
    ("needs", "reason"),
    [
        ("public", "needs 100 images in public/"),
        ("prior", "needs 100 images in public/ or a generator of your own"),
        ("own generator", "needs a generator of your own"),
    ],
)
def test_what_is_missing_is_the_reason(bench, needs, reason):
    workshop, models = bench
    found = workshop.run([row(black, needs=needs)], models)
    assert (found.results[0].status, found.results[0].reason) == ("skipped", reason)
    assert found.setup is None
    assert not Path(workshop.laboratory.folder.root / "inversion").exists()


def test_features_are_no_images(bench):
    workshop, models = bench
    numbers = Records.of(np.zeros((4, 3), dtype=np.float32), np.arange(4) % 2)
    features = replace(workshop.audit_set, records=numbers, membership=np.arange(4) < 2)
    found = replace(workshop, audit_set=features).run(INVERSION, models)
    assert {one.reason for one in found.results} == {"rebuilds images, and the records are features"}


def test_rows_are_as_many_members_as_non_members_of_known_classes(bench):
    workshop, _ = bench
    rows = rows_of(workshop.audit_set, 10, 64)
    labels, membership = workshop.audit_set.records.labels, workshop.audit_set.membership
    for label, members, non_members in zip(rows.classes, rows.members, rows.non_members, strict=True):
        assert len(members) == len(non_members) > 0
        assert set(labels[members]) == set(labels[non_members]) == {label}
        assert membership[members].all()
        assert not membership[non_members].any()
    unknown = replace(
        workshop.audit_set,
        calibration=workshop.audit_set.calibration.take(np.flatnonzero(workshop.audit_set.calibration.labels != 3)),
        reference=workshop.audit_set.reference.take(np.flatnonzero(workshop.audit_set.reference.labels != 3)),
    )
    assert rows_of(unknown, 10, 64).classes == (0, 1, 2, 4, 5, 6, 7, 8, 9)
    assert sum(len(one) for one in rows_of(workshop.audit_set, 10, 2**27).members) == 20
