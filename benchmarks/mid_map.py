"""MAP attacks on a sensitive attribute, for the MID study (Fredrikson et al., USENIX Security 2014 and CCS 2015).

The attacker knows the person's other attributes and true outcome, the shares of the sensitive values, and how the
model errs. He scores every value v and guesses the largest. Scores are float [record, value]; `guess` picks.

naive MAP            share(v) * P(true outcome | what the model answers for v): queries only
MAP with counts      share(v) * n(leaf of v, true label) / n(all leaves that v can reach): needs the tree and its counts

MAP by odds          share(v) * P(true outcome | the odds with which the model answers for v): queries only, ours

Changed: a model may answer at random, so that its answers are averaged over their law. A classifier's error table is
read as P(true | answered). With counts, the label is read off the leaf's counts. Fidelity: reconstruction.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = [
    "error_table",
    "guess",
    "naive_map_regression",
    "naive_map_tree",
    "odds_table",
    "tree_map_by_odds",
    "tree_map_with_counts",
]

_BINS = 10

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def naive_map_regression(shares: Floats, answers: Floats, outcome: Floats, error: float) -> Floats:
    """Scores in logarithms: far from every answer the densities themselves are all 0.

    Args:
        shares: Of the sensitive values, float [value].
        answers: Mean answer for each person with each value, float [record, value].
        outcome: True, float [record].
        error: Root mean squared error of the model's mean answers.
    """
    return np.log(shares) - 0.5 * ((outcome[:, None] - answers) / error) ** 2


def error_table(laws: Floats, labels: Ints, *, n_labels: int | None = None) -> Floats:
    """P(true label | answer), float [answer, label], on people with known labels.

    An answer that is never given says nothing: its row has the shares of the labels.

    Args:
        laws: Probability of each answer, float [record, answer].
        labels: True, int [record].
        n_labels: How many there are; as many as answers if not given.
    """
    one_hot = np.eye(n_labels or laws.shape[1])[labels]
    joint = laws.T @ one_hot
    given = joint.sum(axis=1, keepdims=True)
    return np.where(given > 0, joint / np.where(given > 0, given, 1.0), one_hot.mean(axis=0))


def naive_map_tree(shares: Floats, laws: Floats, labels: Ints, table: Floats) -> Floats:
    """Scores from queries alone.

    Args:
        shares: Of the sensitive values, float [value].
        laws: Probability of each answer for each person with each value, float [record, value, answer].
        labels: True, int [record].
        table: P(true label | answer), float [answer, label].
    """
    likelihoods: Floats = np.einsum("rva,ar->rv", laws, table[:, labels])
    return shares * likelihoods


def odds_table(laws: Floats, labels: Ints) -> Floats:
    """P(true label | how likely the answer 1 is), float [bin, label]: ten equal bins, on people with known labels.

    A bin that nobody is in says nothing: its row has the shares of the labels.

    Args:
        laws: Probability of each answer, float [record, answer], two answers.
        labels: True, int [record].
    """
    return error_table(np.eye(_BINS)[_bins(laws)], labels, n_labels=2)


def tree_map_by_odds(shares: Floats, laws: Floats, labels: Ints, table: Floats) -> Floats:
    """Scores from queries alone, where the attacker asks until he knows the odds of every answer.

    Args:
        shares: Of the sensitive values, float [value].
        laws: Probability of each answer for each person with each value, float [record, value, answer].
        labels: True, int [record].
        table: Of `odds_table`.
    """
    return shares * table[_bins(laws), labels[:, None]]


def tree_map_with_counts(shares: Floats, leaves: Ints, labels: Ints, counts: Floats, reach: Bools) -> Floats:
    """Scores from the tree's own counts.

    Args:
        shares: Of the sensitive values, float [value].
        leaves: Where each person ends with each value, int [record, value].
        labels: True, int [record].
        counts: Training people by leaf and label, float [leaf, label].
        reach: Which values can get to which leaf, bool [leaf, value].
    """
    reachable = counts.sum(axis=1) @ reach
    found = counts[leaves, labels[:, None]]
    return shares * found / np.where(reachable > 0, reachable, 1.0)


def guess(scores: Floats, shares: Floats) -> Ints:
    """The value with the largest score, int [record]; among equal scores the more frequent value."""
    order = np.argsort(-shares, kind="stable")
    best = scores.max(axis=1, keepdims=True)
    tied = np.isclose(scores, best, rtol=1e-9, atol=0.0)
    return np.asarray(order[tied[:, order].argmax(axis=1)])


def _bins(laws: Floats) -> Ints:
    return np.minimum((laws[..., 1] * _BINS).astype(np.int64), _BINS - 1)
