"""Where the work is done: the device, the worker processes, the run folder and who is told about progress.

A work item is a module-level function of one picklable argument that leaves a finished file behind and returns
nothing that matters: run again, it sees the file and does nothing. So a killed run goes on where it stopped.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from auditor.errors import InputError
from auditor.findings import Timing

__all__ = [
    "SILENT",
    "Clock",
    "Progress",
    "RunFolder",
    "Workers",
    "default_workers",
    "digest",
    "generator",
    "resolve_device",
]

Array = npt.NDArray[np.generic]
Item = TypeVar("Item")


class Progress(Protocol):
    """Who is told how far a long task has come; library users get `SILENT`."""

    def start(self, task: str, total: int) -> None:
        """A task of `total` steps begins."""

    def advance(self, task: str) -> None:
        """One step of the task is done."""

    def finish(self, task: str) -> None:
        """The task is over."""

    def note(self, message: str) -> None:
        """One sentence worth telling now."""


class _Silent:
    def start(self, task: str, total: int) -> None:
        """Say nothing."""

    def advance(self, task: str) -> None:
        """Say nothing."""

    def finish(self, task: str) -> None:
        """Say nothing."""

    def note(self, message: str) -> None:
        """Say nothing."""


SILENT: Progress = _Silent()


def resolve_device(name: str) -> torch.device:
    """Turn `auto`, `cpu`, `cuda` or `cuda:1` into a device that exists here.

    Raises:
        InputError: an unknown name, or CUDA is asked for and there is none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"--device {name!r} is not a device.", "Use auto, cpu, cuda or cuda:N.") from error
    if device.type not in {"cpu", "cuda"}:
        raise InputError(f"--device {name!r} is not supported.", "Use auto, cpu, cuda or cuda:N.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"--device {name!r}: this machine shows {torch.cuda.device_count()} CUDA devices.", "Use --device cpu."
        )
    return device


def default_workers(device: torch.device) -> int:
    """One worker process per core on the CPU, one per visible GPU on CUDA."""
    if device.type == "cuda":
        return 1 if device.index is not None else torch.cuda.device_count()
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def digest(*parts: object) -> str:
    """Name something by its content: 16 hex characters of SHA-256 over arrays (dtype, shape, bytes) and JSON values."""
    hasher = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            hasher.update(f"{part.dtype.str}{part.shape}".encode())
            hasher.update(np.ascontiguousarray(part).data)
        else:
            hasher.update(json.dumps(part, sort_keys=True, default=str).encode())
        hasher.update(b"\x00")
    return hasher.hexdigest()[:16]


def generator(seed: int, purpose: str) -> np.random.Generator:
    """The random stream of one purpose of an audit, independent of every other purpose's."""
    words = np.frombuffer(hashlib.sha256(purpose.encode()).digest(), dtype=np.uint32)
    return np.random.default_rng(np.random.SeedSequence([seed, *words.tolist()]))


@dataclass
class Clock:
    """Wall and CPU seconds by phase; workers charge what their items used to the phase that is open."""

    timings: list[Timing] = field(default_factory=list)
    charged: float = 0.0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a block of work."""
        wall, cpu, charged = time.perf_counter(), time.process_time(), self.charged
        yield
        used = time.process_time() - cpu + self.charged - charged
        passed = time.perf_counter() - wall
        self.timings.append(Timing(phase=name, wall_seconds=round(passed, 2), cpu_seconds=round(used, 2)))


@dataclass(frozen=True)
class RunFolder:
    """The private folder of one run: plan, models, signals. Mode 0700; finished files are renamed into place."""

    root: Path

    @classmethod
    def create(cls, root: Path) -> RunFolder:
        """Make the folder if it is missing, readable by its owner only.

        Raises:
            InputError: the path is a file or cannot be written.
        """
        try:
            root.mkdir(parents=True, exist_ok=True)
            root.chmod(0o700)
        except OSError as error:
            raise InputError(f"Run folder {root}: {error.strerror}.", "Choose another --run-dir.") from error
        return cls(root)

    def path(self, *parts: str) -> Path:
        """A path inside the folder; its parent is created."""
        path = self.root.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep a second scan out while this one runs; the lock goes with the process.

        Raises:
            InputError: another scan is using the folder.
        """
        with self.path("lock").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise InputError(
                    f"Run folder {self.root} is in use by another scan.", "Wait for it, or choose another --run-dir."
                ) from error
            yield

    def write_text(self, name: str, text: str) -> None:
        """Write a small text file atomically."""
        _rename_into_place(self.path(name), lambda temporary: temporary.write_text(text, encoding="utf-8"))

    def write_arrays(self, name: str, arrays: Mapping[str, Array]) -> None:
        """Write named arrays as safetensors, atomically."""
        contiguous = {key: np.ascontiguousarray(array) for key, array in arrays.items()}
        _rename_into_place(self.path(name), lambda temporary: save_file(contiguous, temporary))

    def read_arrays(self, name: str) -> dict[str, Array] | None:
        """Read what `write_arrays` wrote; None when it is missing or damaged, so that it is made again."""
        path = self.path(name)
        if not path.exists():
            return None
        try:
            return dict(load_file(path))
        except (SafetensorError, OSError):
            return None

    def share(self, name: str, array: Array) -> Path:
        """Put an array on disk once for all workers to memory-map; returns its path."""
        path = self.path(name)
        if not path.exists():

            def write(temporary: Path) -> None:
                with temporary.open("wb") as handle:
                    np.save(handle, np.ascontiguousarray(array), allow_pickle=False)

            _rename_into_place(path, write)
        return path


def _rename_into_place(path: Path, write: Callable[[Path], object]) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@dataclass(frozen=True)
class Workers:
    """Local processes for work items, one thread each on the CPU: results do not depend on how many there are."""

    pool: ProcessPoolExecutor
    clock: Clock

    @classmethod
    @contextmanager
    def open(cls, count: int, clock: Clock) -> Iterator[Workers]:
        """Start `count` processes when the first item comes, and end them with the block."""
        pool = ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_settle_worker)
        try:
            yield cls(pool, clock)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def run(self, function: Callable[[Item], None], items: Sequence[Item], *, task: str, progress: Progress) -> None:
        """Do every item; the first failure cancels what has not begun and is raised."""
        if not items:
            return
        progress.start(task, len(items))
        futures = [self.pool.submit(_timed, function, item) for item in items]
        try:
            for future in as_completed(futures):
                self.clock.charged += future.result()
                progress.advance(task)
        except BaseException:
            for future in futures:
                future.cancel()
            raise
        progress.finish(task)


def _timed(function: Callable[[Item], None], item: Item) -> float:
    """Do one item; returns the CPU seconds it took."""
    start = time.process_time()
    function(item)
    return time.process_time() - start


def _settle_worker() -> None:
    # Ctrl-C is for the parent, which ends its workers in order
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
