"""Workers that outlive nobody, and a run folder that mends what was cut and leaves alone what it did not make.

Worker processes import this module, so the heavier rooms are imported where they are needed.
"""

import errno
import fcntl
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load

from auditor import compute
from auditor.compute import SILENT, Clock, RunFolder, Workers, default_workers, one_thread, rename_into_place
from auditor.errors import InputError, WorkerKilledError

ROOT = Path(__file__).parents[1]
PATIENCE = 120


def touch(path: Path) -> None:
    path.touch()


def hold(path: Path) -> None:
    """Lock a file for as long as this process lives."""
    handle = path.open("w")
    fcntl.flock(handle, fcntl.LOCK_EX)
    path.with_suffix(".held").touch()
    time.sleep(10 * PATIENCE)


def hold_in_workers(folder: str) -> None:
    with Workers.open(2, Clock()) as workers:
        items = [Path(folder) / name for name in ("first", "second", "queued")]
        workers.run(hold, items, task="hold", progress=SILENT)


def hold_in_child(folder: str) -> None:
    """A process that only the portable watch ends."""
    code = (
        "import os, pathlib, sys, threading\n"
        "from auditor import compute\n"
        "from tests.test_compute import hold\n"
        "threading.Thread(target=compute._end_with, args=(os.getppid(),), daemon=True).start()\n"
        "hold(pathlib.Path(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-c", code, str(Path(folder) / "first")], check=False)


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_free(path: Path) -> bool:
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


@pytest.mark.parametrize(("function", "names"), [(hold_in_workers, ["first", "second"]), (hold_in_child, ["first"])])
def test_workers_end_with_their_parent(function, names, tmp_path):
    code = f"import sys; from tests.test_compute import {function.__name__} as go; go(sys.argv[1])"
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT) as parent:
        try:
            wait_until(lambda: all((tmp_path / f"{name}.held").exists() for name in names))
            assert not any(is_free(tmp_path / name) for name in names)
        finally:
            parent.kill()
    wait_until(lambda: all(is_free(tmp_path / name) for name in names))
    assert not (tmp_path / "queued").exists()


def hold_after_work(folder: str) -> None:
    """One item that ends, then some that do not; Ctrl-C counts, also in the background of a script."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with Workers.open(2, Clock()) as workers:
        workers.run(touch, [Path(folder) / "done"], task="touch", progress=SILENT)
        items = [Path(folder) / name for name in ("first", "second", "queued")]
        workers.run(hold, items, task="hold", progress=SILENT)


def test_an_interrupt_of_the_parent_alone_ends_it_without_waiting_and_keeps_what_is_done(tmp_path):
    code = "import sys; from tests.test_compute import hold_after_work as go; go(sys.argv[1])"
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stderr=subprocess.PIPE) as parent:
        try:
            wait_until(lambda: all((tmp_path / f"{name}.held").exists() for name in ("first", "second")))
            parent.send_signal(signal.SIGINT)
            told = parent.communicate(timeout=PATIENCE)[1]
            assert told.endswith(b"\nKeyboardInterrupt\n")
        finally:
            parent.kill()
    assert all(is_free(tmp_path / name) for name in ("first", "second"))
    assert (tmp_path / "done").exists()
    assert not (tmp_path / "queued").exists()


def test_what_a_killed_scan_had_half_written_is_removed(tmp_path):
    folder = RunFolder.create(tmp_path / "run")
    names = ("a.safetensors", ".hidden", ".b.npy.tmp", ".env.template", ".npmrc.disabled")
    kept = [folder.path("models", name) for name in names]
    for path in kept:
        path.touch()

    def cut(_: Path) -> None:
        [draft] = set(folder.path("models").iterdir()) - set(kept)
        os.link(draft, folder.path("data", draft.name))

    rename_into_place(folder.path("models", "a.safetensors"), cut)
    with folder.lock():
        assert sorted(folder.path("models").iterdir()) == sorted(kept)
        assert list(folder.path("data").iterdir()) == []


def test_ctrl_c_while_workers_start_does_not_reach_them(tmp_path):
    struck = []

    def strike():
        wait_until(multiprocessing.active_children)
        for child in multiprocessing.active_children():
            os.kill(child.pid, signal.SIGINT)
            struck.append(child.pid)

    thread = threading.Thread(target=strike)
    thread.start()
    before = signal.getsignal(signal.SIGINT)
    with Workers.open(1, Clock()) as workers:
        workers.run(touch, [tmp_path / "done"], task="touch", progress=SILENT)
    thread.join()
    assert struck
    assert (tmp_path / "done").exists()
    assert signal.getsignal(signal.SIGINT) is before


def test_an_item_that_cannot_be_submitted_leaves_ctrl_c_as_it_was(monkeypatch):
    def refuse(*_):
        raise RuntimeError("no more processes")

    monkeypatch.setattr(ProcessPoolExecutor, "submit", refuse)
    before = signal.getsignal(signal.SIGINT)
    with Workers.open(1, Clock()) as workers, pytest.raises(RuntimeError, match="no more"):
        workers.run(touch, [Path()], task="touch", progress=SILENT)
    assert signal.getsignal(signal.SIGINT) is before


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_folder_that_it_makes_is_private_and_those_above_are_not(tmp_path):
    tmp_path.chmod(0o755)
    assert mode(RunFolder.create(tmp_path / "runs" / "first").root) == 0o700
    assert mode(tmp_path) == 0o755
    assert mode(tmp_path / "runs") == 0o777 & ~current_umask()


def current_umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


def test_an_empty_folder_becomes_private(tmp_path):
    tmp_path.chmod(0o755)
    RunFolder.create(tmp_path)
    assert mode(tmp_path) == 0o700


def test_somebody_elses_folder_is_refused_and_left_alone(tmp_path):
    tmp_path.chmod(0o755)
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(InputError, match="not a run folder"):
        RunFolder.create(tmp_path)
    assert mode(tmp_path) == 0o755


def test_an_earlier_run_is_taken_up_as_it_is(tmp_path):
    (tmp_path / "plan.json").touch()
    (tmp_path / "models").mkdir()
    tmp_path.chmod(0o750)
    RunFolder.create(tmp_path)
    assert mode(tmp_path) == 0o750


def test_a_scan_that_ended_before_its_plan_can_be_started_again(tmp_path):
    folder = RunFolder.create(tmp_path / "run")
    with folder.lock():
        (folder.root / ".plan.json.k2x9.privaudit-draft").touch()
    assert RunFolder.create(tmp_path / "run") == folder


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(InputError, match="run: File exists"):
        RunFolder.create(tmp_path / "run")


ARRAY = np.arange(24, dtype=np.int64).reshape(4, 6)


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: whole[:40],
        lambda whole: whole[:-1],
        lambda whole: whole + b"\0",
        lambda whole: b"PK\3\4" + whole[4:],
        lambda whole: whole.replace(b"(4, 6)", b"(6, 4)"),
        lambda whole: whole.replace(b"<i8", b"<f8"),
    ],
)
def test_a_damaged_shared_array_is_written_again(damage, tmp_path):
    path = RunFolder(tmp_path).share("data/a.npy", ARRAY)
    path.write_bytes(damage(path.read_bytes()))
    assert RunFolder(tmp_path).share("data/a.npy", ARRAY) == path
    assert np.array_equal(np.load(path, mmap_mode="r"), ARRAY)


@pytest.mark.parametrize("array", [ARRAY, ARRAY.T, ARRAY[:0], ARRAY[:, ::2]])
def test_a_whole_shared_array_is_not_written_again(array, tmp_path):
    path = RunFolder(tmp_path).share("a.npy", array)
    made = path.stat().st_ino
    RunFolder(tmp_path).share("a.npy", array)
    assert path.stat().st_ino == made
    assert np.array_equal(np.load(path), array)


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    path = tmp_path / "model"

    def write(temporary):
        temporary.write_text("first")
        rename_into_place(path, lambda other: other.write_text("second"))
        assert path.read_text() == "second"

    rename_into_place(path, write)
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "write",
    [
        lambda folder: folder.write_arrays("signals", {"a": np.zeros(10_000)}),
        lambda folder: folder.write_text("signals", "x" * 10_000),
    ],
    ids=["arrays", "text"],
)
def test_a_disk_that_takes_no_more_is_told_with_the_file(tmp_path, write):
    folder = RunFolder.create(tmp_path / "run")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            write(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(tmp_path / "run" / "signals"))
    assert not list(folder.root.iterdir())


def test_a_run_folder_that_takes_no_lock_is_told(tmp_path):
    folder = RunFolder.create(tmp_path / "run")
    (folder.root / "lock").mkdir()
    with pytest.raises(InputError, match="cannot be written") as caught, folder.lock():
        pass
    assert "--run-dir" in caught.value.hint


def test_a_file_is_on_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append((os.fstat(handle).st_ino, (tmp_path / "a").exists())))
    rename_into_place(tmp_path / "a", lambda temporary: temporary.write_text("a"))
    assert synced == [((tmp_path / "a").stat().st_ino, False)]


@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_many_gpus_make_no_more_than_one_worker(name, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert default_workers(torch.device(name)) == 1


@pytest.fixture
def laboratory(tmp_path):
    """A laboratory that trains tiny digit networks, with one worker."""
    from auditor.findings import ModelFacts, Preprocessing
    from auditor.laboratory import Blueprint, Laboratory
    from auditor.shadows import AuditSet
    from auditor.splits import Recipe, Records
    from auditor.target import Architecture
    from tests.digits import parts, write_network

    audit, others, population = (Records.of(*part, None) for part in parts(40, 10, 20))
    facts = ModelFacts(
        name="digits",
        file_format="in memory",
        sha256="0" * 64,
        file_bytes=0,
        architecture="network",
        architecture_evidence="test",
        parameters=0,
        num_classes=10,
        weights="plain",
        preprocessing=Preprocessing(mean=(0.3,), std=(0.35,), input_size=(1, 8, 8), source="test"),
    )
    blueprint = Blueprint(Architecture("factory", write_network(tmp_path), 10, 1, ()), facts, "cpu")
    audit_set = AuditSet(audit, np.arange(40) < 20, others, population, population, "test")
    recipe = Recipe(epochs=1, optimizer="adamw", lr=0.01, batch_size=32)
    folder = RunFolder.create(tmp_path / "run")
    with Workers.open(1, Clock()) as workers:
        yield Laboratory(folder, workers, blueprint, recipe, ("identity",), audit_set, SILENT)


@pytest.mark.parametrize(
    "damage", [lambda path: os.truncate(path, 100), Path.unlink, lambda path: os.truncate(path, 0)]
)
def test_a_damaged_model_is_trained_again(laboratory, damage):
    from auditor.shadows import TrainingSet

    one = TrainingSet("shadow-00", laboratory.audit_set.membership, seed=1)
    laboratory.publish()
    [answers] = laboratory.train([one], task="shadows")
    [path] = (laboratory.folder.root / "models").iterdir()
    whole = load(path.read_bytes())
    damage(path)
    [again] = laboratory.train([one], task="shadows")
    trained = load(path.read_bytes())
    assert trained.keys() == whole.keys()
    assert all(torch.equal(trained[name], tensor) for name, tensor in whole.items())
    assert list(path.parent.iterdir()) == [path]
    kept = answers.audit.arrays()
    assert all(np.array_equal(array, kept[name]) for name, array in again.audit.arrays().items())


def test_an_interrupt_while_the_pool_begins_is_an_interrupt(monkeypatch):
    def unstarted(**_):
        raise RuntimeError("cannot join thread before it is started")

    def interrupted():
        with Workers.open(1, Clock()) as workers:
            monkeypatch.setattr(workers.pool, "shutdown", unstarted)
            raise SystemExit(130)

    with pytest.raises(SystemExit):
        interrupted()


def die(_: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_the_system_kills_is_told_with_the_remedy(tmp_path):
    with Workers.open(1, Clock()) as workers:
        for _ in range(2):  # the second time the pool is broken before anything is asked of it
            with pytest.raises(WorkerKilledError, match="fewer --workers: it goes on where it stopped"):
                workers.run(die, [tmp_path], task="x", progress=SILENT)


@one_thread()
def threads(*, fails):
    if fails:
        raise RuntimeError("inside")
    return torch.get_num_threads()


def test_the_threads_of_the_caller_are_given_back_whatever_happens():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with pytest.raises(RuntimeError, match="inside"):
            threads(fails=True)
        assert (threads(fails=False), torch.get_num_threads()) == (1, 3)
    finally:
        torch.set_num_threads(before)


def test_an_interrupt_while_workers_start_waits_and_is_not_lost():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), compute._interrupts_wait():
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
