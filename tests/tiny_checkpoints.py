"""Small checkpoints for tests: a timm network of some thousand parameters, and Python files with factories."""

from __future__ import annotations

import json
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file
from torch import nn

from auditor.findings import Preprocessing

ARGS = {"channels": [8, 8, 8, 8], "stem_width": 8}
CONFIG = {
    "architecture": "resnet10t",
    "num_classes": 4,
    "model_args": ARGS,
    "pretrained_cfg": {
        "input_size": [3, 32, 32],
        "interpolation": "bicubic",
        "crop_pct": 1.0,
        "mean": [0.5, 0.4, 0.3],
        "std": [0.2, 0.25, 0.3],
    },
}
STATED = Preprocessing(mean=(0.5,), std=(0.25,), input_size=(3, 32, 32), source="splits.toml")
FACTORIES = """
from torch import nn

def fixed():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4))

def flexible(num_classes=10):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, num_classes))

def tabular():
    return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))

def failing():
    raise RuntimeError("no such luck")

def no_network():
    return 5

def features():
    return nn.Linear(3 * 32, 3 * 32)

number = 3
"""


def tiny_net(num_classes: int = 4, **changes: object) -> nn.Module:
    torch.manual_seed(0)
    # timm starts the last scale of each block at 0, which would hide the block
    module = timm.create_model("resnet10t", num_classes=num_classes, zero_init_last=False, **{**ARGS, **changes})
    for _ in range(5):
        module.train()(torch.rand(8, 3, 32, 32))  # settles the statistics of batch normalisation
    return module.eval()


def timm_folder(folder: Path, module: nn.Module | None = None, **config: object) -> Path:
    """A folder in timm's layout; keyword arguments replace entries of its config.json, None takes them out."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file((module or tiny_net()).state_dict(), folder / "model.safetensors")
    entries = {key: value for key, value in {**CONFIG, **config}.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(entries))
    return folder


def factories(folder: Path) -> Path:
    file = folder / "networks.py"
    file.write_text(FACTORIES)
    return file
