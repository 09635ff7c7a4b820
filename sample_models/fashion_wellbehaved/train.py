"""Make the well-behaved Fashion-MNIST sample again: the same network, stopped after four augmented epochs."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fashion_mnist import Sample, main

from auditor.splits import Recipe

SAMPLE = Sample(
    about="Make the well-behaved Fashion-MNIST sample again: splits, weights and configuration.",
    records=2_000,
    seed=20261123,
    model_args=(("channels", (16, 32, 64, 64)), ("stem_width", 8)),
    recipe=Recipe(
        epochs=4,
        optimizer="adamw",
        lr=0.02,
        weight_decay=0.5,
        batch_size=50,
        schedule="cosine",
        augmentation=("crop",),
    ),
)

if __name__ == "__main__":
    main(SAMPLE, Path(__file__).parent)
