"""What a thorough run could have measured of defenses: every kind, parts, probes, inversion, and some that failed."""

from dataclasses import dataclass, replace

from auditor.findings import (
    AttackResult,
    Completed,
    DefenseCard,
    DefenseEffect,
    DefenseProbeResult,
    DefenseResult,
    Fidelity,
    InversionEffect,
    Measurement,
    Metric,
    Paper,
    StrongestAttack,
    Timing,
)
from auditor.stats.estimate import Estimate
from auditor.threat import Access
from tests.report.numbers import about, share

HALF = 2500
EVERYWHERE = (Access.LABELS, Access.SCORES, Access.WEIGHTS)
SCORES = (Access.SCORES,)
VOID = "Whoever holds the file leaves an output-time defense away: with released weights {} buys nothing."
PURIFIER_PAPER = Paper(
    citation="Yang et al., Purifier: Defending Data Inference Attacks via Confidence Scores, AAAI 2023",
    url="https://arxiv.org/abs/2212.00612",
)
MID_PAPER = Paper(
    citation="Wang et al., Improving Robustness to Inversion via Mutual Information Regularization, AAAI 2021",
    url="https://arxiv.org/abs/2009.05241",
)
CALOR_PAPER = Paper(
    citation="Yu, Qiu et al., CALoR: Towards Comprehensive Model Inversion Defense, 2024",
    url="https://arxiv.org/abs/2410.05814v2",
)


@dataclass(frozen=True)
class Measured:
    """A defense in a line: which share of the leak it leaves to either attacker, and what it costs in accuracy."""

    id: str
    title: str
    acts_on: str
    static: float | None
    adaptive: float
    accuracy: float
    counts_for: tuple[Access, ...] = EVERYWHERE
    part_of: str = ""
    probe: float | None = None


MEASURED = (
    Measured("purifier", "Purifier (2020, basic)", "output", 0.3, 0.62, -0.002, SCORES),
    Measured("purifier-2023", "Purifier (AAAI 2023)", "output", 0.12, 0.4, -0.006, EVERYWHERE[:2], probe=0.66),
    Measured("top-3", "Three largest scores", "output", 0.97, 0.98, 0.0, SCORES),
    Measured("labels-only", "Labels only", "output", None, 0.66, 0.0, SCORES),
    Measured("mmd-mixup", "MMD and mix-up", "training", 0.4, 0.55, -0.017),
    Measured("calor", "CALoR", "training", 0.3, 0.7, -0.024, probe=0.84),
    Measured("mid", "MID (beta 0.003)", "training", 0.22, 0.3, -0.014),
    Measured("bottleneck", "Noisy bottleneck alone (MID at beta 0)", "training", 0.6, 0.7, -0.009, part_of="mid"),
    Measured("purifier-2023-reformer", "Purifier (AAAI 2023) without its label swapper", "output", 0.2, 0.6, -0.002,
             SCORES, part_of="purifier-2023"),
    Measured("temperature", "Temperature 4", "output", 0.9, 1.0, 0.0, SCORES),
    Measured("rounding", "Scores to one decimal", "output", 0.7, 0.74, 0.0, SCORES),
    Measured("low-rank", "Low-rank header alone (CALoR)", "training", 0.8, 0.9, -0.012, part_of="calor"),
    Measured("confidence-adaptation", "Confidence adaptation alone (CALoR)", "training", 0.5, 0.8, -0.016,
             part_of="calor"),
    Measured("mmd", "MMD alone", "training", 0.5, 0.6, -0.02, part_of="mmd-mixup"),
    Measured("mixup", "Mix-up alone", "training", 0.7, 0.8, 0.004, part_of="mmd-mixup"),
    Measured("relaxloss", "RelaxLoss", "training", 0.3, 0.45, -0.031),
    Measured("label-smoothing", "Label smoothing", "training", 0.9, 1.1, 0.002),
)  # fmt: skip
SKIPPED = DefenseResult(
    card=DefenseCard(
        id="dp-sgd",
        title="DP-SGD",
        paper=None,
        fidelity=Fidelity.THIRD_PARTY,
        acts_on="training",
        counts_for=EVERYWHERE,
    ),
    status="skipped",
    reason="batch normalisation mixes the records of a batch; a network without it can be trained so",
)
FAILED = DefenseResult(
    card=DefenseCard(
        id="memguard",
        title="MemGuard",
        paper=None,
        fidelity=Fidelity.OFFICIAL_CODE,
        acts_on="output",
        counts_for=SCORES,
    ),
    status="failed",
    reason="RuntimeError: the search for noise did not end",
)


FEW = {"purifier", "labels-only", "mid", "bottleneck"}


def defenses(results: tuple[AttackResult, ...], *, every: bool = False) -> tuple[DefenseResult, ...]:
    """Measured beside these attacks on the audited model; a few of them, or all that a thorough run would have."""
    ran = [(result, result.outcome) for result in results if isinstance(result.outcome, Completed)]
    declared = {result.card.id: (result.card.access, outcome) for result, outcome in ran if result.role == "primary"}
    return (*(_result(one, declared) for one in MEASURED if every or one.id in FEW), SKIPPED, FAILED)


def _result(one: Measured, declared: dict[str, tuple[Access, Completed]]) -> DefenseResult:
    output = one.acts_on == "output"
    seen = [access for access in Access if not (output and access is Access.WEIGHTS)]
    strongest = tuple(_strongest(one, access, declared) for access in seen)
    probes = () if one.probe is None else (_probe(one),)
    if one.id == "mmd-mixup":
        probes += (held_out(0.53),)
    if one.id == "mid":
        probes += (DefenseProbeResult(id="mid-averaged", title="Noise averaged over 16 queries", access=Access.SCORES,
                                      status="skipped", reason="needs 4 shadows, and the plan has 2"),)  # fmt: skip
    return DefenseResult(
        card=_card(one),
        status="completed",
        baseline="target" if output else "twin",
        shadows=16 if output else 8,
        chosen={"weight": 3.0} if one.id in {"mmd", "mmd-mixup"} else {},
        effects=tuple(_effects(one, declared)),
        strongest=strongest,
        not_run=("boundary: it needs 2,500 queries per record",) if one.id == "labels-only" else (),
        probes=probes,
        inversion=_inversion() + (_knowing() if one.id == "calor" else ()) if one.id in {"mid", "calor"} else (),
        costs=_costs(one),
        accuracy_change=about(one.accuracy, 0.004 * bool(one.accuracy), {"non-members": HALF}, "Student t"),
        accuracy_change_at_choice=about(one.accuracy, 0.004 * bool(one.accuracy), {"non-members": HALF}, "Student t"),
        void_when_weights=VOID.format(one.title) if output else "",
        timings=(
            Timing(phase="fit it to the model" if output else "train it", wall_seconds=31.0, cpu_seconds=30.0),
            Timing(phase="answer the audited non-members, undefended", wall_seconds=1.1, cpu_seconds=1.0),
            Timing(phase="answer the audited non-members, defended", wall_seconds=1.3, cpu_seconds=1.2),
        ),
    )


def _card(one: Measured) -> DefenseCard:
    papers = {"purifier": PURIFIER_PAPER, "mid": MID_PAPER, "calor": CALOR_PAPER}
    preprint = "CALoR is an arXiv preprint (2410.05814v2), not accepted at ICLR 2025."
    return DefenseCard(
        id=one.id,
        title=one.title,
        paper=papers.get((one.part_of or one.id).removesuffix("-2023")),
        fidelity=Fidelity.OFFICIAL_CODE if one.acts_on == "training" else Fidelity.ACCOUNT,
        acts_on=one.acts_on,
        counts_for=one.counts_for,
        changed="" if one.id == "top-3" else "Optimiser and schedule are the owner's.",
        claims=preprint if one.id == "calor" else "",
        part_of=one.part_of,
        settings={"beta": 0.003} if one.id == "mid" else {},
    )


def _left(undefended: float, kept: float, chance: float = 0.5) -> float:
    return chance + kept * (undefended - chance)


def _auc(value: float, n: int = HALF) -> Estimate:
    return about(value, 0.8 / n**0.5, {"members": n, "non-members": n}, "DeLong, logit scale")


def _kept(one: Measured, access: Access, kept: float) -> float:
    """Labels that stay as they are leak as they did."""
    return 1.0 if access is Access.LABELS and Access.LABELS not in one.counts_for else kept


def _strongest(one: Measured, access: Access, declared: dict[str, tuple[Access, Completed]]) -> StrongestAttack:
    possible = {name: _end(done, Metric.AUC) for name, (needed, done) in declared.items() if access.includes(needed)}
    name = max(possible, key=lambda attack: possible[attack].value)
    undefended = possible[name].value
    left = _left(undefended, _kept(one, access, one.adaptive))
    return StrongestAttack(
        access=access,
        attack_id="rmia" if access.includes(Access.SCORES) else name,
        chosen_from=5 * (access.rank + 1),
        chosen_at=_auc(left + 0.006),
        adaptive=_auc(left),
        undefended_attack_id=name,
        undefended_chosen_at=_auc(undefended + 0.004),
        undefended=_auc(undefended),
        change=about(left - undefended, 0.009, {"members": HALF, "non-members": HALF}, "paired DeLong"),
    )


def _effects(one: Measured, declared: dict[str, tuple[Access, Completed]]) -> list[DefenseEffect]:
    effects = []
    for name, (access, done) in declared.items():
        seen = not (one.acts_on == "output" and access is Access.WEIGHTS)
        seen = seen and not (one.id == "labels-only" and access is not Access.LABELS)
        for end in done.endpoints:
            chance = 0.5 if end.metric is Metric.AUC else end.fpr
            before = end.estimate
            static, adaptive = (
                replace(
                    before, value=left, low=left - before.value + before.low, high=left - before.value + before.high
                )
                for kept in (one.static or 1.0, one.adaptive)
                for left in [_left(before.value, _kept(one, access, kept), chance)]
            )
            change = about(adaptive.value - before.value, 0.009, dict(before.n), "paired")
            after = {"static": static, "adaptive": adaptive, "change": change} if seen else {}
            effects.append(
                DefenseEffect(attack_id=name, access=access, metric=end.metric, fpr=end.fpr, undefended=before, **after)
            )
    return effects


def _end(done: Completed, metric: Metric) -> Estimate:
    return next(end.estimate for end in done.endpoints if end.metric is metric)


def _probe(one: Measured) -> DefenseProbeResult:
    title = "Confidence close to where the loss pins members" if one.id == "calor" else "Labels of a record and near it"
    access = Access.SCORES if one.id == "calor" else Access.LABELS
    return DefenseProbeResult(
        id=f"{one.id}-probe", title=title, access=access, status="completed", auc=_auc(one.probe, 2 * HALF)
    )


def held_out(value: float) -> DefenseProbeResult:
    return DefenseProbeResult(
        id="mmd-mixup-held-out",
        title="Records that it held out, against fresh ones",
        access=Access.SCORES,
        asks="held out",
        status="completed",
        auc=about(value, 0.02, {"held-out records": HALF, "fresh records": HALF}, "DeLong, logit scale"),
    )


def _inversion() -> tuple[InversionEffect, ...]:
    records, classes = {"records": 800, "decoders": 3}, {"classes": 40}
    return (
        InversionEffect(
            attack_id="inversion-network",
            access=Access.SCORES,
            measure="Inversion error of members (MSE)",
            better="higher",
            undefended=about(0.031, 0.002, records),
            defended=about(0.052, 0.003, records),
            change=about(0.021, 0.002, records),
        ),
        InversionEffect(
            attack_id="miface",
            access=Access.WEIGHTS,
            measure="Probability of the class by the evaluation networks",
            better="lower",
            undefended=about(0.34, 0.08, classes),
            defended=about(0.21, 0.07, classes),
            change=about(-0.13, 0.06, classes),
        ),
    )


def _knowing() -> tuple[InversionEffect, ...]:
    """Who knows of the defense, and the strongest of three."""
    whole = InversionEffect(
        attack_id="calor-no-tanh",
        title="MIFace on a copy without the neck's tanh",
        access=Access.WEIGHTS,
        measure="Probability of the class by the evaluation networks",
        better="lower",
        undefended=about(0.34, 0.08, {"classes": 40}),
        defended=about(0.29, 0.08, {"classes": 40}),
        change=about(-0.05, 0.06, {"classes": 40}),
    )
    half = {"classes": 20}
    return (
        whole,
        whole.model_copy(
            update={
                "chosen_from": 3,
                "undefended": about(0.35, 0.11, half),
                "defended": about(0.27, 0.1, half),
                "change": about(-0.08, 0.09, half),
            }
        ),
    )


def _costs(one: Measured) -> tuple[Measurement, ...]:
    plain = 0.912 if one.acts_on == "output" else 0.908
    unit, n = "non-members", 2 * HALF
    pairs = (
        ("Accuracy on non-members", "share", share(plain, n, unit), share(plain + one.accuracy, n, unit)),
        (
            "Accuracy in the worst class, chosen on one half and measured on the other",
            "share",
            share(0.81, 250, unit),
            share(0.78, 250, unit),
        ),
        ("Expected calibration error", "", about(0.041, 0.006, {unit: n}), about(0.067, 0.007, {unit: n})),
    )
    moved = (
        Measurement(name="Labels changed", estimate=share(-one.accuracy, n, unit), unit="share"),
        Measurement(name="L1 distance of the released vector", estimate=about(0.178, 0.01, {unit: n})),
        Measurement(name="L2 distance of the released vector", estimate=about(0.096, 0.008, {unit: n})),
    )
    return (
        *(
            Measurement(name=f"{name}, {state}", estimate=estimate, unit=printed)
            for name, printed, before, after in pairs
            for state, estimate in (("undefended", before), ("defended", after))
        ),
        *(moved if one.acts_on == "output" else ()),
    )
