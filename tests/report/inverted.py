"""What inversion attacks could have shown: of ten kinds of things, and of forty persons."""

from base64 import b64encode
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image
from scipy.stats import t

from auditor.findings import (
    AttackCard,
    Family,
    Fidelity,
    GalleryPicture,
    InversionResult,
    InversionSetup,
    Measurement,
    Paper,
    QueryPoint,
)
from auditor.stats.multiplicity import holm
from auditor.threat import Access
from tests.report.numbers import about, share

FREDRIKSON = Paper(
    citation="Fredrikson, Jha, Ristenpart: Model Inversion Attacks that Exploit Confidence Information and Basic "
    "Countermeasures, CCS 2015",
    url="https://doi.org/10.1145/2810103.2813677",
)
YANG = Paper(
    citation="Yang et al., Neural Network Inversion in Adversarial Setting via Background Alignment, CCS 2019",
    url="https://arxiv.org/abs/1902.08552",
)
KAHLA = Paper(
    citation="Kahla et al., Label-Only Model Inversion Attacks via Boundary Repulsion, CVPR 2022",
    url="https://arxiv.org/abs/2203.01925",
)
ZHANG = Paper(
    citation="Zhang et al., The Secret Revealer: Generative Model-Inversion Attacks, CVPR 2020",
    url="https://arxiv.org/abs/1911.07135",
)
STRUPPEK = Paper(
    citation="Struppek et al., Plug & Play Attacks, ICML 2022",
    url="https://arxiv.org/abs/2201.12179",
)
OWN = Paper(citation="privaudit's own baseline", url="")

ANOTHER_MODEL = "a model trained on other records of the same classes"
CLASS_MEAN = "the mean image of other records of the class"
OTHER_CLASSES = "the best of as many reconstructions of other classes, by a model that never saw the class"
PUBLIC = "the best of as many images of public/, unselected"
TWO_RECORDS = "the distance of two records of a class"


def card(id_: str, title: str, access: Access, paper: Paper, *needs: str) -> AttackCard:
    return AttackCard(
        id=id_,
        title=title,
        family=Family.INVERSION,
        paper=paper,
        fidelity=Fidelity.OWN if paper is OWN else Fidelity.RECONSTRUCTION,
        access=access,
        needs=needs or ("public images",),
        settings={"steps": 2000, "lr": 0.02},
    )


@dataclass(frozen=True)
class Strength:
    """What an attack shows: of members, of classes, how much is recognised, and `reached` after how many queries."""

    record: float
    by_class: float
    recognised: float
    queries: int
    reached: tuple[tuple[int, float], ...] = ()


def _over(name: str, value: float, half: float, n: int, *controls: tuple[str, float]) -> tuple[Measurement, ...]:
    return tuple(
        Measurement(name=name, estimate=about(value + more, half, {"classes": n}), against=against)
        for against, more in controls
    )


def _p(excess: tuple[Measurement, ...], n: int) -> float:
    least = min(one.estimate.value / (one.estimate.high - one.estimate.value) for one in excess)
    return float(t.sf(least * t.ppf(0.975, n - 1), n - 1))


def _recognised(value: float, n: int) -> list[Measurement]:
    return [
        Measurement(
            name=f"Recognised by the {name} evaluation network (top {top})",
            estimate=share(min(1.0, value * more), n, "classes"),
            unit="share",
        )
        for name, top, more in (("plain", 1, 1.0), ("plain", 5, 1.6), ("residual", 1, 0.9), ("residual", 5, 1.5))
    ]


def _means(n: int, *named: tuple[str, float, float], unit: str = "") -> list[Measurement]:
    return [
        Measurement(name=name, estimate=about(value, half, {"classes": n}), unit=unit) for name, value, half in named
    ]


def of_classes(attack: AttackCard, strength: Strength, n: int, *, left_out: bool) -> InversionResult:
    """An attack that rebuilds classes; without models that never saw them where `left_out` is false."""
    record = _over("Record excess", strength.record, 0.0011, n, (ANOTHER_MODEL, 0.0), (CLASS_MEAN, 0.0006))
    half = 1.96 * 0.3 / np.sqrt(n)
    controls = ((OTHER_CLASSES, 0.02), (PUBLIC, 0.0)) if left_out else ((PUBLIC, 0.0),)
    by_class = _over("Class excess", strength.by_class, half, n, *controls)
    near = 0.041 - 0.02 * strength.recognised
    return InversionResult(
        card=attack,
        status="completed",
        classes=n,
        record_excess=record,
        record_p_value=_p(record, n),
        class_excess=by_class,
        class_p_value=_p(by_class, n) if left_out else None,
        measurements=(
            *_recognised(strength.recognised, n),
            *_means(
                n,
                ("Distance to the nearest member (MSE)", near, 0.0031),
                ("Distance to the nearest non-member (MSE)", near + 0.001 + strength.record, 0.0032),
                ("The class mean's to the nearest member (MSE)", 0.0212, 0.0018),
            ),
            *_means(n, ("Feature distance to the nearest member", 0.4 + 10 * near, 0.06), unit=TWO_RECORDS),
            *_means(n, ("Feature distance to the nearest non-member", 0.42 + 10 * near, 0.06), unit=TWO_RECORDS),
            *(_means(n, ("Target's confidence in the class", 0.97, 0.012)) if attack.access > Access.LABELS else ()),
        ),
        success_by_queries=tuple(
            QueryPoint(queries=queries, success=share(reached, n, "classes")) for queries, reached in strength.reached
        ),
        queries_per_class=strength.queries,
    )


def of_records(attack: AttackCard, gap: float, n: int) -> InversionResult:
    """An attack that rebuilds records from what the model says of them."""
    record = _over("Record excess", gap, 0.0004, n, (ANOTHER_MODEL, 0.0), (CLASS_MEAN, 0.0002))
    return InversionResult(
        card=attack,
        status="completed",
        classes=n,
        record_excess=record,
        record_p_value=_p(record, n),
        measurements=(
            *_means(
                n,
                ("Inversion error of members (MSE)", 0.0187, 0.0014),
                ("Inversion error of non-members (MSE)", 0.0187 + gap, 0.0015),
                ("Memorisation gap (MSE)", gap, 0.0004),
                ("What it shows beyond the class mean (MSE)", 0.0025, 0.0009),
                ("Structural similarity of members (SSIM)", 0.31, 0.03),
                ("Right record found among those of its class, above chance", 0.04, 0.03),
            ),
            *_recognised(0.55, n),
        ),
        queries_per_class=50,
    )


def corrected(results: list[InversionResult]) -> list[InversionResult]:
    """The same, with Holm's p-values over both questions."""
    asked = [
        (i, name) for i, one in enumerate(results) for name in ("record", "class") if _tested(one, name) is not None
    ]
    adjusted = holm([_tested(results[index], name) for index, name in asked])
    found = list(results)
    for (index, name), p in zip(asked, adjusted.tolist(), strict=True):
        update = {f"{name}_p_adjusted": p, f"{name}_found": p <= 0.05}
        found[index] = found[index].model_copy(update=update)
    return found


def _tested(result: InversionResult, name: str) -> float | None:
    return result.record_p_value if name == "record" else result.class_p_value


def skipped(attack: AttackCard, reason: str) -> InversionResult:
    return InversionResult(card=attack, status="skipped", reason=reason)


def setup(class_controls: int) -> InversionSetup:
    named = {"plain": 0.931, "residual": 0.912}
    return InversionSetup(
        evaluators=tuple(
            Measurement(
                name=f"Accuracy of the {name} evaluation network on held-out records",
                estimate=share(value, 1200, "records"),
                unit="share",
            )
            for name, value in named.items()
        ),
        public_images=20_000,
        prior="a small GAN trained on public/: 20,000 images, 32 × 32, 60 epochs",
        prior_quality=(
            Measurement(
                name="Images of public/ that the prior covers", estimate=share(0.64, 200, "images"), unit="share"
            ),
        ),
        class_controls=class_controls,
    )


MIFACE = card("miface", "MIFace", Access.WEIGHTS, FREDRIKSON, "gradients")
NETWORK = card("inversion-network", "Inversion network (narrow)", Access.SCORES, YANG, "images of the attacker's own")
REPULSION = card("boundary-repulsion", "Boundary repulsion", Access.LABELS, KAHLA, "a generator")
NO_GENERATOR = "no generator for 32 × 32 images was given (--generator)"


def few_classes() -> tuple[InversionResult, ...]:
    """Ten classes: too few for a verdict."""
    return (
        of_classes(MIFACE, Strength(0.0004, 0.05, 0.6, 1000), 10, left_out=False),
        of_records(NETWORK, 0.0001, 10),
        skipped(REPULSION, NO_GENERATOR),
    )


DRAWN = (0.05, 0.1, 0.125, 0.15, 0.2)


def _steps(*reached: float) -> tuple[tuple[int, float], ...]:
    return tuple((100 * 4**step, share_) for step, share_ in enumerate(reached))


def forty_persons() -> tuple[InversionResult, ...]:
    """Twelve attacks that ran, and more that did not."""

    def weights(id_: str, title: str, paper: Paper, *shown: float) -> InversionResult:
        return of_classes(card(id_, title, Access.WEIGHTS, paper), Strength(*shown), 40, left_out=True)

    def scores(id_: str, title: str, paper: Paper, *shown: float, reached: tuple[float, ...] = ()) -> InversionResult:
        strength = Strength(*shown, reached=_steps(*reached))
        return of_classes(card(id_, title, Access.SCORES, paper), strength, 40, left_out=True)

    repulsion = Strength(0.0003, 0.12, 0.35, 25_600, _steps(0.05, 0.075, 0.15, 0.25, 0.35))
    ran = [
        of_classes(MIFACE, Strength(0.0002, -0.02, 0.05, 1000), 40, left_out=True),
        weights("gmi", "GMI", ZHANG, 0.0009, 0.09, 0.3, 1500),
        weights("ked-mi", "KED-MI", ZHANG, 0.0014, 0.24, 0.55, 2400),
        weights("lomma", "LOMMA (GMI)", ZHANG, 0.0013, 0.3, 0.6, 2400),
        weights("ppa", "Plug & Play", STRUPPEK, 0.0026, 0.42, 0.775, 4550),
        weights("if-gmi", "IF-GMI", STRUPPEK, 0.0031, 0.45, 0.8, 5200),
        scores("mirror", "Mirror (black box)", STRUPPEK, 0.0006, 0.2, 0.475, 25_600, reached=(0.1, 0.175, 0.3, 0.475)),
        scores("draws", "Generator draws, chosen by confidence", OWN, 0.0001, 0.03, 0.2, 25_600, reached=DRAWN),
        scores("public", "Public images, chosen by confidence", OWN, 0.0, 0.01, 0.225, 500),
        scores("rlb", "Reinforcement learning", KAHLA, 0.0004, 0.16, 0.4, 102_400, reached=(0.05, 0.1, 0.2, 0.3, 0.4)),
        of_classes(REPULSION, repulsion, 40, left_out=True),
        of_records(NETWORK, 0.0011, 40),
    ]
    later = ("MIBench", "Style search", "Patch search", "Diffusion prior", "Variational", "Surrogate", "Label transfer")
    return (
        *corrected(ran),
        *(
            skipped(card(f"large-{index}", title, Access.WEIGHTS, STRUPPEK), "the budget standard does not pay for it")
            for index, title in enumerate(later)
        ),
        *(
            skipped(card(f"own-{index}", title, Access.WEIGHTS, KAHLA), "needs a generator of your own (--generator)")
            for index, title in enumerate(("Mirror", "StyleGAN latents", "PLG-MI"))
        ),
        InversionResult(
            card=card("students", "Students of the target", Access.LABELS, KAHLA),
            status="failed",
            reason="RuntimeError: the students did not converge",
        ),
    )


def png(side: int = 32, shade: int = 0) -> str:
    """A picture as the report keeps it: a soft blob, in base64."""
    place = np.linspace(-1, 1, side)
    blob = np.exp(-2 * (place[:, None] ** 2 + (place - 0.02 * shade) ** 2))
    colours = np.stack([255 * blob, 200 * blob, (120 + 10 * shade) * blob], 2).astype(np.uint8)
    written = BytesIO()
    Image.fromarray(colours).save(written, "PNG")
    return b64encode(written.getvalue()).decode()


def with_pictures(results: tuple[InversionResult, ...]) -> tuple[InversionResult, ...]:
    """The same as a scan with --show-records tells it."""
    gallery = tuple(
        GalleryPicture(label=f"class-{index:02d}", caption="what the attacker would hand in", png=png(32, index))
        for index in range(12)
    )
    return tuple(
        result.model_copy(update={"gallery": gallery}) if result.status == "completed" else result for result in results
    )
