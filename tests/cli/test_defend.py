"""`privaudit defend`: the folder, what is said of it, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditor import cli
from tests.digits import parts, trained_weights, write_splits


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("undefended")
    members, others, population = parts(120, 120, 240)
    checkpoint = trained_weights(folder, *members)
    splits = write_splits(folder / "splits", members, others, population)
    arch = f"{folder / 'network.py'}:network"
    return ["defend", str(checkpoint), "--data", str(splits), "--arch", arch, "--device", "cpu", "--budget", "quick"]


def test_it_tells_costs_for_whom_it_is_and_what_comes_next(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    output = tmp_path / "defended"
    assert cli.main([*command, "--with", "top-3", "-o", str(output)]) == 0
    told = capsys.readouterr()
    said = " ".join(told.err.split())
    assert told.out == f"{output}\n"
    assert "Labels changed: 0 %" in said
    assert "For an API only: the weights in it are the undefended ones." in said
    assert "privaudit scan" in said
    assert "\N{REPLACEMENT CHARACTER}" not in said
    assert {"README.md", "config.json", "model.safetensors", "privaudit-wrapper.json"} <= {
        file.name for file in output.iterdir()
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--with", "hope"], "'hope' is not in the box"),
        (["--with", "dp-sgd", "--report", "README.md"], "report"),
    ],
)
def test_bad_input_is_code_2_and_nothing_is_written(
    command: list[str],
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text("no report", encoding="utf-8")
    assert cli.main([*command, *arguments, "-o", "defended"]) == 2
    told = capsys.readouterr()
    assert message in told.err
    assert "Traceback" not in told.err
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]


def test_a_folder_that_holds_something_is_left_alone(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "mine.txt").write_text("keep", encoding="utf-8")
    assert cli.main([*command, "--with", "temperature", "-o", str(tmp_path)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
