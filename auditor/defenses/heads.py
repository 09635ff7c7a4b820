"""What the defenses that give a network another head have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import torch
from torch import nn

from auditor.checkpoint.new_head import NewHead, linear_head
from auditor.checkpoint.preprocessing import blank_input
from auditor.defense import UnfitDefenseError
from auditor.errors import InputError
from auditor.target import Target

__all__ = ["head_for"]


def head_for(target: Target, kind: Literal["low-rank", "bottleneck"], width: Callable[[int, int], int]) -> NewHead:
    """The head to put in the place of a network's own; the one that is there if it is of that kind already.

    Args:
        target: A network with its own head or another, trained or not.
        kind: Of the new head.
        width: Its width, from the number of features and the number of classes.

    Raises:
        UnfitDefenseError: the network's own head is not one linear layer on one vector per record.
    """
    present = target.architecture.head
    if present is not None and present.kind == kind:
        return present
    with torch.random.fork_rng(devices=[]):
        module = replace(target.architecture, head=None).build().eval()
    try:
        own = linear_head(module, target.facts.num_classes, target.architecture.label)
    except InputError as error:
        raise UnfitDefenseError(f"it replaces the last linear layer: {error}") from error
    if _dimensions_received(own, module, blank_input(target.facts.preprocessing, torch.device("cpu"))) != 2:
        raise UnfitDefenseError(
            f"it replaces the last linear layer, which {target.architecture.label} applies to more than one vector per "
            "record"
        )
    return NewHead(kind=kind, width=width(own.in_features, target.facts.num_classes))


def _dimensions_received(layer: nn.Module, module: nn.Module, blank: torch.Tensor) -> int:
    seen: list[int] = []
    hook = layer.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].ndim))
    try:
        with torch.no_grad():
            module(blank)
    finally:
        hook.remove()
    return seen[0] if len(seen) == 1 else 0
