"""The inversion attacks, as literal rows: those that run on a CPU, and those that need a generator at full size."""

from __future__ import annotations

from auditor.battery import papers
from auditor.battery.full_size import FULL_SIZE
from auditor.findings import AttackCard, Family, Fidelity
from auditor.inversion import InversionAttack, adapters
from auditor.threat import Access

__all__ = ["DECODER", "DECODERS", "GRADIENTS", "INVERSION"]

DECODER = "inversion-network"  # the two that are run against defended models too
GRADIENTS = "miface"
DECODERS = 3  # one alone says nothing of how far another would fall

_HERE = (
    InversionAttack(
        AttackCard(
            id="miface",
            title="MIFace",
            family=Family.INVERSION,
            paper=papers.FREDRIKSON,
            fidelity=Fidelity.THIRD_PARTY,
            access=Access.WEIGHTS,
            needs=("gradients",),
            formula="gradient steps on the image until the class confidence reaches .99",
            changed="fixed-length steps on -log p; no denoising between steps",
            settings={"step_size": 0.05, "max_iterations": 1000},
        ),
        adapters.miface,
        stops_early=True,
    ),
    InversionAttack(
        AttackCard(
            id="miface-smooth",
            title="MIFace with image priors",
            family=Family.INVERSION,
            paper=papers.FREDRIKSON,
            fidelity=Fidelity.RECONSTRUCTION,
            access=Access.WEIGHTS,
            needs=("gradients",),
            formula="the same with total variation in the cost, shown to the model at two other places in every step",
            changed="priors in place of the paper's denoising",
            settings={"step_size": 0.05, "max_iterations": 500, "tv_weight": 2.0, "shifted_views": 2},
        ),
        adapters.smooth_miface,
        budget="standard",
        stops_early=True,
    ),
    InversionAttack(
        AttackCard(
            id="inversion-network",
            title="Inversion network (narrow)",
            family=Family.INVERSION,
            paper=papers.YANG,
            fidelity=Fidelity.OFFICIAL_CODE,
            access=Access.SCORES,
            needs=("images of the attacker's own",),
            formula="decoder from the released probabilities to the image, taught on the attacker's own images",
            changed="a quarter of the width; 25 epochs at 1e-3 in place of 100 at 2e-4, on at most 2,000 images; "
            "logarithms centred, not raised by 50, behind which soft scores get lost",
            settings={"width": 32, "epochs": 25, "centred": True},
        ),
        adapters.inversion_network,
        rebuilds="records",
    ),
    InversionAttack(
        AttackCard(
            id="inversion-network-truncated",
            title="Inversion network (narrow), five largest",
            family=Family.INVERSION,
            paper=papers.YANG,
            fidelity=Fidelity.OFFICIAL_CODE,
            access=Access.SCORES,
            needs=("images of the attacker's own",),
            formula="the same on the five largest probabilities",
            changed="as the inversion network, but for the input, which is the paper's",
            settings={"width": 32, "epochs": 25, "kept": 5},
        ),
        adapters.inversion_network_truncated,
        rebuilds="records",
        budget="standard",
    ),
    InversionAttack(
        AttackCard(
            id="inversion-network-labels",
            title="Inversion network (narrow), labels",
            family=Family.INVERSION,
            paper=papers.YANG,
            fidelity=Fidelity.OFFICIAL_CODE,
            access=Access.LABELS,
            needs=("images of the attacker's own",),
            formula="the same on the named class alone",
            changed="as the inversion network, but for the input, which is the paper's",
            settings={"width": 32, "epochs": 25},
        ),
        adapters.inversion_network_labels,
        rebuilds="records",
        budget="standard",
    ),
    InversionAttack(
        AttackCard(
            id="confident-public",
            title="Most confident public images",
            family=Family.INVERSION,
            paper=papers.BASELINE,
            fidelity=Fidelity.OWN,
            access=Access.SCORES,
            needs=("images of public/",),
            formula="the public images of which the model is surest: what choosing alone gives away",
            settings={"restarts": 3},
        ),
        adapters.confident_public,
        needs="public",
        budget="standard",
    ),
    InversionAttack(
        AttackCard(
            id="best-of-draws",
            title="Best of 5,000 draws",
            family=Family.INVERSION,
            paper=papers.BASELINE,
            fidelity=Fidelity.OWN,
            access=Access.SCORES,
            needs=("an image prior",),
            formula="the draws from the prior of which the model is surest",
            settings={"draws": 5000, "restarts": 3},
        ),
        adapters.best_of_draws,
        needs="prior",
        budget="standard",
    ),
    InversionAttack(
        AttackCard(
            id="gmi",
            title="GMI-style (reduced)",
            family=Family.INVERSION,
            paper=papers.GMI,
            fidelity=Fidelity.OFFICIAL_CODE,
            access=Access.WEIGHTS,
            needs=("gradients", "an image prior"),
            formula="search of the prior for images that look real and that the model takes for the class",
            changed="a small hinge GAN in place of the paper's WGAN-GP (your own generator: no critic); 300 steps, "
            "not 1,500; 3 restarts, not 5",
            settings={"iterations": 300, "restarts": 3},
        ),
        adapters.gmi_style,
        needs="prior",
        budget="standard",
    ),
    InversionAttack(
        AttackCard(
            id="genetic",
            title="Genetic search (MIRROR-style, reduced)",
            family=Family.INVERSION,
            paper=papers.MIRROR,
            fidelity=Fidelity.RECONSTRUCTION,
            access=Access.SCORES,
            needs=("an image prior",),
            formula="draws from the prior bred by the confidence they earn",
            changed="latents of a small GAN in place of StyleGAN styles; 5,000 draws, 30 generations of 100",
            settings={"draws": 5000, "population": 100, "generations": 30},
        ),
        adapters.genetic,
        needs="prior",
        budget="standard",
    ),
    InversionAttack(
        AttackCard(
            id="brep-mi",
            title="BREP-MI (ended early)",
            family=Family.INVERSION,
            paper=papers.BREP_MI,
            fidelity=Fidelity.OFFICIAL_CODE,
            access=Access.LABELS,
            needs=("an image prior",),
            formula="walk from the class boundary inward, by labels of points on a growing sphere",
            changed="a small GAN in place of the paper's; at most 150 rounds and 5,000 first draws",
            settings={"directions": 32, "max_iterations": 150},
        ),
        adapters.boundary_repulsion,
        needs="prior",
        budget="standard",
    ),
    InversionAttack(
        AttackCard(
            id="lomma",
            title="LOMMA-style on GMI (reduced)",
            family=Family.INVERSION,
            paper=papers.LOMMA,
            fidelity=Fidelity.OFFICIAL_CODE,
            access=Access.WEIGHTS,
            needs=("gradients", "features", "an image prior", "images of the attacker's own"),
            formula="GMI with the logit loss held in place by features, averaged over the target and students",
            changed="a small hinge GAN (your own generator: no critic); 300 steps in place of 2,400, 3 restarts; 2 "
            "small students, not 3 pre-trained EfficientNets",
            settings={"iterations": 300, "restarts": 3, "students": 2, "student_epochs": 10},
        ),
        adapters.lomma_style,
        needs="prior",
        budget="thorough",
    ),
    InversionAttack(
        AttackCard(
            id="plg-mi",
            title="PLG-MI-style (reduced)",
            family=Family.INVERSION,
            paper=papers.PLG_MI,
            fidelity=Fidelity.OFFICIAL_CODE,
            access=Access.WEIGHTS,
            needs=("gradients", "images of public/"),
            formula="conditional GAN on public images labelled by the model, searched with the margin loss",
            changed="a small conditional GAN, 1,500 steps in place of 30,000; 300 steps of search in place of 600",
            settings={"per_class": 30, "gan_steps": 1500, "iterations": 300, "restarts": 3},
        ),
        adapters.plg_style,
        needs="public",
        budget="thorough",
    ),
)

INVERSION = (*_HERE, *FULL_SIZE)
