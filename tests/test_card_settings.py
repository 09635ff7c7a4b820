"""What a card prints of an attack's settings is what its adapter hands over, heard at the door of the attack file."""

import inspect
from contextlib import suppress
from importlib import import_module
from operator import attrgetter
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch

from auditor.battery import INVERSION, MEMBERSHIP
from auditor.inversion import adapters
from auditor.inversion.given import UnfitError
from auditor.membership import probes
from reference_attacks.inversion.kedmi import KEDMI
from reference_attacks.membership.distillation import Distillation

CLASSES = 5
PUBLIC = 100

# What each card prints, and where it arrives: function.argument.field, function.argument alone for a number.
MEMBERSHIP_RUNS = {
    "rmia": {"gamma": "rmia.online.settings.gamma"},
    "lira-scores": {"variance": "lira.online.settings.variance"},
    "lira-weights": {"variance": "lira.online.settings.variance"},
    "base-offline": {"offline_scale": "base.offline.settings.offline_scale"},
    "lira-offline-student-t": {"variance": "lira.offline.settings.variance"},
    "rmia-offline": {"gamma": "rmia.offline.settings.gamma", "a": "rmia.offline.settings.a"},
    "merlin": {"copies": "merlin.probe.settings.copies", "sigma": "merlin.probe.settings.sigma"},
    "morgan": {
        "copies": "merlin.probe.settings.copies",
        "sigma": "merlin.probe.settings.sigma",
        "low_fpr": "morgan.score.settings.low_fpr",
        "high_fpr": "morgan.score.settings.high_fpr",
    },
    "translations": {"shift": "label_only.probe.settings.shift"},
    "rotations": {"rotation": "label_only.probe.settings.rotation"},
    "label-noise": {
        "copies": "noise_robustness.probe.settings.samples",
        "sigma": "noise_robustness.probe.settings.std",
    },
    "boundary": {
        "iterations": "boundary.probe.settings.iterations",
        "first_directions": "boundary.probe.settings.first_directions",
    },
    "trajectory": {
        "distillation_epochs": "distillation.snapshots.settings.epochs",
        "net_epochs": "trajectory.score.settings.network.epochs",
    },
    "seqmia": {
        "distillation_epochs": "distillation.snapshots.settings.epochs",
        "net_epochs": "seqmia.score.settings.epochs",
        "hidden": "seqmia.score.settings.hidden",
    },
    "attack-d": {"students": "students", "distillation_epochs": "distillation.snapshots.settings.epochs"},
}
_NETWORK = {"width": "inversion_network.train.settings.width", "epochs": "inversion_network.train.settings.epochs"}
INVERSION_RUNS = {
    "miface": {
        "step_size": "miface.invert.settings.step_size",
        "max_iterations": "miface.invert.settings.max_iterations",
    },
    "miface-smooth": {
        "step_size": "miface.invert.settings.step_size",
        "max_iterations": "miface.invert.settings.max_iterations",
        "tv_weight": "miface.invert.settings.tv_weight",
        "shifted_views": "miface.invert.settings.shifted_views",
    },
    "inversion-network": {**_NETWORK, "centred": "inversion_network.train.settings.centred"},
    "inversion-network-truncated": {**_NETWORK, "kept": "inversion_network.train.settings.kept"},
    "inversion-network-labels": _NETWORK,
    "confident-public": {"restarts": "baselines.most_confident_public.settings.restarts"},
    "best-of-draws": {
        "draws": "baselines.best_of_draws.settings.draws",
        "restarts": "baselines.best_of_draws.settings.restarts",
    },
    "gmi": {"iterations": "gmi.invert.settings.iterations", "restarts": "gmi.invert.settings.restarts"},
    "genetic": {name: f"genetic.invert.settings.{name}" for name in ("draws", "population", "generations")},
    "brep-mi": {name: f"brep_mi.invert.settings.{name}" for name in ("directions", "max_iterations")},
    "lomma": {
        "iterations": "lomma.invert.settings.iterations",
        "restarts": "lomma.invert.settings.restarts",
        "students": "students.small_networks.count",
        "student_epochs": "lomma.learn.settings.training.epochs",
    },
    "plg-mi": {
        "per_class": "plg_mi.train_prior.settings.per_class",
        "gan_steps": "plg_mi.train_prior.gan.steps",
        "iterations": "plg_mi.invert.settings.iterations",
        "restarts": "plg_mi.invert.settings.restarts",
    },
    "vmi": {name: f"vmi.invert.settings.{name}" for name in ("steps", "kl_weight", "restarts")},
    "ppa": {name: f"ppa.invert.settings.{name}" for name in ("styles", "steps", "restarts")},
    "mirror": {name: f"mirror.invert.settings.{name}" for name in ("steps", "restarts")},
    "mirror-scores": {name: f"mirror_black_box.invert.settings.{name}" for name in ("population", "generations")},
    "if-gmi": {"stages": "stages", "restarts": "if_gmi.invert.settings.restarts"},
    "rlb-mi": {"episodes": "rlb_mi.invert.settings.episodes"},
    "lokt": {
        "surrogates": "students.small_networks.count",
        "iterations": "lokt.invert.settings.iterations",
        "restarts": "lokt.invert.settings.restarts",
    },
    "kedmi": {"iterations": "own.iterations", "restarts": "own.restarts"},
}
FURTHER_DOORS = {  # nothing that is printed arrives there
    "membership": ("merlin.score", "label_only.score", "attack_d.score"),
    "inversion": ("lokt.learn",),
}
GOES_ON = {"learn", "small_networks", "train_prior"}  # what the adapter needs before it comes to the search


class ArrivedError(Exception):
    """The attack was about to run."""


class Ear:
    """Stands in for functions of attack files and keeps what they are called with, defaults included."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, family: str, paths: list[str]):
        self.heard = {}
        doors = {".".join(path.split(".")[:2]) for path in paths if path.count(".") > 1}
        for module, function in (door.split(".") for door in {*doors, *FURTHER_DOORS[family]}):
            room = import_module(f"reference_attacks.{family}.{module}")
            monkeypatch.setattr(room, function, self._in_place_of(f"{module}.{function}", getattr(room, function)))

    def _in_place_of(self, name, actual):
        signature = inspect.signature(actual)

        def heard(*given, **named):
            bound = signature.bind(*given, **named)
            bound.apply_defaults()
            self.heard[name] = SimpleNamespace(**bound.arguments)
            if name.rpartition(".")[2] not in GOES_ON:
                raise ArrivedError
            return MagicMock()

        return heard

    def at(self, path: str):
        module, function, field = path.split(".", 2)
        return attrgetter(field)(self.heard[f"{module}.{function}"])


def printed(rows) -> dict[str, dict]:
    return {one.card.id: one.card.settings for one in rows if one.card.settings}


def asked_of_a_model():
    records = SimpleNamespace(n=2, inputs=np.zeros((2, 4, 4, 1), dtype=np.uint8), labels=np.zeros(2, dtype=np.int64))
    target = MagicMock(**{"released.return_value": torch.tensor([[1.0, 0.0]] * 2)})
    blueprint = MagicMock()
    blueprint.template.return_value.device = "cpu"
    return SimpleNamespace(target=target, records=records, own=records, seed=0, blueprint=blueprint)


def given_to_an_attacker():
    public = MagicMock()
    public.to.return_value.__len__.return_value = PUBLIC
    view = MagicMock(image_shape=(1, 8, 8))
    view.target.facts.num_classes = CLASSES
    return SimpleNamespace(
        share=lambda whole, least=2: max(whole, least),
        view=view,
        classes=(0, 1),
        rng=MagicMock(),
        public=public,
        auxiliary=MagicMock(),
        asked=MagicMock(),
        prior=SimpleNamespace(generator=MagicMock(conditional=CLASSES, stages=9), critic=None),
    )


def test_every_printed_setting_is_listened_to():
    told = {**printed(MEMBERSHIP), **printed(INVERSION)}
    assert {card: set(settings) for card, settings in told.items()} == {
        card: set(paths) for card, paths in {**MEMBERSHIP_RUNS, **INVERSION_RUNS}.items()
    }


@pytest.mark.parametrize("card", MEMBERSHIP_RUNS)
def test_a_membership_card_prints_what_runs(card: str, monkeypatch: pytest.MonkeyPatch):
    row = next(one for one in MEMBERSHIP if one.card.id == card)
    paths = MEMBERSHIP_RUNS[card]
    ear = Ear(monkeypatch, "membership", list(paths.values()))
    evidence = MagicMock()
    evidence.known.return_value.seed = 0
    evidence.probed.return_value.target.__getitem__.return_value = np.zeros((2, 3, 5))
    evidence.probed.return_value.shadows.__getitem__.return_value = np.zeros((1, 2, 3, 5))
    with suppress(ArrivedError):
        row.score(evidence)
    probe = next((one for one in probes.PROBES if one.id == row.probe), None)
    if probe is not None:
        with suppress(ArrivedError):
            probe.run(asked_of_a_model())
    ran = {name: probes._STUDENTS if path == "students" else ear.at(path) for name, path in paths.items()}
    assert ran == row.card.settings


@pytest.mark.parametrize("card", INVERSION_RUNS)
def test_an_inversion_card_prints_what_runs(card: str, monkeypatch: pytest.MonkeyPatch):
    row = next(one for one in INVERSION if one.card.id == card)
    paths = INVERSION_RUNS[card]
    ear = Ear(monkeypatch, "inversion", list(paths.values()))
    monkeypatch.setattr(adapters, "_asked", lambda *_, **__: MagicMock())
    with suppress(ArrivedError, UnfitError):
        row.run(given_to_an_attacker())
    own = {
        "stages": lambda: len(ear.at("if_gmi.invert.settings").steps),
        "own.iterations": lambda: KEDMI().iterations,  # never run: no generator comes with its discriminator
        "own.restarts": lambda: KEDMI().restarts,
    }
    ran = {name: own[path]() if path in own else ear.at(path) for name, path in paths.items()}
    assert ran == row.card.settings


def test_a_change_of_what_runs_is_noticed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(adapters, "_SEARCH_STEPS", 299)
    monkeypatch.setattr(probes, "_DISTILLATION", Distillation(epochs=19))
    with pytest.raises(AssertionError):
        test_an_inversion_card_prints_what_runs("gmi", monkeypatch)
    with pytest.raises(AssertionError):
        test_a_membership_card_prints_what_runs("attack-d", monkeypatch)
