"""The inversion attacks that need a generator of the user's own at full size, as literal rows."""

from __future__ import annotations

from auditor.battery import papers
from auditor.findings import AttackCard, Family, Fidelity
from auditor.inversion import InversionAttack, full_size
from auditor.threat import Access

__all__ = ["FULL_SIZE"]

FULL_SIZE = (
    InversionAttack(
        AttackCard(
            id="kedmi",
            title="KEDMI",
            family=Family.INVERSION,
            paper=papers.KEDMI,
            fidelity=Fidelity.MECHANICS,
            access=Access.WEIGHTS,
            needs=("gradients", "a generator and a discriminator of your own"),
            formula="distribution of latents by class in a GAN whose discriminator learns the model's soft labels",
            changed="never run at full size by us",
            settings={"iterations": 2400, "restarts": 5},
        ),
        full_size.kedmi,
        needs="own generator",
        budget="thorough",
    ),
    InversionAttack(
        AttackCard(
            id="vmi",
            title="VMI",
            family=Family.INVERSION,
            paper=papers.VMI,
            fidelity=Fidelity.MECHANICS,
            access=Access.WEIGHTS,
            needs=("gradients", "a generator of your own"),
            formula="flow on the latents of each class, fitted to the posterior",
            changed="never run at full size by us; one flow in place of layered ones",
            settings={"steps": 4867, "kl_weight": 0.001, "restarts": 50},
        ),
        full_size.variational,
        needs="own generator",
        budget="thorough",
    ),
    InversionAttack(
        AttackCard(
            id="ppa",
            title="Plug & Play",
            family=Family.INVERSION,
            paper=papers.PPA,
            fidelity=Fidelity.MECHANICS,
            access=Access.WEIGHTS,
            needs=("gradients", "a generator of your own"),
            formula="styles that the model likes, improved under random crops by the Poincare loss",
            changed="never run at full size by us",
            settings={"styles": 5000, "steps": 70, "restarts": 50},
        ),
        full_size.plug_and_play,
        needs="own generator",
        budget="thorough",
    ),
    InversionAttack(
        AttackCard(
            id="mirror",
            title="MIRROR",
            family=Family.INVERSION,
            paper=papers.MIRROR,
            fidelity=Fidelity.MECHANICS,
            access=Access.WEIGHTS,
            needs=("gradients", "a generator of your own"),
            formula="search of styles kept where they are usual",
            changed="never run at full size by us",
            settings={"steps": 20000, "restarts": 8},
        ),
        full_size.mirror,
        needs="own generator",
        budget="thorough",
    ),
    InversionAttack(
        AttackCard(
            id="mirror-scores",
            title="MIRROR, black box",
            family=Family.INVERSION,
            paper=papers.MIRROR,
            fidelity=Fidelity.MECHANICS,
            access=Access.SCORES,
            needs=("a generator of your own",),
            formula="styles bred by the confidence they earn, kept where they are usual",
            changed="never run at full size by us; crossover favours the better parent",
            settings={"population": 1000, "generations": 100},
        ),
        full_size.mirror_scores,
        needs="own generator",
        budget="thorough",
    ),
    InversionAttack(
        AttackCard(
            id="if-gmi",
            title="IF-GMI",
            family=Family.INVERSION,
            paper=papers.IF_GMI,
            fidelity=Fidelity.MECHANICS,
            access=Access.WEIGHTS,
            needs=("gradients", "a generator of your own"),
            formula="Plug & Play, then the features between the stages of the generator",
            changed="never run at full size by us; hands in the last stage",
            settings={"stages": 5, "restarts": 50},
        ),
        full_size.intermediate_features,
        needs="own generator",
        budget="thorough",
    ),
    InversionAttack(
        AttackCard(
            id="rlb-mi",
            title="RLB-MI",
            family=Family.INVERSION,
            paper=papers.RLB_MI,
            fidelity=Fidelity.MECHANICS,
            access=Access.SCORES,
            needs=("a generator of your own",),
            formula="an agent that learns which latents earn confidence",
            changed="never run at full size by us",
            settings={"episodes": 40000},
        ),
        full_size.reinforcement,
        needs="own generator",
        budget="thorough",
    ),
    InversionAttack(
        AttackCard(
            id="lokt",
            title="LOKT",
            family=Family.INVERSION,
            paper=papers.LOKT,
            fidelity=Fidelity.MECHANICS,
            access=Access.LABELS,
            needs=("a conditional generator of your own",),
            formula="surrogates learned from labels of generated images, then attacked with gradients",
            changed="never run at full size by us; your generator in place of the one it trains",
            settings={"surrogates": 3, "iterations": 600, "restarts": 5},
        ),
        full_size.knowledge_transfer,
        needs="own generator",
        budget="thorough",
    ),
)
