"""Where the work is done: the device, the worker processes, the run folder and who is told about progress.

A work item is a module-level function of one picklable argument that leaves a finished file behind and returns
nothing that matters: run again, it sees the file and does nothing. So a killed run goes on where it stopped.
"""

from __future__ import annotations

import atexit
import ctypes
import fcntl
import gc
import hashlib
import io
import json
import os
import re
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import active_children, get_context, resource_tracker
from pathlib import Path
from typing import Protocol, TextIO, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from auditor.errors import InputError, WorkerKilledError
from auditor.findings import Timing

__all__ = [
    "PLAN_NAME",
    "SILENT",
    "Clock",
    "Progress",
    "RunFolder",
    "Workers",
    "default_workers",
    "digest",
    "generator",
    "one_thread",
    "rename_into_place",
    "resolve_device",
]

PLAN_NAME = "plan.json"

Array = npt.NDArray[np.generic]
Item = TypeVar("Item")

_LOCK_NAME = "lock"
_DRAFT = ".privaudit-draft"  # a name that nobody gives a file of theirs
_OS_ERROR = re.compile(r"\(os error (\d+)\)")
_WATCH_SECONDS = 1.0
_PR_SET_PDEATHSIG = 1


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
    """One worker process per core on the CPU, one on CUDA: all workers would use the same GPU."""
    if device.type == "cuda":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread on the CPU, as workers do, and the caller's number again after the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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
        """Make the folder, or take an empty one, readable by its owner only; an earlier run's is left as it is.

        Raises:
            InputError: the path is a file, cannot be written, or is a folder that holds something else.
        """
        try:
            root.mkdir(parents=True, exist_ok=True)
            names = {path.name for path in root.iterdir()}
            if PLAN_NAME in names:
                return cls(root)
            if not all(_precedes_plan(name) for name in names):
                raise InputError(f"{root} is not a run folder, and not empty.", "Choose another --run-dir.")
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

        What a scan that was killed had half written is removed.

        Raises:
            InputError: another scan is using the folder, or it cannot be written.
        """
        with self._open_lock() as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise InputError(
                    f"Run folder {self.root} is in use by another scan.", "Wait for it, or choose another --run-dir."
                ) from error
            self._remove_drafts()
            yield

    def _open_lock(self) -> TextIO:
        try:
            return self.path(_LOCK_NAME).open("w")
        except OSError as error:
            raise InputError(
                f"Run folder {self.root} cannot be written: {error.strerror}.",
                "Change its permissions, or choose another --run-dir.",
            ) from error

    def _remove_drafts(self) -> None:
        for path in self.root.rglob(f".*{_DRAFT}"):
            if path.is_file():
                path.unlink(missing_ok=True)

    def write_text(self, name: str, text: str) -> None:
        """Write a small text file atomically."""
        rename_into_place(self.path(name), lambda temporary: temporary.write_text(text, encoding="utf-8"))

    def write_arrays(self, name: str, arrays: Mapping[str, Array], metadata: Mapping[str, str] | None = None) -> None:
        """Write named arrays, and metadata if there are any, as safetensors, atomically."""
        contiguous = {key: np.ascontiguousarray(array) for key, array in arrays.items()}
        told = None if metadata is None else dict(metadata)
        rename_into_place(self.path(name), lambda temporary: save_file(contiguous, temporary, told))

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
        """Put an array on disk once for all workers to memory-map, again if what is there is cut; returns its path."""
        path, whole = self.path(name), np.ascontiguousarray(array)
        if not _is_shared(path, whole):

            def write(temporary: Path) -> None:
                with temporary.open("wb") as handle:
                    np.save(handle, whole, allow_pickle=False)

            rename_into_place(path, write)
        return path


def _precedes_plan(name: str) -> bool:
    """Whether a scan that ended before its plan was written leaves a file of this name."""
    return name == _LOCK_NAME or (name.startswith(f".{PLAN_NAME}.") and name.endswith(_DRAFT))


def _is_shared(path: Path, array: Array) -> bool:
    """Whether a file has the header (dtype, shape) and the size that `np.save` gives it; its content is trusted."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
    start = header.getvalue()
    try:
        with path.open("rb") as handle:
            return os.fstat(handle.fileno()).st_size == len(start) + array.nbytes and handle.read(len(start)) == start
    except OSError:
        return False


def rename_into_place(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file of its own beside `path`, and give it that name when it is safely on disk.

    Raises:
        OSError: it could not be written, with the number of the error and `path`.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_DRAFT)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        number = error.errno if isinstance(error, OSError) else _number_in(error)
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def _number_in(error: SafetensorError) -> int | None:
    """The number of the system's error; safetensors tells it in its text only."""
    found = _OS_ERROR.search(str(error))
    return None if found is None else int(found[1])


@dataclass(frozen=True)
class Workers:
    """Local processes for work items, one thread each on the CPU: results do not depend on how many there are."""

    pool: ProcessPoolExecutor
    clock: Clock

    @classmethod
    @contextmanager
    def open(cls, count: int, clock: Clock) -> Iterator[Workers]:
        """Start up to `count` processes as items come, and end them with the block or with this process.

        An interrupt does not wait for the items under way: what they had not finished is done again by the next run.
        Enter it and `run` from one thread: on Linux a worker ends with the thread that started it.
        """
        strangers = set(active_children())
        pool = ProcessPoolExecutor(
            count, mp_context=get_context("spawn"), initializer=_settle_worker, initargs=(os.getpid(),)
        )
        try:
            yield cls(pool, clock)
        except (KeyboardInterrupt, SystemExit):
            for worker in set(active_children()) - strangers:
                worker.kill()
            raise
        finally:
            with suppress(RuntimeError):  # SIGTERM may come before the pool has started its own thread: not joined
                pool.shutdown(wait=True, cancel_futures=True)

    def run(self, function: Callable[[Item], None], items: Sequence[Item], *, task: str, progress: Progress) -> None:
        """Do every item; the first failure cancels what has not begun and is raised.

        Raises:
            WorkerKilledError: the system ended a process.
        """
        if not items:
            return
        progress.start(task, len(items))
        try:
            self._run(function, items, lambda: progress.advance(task))
        except BrokenExecutor as error:
            raise WorkerKilledError from error
        progress.finish(task)

    def _run(self, function: Callable[[Item], None], items: Sequence[Item], done: Callable[[], None]) -> None:
        with _interrupts_wait():
            futures = [self.pool.submit(_timed, function, item) for item in items]
        try:
            for future in as_completed(futures):
                self.clock.charged += future.result()
                done()
        except BaseException:
            for future in futures:
                future.cancel()
            raise


def _timed(function: Callable[[Item], None], item: Item) -> float:
    """Do one item; returns the CPU seconds it took."""
    start = time.process_time()
    function(item)
    return time.process_time() - start


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Let Ctrl-C wait while workers start (`submit` does that): they inherit it, before `_settle_worker` can say so.

    Waiting and not ignored: an interrupt of that very moment must not be lost.
    """
    resource_tracker.ensure_running()  # else `submit` starts it, and that lets interrupts in again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _settle_worker(parent: int) -> None:
    # Ctrl-C is for the parent, which ends its workers
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    atexit.register(gc.freeze)  # ends at once: collecting what torch holds would take seconds
    if sys.platform == "linux":
        _be_killed_with_parent()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    torch.set_num_threads(1)


def _be_killed_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))


def _end_with(parent: int) -> None:
    """End this process once it has another parent; also where that happened before the kernel was asked."""
    while os.getppid() == parent:
        time.sleep(_WATCH_SECONDS)
    os._exit(1)
