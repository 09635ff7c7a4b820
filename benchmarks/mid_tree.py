"""Decision trees for the MID study: a plain one, two readings of MID, and a differentially private one.

MID (Wang, Zhang, Jia, AAAI 2021; arXiv 2009.05241) minimises `loss + lambda * I(X; Yhat)`. A tree gives every leaf a
law of its answer, so that I(X; Yhat) = H(Yhat) - sum over leaves of P(leaf) H(Yhat | leaf) is exact.

Fidelity: reconstruction; the paper's splitting rule was not available. Two readings of the objective:
grown    Leaves draw from their own frequencies. A split's score is its decrease of the expected 0-1 loss (the Gini
         impurity) minus lambda times its increase of I. With information gain in place of the Gini decrease the two
         terms would be the same number.
answers  The splits of the plain tree; the laws of its leaves minimise the objective exactly (Blahut, Arimoto 1972).

The private tree is ours: the exponential mechanism on the Gini loss at each level (as in Friedman and Schuster, KDD
2010), then Laplace noise on the leaves' counts. All tests are fixed before the data is seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

__all__ = ["Questions", "Tree", "grow", "grow_private", "information", "with_answers"]

_LABELS, _ROUNDS, _SENSITIVITY = 2, 2000, 2.0

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Choose = Callable[[Floats, Floats], int | None]


@dataclass(frozen=True, slots=True, eq=False)
class Questions:
    """Which values of the sensitive attribute leave which answer open, for each question that a tree may ask.

    Attributes:
        can_be_true: bool [test, value].
        can_be_false: bool [test, value].
    """

    can_be_true: Bools
    can_be_false: Bools


@dataclass(frozen=True, slots=True, eq=False)
class Tree:
    """A tree as an array of nodes; a leaf has test -1.

    Attributes:
        test: int [node].
        children: Node for no and node for yes, int [node, 2].
        leaf: Number of the leaf, int [node]; -1 inside.
        counts: Training people, float [leaf, label]; what somebody who has the tree can see.
        law: Probability of each answer, float [leaf, label]; what somebody who asks often can see.
        reach: Values of the sensitive attribute with which a person can get there, bool [leaf, value].
    """

    test: Ints
    children: Ints
    leaf: Ints
    counts: Floats
    law: Floats
    reach: Bools

    def leaves(self, asked: Bools) -> Ints:
        """Leaf of each person, int [record], from the answers to every test, bool [record, test]."""
        nodes = np.zeros(len(asked), dtype=np.int64)
        while (inside := np.flatnonzero(self.test[nodes] >= 0)).size:
            here = nodes[inside]
            nodes[inside] = self.children[here, asked[inside, self.test[here]].astype(np.int64)]
        return self.leaf[nodes]


def information(shares: Floats, law: Floats) -> float:
    """I(X; Yhat) in nats, from P(leaf) [leaf] and the laws of the answers [leaf, label]."""
    return _entropy(shares @ law) - float(shares @ np.array([_entropy(row) for row in law]))


def grow(asked: Bools, labels: Ints, tests: Questions, penalty: float | None, *, depth: int, least: int) -> Tree:
    """Grow a tree greedily.

    With `penalty` None the splits are scored by the decrease of the Gini impurity and leaves say their majority: the
    plain tree. With a number the score is that decrease minus `penalty` times the increase of I(X; Yhat), and leaves
    draw from their frequencies. A split leaves H(Yhat) as it is: the increase is what the leaf's entropy loses.

    Args:
        asked: bool [record, test].
        labels: int [record], 0 or 1.
        tests: Of the columns of `asked`.
        penalty: lambda, in units of 0-1 loss per nat, or None.
        depth: Most questions on a path.
        least: Fewest people in a leaf.
    """
    total = len(labels)

    def choose(no: Floats, yes: Floats) -> int | None:
        both = no + yes
        score = (_gini(both) - _gini(no) - _gini(yes)) / total
        if penalty:
            score = score - penalty * (_spread(both) - _spread(no) - _spread(yes)) / total
        allowed = np.minimum(no.sum(axis=1), yes.sum(axis=1)) >= least
        score = np.where(allowed, score, 0.0)
        best = int(score.argmax())
        # Not exactly 0: a split that changes nothing is left with a rounding error
        return best if score[best] > 1e-12 else None

    tree = _grow(asked, labels, tests, choose, depth)
    return _majority(tree) if penalty is None else tree


def grow_private(
    asked: Bools, labels: Ints, tests: Questions, epsilon: float, rng: np.random.Generator, *, depth: int
) -> Tree:
    """Grow a tree with epsilon-DP for one person more or less, leaves saying their noisy majority.

    Each level and the leaves have epsilon / (depth + 1); the nodes of a level share nobody. The summed Gini loss of the
    two children changes by 2 at most with one person.

    Args:
        asked: bool [record, test].
        labels: int [record], 0 or 1.
        tests: Of the columns of `asked`.
        epsilon: Of the released tree with its counts.
        rng: Draws splits and noise.
        depth: Questions on every path.
    """
    share = epsilon / (depth + 1)

    def choose(no: Floats, yes: Floats) -> int | None:
        utility = -(_gini(no) + _gini(yes)) * share / (2 * _SENSITIVITY)
        return int((utility + rng.gumbel(size=len(utility))).argmax())

    tree = _grow(asked, labels, tests, choose, depth)
    noisy = np.maximum(tree.counts + rng.laplace(0.0, 1 / share, tree.counts.shape), 0.0)
    return _majority(replace(tree, counts=noisy))


def with_answers(tree: Tree, penalty: float) -> Tree:
    """Give the leaves the laws that minimise the expected 0-1 loss plus `penalty` times I(X; Yhat).

    What is released of the counts is what the laws say: a leaf's people times its law.
    """
    people = tree.counts.sum(axis=1, keepdims=True)
    right = tree.counts / people
    shares = people[:, 0] / people.sum()
    answers = np.full(_LABELS, 1 / _LABELS)
    gain = np.exp((right - right.max(axis=1, keepdims=True)) / penalty)
    for _ in range(_ROUNDS):
        law = answers * gain
        law = law / law.sum(axis=1, keepdims=True)
        answers = shares @ law
    return replace(tree, law=law, counts=people * law)


# --- growing ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Grown:
    """What is collected while a tree grows, by node and by leaf."""

    test: list[int]
    children: list[list[int]]
    leaf: list[int]
    counts: list[Floats]
    reach: list[Bools]


def _grow(asked: Bools, labels: Ints, tests: Questions, choose: Choose, depth: int) -> Tree:
    grown = _Grown([], [], [], [], [])
    one_hot = np.eye(_LABELS)[labels]
    answers = asked.astype(np.float64)

    def add(people: Ints, reach: Bools, left: int) -> int:
        node = len(grown.test)
        mine = one_hot[people]
        yes = answers[people].T @ mine
        test = choose(mine.sum(axis=0) - yes, yes) if left else None
        grown.test.append(-1 if test is None else test)
        grown.children.append([-1, -1])
        grown.leaf.append(len(grown.counts) if test is None else -1)
        if test is None:
            grown.counts.append(mine.sum(axis=0))
            grown.reach.append(reach)
            return node
        said = asked[people, test]
        grown.children[node] = [
            add(people[~said], reach & tests.can_be_false[test], left - 1),
            add(people[said], reach & tests.can_be_true[test], left - 1),
        ]
        return node

    add(np.arange(len(labels)), np.ones(tests.can_be_true.shape[1], dtype=np.bool_), depth)
    counts = np.array(grown.counts)
    law = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
    return Tree(
        np.array(grown.test), np.array(grown.children), np.array(grown.leaf), counts, law, np.array(grown.reach)
    )


def _majority(tree: Tree) -> Tree:
    return replace(tree, law=np.eye(_LABELS)[tree.counts.argmax(axis=1)])


def _gini(counts: Floats) -> Floats:
    """Expected number of wrong answers where answers are drawn from the frequencies, float [test]."""
    people: Floats = counts.sum(axis=1)
    squares: Floats = (counts**2).sum(axis=1)
    return people - squares / np.maximum(people, 1.0)


def _spread(counts: Floats) -> Floats:
    """People times the entropy of their labels in nats, float [test]."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
    spread: Floats = (counts * np.log(np.where(shares > 0, shares, 1.0))).sum(axis=1)
    return -spread


def _entropy(law: Floats) -> float:
    return float(-(law * np.log(np.where(law > 0, law, 1.0))).sum())
