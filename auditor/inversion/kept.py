"""Reconstructions as arrays in the run folder, and back."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from auditor.compute import RunFolder
from auditor.errors import InputError
from auditor.inversion.given import Rebuilt
from reference_attacks.inversion.material import Inverted, Snapshot

__all__ = ["arrays_of", "read_material"]

Array = npt.NDArray[np.generic]


def arrays_of(found: Inverted | Rebuilt) -> dict[str, Array]:
    """What the run folder keeps of it."""
    if isinstance(found, Rebuilt):
        return {"images": found.images.cpu().float().numpy(), "shared_queries": np.array([found.queries])}
    arrays: dict[str, Array] = {
        "images": found.images.cpu().float().numpy(),
        "queries": found.queries.cpu().numpy(),
        "shared_queries": np.array([found.shared_queries]),
    }
    if found.confidence is not None:
        arrays["confidence"] = found.confidence.cpu().double().numpy()
    for index, one in enumerate(found.snapshots):
        arrays[f"snapshot-{index:03d}.images"] = one.images.cpu().float().numpy()
        arrays[f"snapshot-{index:03d}.queries"] = np.array([one.queries])
    return arrays


def read_material(folder: RunFolder, name: str) -> Inverted | Rebuilt:
    """What a worker kept.

    Raises:
        InputError: it is missing or damaged.
    """
    kept = folder.read_arrays(name)
    if kept is None:
        raise InputError(f"{folder.path(name)} is missing or damaged.", "Start again with a fresh --run-dir.")
    arrays = {key: torch.from_numpy(one.copy()) for key, one in kept.items()}
    shared = int(arrays["shared_queries"][0])
    if "queries" not in arrays:
        return Rebuilt(arrays["images"], shared)
    taken = sorted(key.removesuffix(".images") for key in arrays if key.startswith("snapshot-") and "images" in key)
    return Inverted(
        images=arrays["images"],
        confidence=arrays.get("confidence"),
        queries=arrays["queries"],
        shared_queries=shared,
        snapshots=tuple(Snapshot(int(arrays[f"{one}.queries"][0]), arrays[f"{one}.images"]) for one in taken),
    )
