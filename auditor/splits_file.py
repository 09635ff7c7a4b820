"""`splits.toml`: what the owner knows about the splits that the files themselves cannot say.

random_split = true             # members and non-members were told apart by chance alone
class_is_person = false         # each class is one person

[roles]                         # only where files have other names than train, test, population, public, validation
population = "holdout"

[data]                          # only where the columns of parquet or arrow files are not found by name
image_column = "scan"           # or features_column
label_column = "coarse_label"
group_column = "patient"

[preprocessing]
mean = [0.49, 0.48, 0.45]       # of pixels in [0, 1]; with std, both or neither; for features one number will do
std = [0.25, 0.24, 0.26]
input_size = [3, 32, 32]        # channels, height, width; for features [64]
interpolation = "bilinear"      # or bicubic
crop_pct = 1.0

[training]                      # how the model was trained; shadows are trained the same way
epochs = 30
optimizer = "sgd"               # or adam, adamw
lr = 0.1
momentum = 0.9
weight_decay = 5e-4
batch_size = 128
schedule = "cosine"             # or constant
augmentation = ["flip", "crop"]
label_smoothing = 0.0
init = "imagenet.safetensors"   # the public weights that a fine-tuned model started from: a file
trainable = "all"               # or head: fine-tuning trained the classifier alone
shadows = "recipe"              # or frozen-features: cheap proxies that train the classifier alone

[claim]                         # differential privacy that is claimed of the training; canaries can contradict it
epsilon = 8.0
delta = 1e-5
unit = "record"                 # or group
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, Field, field_validator, model_validator

from auditor.errors import InputError
from auditor.findings import PrivacyClaim
from auditor.records import printable
from auditor.toml_file import Section, parse_toml, settings_in

__all__ = [
    "ClaimSection",
    "DataSection",
    "Filter",
    "PreprocessingSection",
    "Recipe",
    "RolesSection",
    "SplitsFile",
    "of_pixels",
    "read_splits_file",
]

FILE_NAME = "splits.toml"

Filter: TypeAlias = Literal["bilinear", "bicubic"]

_Mean: TypeAlias = Annotated[float, Field(allow_inf_nan=False)]
_Std: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Side: TypeAlias = Annotated[int, Field(ge=1, le=65_536)]

_LARGEST_MEAN, _LARGEST_STD = 1.0, 10.0  # of pixels in [0, 1]


class Recipe(Section):
    """How the target was trained, as far as shadows have to follow.

    Attributes:
        epochs: Passes over the training set.
        optimizer: `sgd`, `adam` or `adamw`.
        lr: Learning rate, at its highest.
        momentum: Of SGD; the others ignore it.
        weight_decay: As the optimiser of that name in torch takes it.
        batch_size: Records per step; at least 2, for batch normalisation.
        schedule: `constant`, or `cosine` down to zero.
        augmentation: Random horizontal `flip`, random `crop` after padding.
        label_smoothing: Share of the target probability spread over all classes.
        init: Public weights from which the target started; None: trained from scratch.
        trainable: What was trained of the target: `all` layers, or the `head` alone on the features of `init`.
        shadows: `recipe`: trained like the target; `frozen-features`: only their heads are trained, on the features of
            `init`, which makes proxies of them where the target trained more.
    """

    epochs: int = Field(ge=1, le=10_000)
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: float = Field(gt=0, le=1_000)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0, le=10)
    batch_size: int = Field(ge=2, le=1_000_000)
    schedule: Literal["constant", "cosine"] = "constant"
    augmentation: tuple[Literal["flip", "crop"], ...] = Field(default=(), strict=False)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    init: Path | None = Field(default=None, strict=False)
    trainable: Literal["all", "head"] = "all"
    shadows: Literal["recipe", "frozen-features"] = "recipe"

    @model_validator(mode="after")
    def _frozen_features_come_from_somewhere(self) -> Recipe:
        if self.head_only and self.init is None:
            key = 'trainable = "head"' if self.trainable == "head" else 'shadows = "frozen-features"'
            raise ValueError(f"{key} needs init, the public weights that give the features")
        return self

    @property
    def head_only(self) -> bool:
        """Whether the models that we train learn nothing but their head."""
        return self.trainable == "head" or self.shadows == "frozen-features"

    @property
    def proxy(self) -> bool:
        """Whether the models that we train learn less than the target did."""
        return self.head_only and self.trainable == "all"

    def describe(self) -> str:
        """The recipe in one line, for the report; without paths."""
        momentum = f", momentum {self.momentum:g}" if self.optimizer == "sgd" else ""
        parts = [
            f"{self.epochs} epoch{'s' if self.epochs > 1 else ''} of {_OPTIMIZERS[self.optimizer]}",
            f"learning rate {self.lr:g} ({self.schedule}){momentum}",
            f"weight decay {self.weight_decay:g}",
            f"batches of {self.batch_size}",
            f"augmentation: {' and '.join(self.augmentation) or 'none'}",
        ]
        if self.label_smoothing:
            parts.append(f"label smoothing {self.label_smoothing:g}")
        if self.init is not None:
            parts.append("started from given weights")
        if self.trainable == "head":
            parts.append("only the head trained")
        if self.proxy:
            parts.append("models trained here are proxies: only their heads are trained, on frozen features")
        return ", ".join(parts)


_OPTIMIZERS = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW"}


def of_pixels(mean: Sequence[float], std: Sequence[float]) -> bool:
    """Whether these can be of pixels in [0, 1]; of pixels up to 255 they are larger."""
    return all(abs(value) <= _LARGEST_MEAN for value in mean) and all(value <= _LARGEST_STD for value in std)


class PreprocessingSection(Section):
    """How a record becomes the model's input. `mean` and `std` are both given or neither.

    They hold one number per channel, of pixels in [0, 1]; where input_size is [features, 1, 1], or [features] for
    short, one per feature or one for all. Without input_size that of the checkpoint's configuration counts.
    """

    input_size: tuple[_Side, _Side, _Side] | None = Field(default=None, strict=False)
    mean: tuple[_Mean, ...] | None = Field(default=None, strict=False)
    std: tuple[_Std, ...] | None = Field(default=None, strict=False)
    interpolation: Filter = "bilinear"
    crop_pct: float = Field(default=1.0, ge=0.1, le=1)

    @field_validator("input_size", mode="before")
    @classmethod
    def _of_features(cls, given: object) -> object:
        return [*given, 1, 1] if isinstance(given, list) and len(given) == 1 else given

    @model_validator(mode="after")
    def _one_number_per_channel(self) -> PreprocessingSection:
        given = [len(numbers) for numbers in (self.mean, self.std) if numbers is not None]
        if self.input_size is None:
            if given and given != [given[0]] * 2:
                raise ValueError("mean and std must both be given, and hold equally many numbers")
            return self
        channels, features = self.input_size[0], self.input_size[0] > 1 and self.input_size[1:] == (1, 1)
        if given and given not in ([channels] * 2, [1 if features else channels] * 2):
            alternative = ", or one for all features" if features else ""
            raise ValueError(
                f"mean and std must both hold {channels} numbers, one per channel of input_size{alternative}"
            )
        if not (features or of_pixels(self.mean or (), self.std or ())):
            raise ValueError("mean and std of images are those of pixels in [0, 1]: divide them by 255")
        return self


class ClaimSection(Section):
    """What the owner claims of the training: (epsilon, delta) differential privacy for each record or group."""

    epsilon: float = Field(ge=0, le=1_000)
    delta: float = Field(ge=0, lt=1)
    unit: Literal["record", "group"] = "record"

    def stated(self) -> PrivacyClaim:
        """The claim as the report tells it."""
        return PrivacyClaim(epsilon=self.epsilon, delta=self.delta, unit=self.unit)


class RolesSection(Section):
    """The entry of the data folder that plays each role; None: found by name."""

    train: str | None = None
    test: str | None = None
    population: str | None = None
    public: str | None = None
    validation: str | None = None


class DataSection(Section):
    """Which column of parquet and arrow files holds what; None: found by name."""

    image_column: str | None = Field(default=None, min_length=1)
    features_column: str | None = Field(default=None, min_length=1)
    label_column: str | None = Field(default=None, min_length=1)
    group_column: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _images_or_features(self) -> DataSection:
        if self.image_column is not None and self.features_column is not None:
            raise ValueError("records are images or features, so give image_column or features_column")
        return self


class SplitsFile(Section):
    """The whole file. Without one, every field has its default: nothing is known."""

    random_split: bool | None = None
    class_is_person: bool = False
    roles: RolesSection = RolesSection()
    data: DataSection = DataSection()
    preprocessing: PreprocessingSection | None = None
    training: Recipe | None = None
    claim: ClaimSection | None = None


_TABLES: dict[str, type[BaseModel]] = {
    "": SplitsFile,
    "roles": RolesSection,
    "data": DataSection,
    "preprocessing": PreprocessingSection,
    "training": Recipe,
    "claim": ClaimSection,
}


def read_splits_file(folder: Path) -> SplitsFile:
    """Read `splits.toml` from a data folder; defaults where there is none. `init` comes back as an absolute path.

    Raises:
        InputError: the file is not TOML, has an unknown key or a value out of bounds, or `init` does not exist.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return SplitsFile()
    return _with_absolute_init(settings_in(parse_toml(path), SplitsFile, _TABLES, path), path)


def _with_absolute_init(settings: SplitsFile, path: Path) -> SplitsFile:
    if settings.training is None or settings.training.init is None:
        return settings
    init = (path.parent / settings.training.init).absolute()
    if not init.is_file():
        state = "are no file" if init.exists() else "do not exist"
        raise InputError(
            f"{printable(path)} names the initial weights {printable(init)}, which {state}.",
            "Give `training.init` as a weights file, relative to the data folder, or remove it.",
        )
    return settings.model_copy(update={"training": settings.training.model_copy(update={"init": init})})
