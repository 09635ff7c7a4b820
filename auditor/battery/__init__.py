"""Which attacks there are: literal tuples, read without torch. `battery.plan` says which of them run, and runs them."""

from auditor.battery.attacks import ATTACKS, CARDS, MEMBERSHIP, title_of
from auditor.battery.inversion import DECODER, DECODERS, GRADIENTS, INVERSION

__all__ = ["ATTACKS", "CARDS", "DECODER", "DECODERS", "GRADIENTS", "INVERSION", "MEMBERSHIP", "title_of"]
