"""Three audits that could have happened: `leaky`, `well_behaved` and `confounded`, every part of the report filled.

The numbers hang together: curves are mixtures of binormal ROCs, estimates are read off the same curves, and intervals
are Clopper and Pearson's or normal ones at the stated n.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
from scipy.stats import beta, norm

from auditor.comparison.advice import advise
from auditor.findings import (
    AttackCard,
    AttackResult,
    AuditReport,
    CanaryAudit,
    CanaryBound,
    Check,
    CheckLevel,
    ClassExposure,
    Completed,
    ControlResult,
    DataFacts,
    DosePoint,
    Endpoint,
    EndpointPower,
    Environment,
    Failed,
    Family,
    Fidelity,
    GroupExposure,
    Histogram,
    ImpliedEpsilon,
    InstantAnswer,
    Measurement,
    Metric,
    ModelFacts,
    Outcome,
    OutputLeak,
    Paper,
    PlanFacts,
    Preprocessing,
    PrivacyClaim,
    RecordExposure,
    RocCurve,
    Role,
    SecondaryChoice,
    Severity,
    Skipped,
    TailEstimate,
    Timing,
    Verdict,
    VerdictState,
    Void,
)
from auditor.queries import copies
from auditor.stats.estimate import Estimate
from auditor.threat import Access
from tests.report.defended import defenses
from tests.report.inverted import few_classes, forty_persons, setup
from tests.report.numbers import about, share

N = 5000
FPR = 0.01
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
LEAK, NOTHING, UNSURE = VerdictState.LEAK_FOUND, VerdictState.NOTHING_FOUND, VerdictState.CANNOT_SAY


# --- numbers ---------------------------------------------------------------------------------------------------------


def both_sides(n: int = N) -> dict[str, int]:
    return {"members": n, "non-members": n}


@dataclass(frozen=True)
class Strength:
    """A mixture of two binormal ROCs: a share of the members stands out by `far`, the others by `near`."""

    far_share: float
    far: float
    near: float

    def tpr(self, fpr: np.ndarray) -> np.ndarray:
        start = norm.ppf(fpr)
        return self.far_share * norm.cdf(start + self.far) + (1 - self.far_share) * norm.cdf(start + self.near)

    @property
    def auc(self) -> float:
        far, near = norm.cdf(np.array([self.far, self.near]) / np.sqrt(2))
        return float(self.far_share * far + (1 - self.far_share) * near)

    def roc(self, *, band: bool = False, n: int = N) -> RocCurve:
        fpr = np.concatenate([[0.0], np.geomspace(1 / n, 1.0, 120)])
        tpr = np.concatenate([[0.0], self.tpr(fpr[1:])])
        hits = np.round(tpr * n)
        low = np.where(hits > 0, beta.ppf(0.025, np.maximum(hits, 1), n - hits + 1), 0.0)
        high = np.where(hits < n, beta.ppf(0.975, hits + 1, np.maximum(n - hits, 1)), 1.0)
        ends = (tuple(low.tolist()), tuple(high.tolist())) if band else ((), ())
        return RocCurve(fpr=tuple(fpr.tolist()), tpr=tuple(tpr.tolist()), low=ends[0], high=ends[1])


def auc_estimate(strength: Strength, n: int = N) -> Estimate:
    return about(strength.auc, 1.96 * 0.41 / np.sqrt(n), both_sides(n), "DeLong, logit scale")


def tpr_estimate(strength: Strength, n: int = N) -> Estimate:
    found = share(float(strength.tpr(np.array([FPR]))[0]), n)
    spread = 1.2 * (found.high - found.low) / 2
    return Estimate(
        found.value, found.value - spread, found.value + spread, 0.95, "order-statistic bracket", both_sides(n)
    )


# --- membership ------------------------------------------------------------------------------------------------------

CARLINI = Paper(
    citation="Carlini et al., Membership Inference Attacks From First Principles, IEEE S&P 2022",
    url="https://arxiv.org/abs/2112.03570",
)
ZARIFZADEH = Paper(
    citation="Zarifzadeh, Liu and Shokri, Low-Cost High-Power Membership Inference Attacks, ICML 2024",
    url="https://arxiv.org/abs/2312.03262",
)
SONG = Paper(
    citation="Song and Mittal, Systematic Evaluation of Privacy Risks of Machine Learning Models, USENIX Security 2021",
    url="https://arxiv.org/abs/2003.10595",
)
YEOM = Paper(
    citation="Yeom et al., Privacy Risk in Machine Learning: Analyzing the Connection to Overfitting, CSF 2018",
    url="https://arxiv.org/abs/1709.01604",
)
CHOQUETTE = Paper(
    citation="Choquette-Choo et al., Label-Only Membership Inference Attacks, ICML 2021",
    url="https://arxiv.org/abs/2007.14321",
)
BERTRAN = Paper(
    citation="Bertran et al., Scalable Membership Inference Attacks via Quantile Regression, NeurIPS 2023",
    url="https://arxiv.org/abs/2307.03694",
)


def attack_card(id_: str, title: str, access: Access, paper: Paper, *needs: str, **settings: float | str) -> AttackCard:
    return AttackCard(
        id=id_,
        title=title,
        family=Family.MEMBERSHIP,
        paper=paper,
        fidelity=Fidelity.ACCOUNT,
        access=access,
        needs=needs,
        formula="log-likelihood ratio of the logit-scaled confidence, IN against OUT" if "lira" in id_ else "",
        changed="Variance pooled over records below 64 shadows." if "lira" in id_ else "",
        settings=dict(settings),
    )


LIRA_WEIGHTS = attack_card(
    "lira-weights",
    "LiRA on logits",
    Access.WEIGHTS,
    CARLINI,
    "the record",
    "16 shadow models",
    variance="pooled",
    queries=2,
)
LIRA_SCORES = attack_card(
    "lira-scores", "LiRA", Access.SCORES, CARLINI, "the record", "16 shadow models", variance="pooled", queries=2
)
LABEL_VOTES = attack_card(
    "label-augment",
    "Label votes over augmentations",
    Access.LABELS,
    CHOQUETTE,
    "the record",
    "16 shadow models",
    queries=18,
)
RMIA = attack_card(
    "rmia", "RMIA", Access.SCORES, ZARIFZADEH, "the record", "4 shadow models", "population data", gamma=2.0
)
MENTR = attack_card("mentr", "Modified entropy", Access.SCORES, SONG, "the record", "population data")
LOSS = attack_card("loss", "Loss threshold", Access.SCORES, YEOM, "the record")
GAP = attack_card("gap", "Gap (correct or not)", Access.LABELS, YEOM, "the record")
QUANTILE = attack_card("quantile", "Quantile regression", Access.SCORES, BERTRAN, "the record", "population data")
BOUNDARY = attack_card("boundary", "Distance to the boundary", Access.LABELS, CHOQUETTE, "the record", "2,500 queries")


def completed(strength: Strength, *, primary: bool, n: int = N, with_tpr: bool = True) -> Completed:
    auc, tpr = auc_estimate(strength, n), tpr_estimate(strength, n)
    rejected = (tpr.low > 0.012) if primary else None
    p = 1e-9 if tpr.low > 0.012 else 0.21
    endpoints = [
        Endpoint(
            metric=Metric.AUC,
            estimate=auc,
            p_value=p,
            p_adjusted=min(1.0, 6 * p) if primary else None,
            upper_bound=auc.high + 0.006 if primary else None,
            limit=0.6 if primary else None,
            rejected=rejected,
        )
    ]
    if with_tpr:
        endpoints.append(
            Endpoint(
                metric=Metric.TPR_AT_FPR,
                fpr=FPR,
                estimate=tpr,
                p_value=p,
                p_adjusted=min(1.0, 6 * p) if primary else None,
                upper_bound=tpr.high + 0.003 if primary else None,
                limit=0.05 if primary else None,
                rejected=rejected,
            )
        )
    return Completed(
        endpoints=tuple(endpoints),
        roc=strength.roc(band=primary, n=n),
        evaluated_on="all audit records" if primary else "the reporting half",
        queries_per_record=18 if strength.far == 2.4 else 2,
    )


def attacks(lift: float) -> tuple[AttackResult, ...]:
    """The battery at a common strength; `lift` 0 is no leak, 1 a strong one."""

    def at(far_share: float, far: float, near: float) -> Strength:
        return Strength(far_share * lift, far, near * lift)

    half = N // 2
    primary = (
        (LIRA_WEIGHTS, at(0.21, 3.0, 0.62)),
        (LIRA_SCORES, at(0.19, 2.9, 0.6)),
        (LABEL_VOTES, at(0.05, 2.4, 0.45)),
    )
    secondary = ((RMIA, at(0.17, 2.9, 0.58)), (MENTR, at(0.02, 2.0, 0.5)), (LOSS, at(0.004, 2.0, 0.47)))
    found = [(card, Role.PRIMARY, completed(strength, primary=True)) for card, strength in primary]
    found += [(card, Role.SECONDARY, completed(strength, primary=False, n=half)) for card, strength in secondary]
    found.append((GAP, Role.SECONDARY, completed(at(0.0, 2.0, 0.3), primary=False, n=half, with_tpr=False)))
    stopped: list[tuple[AttackCard, Role, Outcome]] = [
        (QUANTILE, Role.SECONDARY, Failed(error="LinAlgError: the quantile regression did not converge.")),
        (BOUNDARY, Role.SECONDARY, Skipped(reason="it needs 2,500 queries per record; the standard budget allows 100")),
    ]
    return tuple(AttackResult(card=card, role=role, outcome=outcome) for card, role, outcome in [*found, *stopped])


def exposure(lift: float) -> tuple[ClassExposure, ...]:
    offsets = (0.02, -0.03, 0.06, 0.09, 0.03, 0.05, -0.01, -0.02, -0.05, -0.04)
    return tuple(
        ClassExposure(
            label=label, auc=about(0.5 + lift * (0.16 + offset), 0.026, both_sides(500), "DeLong, logit scale")
        )
        for label, offset in zip(CLASSES, offsets, strict=True)
    )


def instant(lift: float) -> InstantAnswer:
    tail = tuple(
        TailEstimate(missed=missed, estimate=replace(share(missed + lift * more, N), n=both_sides()))
        for missed, more in ((0.01, 0.081), (0.05, 0.144))
    )
    return InstantAnswer(
        tail=tail,
        sentence=(
            f"{100 * tail[0].estimate.value:.1f} % of non-members have losses above all but 1 % of the members', where "
            "1 % is expected without a leak: an estimate without shadows, and it decides nothing."
        ),
        found=(
            Measurement(
                name="TPR at 1 % FPR, LiRA on scores",
                estimate=tpr_estimate(Strength(0.19 * lift, 2.9, 0.6 * lift)),
                against="1 % by guessing",
                unit="share",
            ),
        ),
    )


def record_exposure(lift: float) -> RecordExposure:
    if lift < 1:
        return RecordExposure(status="skipped", reason="no attack found a leak to rank records by")
    return RecordExposure(
        status="completed",
        attack_id="lira-weights",
        flagged=share(0.112, N),
        stability=share(0.71, 640, "members on either list"),
        uniformity_p_value=0.42,
        unstable=True,
        records=("1f0e9c52d7a84b36", "83d2c4f7b1e65a90"),
    )


def group_exposure() -> tuple[GroupExposure, ...]:
    found = (("4be1a09d7c52f386", 9, 24), ("c07d5511ee8a4b93", 5, 12), ("0a93bb7e61d2c4f8", 1, 31))
    return tuple(
        GroupExposure(id=opaque, flagged=share(hits / size, size, "members of the group"))
        for opaque, hits, size in found
    )


def output_matrix(lift: float) -> tuple[OutputLeak, ...]:
    shown = (
        ("Logits", Access.WEIGHTS, "the logits, float32", 1.0),
        ("Probabilities", Access.SCORES, "the probability of every class, float32", 0.97),
        ("Top 3", Access.SCORES, "the three largest probabilities with their classes; the rest spread evenly", 0.9),
        ("Top 1", Access.SCORES, "the predicted class and its probability; the rest spread evenly", 0.78),
        ("Rounded to 2 decimals", Access.SCORES, "every probability to 0.01, at least half a unit", 0.6),
        ("Rounded to 1 decimal", Access.SCORES, "every probability to 0.1, at least half a unit", 0.45),
    )
    matrix = [
        OutputLeak(
            granularity=name,
            access=access,
            seen=seen,
            attack="LiRA (online)",
            outcome=completed(Strength(0.2 * keep**3 * lift, 2.9, 0.6 * keep * lift), primary=False, n=N // 2),
        )
        for name, access, seen, keep in shown
    ]
    gap = completed(Strength(0.0, 2.0, 0.3 * lift), primary=False, n=N // 2, with_tpr=False)
    label = OutputLeak(
        granularity="Label", access=Access.LABELS, seen="the predicted class only", attack="Gap attack", outcome=gap
    )
    return (*matrix, label)


def canaries(lift: float) -> CanaryAudit | None:
    """What 1,000 canaries show of a strong leak, and that it contradicts a claim; without one there were none."""
    if lift < 1:
        return None

    def bound(access: Access, assumes: str, epsilon: float, ceiling: float) -> CanaryBound:
        return CanaryBound(
            access=access,
            assumes=assumes,
            declared=access is Access.WEIGHTS and not assumes,
            epsilon=epsilon,
            delta=1e-5,
            confidence=0.95,
            ceiling=ceiling,
            guesses=250,
            correct=241,
            auc=about(0.81, 0.03, {"members": 497, "non-members": 503}, "DeLong, logit scale"),
            method="one run",
        )

    curve = "a Gaussian trade-off curve"
    return CanaryAudit(
        canaries=1000,
        included=497,
        mislabelled=500,
        bounds=(
            bound(Access.SCORES, "", 2.318, 5.364),
            bound(Access.SCORES, curve, 3.141, 10.031),
            bound(Access.WEIGHTS, "", 2.567, 5.364),
            bound(Access.WEIGHTS, curve, 3.329, 10.031),
        ),
        claim=PrivacyClaim(epsilon=1.0, delta=1e-5),
        contradicted=True,
        sentence=(
            "The training is not (2.56, 1e-05)-differentially private for one record, at 95% confidence (497 canaries "
            "included by coin flips; at most 5.36 could have been shown). This contradicts the claimed epsilon of 1 at "
            "delta 1e-05."
        ),
    )


def implied(lift: float) -> tuple[ImpliedEpsilon, ...]:
    found = Estimate(2.944, 2.411, 3.602, 0.95, "log-ratio of Clopper-Pearson ends", both_sides())
    return (ImpliedEpsilon(attack_id="lira-weights", access=Access.WEIGHTS, fpr=FPR, estimate=found),) * (lift == 1)


def histograms(lift: float) -> tuple[Histogram, ...]:
    def bars(edges: np.ndarray, mean: float, spread: float) -> tuple[int, ...]:
        return tuple(int(share) for share in np.round(N * np.diff(norm.cdf(edges, mean, spread))))

    scaled, margin = np.linspace(-6, 14, 31), np.linspace(-8, 16, 31)
    return (
        Histogram(
            signal="logit-scaled confidence",
            edges=tuple(scaled.tolist()),
            members=bars(scaled, 3.1 + 2.2 * lift, 2.2),
            non_members=bars(scaled, 3.1, 2.6),
        ),
        Histogram(
            signal="hinge margin of the logits",
            edges=tuple(margin.tolist()),
            members=bars(margin, 3.4 + 1.8 * lift, 2.6),
            non_members=bars(margin, 3.4, 3.0),
        ),
    )


# --- controls and checks ---------------------------------------------------------------------------------------------


def controls(*, blind_auc: float = 0.505) -> tuple[ControlResult, ...]:
    nothing = Strength(0.0, 0.0, 0.01)
    confounded = blind_auc > 0.55
    return (
        ControlResult(
            id="null-owner",
            title="Owner-label null",
            question="What does the split alone give, on models that saw neither side?",
            status="pass",
            sentence="Models that did not train on the members tell them from the non-members no better than guessing.",
            measurements=(
                Measurement(name="TPR at 1 % FPR", estimate=tpr_estimate(nothing), unit="share"),
                Measurement(name="AUC", estimate=auc_estimate(nothing)),
            ),
            roc=nothing.roc(),
        ),
        ControlResult(
            id="null-instrument",
            title="Random-label null",
            question="Does the instrument find a leak where labels were drawn at random?",
            status="pass",
            sentence="With labels drawn at random the primary attacks stay at chance.",
            measurements=(Measurement(name="AUC", estimate=about(0.499, 0.011, both_sides(), "DeLong, logit scale")),),
        ),
        ControlResult(
            id="planted",
            title="Planted leak",
            question="Would this audit have found a leak of the size of the limit?",
            status="pass",
            sentence="A planted leak of 5 % was found in 99 % of 200 draws.",
            measurements=(Measurement(name="detected at the limit", estimate=share(0.99, 200, "draws"), unit="share"),),
            roc=Strength(0.06, 3.0, 0.02).roc(),
            doses=tuple(
                DosePoint(
                    attack_id=card.id,
                    access=card.access,
                    dose=dose,
                    tpr=share(tpr, N),
                    detected=share(found, 200, "draws"),
                )
                for card in (LIRA_WEIGHTS, LIRA_SCORES, LABEL_VOTES)
                for dose, tpr, found in (
                    (0.005, 0.0134, 0.19),
                    (0.01, 0.0168, 0.56),
                    (0.02, 0.0242, 0.93),
                    (0.05, 0.05, 0.99),
                    (0.1, 0.089, 1.0),
                )
            ),
        ),
        ControlResult(
            id="blind",
            title="Blind classifier",
            question="Do members and non-members differ before the model is asked?",
            status="fail" if confounded else "pass",
            sentence="A classifier that never asked the model tells members from non-members."
            if confounded
            else "A classifier that never asked the model cannot tell them apart; it could have seen an AUC of 0.53.",
            measurements=(
                Measurement(name="AUC", estimate=about(blind_auc, 0.011, both_sides(), "DeLong, logit scale")),
            ),
            voids=(Void.LEAK_FOUND, Void.NOTHING_FOUND) if confounded else (),
            roc=Strength(0.0, 0.0, float(np.sqrt(2) * norm.ppf(blind_auc))).roc(),
        ),
    )


def checks(*, confounded: bool = False) -> tuple[Check, ...]:
    split = Check(
        id="random-split",
        title="Random split",
        level=CheckLevel.FAIL if confounded else CheckLevel.PASS,
        sentence="The owner states that the members were collected before the non-members."
        if confounded
        else "The owner states that one data set was split at random.",
        voids=(Void.PER_RECORD,) if confounded else (),
    )
    return (
        split,
        Check(
            id="recipe",
            title="Recipe",
            level=CheckLevel.PASS,
            sentence="The target's accuracy (0.91) lies in the 99 % prediction interval of the shadows (0.89 to 0.92).",
        ),
        Check(
            id="duplicates",
            title="Duplicates",
            level=CheckLevel.WARN,
            sentence="12 records were in both members and non-members and were dropped (0.1 %).",
        ),
    )


# --- the audits ------------------------------------------------------------------------------------------------------


def verdict(
    access: Access, state: VerdictState, sentence: str, *reasons: str, inherited: Access | None = None
) -> Verdict:
    return Verdict(
        access=access,
        family=Family.MEMBERSHIP,
        state=state,
        sentence=sentence,
        reasons=reasons or (sentence,),
        inherited_from=inherited,
    )


def no_inversion_verdict(access: Access) -> Verdict:
    sentence = {
        Access.WEIGHTS: "10 classes are too few for an interval over classes; 20 are needed.",
        Access.SCORES: "10 classes are too few for an interval over classes; 20 are needed.",
        Access.LABELS: "No inversion attack on labels ran.",
    }[access]
    return Verdict(access=access, family=Family.INVERSION, state=UNSURE, sentence=sentence, reasons=(sentence,))


def power() -> tuple[EndpointPower, ...]:
    """As computed for 5,000 records a side and six tests."""
    auc, tpr = (
        EndpointPower(
            metric=metric,
            fpr=fpr,
            limit=limit,
            n=N,
            power=0.8,
            level=0.05 / 6,
            smallest=smallest,
            needed=needed,
            decided=True,
            sentence=f"{name}: 5,000 records a side find {least} or more with 80 % power, and can decide the limit.",
        )
        for name, metric, fpr, limit, smallest, needed, least in (
            ("AUC", Metric.AUC, None, 0.6, 0.519, 175, "0.519"),
            ("TPR at 1 % FPR", Metric.TPR_AT_FPR, FPR, 0.05, 0.0179, 1000, "1.8 %"),
        )
    )
    return auc, tpr


def report(
    name: str,
    results: tuple[AttackResult, ...],
    verdicts: tuple[Verdict, ...],
    *,
    lift: float,
    severity: Severity,
    blind_auc: float = 0.505,
) -> AuditReport:
    confounded = blind_auc > 0.55
    half = Strength(0.17 * lift, 2.9, 0.58 * lift)
    return AuditReport(
        created=datetime(2026, 11, 22, 14, 3, tzinfo=UTC),
        model=ModelFacts(
            name=name,
            file_format="safetensors",
            sha256="9f2c4e1ab07d5583e6f1c2d49b8a70e15c3d2f6b1a9e8d7c6b5a493827160f5e",
            file_bytes=44_780_992,
            architecture="resnet18",
            architecture_evidence="config.json beside the weights",
            model_args={"act_layer": "silu"},
            head="its own",
            parameters=11_181_642,
            num_classes=10,
            weights="plain",
            preprocessing=Preprocessing(
                mean=(0.4914, 0.4822, 0.4465),
                std=(0.2470, 0.2435, 0.2616),
                input_size=(3, 32, 32),
                source="config.json pretrained_cfg",
            ),
        ),
        data=DataFacts(
            members=25_000,
            non_members=10_000,
            evaluated=N,
            population=5_000,
            public=20_000,
            classes=CLASSES,
            class_is_person=False,
            random_split=not confounded,
            grouped=lift == 1,
            duplicates_dropped=12,
            image_shape=(32, 32, 3),
            key_fingerprint="5d1f-09ac",
        ),
        plan=PlanFacts(
            digest="c0ffee17a4b2",
            budget="standard",
            seed=0,
            release=Access.WEIGHTS,
            shadows=16,
            null_models=2,
            control_models=1,
            epochs=60,
            recipe="SGD, lr 0.1, cosine, momentum 0.9, weight decay 0.0005, batch 128, flip and crop",
            queries=copies(4, mirrored=True),
            primary=("lira-weights", "lira-scores", "label-augment"),
            secondary=("rmia", "mentr", "loss", "gap", "quantile", "boundary"),
            skipped=("boundary",),
            auc_limit=0.6,
            tpr_limit=0.05,
            tpr_fpr=FPR,
            family_wise_error=0.05,
            power=power(),
        ),
        environment=Environment(
            privaudit="0.1.0",
            python="3.11.9",
            torch="2.14.0",
            timm="1.0.30",
            numpy="2.4.6",
            platform="Linux-6.8-x86_64",
            machine="x86_64, 16 cores",
            device="cuda (NVIDIA L4)",
            threads_per_worker=4,
        ),
        membership=results,
        secondary=(
            SecondaryChoice(
                access=Access.WEIGHTS,
                attack_id="rmia",
                chosen_from=4,
                metric=Metric.TPR_AT_FPR,
                fpr=FPR,
                selection_value=tpr_estimate(half, N // 2),
                reported_value=tpr_estimate(half, N // 2),
            ),
        ),
        exposure=exposure(lift),
        record_exposure=record_exposure(lift),
        group_exposure=group_exposure() if lift == 1 else (),
        output_matrix=output_matrix(lift),
        instant=instant(lift),
        canaries=canaries(lift),
        implied_epsilon=implied(lift),
        histograms=histograms(lift),
        inversion=few_classes(),
        inversion_setup=setup(0),
        controls=controls(blind_auc=blind_auc),
        checks=checks(confounded=confounded),
        defenses=(measured := defenses(results)),
        advice=advise(measured),
        verdicts=(*verdicts, *(no_inversion_verdict(access) for access in Access)),
        severity=severity,
        timings=(
            Timing(phase="shadows", wall_seconds=5820.0, cpu_seconds=21_400.0),
            Timing(phase="attacks", wall_seconds=412.0, cpu_seconds=1204.0),
            Timing(phase="defenses", wall_seconds=2930.0, cpu_seconds=9800.0),
        ),
    )


def leaky() -> AuditReport:
    """A leak under every release, smaller where only labels go out."""
    sentence = (
        "An outsider who holds a candidate record, knows the recipe and trains 16 models on half of the audited "
        "records recognises {} of the audited training records while wrongly flagging 1 % (0.6–1.6 %) of the others; "
        "guessing would reach 1 %. If 1 in 100 candidates was a member, {} of the flags would be right."
    )
    return report(
        "cifar-resnet18",
        attacks(1.0),
        (
            verdict(Access.WEIGHTS, LEAK, sentence.format("19 % (95 % interval 18–21 %)", "16 %")),
            verdict(Access.SCORES, LEAK, sentence.format("17 % (95 % interval 16–18 %)", "15 %")),
            verdict(Access.LABELS, LEAK, sentence.format("5.5 % (95 % interval 4.8–6.3 %)", "5.3 %")),
        ),
        lift=1.0,
        severity=Severity.HIGH,
    )


def many_defenses(release: Access = Access.WEIGHTS) -> AuditReport:
    """The leaky model with every kind of defense."""
    whole = leaky()
    measured = defenses(whole.membership, every=True)
    plan = whole.plan.model_copy(update={"release": release})
    return whole.model_copy(update={"defenses": measured, "advice": advise(measured), "plan": plan})


def well_behaved() -> AuditReport:
    """Nothing found, with the bounds that make the sentence mean something."""
    sentence = (
        "The primary attacks recognise at most 2.0 % (simultaneous 95 % bound, 5,000 a side) of the audited training "
        "records at 1 % false flags; guessing reaches 1 %. The best of 4 secondary attacks, chosen on one half, "
        "reached 1.3 % on the other. A planted leak of 5 % was recovered. Attacks not run may do better."
    )
    return report(
        "cifar-resnet18-mid",
        attacks(0.02),
        tuple(verdict(access, NOTHING, sentence) for access in (Access.WEIGHTS, Access.SCORES, Access.LABELS)),
        lift=0.02,
        severity=Severity.NONE,
    )


def confounded() -> AuditReport:
    """Members and non-members that differ without the model's doing."""
    sentence = (
        "The non-member records differ from the members in ways that the model did not cause (a classifier that never "
        "asked the model tells them apart: AUC 0.83). Use a random split of one data set."
    )
    return report(
        "street-scenes-2026",
        attacks(0.7),
        tuple(verdict(access, UNSURE, sentence) for access in (Access.WEIGHTS, Access.SCORES, Access.LABELS)),
        lift=0.7,
        severity=Severity.NONE,
        blind_auc=0.83,
    )


def persons() -> AuditReport:
    """A classifier of persons, of whom attacks show more than anybody could draw without it."""
    whole = leaky()
    names = tuple(f"person-{index:02d}" for index in range(40))
    rebuilt = "{}: classes are rebuilt better than by anyone without a model of them; each is one person, so what is"
    rebuilt += " rebuilt is personal."
    told = {
        Access.WEIGHTS: (LEAK, rebuilt.format("KED-MI, LOMMA (GMI), Plug & Play, IF-GMI")),
        Access.SCORES: (LEAK, rebuilt.format("Mirror (black box), Reinforcement learning")),
        Access.LABELS: (UNSURE, "The reconstructions show no more of training records than the controls do."),
    }
    return whole.model_copy(
        update={
            "model": whole.model.model_copy(update={"name": "staff-faces", "num_classes": len(names)}),
            "data": whole.data.model_copy(update={"classes": names, "class_is_person": True}),
            "exposure": (),
            "inversion": forty_persons(),
            "inversion_setup": setup(2),
            "verdicts": (
                *(one for one in whole.verdicts if one.family is Family.MEMBERSHIP),
                *(
                    Verdict(access=access, family=Family.INVERSION, state=state, sentence=why, reasons=(why,))
                    for access, (state, why) in told.items()
                ),
            ),
        }
    )


def at_once() -> AuditReport:
    """The leaky model before any shadow is trained: the gap and the loss attack, and every verdict open."""
    whole = leaky()
    later = Skipped(reason="needs shadows, which are not trained yet")
    sentence = "Nothing is decided yet: no shadow model has been trained."
    return whole.model_copy(
        update={
            "stage": "target alone",
            "membership": tuple(
                result if result.card in (LOSS, GAP) else result.model_copy(update={"outcome": later})
                for result in whole.membership
            ),
            "secondary": (),
            "instant": instant(1.0).model_copy(update={"found": ()}),
            "verdicts": tuple(
                Verdict(access=access, family=family, state=UNSURE, sentence=sentence, reasons=(sentence,))
                for family in Family
                for access in Access
            ),
            "severity": Severity.NONE,
            **dict.fromkeys(
                (
                    "exposure",
                    "group_exposure",
                    "output_matrix",
                    "inversion",
                    "controls",
                    "checks",
                    "defenses",
                    "advice",
                ),
                (),
            ),
        }
    )


EXAMPLES = {"leaky": leaky, "well_behaved": well_behaved, "confounded": confounded, "persons": persons}
