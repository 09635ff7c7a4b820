"""Further passes over the audit set, each for the attacks that need it; the rows of `PROBES` are literal."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from auditor.records import Inputs
from auditor.shadows import Arrays, Probe
from auditor.signals import class_vectors
from auditor.target import Target

__all__ = ["PROBES"]

Labels = npt.NDArray[np.int64]


def released_vectors(target: Target, inputs: Inputs, labels: Labels, seed: int) -> Arrays:
    """The released probability vectors [record, class]."""
    del labels, seed
    return {"vectors": class_vectors(target, inputs)[1].astype(np.float64)}


PROBES = (Probe("vectors", released_vectors),)
