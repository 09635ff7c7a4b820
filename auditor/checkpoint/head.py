"""The head of a classifier: the layer that gives the classes, on the features that the rest of the network makes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from auditor.checkpoint.weights import state_of

__all__ = ["heads_of", "with_own_head"]


def heads_of(module: nn.Module, classes: int) -> tuple[nn.Module, ...]:
    """The layers that give the classes: one as a rule, more in distilled transformers, none where none can be told.

    Args:
        module: timm's say which (`get_classifier`); of others it is the last linear layer with as many outputs as
            there are classes, or else the last convolution with as many.
        classes: Length of the module's output.
    """
    ask = getattr(module, "get_classifier", None)
    named = ask() if callable(ask) else ()
    found = tuple(_with_parameters(named if isinstance(named, tuple | list) else (named,)))
    if found:
        return found
    convolutions = [one for one in module.modules() if isinstance(one, nn.Conv2d) and one.out_channels == classes]
    linear = [one for one in module.modules() if isinstance(one, nn.Linear) and one.out_features == classes]
    return (*convolutions, *linear)[-1:]


def _with_parameters(candidates: Iterable[object]) -> list[nn.Module]:
    return [one for one in candidates if isinstance(one, nn.Module) and next(one.parameters(), None) is not None]


def with_own_head(module: nn.Module, tensors: Mapping[str, Tensor], classes: int) -> Mapping[str, Tensor]:
    """The tensors of a file for this module; where the file has another head, the module's own takes its place.

    The file's head is another if a tensor of it is missing or of another shape. If all are missing, what the file has
    besides under one name (`classifier.1.weight`, `classifier.4.weight`) is the head that goes. Nothing else is mended:
    the caller still has to see whether the result fits.
    """
    state = state_of(module)
    mine = {id(tensor) for head in heads_of(module, classes) for tensor in state_of(head).values()}
    own = {name: tensor.detach() for name, tensor in state.items() if id(tensor) in mine}
    if all(name in tensors and tensors[name].shape == tensor.shape for name, tensor in own.items()):
        return tensors
    dropped = set(own)
    foreign = [name for name in tensors if name not in state]
    if not dropped & set(tensors) and len({name.partition(".")[0] for name in foreign}) == 1:
        dropped.update(foreign)
    return {**{name: tensor for name, tensor in tensors.items() if name not in dropped}, **own}
