"""Adapters of attacks that need a generator of the user's own at full size; their mechanics are tested, no more.

They run at the settings of their papers, which take hours on a GPU. Where a generator has styles, attacks on latents
that are standard normal search its noise. What needs torch is imported where it is called.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from auditor.inversion.adapters import noise_of, prior_of

if TYPE_CHECKING:
    from auditor.inversion.given import Given
    from reference_attacks.inversion.material import Inverted
    from reference_attacks.inversion.style import StyleGenerator

__all__ = [
    "intermediate_features",
    "kedmi",
    "knowledge_transfer",
    "mirror",
    "mirror_scores",
    "plug_and_play",
    "reinforcement",
    "variational",
]

_SURROGATES = 3


def _styles(given: Given) -> StyleGenerator:
    from auditor.inversion.given import UnfitError
    from reference_attacks.inversion.style import StyleGenerator

    generator = prior_of(given).generator
    if not isinstance(generator, StyleGenerator):
        raise UnfitError("needs a generator with styles, and yours has none")
    return generator


def plug_and_play(given: Given) -> Inverted:
    """PPA."""
    from reference_attacks.inversion import ppa

    whole = ppa.PPA()
    candidates = given.share(whole.candidates, whole.restarts)
    styles = max(given.share(whole.styles), candidates)
    settings = replace(whole, steps=given.share(whole.steps), styles=styles, candidates=candidates)
    return ppa.invert(
        logits=given.view.logits,
        classes=given.classes,
        generator=_styles(given),
        rng=given.rng(),
        settings=settings,
    )


def intermediate_features(given: Given) -> Inverted:
    """IF-GMI, through as many stages as the generator has."""
    from reference_attacks.inversion import if_gmi

    whole, styles = if_gmi.IFGMI(), _styles(given)
    stages = min(len(whole.steps), styles.stages)
    settings = replace(
        whole,
        steps=tuple(given.share(one, 1) for one in whole.steps[:stages]),
        radii=whole.radii[:stages],
        styles=max(given.share(whole.styles), whole.restarts),
    )
    return if_gmi.invert(
        logits=given.view.logits, classes=given.classes, generator=styles, rng=given.rng(), settings=settings
    )


def mirror(given: Given) -> Inverted:
    """MIRROR with the weights."""
    from reference_attacks.inversion import mirror as mirror_attack

    whole = mirror_attack.Mirror()
    return mirror_attack.invert(
        logits=given.view.logits,
        classes=given.classes,
        generator=_styles(given),
        rng=given.rng(),
        settings=replace(whole, steps=given.share(whole.steps)),
    )


def mirror_scores(given: Given) -> Inverted:
    """MIRROR with scores alone."""
    from reference_attacks.inversion import mirror_black_box as mirror_breeding

    whole = mirror_breeding.MirrorBlackBox()
    return mirror_breeding.invert(
        released=given.view.released,
        classes=given.classes,
        generator=_styles(given),
        rng=given.rng(),
        settings=replace(whole, generations=given.share(whole.generations)),
    )


def variational(given: Given) -> Inverted:
    """VMI with its flow."""
    from reference_attacks.inversion import vmi as vmi_attack

    whole = vmi_attack.VMI()
    return vmi_attack.invert(
        logits=given.view.logits,
        classes=given.classes,
        generator=noise_of(given),
        rng=given.rng(),
        settings=replace(whole, steps=given.share(whole.steps)),
    )


def reinforcement(given: Given) -> Inverted:
    """RLB-MI."""
    from reference_attacks.inversion import rlb_mi

    whole = rlb_mi.RLBMI()
    return rlb_mi.invert(
        released=given.view.released,
        classes=given.classes,
        generator=noise_of(given),
        rng=given.rng(),
        settings=replace(whole, episodes=given.share(whole.episodes)),
    )


def knowledge_transfer(given: Given) -> Inverted:
    """LOKT, with the user's conditional generator in place of the one that it trains.

    Raises:
        UnfitError: the generator is not told the model's classes.
    """
    from auditor.inversion.given import UnfitError
    from reference_attacks.inversion import lokt, students

    generator, classes = prior_of(given).generator, given.view.target.facts.num_classes
    if generator.conditional != classes:
        raise UnfitError(f"needs a generator that is told the model's {classes} classes, and yours is not")
    rng, whole, search = given.rng(), lokt.Learning(), lokt.LOKT()
    fresh = students.small_networks(_SURROGATES, image_shape=given.view.image_shape, n_classes=classes, rng=rng)
    learned = lokt.learn(
        label_of=given.view.labels,
        generator=generator,
        networks=[one.to(given.view.device) for one in fresh],
        rng=rng,
        settings=replace(
            whole,
            epochs=given.share(whole.epochs, 1),
            per_class=given.share(whole.per_class),
            epoch_images=given.share(whole.epoch_images, whole.batch_size),
        ),
    )
    return lokt.invert(
        learned=learned,
        classes=given.classes,
        generator=generator,
        rng=rng,
        settings=replace(search, iterations=given.share(search.iterations)),
    )


def kedmi(given: Given) -> Inverted:
    """KEDMI trains the generator with a discriminator of the target's classes, which no generator comes with.

    Raises:
        UnfitError: always; the attack file takes both networks.
    """
    from auditor.inversion.given import UnfitError

    shape = given.view.image_shape
    raise UnfitError(
        "needs a discriminator that is trained along with the generator "
        f"for this model, at {shape[1]} x {shape[2]} pixels; reference_attacks/inversion/kedmi.py takes both"
    )
