"""From what an attacker is given to the attack files: one adapter for each row of the battery that runs on a CPU.

Iterations, restarts and students are fewer than in the papers, and the prior is a small GAN: the rows say so. Each
imports its attack when it is called, so that the rows are read without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from auditor.inversion.given import Given, Prior, Rebuilt
    from reference_attacks.inversion import inversion_network as network
    from reference_attacks.inversion import miface as miface_attack
    from reference_attacks.inversion.material import Generator, Images, Inverted

__all__ = [
    "best_of_draws",
    "boundary_repulsion",
    "confident_public",
    "genetic",
    "gmi_style",
    "inversion_network",
    "inversion_network_labels",
    "inversion_network_truncated",
    "lomma_style",
    "miface",
    "noise_of",
    "plg_style",
    "prior_of",
    "smooth_miface",
]

_MIFACE_STEPS = 1000
_ASKED_AT_ONCE = 256
_LEARNED_FROM = 2_000
_RESTARTS = 3
_SEARCH_STEPS = 300
_STUDENTS = 2
_STUDENT_EPOCHS = 10
_PSEUDO_LABELLED = 30
_CONDITIONAL_STEPS = 1_500
_DRAWS = 5_000
_GENERATIONS = 30
_POPULATION = 100
_WALKS = 150


def prior_of(given: Given) -> Prior:
    """The prior, which the workshop has made for attacks that need one.

    Raises:
        UnfitError: there is none.
    """
    from auditor.inversion.given import UnfitError

    if given.prior is None:
        raise UnfitError("no image prior was made")
    return given.prior


def noise_of(given: Given) -> Generator:
    """Its generator by standard normal latents: a user's with styles is searched by its noise."""
    from reference_attacks.inversion.style import NoiseSpace, StyleGenerator

    generator = prior_of(given).generator
    return NoiseSpace(generator) if isinstance(generator, StyleGenerator) else generator


# --- without a prior -------------------------------------------------------------------------------------------------


def miface(given: Given, aim: float = 1.0) -> Inverted:
    """MIFace from a black image; `aim` is the confidence to reach, and 1 the paper's cost."""
    from reference_attacks.inversion import miface as miface_attack

    return _miface(given, miface_attack.MIFace(max_iterations=_MIFACE_STEPS, aim=aim))


def smooth_miface(given: Given) -> Inverted:
    """MIFace that prefers smooth images and shows them to the model at other places too."""
    from reference_attacks.inversion import miface as miface_attack

    steps = given.share(_MIFACE_STEPS // 2)
    return _miface(given, miface_attack.MIFace(max_iterations=steps, tv_weight=2.0, max_shift=2, shifted_views=2))


def _miface(given: Given, settings: miface_attack.MIFace) -> Inverted:
    from reference_attacks.inversion import miface as miface_attack

    return miface_attack.invert(
        logits=given.view.logits,
        classes=given.classes,
        image_shape=given.view.image_shape,
        rng=given.rng(),
        device=given.view.device,
        settings=settings,
    )


def confident_public(given: Given) -> Inverted:
    """The public images of which the model is surest: a baseline that rebuilds nothing."""
    from reference_attacks.inversion import baselines

    return baselines.most_confident_public(
        released=given.view.released,
        public_images=_public(given),
        classes=given.classes,
        rng=given.rng(),
        settings=baselines.MostConfidentPublic(restarts=_RESTARTS),
    )


def _public(given: Given) -> Tensor:
    from auditor.inversion.given import UnfitError

    if given.public is None:
        raise UnfitError("there are no public images")
    return given.public.to(given.view.device)


# --- images of records -----------------------------------------------------------------------------------------------


def inversion_network(given: Given) -> Rebuilt:
    """Yang et al., narrow, on whole probability vectors."""
    return _network(given, "full")


def inversion_network_truncated(given: Given) -> Rebuilt:
    """The same on the five largest probabilities."""
    return _network(given, "truncated")


def inversion_network_labels(given: Given) -> Rebuilt:
    """The same on labels alone."""
    return _network(given, "label")


def _network(given: Given, inputs: network.Inputs) -> Rebuilt:
    from auditor.inversion.given import Rebuilt
    from reference_attacks.inversion import inversion_network as network

    images = given.auxiliary[:_LEARNED_FROM].to(given.view.device)
    settings = network.narrow(inputs, epochs=given.share(25, 1))
    outputs = _asked(given, images, labels=inputs == "label")
    decoder = network.train(outputs=outputs, images=images, rng=given.rng(), settings=settings)
    seen = _asked(given, given.asked, labels=inputs == "label")
    return Rebuilt(decoder.reconstruct(seen).cpu(), queries=len(images))


def _asked(given: Given, images: Tensor, *, labels: bool) -> Tensor:
    """What the model says of images: probabilities, or one-hot labels [image, class]."""
    import torch
    from torch.nn import functional

    outputs = torch.cat([given.view.released(one.to(given.view.device)) for one in images.split(_ASKED_AT_ONCE)])
    return functional.one_hot(outputs.argmax(1), outputs.shape[1]).float() if labels else outputs


# --- searches in a prior ---------------------------------------------------------------------------------------------


def best_of_draws(given: Given) -> Inverted:
    """The draws of which the model is surest: a baseline without a search."""
    from reference_attacks.inversion import baselines

    draws = given.share(_DRAWS, _RESTARTS)
    return baselines.best_of_draws(
        released=given.view.released,
        classes=given.classes,
        generator=noise_of(given),
        rng=given.rng(),
        settings=baselines.BestOfDraws(draws=draws, restarts=_RESTARTS),
    )


def gmi_style(given: Given) -> Inverted:
    """GMI with fewer steps and restarts."""
    from reference_attacks.inversion import gmi

    prior = prior_of(given)
    return gmi.invert(
        logits=given.view.logits,
        critic=_critic(prior),
        classes=given.classes,
        generator=noise_of(given),
        rng=given.rng(),
        settings=gmi.GMI(iterations=given.share(_SEARCH_STEPS), restarts=_RESTARTS),
    )


def _critic(prior: Prior) -> Images:
    """The prior's own; the user's generator comes without, and then every image looks equally real."""
    return prior.critic or (lambda images: images.flatten(1).sum(1) * 0.0)


def lomma_style(given: Given) -> Inverted:
    """LOMMA on GMI: the logit loss, with two students."""
    from reference_attacks.inversion import lomma, students

    prior, rng = prior_of(given), given.rng()
    training = students.StudentTraining(epochs=given.share(_STUDENT_EPOCHS, 1))
    settings = lomma.LOMMA(iterations=given.share(_SEARCH_STEPS), restarts=_RESTARTS, training=training)
    target = given.view.target
    fresh = students.small_networks(
        _STUDENTS, image_shape=given.view.image_shape, n_classes=target.facts.num_classes, rng=rng
    )
    learned = lomma.learn(
        logits=given.view.logits,
        features=given.view.features,
        public_images=given.auxiliary.to(given.view.device),
        networks=[one.to(given.view.device) for one in fresh],
        rng=rng,
        settings=settings,
    )
    return lomma.invert(
        logits=given.view.logits,
        features=given.view.features,
        critic=_critic(prior),
        learned=learned,
        classes=given.classes,
        generator=noise_of(given),
        rng=rng,
        settings=settings,
    )


def plg_style(given: Given) -> Inverted:
    """PLG-MI with a small conditional GAN of its own, trained for this model on pseudo-labelled public images."""
    from reference_attacks.inversion import plg_mi
    from reference_attacks.priors.gan import GanSettings

    rng, public = given.rng(), _public(given)
    settings = plg_mi.PlgMi(
        per_class=min(_PSEUDO_LABELLED, len(public)), iterations=given.share(_SEARCH_STEPS), restarts=_RESTARTS
    )
    trained = plg_mi.train_prior(
        logits=given.view.logits,
        public=public,
        rng=rng,
        gan=GanSettings(steps=given.share(_CONDITIONAL_STEPS)),
        settings=settings,
    )
    return plg_mi.invert(
        logits=given.view.logits,
        classes=given.classes,
        generator=trained.prior,
        rng=rng,
        prior_queries=trained.queries,
        settings=settings,
    )


def genetic(given: Given) -> Inverted:
    """Genetic search, with fewer draws and generations."""
    from reference_attacks.inversion import genetic as genetic_search

    settings = genetic_search.Genetic(
        draws=_DRAWS, population=_POPULATION, generations=given.share(_GENERATIONS), restarts=1
    )
    return genetic_search.invert(
        released=given.view.released,
        classes=given.classes,
        generator=noise_of(given),
        rng=given.rng(),
        settings=settings,
    )


def boundary_repulsion(given: Given) -> Inverted:
    """BREP-MI, ended early."""
    from reference_attacks.inversion import brep_mi

    settings = brep_mi.BrepMI(max_iterations=given.share(_WALKS), max_draws=_DRAWS)
    return brep_mi.invert(
        label_of=given.view.labels,
        classes=given.classes,
        generator=noise_of(given),
        rng=given.rng(),
        settings=settings,
    )
