"""How stored records become what the model receives: settled from evidence, never from ImageNet's habits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional

from auditor.checkpoint.config import Config
from auditor.errors import InputError
from auditor.findings import Preprocessing
from auditor.records import printable
from auditor.splits_file import FILE_NAME, Filter, PreprocessingSection, of_pixels

__all__ = ["Inputs", "agreed_preprocessing", "blank_input", "prepare", "settle_preprocessing"]

Inputs: TypeAlias = npt.NDArray[np.generic] | Tensor

_FILTERS: tuple[str, ...] = get_args(Filter)
_REQUIRED = ("mean", "std", "input_size")
_OPTIONAL = ("interpolation", "crop_pct")
_SOURCE = "config.json pretrained_cfg"
_ROUNDING = 1e-6  # of numbers that were written by hand
_SHOWN = 60
_REMEDY = (
    "State [preprocessing] with mean, std and input_size in splits.toml; features that are taken as they are have "
    "mean = [0.0] and std = [1.0]."
)


def settle_preprocessing(stated: Preprocessing | None, config: Config | None, weights: Path) -> Preprocessing:
    """Take what the owner stated, else what `config.json` really contains.

    Raises:
        InputError: neither says it, or what they say is impossible.
    """
    if stated is not None:
        return _checked(stated)
    if config is None:
        raise InputError(f"Nothing says how inputs of {weights} are preprocessed: no config.json beside it.", _REMEDY)
    missing = [key for key in _REQUIRED if config.input.get(key) is None]
    if missing:
        raise InputError(f"{config.file} does not give {', '.join(missing)} in pretrained_cfg.", _REMEDY)
    return _checked(_valid(_given_by(config), _SOURCE, config))


def agreed_preprocessing(
    section: PreprocessingSection | None, config: Config | None, data: Path
) -> Preprocessing | None:
    """What the owner states in `splits.toml`, filled up from `config.json`; None where both together leave a gap.

    Args:
        section: [preprocessing], if it is there; what is left out has no default where the config gives it.
        config: The checkpoint's, if it has one.
        data: The data folder, for messages.

    Raises:
        InputError: they contradict each other, what they say is impossible, or the section is there and neither gives
            an `input_size`.
    """
    stated = {} if section is None else {key: getattr(section, key) for key in section.model_fields_set}
    stated = {key: value for key, value in stated.items() if value is not None}
    given = {} if config is None else _given_by(config)
    if config is not None:
        _refuse_contradiction(stated, given, config, data)
    if section is not None and "input_size" not in stated and "input_size" not in given:
        neither = "no config.json is there" if config is None else f"neither does {printable(config.file)}"
        raise InputError(
            f"{printable(data / FILE_NAME)} does not give input_size under [preprocessing], and {neither}.",
            "Give it there: channels, height and width, or [features].",
        )
    if any(key not in stated and key not in given for key in _REQUIRED):
        return None
    added = [key for key in given if key not in stated]
    if config is None or not added:
        return _checked(Preprocessing.model_validate({**stated, "source": FILE_NAME}))
    source = f"{FILE_NAME}, and {', '.join(added)} from {_SOURCE}" if stated else _SOURCE
    return _checked(_valid({**given, **stated}, source, config))


def _refuse_contradiction(
    stated: Mapping[str, object], given: Mapping[str, object], config: Config, data: Path
) -> None:
    for key, value in stated.items():
        if key in given and not _alike(value, given[key]):
            raise InputError(
                f"{printable(data / FILE_NAME)} says {key} = {_listed(value)}, and {printable(config.file)} "
                f"{printable(_listed(given[key]))}.",
                "Images must reach the model as in training: correct the wrong one, or remove it.",
            )


def _alike(stated: object, given: object) -> bool:
    """Whether two files mean the same; one number stands for all channels."""
    ours, theirs = (
        list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        for value in (stated, given)
    )
    if 1 in (len(ours), len(theirs)):
        ours, theirs = ours * len(theirs), theirs * len(ours)
    return len(ours) == len(theirs) and all(map(_near, ours, theirs))


def _near(one: object, other: object) -> bool:
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=_ROUNDING, abs_tol=_ROUNDING)
    return one == other


def _listed(value: object) -> str:
    return str(list(value) if isinstance(value, tuple) else value)[:_SHOWN]


def _given_by(config: Config) -> dict[str, object]:
    return {key: config.input[key] for key in (*_REQUIRED, *_OPTIONAL) if config.input.get(key) is not None}


def _valid(given: Mapping[str, object], source: str, config: Config) -> Preprocessing:
    absent = [key for key in _OPTIONAL if key not in given]
    if absent:
        source += f", which does not give {' or '.join(absent)}"
    try:
        return Preprocessing.model_validate({**given, "source": source})
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise InputError(
            f"{config.file}: {where} in pretrained_cfg is impossible: {problem['msg']}.", _REMEDY
        ) from error


def _checked(preprocessing: Preprocessing) -> Preprocessing:
    channels = preprocessing.input_size[0]
    numbers = (*preprocessing.mean, *preprocessing.std, preprocessing.crop_pct)
    complaints = {
        "input_size must be three sizes from 1 on": min(preprocessing.input_size) < 1,
        "mean, std and crop_pct must be finite": not all(map(math.isfinite, numbers)),
        "std must be above 0": any(value <= 0 for value in preprocessing.std),
        "mean and std of images are those of pixels in [0, 1]: divide them by 255": not (
            _takes_features(preprocessing) or of_pixels(preprocessing.mean, preprocessing.std)
        ),
        "crop_pct must lie above 0 and be at most 1": not 0 < preprocessing.crop_pct <= 1,
        f"mean and std must have 1 or {channels} values": any(
            len(values) not in (1, channels) for values in (preprocessing.mean, preprocessing.std)
        ),
        f"interpolation must be {' or '.join(_FILTERS)}, not {preprocessing.interpolation}": (
            preprocessing.interpolation not in _FILTERS
        ),
    }
    for complaint, found in complaints.items():
        if found:
            raise InputError(f"Preprocessing from {preprocessing.source}: {complaint}.", _REMEDY)
    return preprocessing


def _takes_features(preprocessing: Preprocessing) -> bool:
    """Whether the model takes feature vectors, which is said by an input_size of (features, 1, 1)."""
    return preprocessing.input_size[1:] == (1, 1)


def blank_input(preprocessing: Preprocessing, device: torch.device) -> Tensor:
    """One prepared record of zeros: [1, channel, height, width], or [1, feature]."""
    size = preprocessing.input_size
    return torch.zeros((1, size[0]) if _takes_features(preprocessing) else (1, *size), device=device)


def prepare(inputs: Inputs, preprocessing: Preprocessing, device: torch.device) -> Tensor:
    """Turn stored records into the float32 tensor that the model receives.

    Images whose size already is `input_size` are taken as they are; others are resized so that the shorter side is
    `input_size / crop_pct`, antialiased, and cropped at the centre. A grey image is repeated for a model that wants
    colour. Gradients flow through, except to uint8.

    Args:
        inputs: Images uint8 [record, height, width, channel], or the same as floats in [0, 1]; or float features
            [record, feature].
        preprocessing: Sizes, filter, mean and standard deviation.
        device: Where the result is wanted.

    Returns:
        [record, channel, height, width], or [record, feature].

    Raises:
        InputError: the records cannot be made to fit the model.
    """
    tensor = _on_device(inputs, device)
    if _takes_features(preprocessing):
        return _features(tensor, preprocessing)
    if tensor.ndim != 4:
        raise InputError(
            f"The records have shape {tuple(tensor.shape[1:])}, but the model takes images.",
            "Images are stored as [record, height, width, channel]; for features, input_size is (features, 1, 1).",
        )
    pixels = tensor.permute(0, 3, 1, 2)
    pixels = pixels.float() if tensor.is_floating_point() else pixels.float() / 255
    _, height, width = preprocessing.input_size
    if pixels.shape[2:] != (height, width):
        pixels = _resized(pixels, preprocessing)
    pixels = _with_channels(pixels, preprocessing.input_size[0])
    return _normalised(pixels, preprocessing, (1, -1, 1, 1)).contiguous()


def _on_device(inputs: Inputs, device: torch.device) -> Tensor:
    if isinstance(inputs, Tensor):
        return inputs.to(device)
    array = np.ascontiguousarray(inputs)
    # torch cannot mark a tensor read-only, so it is not given memory that is
    return torch.from_numpy(array if array.flags.writeable else array.copy()).to(device)


def _features(tensor: Tensor, preprocessing: Preprocessing) -> Tensor:
    count = preprocessing.input_size[0]
    if tensor.ndim != 2 or tensor.shape[1] != count:
        raise InputError(
            f"The records have shape {tuple(tensor.shape[1:])}, but the model takes {count} features.",
            "Correct input_size in [preprocessing] of splits.toml, or use the data of this model.",
        )
    return _normalised(tensor.float(), preprocessing, (1, -1))


def _resized(pixels: Tensor, preprocessing: Preprocessing) -> Tensor:
    _, height, width = preprocessing.input_size
    scale = max(
        math.floor(side / preprocessing.crop_pct) / stored
        for side, stored in zip((height, width), pixels.shape[2:], strict=True)
    )
    size = [max(side, round(stored * scale)) for side, stored in zip((height, width), pixels.shape[2:], strict=True)]
    pixels = functional.interpolate(pixels, size=size, mode=preprocessing.interpolation, antialias=True)
    top, left = round((size[0] - height) / 2), round((size[1] - width) / 2)
    return pixels[:, :, top : top + height, left : left + width].clamp(0, 1)  # bicubic filters overshoot


def _with_channels(pixels: Tensor, wanted: int) -> Tensor:
    stored = pixels.shape[1]
    if stored == wanted:
        return pixels
    if stored == 1 and wanted == 3:
        return pixels.expand(-1, 3, -1, -1)
    raise InputError(
        f"The images have {stored} channels, but the model takes {wanted}.",
        "Convert the images in the data folder as it was done for training.",
    )


def _normalised(tensor: Tensor, preprocessing: Preprocessing, shape: tuple[int, ...]) -> Tensor:
    mean, std = (
        torch.tensor(values, dtype=torch.float32, device=tensor.device).reshape(shape)
        for values in (preprocessing.mean, preprocessing.std)
    )
    return (tensor - mean) / std
