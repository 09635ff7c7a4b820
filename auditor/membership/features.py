"""What can be seen of a record without asking the model: features of the tensor that the model receives."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from auditor.target import Target

__all__ = ["describe"]

Floats = npt.NDArray[np.float64]

_BATCH = 512


def describe(target: Target, inputs: npt.NDArray[np.generic]) -> Floats:
    """Describe the tensors that the model receives, for stored records -> [record, feature].

    Coarse pixels, brightness quantiles, sharpness and radial spectrum: what cropping, lighting, blur, compression or
    another camera would change. Tabular features are taken as they are.
    """
    parts = []
    for start in range(0, len(inputs), _BATCH):
        with torch.inference_mode():
            tensors = target.prepare(np.ascontiguousarray(inputs[start : start + _BATCH])).double().cpu().numpy()
        parts.append(tensors if tensors.ndim == 2 else _of_images(tensors))
    stacked: Floats = np.concatenate(parts)
    return stacked


def _of_images(tensors: Floats) -> Floats:
    records, channels, height, width = tensors.shape
    rows, columns = np.array_split(np.arange(height), min(8, height)), np.array_split(np.arange(width), min(8, width))
    coarse = np.stack([tensors[:, :, r][:, :, :, c].mean((2, 3)) for r in rows for c in columns], axis=-1)
    flat = tensors.reshape(records, channels, -1)
    quantiles = np.moveaxis(np.quantile(flat, [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1], axis=2), 0, -1)
    moments = np.stack([flat.mean(2), flat.std(2)], axis=-1)
    edges = np.stack([np.abs(np.diff(tensors, axis=axis)).mean((2, 3)) for axis in (2, 3)], axis=-1)
    parts = [coarse, quantiles, moments, edges, _radial_spectrum(tensors)]
    return np.asarray(np.hstack([part.reshape(records, -1) for part in parts]), dtype=np.float64)


def _radial_spectrum(tensors: Floats, bands: int = 8) -> Floats:
    spectrum = np.abs(np.fft.fft2(tensors))
    height, width = tensors.shape[2:]
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])
    band = np.minimum((radius / radius.max() * bands).astype(int), bands - 1)
    rings: Floats = np.log1p(np.stack([spectrum[:, :, band == one].mean(2) for one in range(bands)], axis=-1))
    return rings
