"""What the appendix says in every report: methods, statements, glossary, and the words of others for the same."""

from __future__ import annotations

__all__ = ["DATA_STATEMENT", "GLOSSARY", "METHODS", "SHOWN_STATEMENT", "TERMS"]

_IDS = (
    "Ids of records and groups are keyed hashes under the owner's key, which never leaves the owner's machine; only "
    "its fingerprint is printed. Where classes are people, class names are pseudonyms."
)
DATA_STATEMENT = f"No training record, and no image derived from one, is in this report. {_IDS}"
SHOWN_STATEMENT = (
    "The owner asked to see what attacks rebuilt (--show-records): such images are in this report, no training record "
    f"itself is. {_IDS}"
)

METHODS = (
    ("AUC", "DeLong's variance on the logit scale; clustered by group where records belong to groups."),
    (
        "TPR at low FPR",
        (
            "The thresholds whose order-statistic FPR bounds bracket the asked FPR, with exact binomial intervals at "
            "each; the test is exact on its own (negative hypergeometric). No estimate below 1/FPR non-members; below "
            "10/FPR it is starred, carries no headline and is not judged."
        ),
    ),
    (
        "Primary attacks",
        (
            "Declared in the plan before anything was trained; Holm's correction over all primary endpoints of a "
            "family; upper bounds are simultaneous."
        ),
    ),
    (
        "Secondary attacks",
        "Chosen on one half of the audit records, reported on the other; never the ground of a verdict.",
    ),
    (
        "Tail estimate",
        "As TPR at low FPR, members and non-members exchanged: non-members with a loss that few members reach.",
    ),
    (
        "Epsilon from canaries",
        (
            "Offline LiRA scores; the highest and the lowest are guessed, at four declared shares that divide the "
            "error evenly. Steinke et al. 2023 (Theorem 5.2); with a Gaussian trade-off curve Mahloujifar et al. 2024."
        ),
    ),
    (
        "Implied epsilon",
        "Log-ratio of the exact ends of both rates, each at half of the error; the threshold is taken as given.",
    ),
    (
        "Inversion",
        (
            "Student's t over classes. What is found rejects against each of its controls, as the largest p-value "
            "counts; Holm's correction over both questions and all attacks, from 20 classes on."
        ),
    ),
    ("Shares and means", "Clopper-Pearson for shares, Student's t for means, unless the table names another method."),
)

GLOSSARY = (
    ("Member, non-member", "A record that was, or was not, in the training set of the audited model."),
    ("Membership inference", "Telling from the model whether a known record was in its training set."),
    ("Model inversion", "Rebuilding from the model what its training data looked like."),
    (
        "Record excess",
        (
            "How much nearer reconstructions lie to training records than to as many others of their class, less the "
            "same for a control that saw none of them."
        ),
    ),
    (
        "Class excess",
        "How much surer independent networks are of the class than for the best of as many images made without it.",
    ),
    ("Access", "What the attacker sees: labels, scores (class probabilities), or the weights."),
    (
        "Shadow model",
        "A model like the audited one, trained on a known part of the data, to learn what membership looks like.",
    ),
    ("FPR, TPR", "False positive rate: non-members wrongly flagged. True positive rate: members recognised."),
    ("AUC", "The chance that a random member scores above a random non-member; 0.50 is guessing."),
    ("Interval", "The range that covers the true value in the stated share of such audits."),
    ("Null control", "The same attack where there is nothing to find: what the split alone gives."),
    ("Planted control", "A leak of known size put in on purpose: would this audit have seen it?"),
    ("Blind control", "A classifier that never asks the model: do members and non-members differ anyway?"),
    (
        "Epsilon, delta",
        (
            "Differential privacy: adding one record changes the odds of any outcome of training by a factor of e to "
            "the epsilon at most, up to delta."
        ),
    ),
    ("Canary", "A made-up record that a logged coin flip added to the training data, or left out."),
    ("Adaptive attacker", "One who knows of the defense and refits everything through it."),
    (
        "Fidelity",
        (
            "How far an implementation goes back to the method it is named after: official-code-derived, what the "
            "authors' own code does; third-party-derived, what an implementation by others does; account-derived, what "
            "others tell of the paper; reconstruction, our reading of an abstract; mechanics-tested only, never run "
            "here at the size it is made for."
        ),
    ),
)

TERMS = (
    (
        "Membership inference",
        "privacy attacks: membership inference",
        "AML.T0024.000",
        "C11.2",
        "ML04",
        "membership inference; likelihood of obtaining personal data by queries",
    ),
    (
        "Model inversion",
        "privacy attacks: data reconstruction",
        "AML.T0024.001",
        "C11.2",
        "ML03",
        "model inversion, reconstruction; likelihood of extraction of personal data",
    ),
)
