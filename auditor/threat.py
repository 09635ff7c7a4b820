"""What an attacker sees: the three ways in which a model is released, from least to most."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Access"]


class Access(StrEnum):
    """What one query of the released model shows. Ordered: `labels` < `scores` < `weights`."""

    LABELS = "labels"
    SCORES = "scores"
    WEIGHTS = "weights"

    @property
    def rank(self) -> int:
        """Position in the order from least to most access."""
        return list(Access).index(self)

    def includes(self, other: Access) -> bool:
        """Whether an attacker with this access can also do what `other` allows."""
        return self.rank >= other.rank

    @property
    def description(self) -> str:
        """One phrase for a reader who has not seen the word before."""
        return _DESCRIPTIONS[self]


_DESCRIPTIONS = {
    Access.LABELS: "the predicted class only",
    Access.SCORES: "the float32 class probabilities as released",
    Access.WEIGHTS: "the file itself: logits and gradients, and with them scores and labels",
}
