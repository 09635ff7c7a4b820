from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from auditor.cli.terminal import Terminal, clean
from auditor.errors import InputError
from auditor.report import write_outputs
from tests.report.example import leaky

PRIVAUDIT = [sys.executable, "-c", "import sys; from auditor.cli import main; sys.exit(main())"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 猫 [bold]", "plain é 猫 [bold]"),
        ("two\nlines\t.", "two\nlines\t."),
        ("\x1b[31mred", "�[31mred"),
        ("over\rwritten", "over�written"),
        ("\u202egnp.exe", "�gnp.exe"),
        ("half \ud800", "half �"),
    ],
)
def test_clean_leaves_nothing_that_a_terminal_obeys(text: str, shown: str):
    assert clean(text) == shown


def test_markup_in_a_name_is_not_obeyed(capsys: pytest.CaptureFixture[str]):
    Terminal().say("[red]cat[/red] [/nonsense]")
    assert capsys.readouterr().err == "[red]cat[/red] [/nonsense]\n"


def test_talk_goes_to_stderr_and_the_artifact_to_stdout(capsys: pytest.CaptureFixture[str]):
    terminal = Terminal()
    terminal.say("talk")
    terminal.emit("artifact")
    assert capsys.readouterr() == ("artifact\n", "talk\n")


def test_a_hostile_file_name_in_an_error_is_harmless(tmp_path: Path):
    hostile = tmp_path / "\x1b[31m.json"
    hostile.write_text("{")
    ended = subprocess.run(
        [*PRIVAUDIT, "render", str(hostile), "-o", str(tmp_path / "x.html")], capture_output=True, check=False
    )
    assert ended.returncode == 2
    assert b"\x1b" not in ended.stderr


@pytest.mark.parametrize("command", ["--help", "--version"])
def test_a_reader_who_leaves_is_no_error(command: str):
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run([*PRIVAUDIT, command], stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("command", [["attacks"], ["--version"], ["diff", "--help"]])
def test_a_full_disk_under_stdout_is_no_slip_of_ours(command: list[str]):
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run([*PRIVAUDIT, *command], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 2
    assert "no space " in ended.stderr.lower()
    assert ended.stderr.count("\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_under_stderr_changes_no_exit_code(tmp_path: Path):
    write_outputs(leaky(), [tmp_path / "report.json"])
    command = [*PRIVAUDIT, "gate", str(tmp_path / "report.json")]
    waivers = "".join(
        f"[[waiver]]\nrule = '{rule}'\nreason = 'x'\nexpires = 2099-01-01\n" for rule in ("auc", "tpr_at_fpr")
    )
    (tmp_path / "waived.toml").write_text(waivers, encoding="utf-8")
    codes = []
    for more in ([], ["--policy", str(tmp_path / "waived.toml")], ["--policy", str(tmp_path / "nowhere.toml")]):
        with Path("/dev/full").open("w") as full:
            codes.append(subprocess.run([*command, *more], stdout=subprocess.DEVNULL, stderr=full, check=False))
    assert [one.returncode for one in codes] == [1, 0, 2]


def test_a_closed_stdout_is_bad_input(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stdout", None)
    with pytest.raises(InputError, match="Standard output is closed"):
        Terminal().emit("artifact")


def torch_was_imported_by(*arguments: str) -> bool:
    code = (
        "import json, sys\n"
        "from auditor.cli import main\n"
        "code = main(json.loads(sys.argv[1]))\n"
        "assert code == 0, code\n"
        "sys.exit(9 if 'torch' in sys.modules else 0)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, json.dumps(arguments)], capture_output=True, text=True, check=False
    )
    assert ended.returncode in {0, 9}, ended.stderr
    return ended.returncode == 9


@pytest.mark.parametrize("command", [[], ["scan"], ["plan"], ["inspect"], ["render"], ["attacks"], ["defenses"]])
def test_help_does_not_import_torch(command: list[str]):
    assert not torch_was_imported_by(*command, "--help")


def test_completion_does_not_import_torch():
    ended = subprocess.run(
        [*PRIVAUDIT],
        env={**os.environ, "_PRIVAUDIT_COMPLETE": "bash_complete", "COMP_WORDS": "privaudit re", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout.split()) == (0, ["plain,render"])
