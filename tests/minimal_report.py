"""The smallest honest report, for tests of what is decided from one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version

from auditor.findings import (
    AttackCard,
    AttackResult,
    AuditReport,
    Completed,
    DataFacts,
    Endpoint,
    Environment,
    Family,
    Fidelity,
    Metric,
    ModelFacts,
    Outcome,
    Paper,
    PlanFacts,
    Preprocessing,
    RocCurve,
    Role,
    Severity,
    Timing,
    Verdict,
    VerdictState,
)
from auditor.stats.estimate import Estimate
from auditor.threat import Access


def endpoint(metric: Metric, low: float, *, fpr: float | None = None, rejected: bool = True, appendix: bool = False):
    estimate = Estimate(min(low + 0.05, 1.0), low, 1.0, 0.95, "made up", {"members": 1000, "non-members": 1000})
    return Endpoint(metric=metric, fpr=fpr, estimate=estimate, p_value=0.001, rejected=rejected, appendix=appendix)


def auc(low: float, **changes: bool) -> Endpoint:
    return endpoint(Metric.AUC, low, **changes)


def tpr(low: float, *, fpr: float = 0.01, **changes: bool) -> Endpoint:
    return endpoint(Metric.TPR_AT_FPR, low, fpr=fpr, **changes)


def attack(
    *endpoints: Endpoint,
    name: str = "lira",
    access: Access = Access.SCORES,
    role: Role = Role.PRIMARY,
    outcome: Outcome | None = None,
) -> AttackResult:
    card = AttackCard(
        id=name,
        title=name.upper(),
        family=Family.MEMBERSHIP,
        paper=Paper(citation="Nobody (2026)", url="https://example.org"),
        fidelity=Fidelity.OWN,
        access=access,
        needs=("shadow models",),
    )
    completed = Completed(
        endpoints=endpoints, roc=RocCurve(fpr=(0.0, 1.0), tpr=(0.0, 1.0)), evaluated_on="all", queries_per_record=1
    )
    return AttackResult(card=card, role=role, outcome=outcome or completed)


def verdict(access: Access, state: VerdictState, *, family: Family = Family.MEMBERSHIP, auc_only: bool = False):
    return Verdict(
        access=access,
        family=family,
        state=state,
        sentence=f"About {family}: {state}.",
        reasons=("made up",),
        auc_only=auc_only,
    )


def report(
    state: VerdictState = VerdictState.NOTHING_FOUND,
    *,
    membership: Sequence[AttackResult] = (),
    verdicts: Sequence[Verdict] | None = None,
    release: Access = Access.WEIGHTS,
    classes: tuple[str, ...] = ("cat", "dog"),
) -> AuditReport:
    """An audit in which every access has the same membership verdict, unless `verdicts` says otherwise."""
    return AuditReport(
        created=datetime(2026, 11, 22, tzinfo=UTC),
        model=ModelFacts(
            name="model.safetensors",
            file_format="safetensors",
            sha256="0" * 64,
            file_bytes=1000,
            architecture="resnet18",
            architecture_evidence="config.json",
            parameters=1000,
            num_classes=2,
            weights="plain",
            preprocessing=Preprocessing(mean=(0.5,), std=(0.5,), input_size=(1, 28, 28), source="config.json"),
        ),
        data=DataFacts(
            members=1000,
            non_members=1000,
            evaluated=1000,
            population=500,
            public=0,
            classes=classes,
            class_is_person=False,
            random_split=True,
            grouped=False,
            duplicates_dropped=0,
            image_shape=(28, 28, 1),
            key_fingerprint="0123456789abcdef",
        ),
        plan=PlanFacts(
            digest="0" * 16,
            budget="quick",
            seed=0,
            release=release,
            shadows=4,
            null_models=2,
            control_models=2,
            epochs=10,
            recipe="stated by the owner",
            queries=("plain",),
            primary=tuple(one.card.id for one in membership if one.role is Role.PRIMARY),
            secondary=tuple(one.card.id for one in membership if one.role is Role.SECONDARY),
            skipped=(),
            auc_limit=0.6,
            tpr_limit=0.05,
            tpr_fpr=0.01,
            family_wise_error=0.05,
        ),
        environment=Environment(
            privaudit=version("privaudit"),
            python="3.11",
            torch="2.14",
            timm="1.0",
            numpy="2.4",
            platform="Linux",
            machine="x86_64",
            device="cpu",
            threads_per_worker=1,
        ),
        membership=tuple(membership),
        secondary=(),
        exposure=(),
        histograms=(),
        inversion=(),
        controls=(),
        checks=(),
        defenses=(),
        verdicts=tuple(verdict(access, state) for access in Access) if verdicts is None else tuple(verdicts),
        severity=Severity.NONE,
        timings=(Timing(phase="shadows", wall_seconds=61.0, cpu_seconds=120.0),),
    )
