"""What is in the source distribution and the wheel, and that it renders a report where torch is not installed."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from importlib.resources import files
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.metadata import Metadata
from packaging.requirements import Requirement

from auditor.report import pdf_problem, write_outputs
from tests.report.example import leaky

ROOT = Path(__file__).parents[1]
ROOMS = {"auditor": "auditor", "templates": "auditor/templates", "reference_attacks": "reference_attacks"}
DISTRIBUTIONS = {
    "PIL": "pillow",
    "cyclonedx": "cyclonedx-python-lib",
    "pydantic_core": "pydantic",  # which names its version
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
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


def imported(*folders: str) -> set[str]:
    """The libraries that the files of these folders import, wherever they do."""
    found = set()
    for node in (node for folder in folders for path in (ROOT / folder).rglob("*.py") for node in ast.walk(tree(path))):
        if isinstance(node, ast.Import):
            found |= {one.name.partition(".")[0] for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - {path.stem for path in [*ROOT.iterdir(), *ROOT.glob("benchmarks/*")]}


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_what_is_imported_is_declared():
    """Not left to what other libraries bring along today."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = {Requirement(line).name for line in project["dependencies"]}
    further = {name: {Requirement(one).name for one in some} for name, some in project["optional-dependencies"].items()}
    shipped, tested = (
        {DISTRIBUTIONS.get(name, name) for name in imported(*folders)}
        for folders in (("auditor", "reference_attacks"), ("tests", "benchmarks"))
    )
    assert shipped - needed == further["dp"] | further["parquet"]
    assert tested - needed - further["dev"] == set()


def test_the_templates_are_found_from_here():
    assert any(entry.name.endswith((".html", ".j2")) for entry in files("auditor.templates").iterdir())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution and the wheel made of it, from a copy so that no stale build folder can help."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for room in ROOMS:
        shutil.copytree(ROOT / room, source / room, ignore=shutil.ignore_patterns("__pycache__"))
    module("build", "--no-isolation", "--outdir", str(target), str(source))
    return target


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    return next(built.glob("privaudit-*.whl"))


def module(*arguments: str) -> None:
    ended = subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.packaging
def test_the_wheel_holds_the_rooms_and_nothing_else(wheel: Path):
    with ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == {name for _, name in shipped_files()}


@pytest.mark.packaging
def test_the_metadata_say_what_the_project_says(wheel: Path):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    with ZipFile(wheel) as archive:
        (folder,) = {name.partition("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        said = Metadata.from_email(archive.read(f"{folder}/METADATA"), validate=True)
        scripts = archive.read(f"{folder}/entry_points.txt").decode()
        assert f"{folder}/licenses/LICENSE" in archive.namelist()
    assert (said.name, str(said.version)) == (project["name"], project["version"])
    assert str(said.requires_python) == project["requires-python"]
    plain = [needed for needed in said.requires_dist or () if needed.marker is None]
    assert {str(needed) for needed in plain} == {str(Requirement(line)) for line in project["dependencies"]}
    assert (said.description or "").startswith("# privaudit\n")
    assert said.description_content_type == "text/markdown"
    assert "privaudit = auditor.cli:main" in scripts


@pytest.mark.packaging
def test_the_source_distribution_holds_what_the_wheel_is_made_of(built: Path):
    with tarfile.open(next(built.glob("privaudit-*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    rooms = {path.relative_to(ROOT).as_posix() for path, _ in shipped_files()}
    assert names >= {"pyproject.toml", "README.md", "LICENSE"} | rooms


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
    module("pip", "--quiet", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel))
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
