"""The documentation is true: its commands parse, the cheap ones run, its links lead somewhere, its code works."""

import re
import runpy
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from auditor import cli
from auditor.battery import papers
from auditor.checkpoint.preprocessing import agreed_preprocessing, prepare
from auditor.cost.price import Cost
from auditor.findings import AttackCard, Completed, Family, Fidelity, Metric, Role
from auditor.limits import Limits
from auditor.membership.evidence import Attack, Evidence
from auditor.membership.measure import run_attack
from auditor.policy_file import read_policy
from auditor.report import pdf_problem, write_outputs
from auditor.report.terms import GLOSSARY, TERMS
from auditor.splits import load_splits
from auditor.target import load_target
from auditor.threat import Access
from tests.report.example import confounded, leaky, well_behaved
from tests.worlds import world

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
SAMPLES = sorted((ROOT / "sample_models").glob("*/README.md"))
CHEAP = {"attacks", "card", "defenses", "diff", "gate", "inspect", "plan", "render"}
NOT_HERE = ("--canaries", "--shadows")  # such a plan needs folders that no page makes
CITED = re.compile(r"\b[Rr]ules? (\d+(?:(?:, | and | to )\d+)*)")
NUMBER = re.compile(r"\d+")
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)


def blocks(page: Path, *languages: str) -> list[str]:
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [content for language, content in found if language in languages]


def commands_of(page: Path) -> Iterator[str]:
    """Every line of the page's blocks, fenced or indented, that calls privaudit; without prompt and comment."""
    text = page.read_text(encoding="utf-8")
    fenced = "\n".join(blocks(page, "", "bash", "console", "yaml"))
    indented = re.findall(r"^ {4}(.*)$", FENCE.sub("", text), re.MULTILINE)
    for line in (*fenced.replace("\\\n", " ").splitlines(), *indented):
        if found := re.match(r"\s*(?:\$ |- (?:run: )?)?(privaudit .*?)(?:\s\|\|.*)?$", line):
            yield shlex.join(shlex.split(found[1], comments=True))


COMMANDS = sorted({command for page in (*PAGES, *SAMPLES) for command in commands_of(page)})


def named(arguments: list[str]) -> tuple[click.Command, list[str]]:
    """The command at the end of the groups, and what is left for it."""
    command: click.Command = cli.cli
    while isinstance(command, click.Group) and arguments and arguments[0] in command.commands:
        command, arguments = command.commands[arguments[0]], arguments[1:]
    return command, arguments


def test_there_are_commands_of_every_kind():
    assert {shlex.split(command)[1] for command in COMMANDS} == set(cli.cli.commands)


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_parses(line: str):
    """By Click's own parser; files need not exist."""
    command, arguments = named(shlex.split(line)[1:])
    context = click.Context(command)
    values, rest, _ = command.make_parser(context).parse_args(list(arguments))
    assert rest == []
    for option in command.params:
        given = values.get(option.name)
        assert given or not option.required, f"{line}: {option.name} is missing"
        if given and not isinstance(option.type, click.Path):
            option.type_cast_value(context, given)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what the pages name: a model, its data, two reports of it and a policy."""
    folder = tmp_path_factory.mktemp("desk")
    sample = ROOT / "sample_models" / "fashion_leaky"
    (folder / "sample_models").symlink_to(sample.parent)
    shutil.copytree(sample, folder / "model", ignore=shutil.ignore_patterns("splits"))
    (folder / "splits").symlink_to(sample / "splits")
    shutil.copy(sample / "model.safetensors", folder)
    shutil.copy(sample / "config.json", folder)
    facts = load_target(sample).facts
    (folder / "privaudit-report").mkdir()
    made = {"old": leaky(), "privaudit-report/report": leaky(), "new": well_behaved(), "report": confounded()}
    for name, one in made.items():
        write_outputs(one.model_copy(update={"model": facts}), [folder / f"{name}.json"])
    for name in ("old", "new"):
        (folder / "runs" / name).mkdir(parents=True)
        shutil.copy(folder / f"{name}.json", folder / "runs" / name / "report.json")
    (folder / "privaudit.toml").write_text(blocks(DOCS / "choose-a-policy.md", "toml")[0], encoding="utf-8")
    network = next(block for block in blocks(DOCS / "bring-your-own-model.md", "python") if "def make" in block)
    (folder / "network.py").write_text(network, encoding="utf-8")
    save_file(runpy.run_path(str(folder / "network.py"))["make"]().state_dict(), folder / "mine.safetensors")
    return folder


def is_cheap(line: str) -> bool:
    words = shlex.split(line)
    return words[1] in CHEAP and not any(option in words for option in NOT_HERE)


@pytest.mark.parametrize("line", [line for line in COMMANDS if is_cheap(line)])
def test_a_cheap_command_runs(line: str, desk: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    if ".pdf" in line and pdf_problem():
        pytest.skip("Pango is missing")
    monkeypatch.chdir(desk)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    monkeypatch.setattr("auditor.planning.pricing.cost_of", lambda *_: Cost((), workers=1))
    allowed = {"gate": {0, 1, 3}}.get(shlex.split(line)[1], {0})
    assert cli.main(shlex.split(line)[1:]) in allowed, capsys.readouterr().err


def test_the_first_gate_ends_as_the_page_says(desk: Path, monkeypatch: pytest.MonkeyPatch):
    block = next(block for block in blocks(DOCS / "first-audit.md", "console") if "echo $?" in block)
    line, _, code = block.splitlines()
    monkeypatch.chdir(desk)
    assert cli.main(shlex.split(line)[2:]) == int(code)


@pytest.mark.parametrize("page", [*PAGES, *SAMPLES], ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path):
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if re.match(r"\w+:", target) or not (path or anchor):
            continue
        assert (page.parent / path).exists(), f"{page.name} links to {target}"
        if anchor:
            where = page if not path else page.parent / path
            assert anchor in anchors(where), f"{page.name} links to {target}"


def anchors(page: Path) -> set[str]:
    text = page.read_text(encoding="utf-8")
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
    return slugs | set(re.findall(r'<a id="([^"]+)"', text))


def test_the_index_names_every_page():
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    missing = [page.name for page in DOCS.glob("*.md") if page.name != "README.md" and f"({page.name})" not in index]
    assert missing == []


def test_a_new_reader_finds_the_index():
    assert "(docs/README.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_rule_that_is_cited_is_in_the_rules_of_evidence():
    rules = re.findall(r"^## (\d+)\. ", (DOCS / "rules-of-evidence.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert rules == [str(number) for number in range(1, 14)]
    sources = [
        path for folder in ("auditor", "reference_attacks", "benchmarks") for path in (ROOT / folder).rglob("*.py")
    ]
    texts = {path: path.read_text(encoding="utf-8") for path in [*sources, *(DOCS / "decisions").glob("*.md")]}
    cited = {
        (number, path)
        for path, text in texts.items()
        for found in CITED.findall(text)
        for number in NUMBER.findall(found)
    }
    assert len(cited) > 40
    assert {(number, path.name) for number, path in cited if number not in rules} == set()
    assert [path.name for path, text in texts.items() if re.search(r"\bDESIGN(\.md| \d| section)", text)] == []


def test_the_map_of_rooms_is_that_of_the_import_contract():
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    table = re.findall(
        r"^\| (`.*?) \|", page.partition("\n## Rooms")[2].partition("Beside `auditor/`")[0], re.MULTILINE
    )
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ][0]
    assert [set(re.findall(r"`(\w+)`", row)) for row in table] == [
        set(line.split(" | ")) for line in contract["layers"]
    ]
    rooms = {
        path.stem for path in (ROOT / "auditor").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert rooms - {"__init__"} == {room for line in contract["layers"] for room in line.split(" | ")}


@pytest.mark.parametrize(
    ("lower", "higher"),
    [
        ("verdict", "policy"), ("training", "report"), ("checkpoint", "target"), ("membership", "battery"),
        ("shadows", "laboratory"), ("difference", "gate"), ("cost", "planning"), ("sources", "class_names"),
    ],
)  # fmt: skip
def test_a_room_does_not_import_what_lies_above_it(lower: str, higher: str):
    """The order of the contract's lines; `lint-imports` holds the code to it."""
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ][0]
    floor = {room: height for height, line in enumerate(contract["layers"]) for room in line.split(" | ")}
    assert floor[lower] > floor[higher]


def test_the_words_of_the_house_are_names_in_the_code():
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    words = set(re.findall(r"^\| (\w+) \|", page.partition("\n## House words")[2], re.MULTILINE)) - {"word"}
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "auditor").rglob("*.py"))
    assert words - set(re.findall(r"^class (\w+)", code, re.MULTILINE)) == set()


def test_the_glossary_is_that_of_the_report():
    lines = (DOCS / "glossary.md").read_text(encoding="utf-8").splitlines()
    rows = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines if line.startswith("| ")]
    assert [row for row in rows if len(row) == 2][1:] == [*GLOSSARY]
    assert [row for row in rows if len(row) > 2][1:] == [*TERMS]


@pytest.mark.parametrize("text", blocks(DOCS / "choose-a-policy.md", "toml"))
def test_the_policies_to_start_from_are_policies(text: str, tmp_path: Path):
    file = tmp_path / "privaudit.toml"
    file.write_text(text, encoding="utf-8")
    assert read_policy(file).gate.release in {Access.SCORES, Access.WEIGHTS}
    tomllib.loads(text)


def test_the_attack_that_is_added_finds_a_leak():
    """What stands on the page, run as the battery would run it."""
    file, adapter, row = blocks(DOCS / "add-an-attack.md", "python")
    weakest: dict[str, object] = {"__name__": "weakest"}
    exec(compile(file, "weakest.py", "exec"), weakest)  # noqa: S102 - the page is ours
    rooms = {
        "Access": Access, "Attack": Attack, "AttackCard": AttackCard, "Evidence": Evidence, "Family": Family,
        "Fidelity": Fidelity, "Floats": np.ndarray, "papers": papers, "weakest": type("weakest", (), weakest),
    }  # fmt: skip
    exec(compile(adapter, "adapters.py", "exec"), rooms)  # noqa: S102
    rooms["adapters"] = type("adapters", (), {"weakest_answer": staticmethod(rooms["weakest_answer"])})
    added = eval(compile(row, "attacks.py", "eval"), rooms)  # noqa: S307
    for leak, is_found in ((3.0, True), (0.0, False)):
        simulated = world(n=300, leak=leak)
        outcome = run_attack(added, Role.SECONDARY, simulated.evidence, simulated.jury, Limits()).outcome
        assert isinstance(outcome, Completed)
        found = next(one.estimate for one in outcome.endpoints if one.metric is Metric.AUC)
        assert (found.low > 0.5) == is_found


def test_the_table_of_features_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    page = DOCS / "bring-your-own-model.md"
    makes = next(block for block in blocks(page, "python") if "features=" in block)
    states = next(block for block in blocks(page, "toml") if "input_size = [64]" in block)
    monkeypatch.chdir(tmp_path)
    exec(makes, {})  # noqa: S102 - our own page
    (tmp_path / "splits.toml").write_text(states, encoding="utf-8")
    splits = load_splits(tmp_path, num_classes=10)
    stated = agreed_preprocessing(splits.settings.preprocessing, None, tmp_path)
    assert stated is not None
    assert stated.input_size == (64, 1, 1)
    inputs = prepare(splits.members.inputs, stated, torch.device("cpu"))
    np.testing.assert_array_equal(inputs.numpy(), splits.members.inputs)
