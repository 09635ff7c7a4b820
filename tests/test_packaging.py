"""What is in the wheel, and that it renders a report where torch is not installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import venv
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from importlib.resources import files
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

from auditor.report import pdf_problem, write_outputs
from tests.report.example import leaky

ROOT = Path(__file__).parents[1]
ROOMS = {"auditor": "auditor", "templates": "auditor/templates", "reference_attacks": "reference_attacks"}
RENDERING = ("click", "jinja2", "matplotlib", "numpy", "pydantic", "rich", "scipy", "weasyprint")


def shipped_files() -> Iterator[tuple[Path, str]]:
    """Every file of the rooms that ship, with its name inside the wheel."""
    for room, package in ROOMS.items():
        for path in (ROOT / room).rglob("*"):
            if path.is_file() and path.suffix != ".pyc":
                yield path, f"{package}/{path.relative_to(ROOT / room).as_posix()}"


def test_every_package_is_listed():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    on_disk = {name.rpartition("/")[0].replace("/", ".") for _, name in shipped_files() if name.endswith(".py")}
    assert settings["packages"] == sorted(on_disk)


def test_the_templates_are_found_from_here():
    assert any(entry.name.endswith((".html", ".j2")) for entry in files("auditor.templates").iterdir())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy so that no stale build folder can help."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for room in ROOMS:
        shutil.copytree(ROOT / room, source / room, ignore=shutil.ignore_patterns("__pycache__"))
    pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(target), str(source))
    return next(target.glob("privaudit-*.whl"))


def pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.packaging
def test_the_wheel_holds_the_rooms_and_nothing_else(wheel: Path):
    with ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == {name for _, name in shipped_files()}


def closure(*names: str) -> dict[str, Distribution]:
    """The installed distributions that these need, themselves included."""
    found: dict[str, Distribution] = {}
    waiting = [Requirement(name) for name in names]
    while waiting:
        wanted = waiting.pop()
        installed = distribution(wanted.name)
        if found.get(wanted.name) and not wanted.extras:
            continue
        found[wanted.name] = installed
        for line in installed.requires or ():
            needed = Requirement(line)
            extras = wanted.extras or {""}
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(needed)
    return found


@pytest.fixture(scope="module")
def clean_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel and links to the rendering libraries: no network, and no torch."""
    root = tmp_path_factory.mktemp("clean")
    venv.create(root, symlinks=True)
    python = root / "bin" / "python"
    pip("--python", str(python), "install", "--no-deps", "--no-index", str(wheel))
    site = next(root.glob("lib/python*/site-packages"))
    for installed in closure(*RENDERING).values():
        home = Path(str(installed.locate_file("")))
        for name in {file.parts[0] for file in installed.files or ()} - {"..", "__pycache__"}:
            link = site / name
            if not link.exists():
                link.symlink_to(home / name)
    return python


def run_clean(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [str(python), *arguments], cwd=python.parent, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.packaging
def test_a_stored_report_renders_where_torch_is_not_installed(clean_python: Path, tmp_path: Path):
    assert "No module named 'torch'" in run_clean(clean_python, "-c", "import torch").stderr
    stored = tmp_path / "report.json"
    write_outputs(leaky(), [stored])
    suffixes = [".html"] if pdf_problem() else [".html", ".pdf"]
    wanted = [str(tmp_path / f"page{suffix}") for suffix in suffixes]
    outputs = [word for path in wanted for word in ("-o", path)]
    ended = run_clean(clean_python, str(clean_python.with_name("privaudit")), "render", str(stored), *outputs)
    assert (ended.returncode, ended.stdout.split()) == (0, wanted), ended.stderr
    assert (tmp_path / "page.html").read_bytes().startswith(b"<!")
    if ".pdf" in suffixes:
        assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF-")


@pytest.mark.packaging
def test_help_answers_without_torch(clean_python: Path):
    ended = run_clean(clean_python, str(clean_python.with_name("privaudit")), "--help")
    assert ended.returncode == 0
    assert "render" in ended.stdout
