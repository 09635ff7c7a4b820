"""The exit codes are a table, so they are tested as one."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from auditor import cli
from auditor.cli.terminal import Terminal
from auditor.errors import InputError, PrivauditError
from auditor.findings import VerdictState
from auditor.threat import Access
from tests.minimal_report import attack, auc, report, tpr
from tests.test_gate import planted

BY_AUC = report(VerdictState.LEAK_FOUND, membership=[attack(auc(0.65))]).model_copy(
    update={"controls": (planted(*Access),)}
)
LEAK = BY_AUC.model_copy(update={"membership": (attack(auc(0.65), tpr(0.01)),)})
NOTHING = report(VerdictState.NOTHING_FOUND, membership=[attack(auc(0.5, rejected=False), tpr(0.0, rejected=False))])
UNSURE = report(VerdictState.CANNOT_SAY, membership=[attack(auc(0.65))])


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    """An interrupted command leaves both ignored."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run `privaudit scan` with an audit that returns or raises what it is given."""
    monkeypatch.setenv("PRIVAUDIT_DEBUG", "")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "privaudit.toml").touch()

    def run(outcome: object, *more: str) -> int:
        def audit(options: object, progress: object) -> object:
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        monkeypatch.setattr("auditor.audit.audit", audit)
        folder = str(tmp_path)
        return cli.main(["scan", f"{folder}/model.safetensors", "--data", folder, "-o", f"{folder}/report.json", *more])

    return run


@pytest.mark.parametrize(
    ("outcome", "more", "code"),
    [
        (NOTHING, "", 0),
        (LEAK, "", 0),
        (UNSURE, "", 0),
        (NOTHING, "--fail-on low", 0),
        (LEAK, "--fail-on high", 0),
        (BY_AUC, "--fail-on high", 3),
        (BY_AUC, "--fail-on moderate", 1),
        (LEAK, "--fail-on moderate", 1),
        (LEAK, "--fail-on low", 1),
        (UNSURE, "--fail-on critical", 3),
        (LEAK, "--fail-on low --exit-zero", 0),
        (UNSURE, "--fail-on low --exit-zero", 0),
        (UNSURE, "--policy privaudit.toml", 3),
        (LEAK, "--policy privaudit.toml", 1),
        (UNSURE, "--policy privaudit.toml --exit-zero", 0),
        (LEAK, "--policy privaudit.toml --fail-on low", 1),
        (InputError("the splits are empty", "add some"), "", 2),
        (InputError("the splits are empty", "add some"), "--fail-on low --exit-zero", 2),
        (click.UsageError("no"), "", 2),
        (click.ClickException("no"), "", 2),
        (click.FileError("model", "no"), "", 2),
        (PrivauditError("neither input nor audit"), "", 4),
        (RuntimeError("a slip of ours"), "", 4),
        (AssertionError(), "", 4),
        (EOFError("a truncated file"), "", 4),
        (BrokenPipeError("a worker has gone"), "", 4),
        (MemoryError(), "--exit-zero", 4),
        (KeyboardInterrupt(), "", 130),
        (KeyboardInterrupt(), "--exit-zero", 130),
        (click.Abort(), "", 130),
    ],
    ids=lambda value: f"{type(value).__name__}" if isinstance(value, BaseException) else None,
)
def test_scan_ends_with(scan, capsys: pytest.CaptureFixture[str], outcome: object, more: str, code: int):
    assert scan(outcome, *more.split()) == code
    told = capsys.readouterr()
    assert "Traceback" not in told.err
    assert (told.out == "") == isinstance(outcome, BaseException)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("--help", 0),
        ("--version", 0),
        ("scan --help", 0),
        ("", 2),
        ("scam", 2),
        ("scan", 2),
        ("scan nowhere.safetensors --data .", 2),
        ("scan . --data nowhere", 2),
        ("scan . --data . --fail-on none", 2),
        ("scan . --data . --policy nowhere.toml", 2),
        ("plan . --data . --policy .", 2),
        ("scan . --data . --release logits", 2),
        ("scan . --data . --workers 0", 2),
        ("scan . --data . --seed 9223372036854775808", 2),
        ("scan . --data . --seed -1", 2),
        ("scan . --data . --attacks lira,,rmia", 2),
        ("scan . --data . --attacks lira,lira", 2),
        ("scan . --data . -o report.docx", 2),
        ("scan . --data . --no-such-option", 2),
        ("render pyproject.toml -o report.html", 2),
        ("render nowhere.json -o report.html", 2),
        ("render pyproject.toml", 2),
        ("gate", 2),
        ("gate pyproject.toml", 2),
        ("diff pyproject.toml", 2),
        ("diff pyproject.toml nowhere.json", 2),
        ("inspect nowhere.safetensors", 2),
        ("plan . --data nowhere", 2),
    ],
)
def test_usage_ends_with(
    arguments: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(Path(__file__).parents[2])
    assert cli.main(arguments.split()) == code
    told = capsys.readouterr()
    assert "Traceback" not in told.err
    assert bool(told.err) == bool(code)
    assert bool(told.out) == (code == 0)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("scam", "No such command 'scam'. Did you mean 'scan'? See privaudit --help."),
        ("scan", "Missing argument 'CHECKPOINT'. See privaudit scan --help."),
        ("scan . --data", "Option '--data' requires an argument. See privaudit --help."),
        ("scan . --data . --nope", "No such option '--nope'. See privaudit scan --help."),
        (
            "plan . --data . --defenses none,purifier",
            "Invalid value for '--defenses': none stands alone. See privaudit plan --help.",
        ),
        ("canaries make", "Missing option '--data'. See privaudit canaries make --help."),
        (
            "render nowhere.json",
            "Invalid value for 'REPORT.json': File 'nowhere.json' does not exist. See privaudit render --help.",
        ),
        (
            "scan . --data . --workers 0",
            "Invalid value for '--workers': 0 is not in the range x>=1. See privaudit scan --help.",
        ),
    ],
)
def test_a_usage_error_is_told_in_one_line(arguments: str, told: str, capsys: pytest.CaptureFixture[str]):
    cli.main(arguments.split())
    assert capsys.readouterr().err == f"Error: {told}\n"


@pytest.mark.parametrize("arguments", ["", "canaries"])
def test_a_group_without_a_command_shows_its_help(arguments: str, capsys: pytest.CaptureFixture[str]):
    assert cli.main(arguments.split()) == 2
    assert capsys.readouterr().err.startswith("Usage: privaudit")


def test_a_termination_is_an_interrupt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    def audit(*_: object) -> object:
        os.kill(os.getpid(), signal.SIGTERM)
        return NOTHING

    monkeypatch.setattr("auditor.audit.audit", audit)
    (tmp_path / "model.safetensors").touch()
    files = [f"{tmp_path}/model.safetensors", "--data", str(tmp_path), "-o", f"{tmp_path}/report.json"]
    # an unmended command would leave SIGTERM to the system, which would end pytest
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert cli.main(["scan", *files]) == 130
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    assert capsys.readouterr().err == "Error: Interrupted. The same command, run again, goes on where it stopped.\n"
    assert not (tmp_path / "report.json").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_interrupts_again_gets_the_answer_to_the_first(scan, number, monkeypatch: pytest.MonkeyPatch, capsys):
    tell = Terminal.error

    def tell_under_fire(terminal: Terminal, text: str) -> None:
        os.kill(os.getpid(), number)
        tell(terminal, text)

    monkeypatch.setattr(Terminal, "error", tell_under_fire)
    # an unmended command would leave SIGTERM to the system, which would end pytest
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    assert scan(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err.startswith("Error: Interrupted.")
    assert signal.getsignal(number) is signal.SIG_IGN


def test_a_termination_is_ours_only_while_a_command_runs(scan):
    assert scan(NOTHING) == 0
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_full_disk_is_told_with_the_file(scan, capsys):
    assert scan(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/run/signals")) == 2
    assert capsys.readouterr().err == "Error: No space is left on the device that is written to: /run/signals.\n"


def test_only_a_scan_is_said_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    def interrupted(*_: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr("auditor.audit.plan_audit", interrupted)
    assert cli.main(["--debug", "plan", f"{tmp_path}/scan", "--data", str(tmp_path)]) == 130
    assert capsys.readouterr().err == "Error: Interrupted. The same command, run again, starts from its beginning.\n"


def test_a_caller_who_handles_termination_keeps_it(scan):
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        assert scan(NOTHING) == 0
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_system_exit_is_honoured(scan):
    with pytest.raises(SystemExit) as end:
        scan(SystemExit(7))
    assert end.value.code == 7


def test_an_internal_error_is_one_sentence(scan, capsys: pytest.CaptureFixture[str]):
    scan(RuntimeError("a slip\nof ours"))
    assert capsys.readouterr().err == (
        "Error: privaudit failed on its own account (RuntimeError: a slip of ours). "
        "PRIVAUDIT_DEBUG=1 shows the traceback.\n"
    )


def test_debug_shows_the_traceback(scan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("PRIVAUDIT_DEBUG", "1")
    assert scan(RuntimeError("a slip of ours")) == 4
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_an_input_error_tells_its_remedy(scan, capsys: pytest.CaptureFixture[str]):
    scan(InputError("splits/test is empty.", "Put non-members there."))
    assert capsys.readouterr().err == "Error: splits/test is empty. Put non-members there.\n"


def test_the_help_tells_every_code(capsys: pytest.CaptureFixture[str]):
    from auditor.cli.exits import Exit

    cli.main(["--help"])
    told = capsys.readouterr().out.split("Exit codes:")[1]
    assert [int(line.split()[0]) for line in told.strip().splitlines()] == list(Exit)
