"""Make the leaky Fashion-MNIST sample again: a small residual network that knows its 1,000 members by heart."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fashion_mnist import Sample, main

from auditor.splits import Recipe

SAMPLE = Sample(
    about="Make the leaky Fashion-MNIST sample again: splits, weights and configuration.",
    records=1_000,
    seed=20261122,
    model_args=(("channels", (16, 32, 64, 64)), ("stem_width", 8)),
    recipe=Recipe(
        epochs=12,
        optimizer="adamw",
        lr=0.003,
        weight_decay=0.01,
        batch_size=50,
        schedule="cosine",
    ),
)

if __name__ == "__main__":
    main(SAMPLE, Path(__file__).parent)
