"""An interrupt of a scan in earnest: it ends at once, whatever is being trained."""

import signal
import subprocess
import sys
import time

import pytest

from tests.digits import SPLITS, parts, trained_weights, write_network, write_splits

PATIENCE = 120
# what runs in the background of a script has been told to ignore Ctrl-C
STARTED = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from auditor.cli import main
sys.exit(main())
"""
SLOW = SPLITS.replace("epochs = 12", "epochs = 10_000").replace("batch_size = 32", "batch_size = 2")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_scan_does_not_wait_for_what_it_is_training(number, tmp_path):
    members, others, population = parts(60, 60, 200)
    checkpoint = trained_weights(tmp_path, *members)
    splits = write_splits(tmp_path / "splits", members, others, population, settings=SLOW)
    run = tmp_path / "run"
    command = [
        sys.executable, "-c", STARTED,
        "scan", str(checkpoint), "--data", str(splits), "--arch", write_network(tmp_path), "--budget", "quick",
        "--device", "cpu", "--workers", "2", "--run-dir", str(run), "-o", str(tmp_path / "report.json"),
    ]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE) as scan:
        try:
            deadline = time.monotonic() + PATIENCE
            while not (run / "report-at-once.json").exists() and scan.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            scan.send_signal(number)
            told = scan.communicate(timeout=PATIENCE)[1].decode()
        finally:
            scan.kill()
    assert scan.returncode == 130, told
    assert told.endswith("Error: Interrupted. The same command, run again, goes on where it stopped.\n")
    assert (run / "plan.json").exists()
    assert not (tmp_path / "report.json").exists()
