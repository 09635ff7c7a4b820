"""`privaudit card` and `privaudit render --github`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from auditor import cli
from auditor.report import write_outputs
from tests.cli.test_terminal import torch_was_imported_by
from tests.report.example import leaky


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.json"
    write_outputs(leaky(), [path])
    return path


def test_a_card_is_made_and_then_left_alone(stored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    readme = tmp_path / "README.md"
    assert cli.main(["card", str(stored), str(readme)]) == 0
    first = readme.stat()
    assert cli.main(["card", str(stored), str(readme)]) == 0
    assert capsys.readouterr() == (f"{readme}\n{readme}\n", "")
    assert readme.stat().st_mtime_ns == first.st_mtime_ns
    assert [each.name for each in tmp_path.iterdir()] == ["README.md"]


def test_line_ends_and_permissions_stay(stored: Path, tmp_path: Path):
    readme = tmp_path / "README.md"
    readme.write_bytes(b"---\r\nlicense: mit\r\n---\r\n# Mine\r\n")
    readme.chmod(0o640)
    assert cli.main(["card", str(stored), str(readme)]) == 0
    written = readme.read_bytes()
    assert written.startswith(b"---\r\nlicense: mit\r\nmodel-index:\r\n")
    assert written.count(b"\n") == written.count(b"\r\n")
    assert readme.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("README.md", b"<!-- privaudit:start -->", "once each"),
        ("README.md", b"\xff\xfe", "not UTF-8"),
        ("README.md", b"---\n- a\n---\n", "not a YAML mapping"),
        ("README.md", b"---\nmodel-index: &a\n- *a\n---\n", "not a list of mappings"),
        ("README.md", b"---\nmodel-index: &a\n- results: *a\n---\n", "holds itself"),
        ("README.md", b"---\nmodel-index:\n- &a\n  name: m\n  results:\n  - *a\n---\n", "holds itself"),
        ("README.rst", b"", "Markdown"),
        ("report.json", b"{}", "Markdown"),
    ],
)
def test_a_card_that_cannot_be_edited_is_refused_and_kept(
    name: str, content: bytes, told: str, stored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    readme = tmp_path / name
    readme.write_bytes(content)
    assert cli.main(["card", str(stored), str(readme)]) == 2
    message = capsys.readouterr().err
    assert str(readme) in message
    assert told in message
    assert readme.read_bytes() == content


def test_a_pipe_is_no_card(stored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    os.mkfifo(tmp_path / "README.md")
    assert cli.main(["card", str(stored), str(tmp_path / "README.md")]) == 2
    assert "README.md: this is no regular file. Name another file." in capsys.readouterr().err


def test_a_place_where_no_card_can_be_is_told_with_a_remedy_that_the_command_has(stored: Path, tmp_path: Path, capsys):
    (tmp_path / "cards").touch()
    assert cli.main(["card", str(stored), str(tmp_path / "cards" / "README.md")]) == 2
    assert capsys.readouterr().err.endswith("is a file, not a folder. Name another model card.\n")


def test_a_report_that_is_none_is_refused(tmp_path: Path):
    (tmp_path / "report.json").write_text("{}", encoding="utf-8")
    assert cli.main(["card", str(tmp_path / "report.json"), str(tmp_path / "README.md")]) == 2
    assert cli.main(["card", str(tmp_path / "none.json"), str(tmp_path / "README.md")]) == 2
    assert not (tmp_path / "README.md").exists()


def test_neither_needs_torch(stored: Path, tmp_path: Path):
    assert not torch_was_imported_by("card", str(stored), str(tmp_path / "README.md"))
    assert not torch_was_imported_by("render", str(stored), "-o", str(tmp_path / "report.sarif"), "--github")


def test_github_reads_annotations_and_a_summary(
    stored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    summary = tmp_path / "summary.md"
    summary.write_text("before\n", encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    assert cli.main(["render", str(stored), "--github"]) == 0
    assert capsys.readouterr().out.startswith("::error title=privaudit%3A Membership inference")
    assert summary.read_text(encoding="utf-8").startswith("before\n## Privacy audit of cifar-resnet18\n")


def test_a_summary_that_cannot_be_written_is_told(stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    assert cli.main(["render", str(stored), "--github"]) == 2


def test_render_without_anything_to_make_is_refused(stored: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["render", str(stored)]) == 2
    assert "Nothing to make" in capsys.readouterr().err
