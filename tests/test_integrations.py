"""The action, the snippets and the image: parsed, checked against their schemas, and their scripts run under bash."""

import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from auditor import cli
from auditor.cli.exits import Exit
from auditor.report import load_json, write_outputs
from auditor.target import load_target
from tests.report.example import leaky

ROOT = Path(__file__).parents[1]
ACTION = ROOT / ".github" / "actions" / "privaudit" / "action.yml"
HOOKS = ROOT / ".pre-commit-hooks.yaml"
CONSTRAINTS = ROOT / ".ci" / "constraints.txt"
DOCKERFILE = ROOT / ".ci" / "Dockerfile"
PAGE = ROOT / "docs" / "ci.md"
SAMPLE = ROOT / "sample_models" / "fashion_leaky"
BASH = ("bash", "--noprofile", "--norc", "-eo", "pipefail")  # how a runner starts `shell: bash`

STUB = """\
#!/bin/bash
printf '%s\\n' "$(basename "$0") $*" >> "$STUB_LOG"
case "$*" in
  "-m pip cache dir") echo "$HOME/pip" ;;
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && ln -sf "$(dirname "$0")/privaudit" "$3/bin/privaudit" ;;
esac
"""
# As `privaudit` behaves towards a script: a scan and a page leave their files, a gate says how it ends.
PRIVAUDIT = """\
#!/bin/bash
printf '%s\\n' "privaudit $*" >> "$STUB_LOG"
command="$1"
while [ $# -gt 0 ]; do
  case "$1" in --output|-o) echo made > "$2" ;; esac
  shift
done
if [ "$command" = gate ]; then echo "told by the gate"; exit "$GATE_CODE"; fi
"""
REAL = """\
#!/bin/bash
exec {python} -c 'import sys; from auditor.cli import main; sys.exit(main())' "$@"
"""


def snippets(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def action() -> dict:
    return yaml.safe_load(ACTION.read_text(encoding="utf-8"))


# --- schemas ---------------------------------------------------------------------------------------------------------


def refused(schema: str, file: Path) -> str:
    """What SchemaStore's schema for that kind of file has against it."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", str(file)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if ended.returncode == 0 else ended.stdout + ended.stderr


def test_the_action_is_one():
    assert refused("github-actions", ACTION) == ""


@pytest.mark.parametrize(("index", "schema"), [(0, "github-workflows"), (1, "github-workflows"), (2, "gitlab-ci")])
def test_a_snippet_is_what_it_says(index: int, schema: str, tmp_path: Path):
    file = tmp_path / "snippet.yml"
    file.write_text(snippets("yaml")[index], encoding="utf-8")
    assert refused(schema, file) == ""
    file.write_text("jobs: 3", encoding="utf-8")
    assert refused(schema, file) != ""


@pytest.mark.parametrize("index", [0, 1])
def test_a_workflow_gives_the_action_inputs_that_it_has(index: int):
    (job,) = yaml.safe_load(snippets("yaml")[index])["jobs"].values()
    used = job["steps"][-1]
    assert used["uses"].split("@")[0].removeprefix("OWNER/privaudit/") == ACTION.parent.relative_to(ROOT).as_posix()
    assert set(used["with"]) <= set(action()["inputs"])


def test_the_page_tells_every_input():
    told = re.findall(r"^\| `([\w-]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert told == [*sorted(action()["inputs"], key=told.index)]


# --- the action ------------------------------------------------------------------------------------------------------


@dataclass
class Job:
    """A runner as far as the action can tell: folders, files for outputs, and programs that only take notes."""

    home: Path
    inputs: dict[str, str]
    gate_code: int | None = None
    steps: dict[str, dict[str, str]] = field(default_factory=dict)
    outcomes: dict[str, str] = field(default_factory=dict)
    uses: list[str] = field(default_factory=list)
    told: str = ""
    code: int = 0

    def __post_init__(self):
        programs = self.home / "programs"
        programs.mkdir()
        privaudit = REAL.format(python=sys.executable) if self.gate_code is None else PRIVAUDIT
        stubs = dict.fromkeys(("python", "sudo", "apt-get"), STUB) | {"privaudit": privaudit}
        for name, text in stubs.items():
            (programs / name).write_text(text, encoding="utf-8")
            (programs / name).chmod(stat.S_IRWXU)
        for name in ("path", "summary", "log"):
            (self.home / name).touch()
        self.inputs = {name: str(one.get("default", "")) for name, one in action()["inputs"].items()} | self.inputs
        self.steps["python"] = {"python-path": str(programs / "python"), "python-version": "3.11.0"}

    def value(self, reference: str) -> str:
        match reference.split("."):
            case ["inputs", name]:
                return self.inputs[name]
            case ["steps", step, "outputs", name]:
                return self.steps.get(step, {}).get(name, "")
            case ["steps", step, "outcome"]:
                return self.outcomes.get(step, "skipped")
            case ["runner", _]:
                return "Linux"
        raise AssertionError(reference)

    def filled(self, text: str) -> str:
        return re.sub(r"\$\{\{ ([\w.-]+) \}\}", lambda found: self.value(found[1]), text)

    def wanted(self, condition: str) -> bool:
        """GitHub's condition, as far as the action uses it: comparisons with a word, joined by `&&`."""
        parts = condition.split(" && ")
        if "!cancelled()" not in parts and self.code:
            return False
        for part in parts:
            if part not in {"!cancelled()", ""}:
                reference, operator, word = re.fullmatch(r"([\w.-]+) (==|!=) '(\w*)'", part).groups()
                if (self.value(reference) == word) != (operator == "=="):
                    return False
        return True

    def run(self):
        for step in action()["runs"]["steps"]:
            if not self.wanted(step.get("if", "")):
                continue
            if "uses" in step:
                self.uses.append(step["uses"].split("@")[0])
                continue
            code = self.bash(step)
            self.outcomes[step.get("id", "")] = "failure" if code else "success"
            self.code = self.code or code

    def bash(self, step: dict) -> int:
        script, output = self.home / "script.sh", self.home / "output"
        script.write_text(step["run"], encoding="utf-8")
        output.write_text("", encoding="utf-8")
        paths = (self.home / "path").read_text(encoding="utf-8").split()
        environment = {
            "PATH": os.pathsep.join([*paths[::-1], str(self.home / "programs"), "/usr/bin", "/bin"]),
            "HOME": str(self.home), "RUNNER_TEMP": str(self.home), "GITHUB_ACTION_PATH": str(ACTION.parent),
            "GITHUB_OUTPUT": str(output), "GITHUB_PATH": str(self.home / "path"), "PYTHONPATH": str(ROOT),
            "GITHUB_STEP_SUMMARY": str(self.home / "summary"), "STUB_LOG": str(self.home / "log"),
            "GATE_CODE": str(self.gate_code),
        }  # fmt: skip
        own = {name: self.filled(text) for name, text in step.get("env", {}).items()}
        ended = subprocess.run(
            [*BASH, str(script)], cwd=self.home, env=environment | own, capture_output=True, text=True, check=False
        )
        self.told += ended.stdout + ended.stderr
        lines = output.read_text(encoding="utf-8").splitlines()
        self.steps.setdefault(step.get("id", ""), {}).update(line.split("=", 1) for line in lines)
        return ended.returncode

    def log(self) -> str:
        return (self.home / "log").read_text(encoding="utf-8")

    def summary(self) -> str:
        return (self.home / "summary").read_text(encoding="utf-8")


@pytest.fixture
def job(tmp_path: Path):
    def started(gate_code: int | None, **inputs: str) -> Job:
        (tmp_path / "report.json").write_text("{}", encoding="utf-8")
        if gate_code is None:
            write_outputs(leaky(), [tmp_path / "report.json"])
        made = Job(
            tmp_path, {"pdf": "false"} | {name.replace("_", "-"): one for name, one in inputs.items()}, gate_code
        )
        made.run()
        return made

    return started


def gate_of(ended: Job, *kinds: str) -> str:
    """How the gate is called, up to what the inputs add."""
    folder = ended.steps["places"]["folder"]
    files = [f"-o {folder}/report.{kind}" for kind in kinds or ("html", "sarif", "xml", "json")]
    return " ".join(["privaudit gate --github", *files])


def test_no_input_is_written_into_a_script():
    for step in action()["runs"]["steps"]:
        assert "${{" not in step.get("run", "")
        assert step.get("shell") == ("bash" if "run" in step else None)


def test_a_violated_policy_leaves_everything_behind_and_then_fails(job):
    """With the real program: a gate, every page, annotations and the summary."""
    ended = job(None)
    assert ended.code == 1
    assert ended.steps["gate"] == {"exit-code": "1", "outcome": "fail"}
    folder = Path(ended.steps["places"]["folder"])
    kinds = {"report.json", "report.html", "report.sarif", "report.xml"}
    assert {file.name for file in folder.iterdir()} == kinds
    assert load_json(folder / "report.json") == leaky()
    assert json.loads((folder / "report.sarif").read_text(encoding="utf-8"))["version"] == "2.1.0"
    assert "\n::error title=privaudit%3A Policy%3A auc::auc, release of weights: fail. AUC of lira" in ended.told
    assert 'testsuite name="policy"' in (folder / "report.xml").read_text(encoding="utf-8")
    assert "**What the policy says: ✗ Fail.** By the default limits" in ended.summary()
    assert "## Privacy audit of cifar-resnet18" in ended.summary()
    assert ended.uses == [
        "actions/setup-python", "actions/cache", "github/codeql-action/upload-sarif", "actions/upload-artifact",
    ]  # fmt: skip


def test_what_is_installed_is_pinned_and_kept_apart(job):
    ended = job(0, sarif="false", artifact="")
    pip = f"python -m pip install --disable-pip-version-check --constraint {CONSTRAINTS}"
    installed = [line for line in ended.log().splitlines() if "pip install" in line]
    assert installed == [
        f"{pip} --no-deps --index-url https://download.pytorch.org/whl/cpu torch torchvision", f"{pip} {ROOT}",
    ]  # fmt: skip
    assert "apt-get" not in ended.log()
    assert ended.uses == ["actions/setup-python", "actions/cache"]
    assert Path(ended.home / "path").read_text(encoding="utf-8").strip() == str(ended.home / "privaudit-command")
    assert [file.name for file in (ended.home / "privaudit-command").iterdir()] == ["privaudit"]


@pytest.mark.parametrize(
    ("code", "outcome"), [(0, "pass"), (1, "fail"), (2, "error"), (3, "inconclusive"), (4, "error"), (130, "error")]
)
def test_the_exit_code_of_the_gate_is_that_of_the_job(job, code: int, outcome: str):
    ended = job(code, policy="my policy.toml", checkpoint="--help", baseline="old.json")
    gate = f"{gate_of(ended)} --policy my policy.toml --checkpoint --help --baseline old.json -- report.json"
    assert gate in ended.log().splitlines()
    assert (ended.code, ended.steps["gate"]["outcome"]) == (code, outcome)
    assert ("actions/upload-artifact" in ended.uses) == (outcome != "error")


def test_a_report_that_is_missing_is_no_violation(job):
    ended = job(2, report="nowhere.json")
    assert f"{gate_of(ended)} -- nowhere.json" in ended.log().splitlines()
    assert (ended.code, ended.uses) == (2, ["actions/setup-python", "actions/cache"])


def test_a_scan_is_given_its_arguments_word_by_word(job, tmp_path: Path):
    hostile = "runs/$(touch hacked); `touch hacked` 'a b'"
    ended = job(
        0,
        data="my splits",
        checkpoint="model/",
        pdf="true",
        torch_index="",
        scan_arguments=f"--release\nscores\n\n--run-dir\n{hostile}\n",
    )
    (scan,) = [line for line in ended.log().splitlines() if line.startswith("privaudit scan")]
    folder = ended.steps["places"]["folder"]
    assert scan == (
        f"privaudit scan --data my splits --run-dir {folder}-run --output {folder}/report.json --exit-zero "
        f"--release scores --run-dir {hostile} -- model/"
    )
    gate = f"{gate_of(ended, 'html', 'sarif', 'xml', 'pdf')} --checkpoint model/ -- {folder}/report.json"
    assert gate in ended.log().splitlines()
    assert not list(tmp_path.rglob("hacked"))
    assert "apt-get install --yes --no-install-recommends libpango-1.0-0" in ended.log()
    assert "--index-url" not in ended.log()


# --- snippets --------------------------------------------------------------------------------------------------------


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the snippets run: a report, its model and a policy."""
    shutil.copytree(SAMPLE, tmp_path / "model", ignore=shutil.ignore_patterns("splits"))
    of_this = leaky().model_copy(update={"model": load_target(SAMPLE).facts})
    write_outputs(of_this, [tmp_path / "report.json"])
    (tmp_path / "privaudit.toml").write_text("[limits]\nauc = 0.7\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def called(line: str) -> int:
    program, *arguments = shlex.split(line)
    assert program == "privaudit"
    return cli.main(arguments)


def test_the_gitlab_job_leaves_what_it_promises(desk: Path):
    job = yaml.safe_load(snippets("yaml")[2])["privacy"]
    assert [called(line) for line in job["script"]] == [1]
    promised = [*job["artifacts"]["paths"], *job["artifacts"]["reports"].values()]
    assert all((desk / name).is_file() for name in promised)
    assert job["allow_failure"]["exit_codes"] == [Exit.INCONCLUSIVE]


@pytest.mark.parametrize("code", [0, 1, 3])
def test_the_plain_script_ends_with_the_code_of_the_gate(code: int, tmp_path: Path):
    program = tmp_path / "privaudit"
    program.write_text(PRIVAUDIT, encoding="utf-8")
    program.chmod(stat.S_IRWXU)
    told = {"PATH": f"{tmp_path}:/usr/bin:/bin", "STUB_LOG": str(tmp_path / "log"), "GATE_CODE": str(code)}
    ended = subprocess.run([*BASH, "-c", snippets("bash")[-1]], cwd=tmp_path, env=told, check=False)
    assert ended.returncode == code
    assert (tmp_path / "report.xml").is_file()


def test_the_hook_gates_the_committed_report(desk: Path):
    (hook,) = yaml.safe_load(HOOKS.read_text(encoding="utf-8"))
    ((used,),) = (repo["hooks"] for repo in yaml.safe_load(snippets("yaml")[3])["repos"])
    assert used["id"] == hook["id"]
    assert not hook["pass_filenames"]
    for arguments in (hook["args"], used["args"]):
        assert called(f"{hook['entry']} {shlex.join(arguments)}") == Exit.VIOLATED


@pytest.mark.parametrize(
    ("name", "runs"),
    [("report.json", True), ("a/privaudit.toml", True), ("model/model.safetensors", True), ("old-report.json", False)],
)
def test_the_hook_runs_when_what_it_judges_is_committed(name: str, runs: bool):
    (hook,) = yaml.safe_load(HOOKS.read_text(encoding="utf-8"))
    assert bool(re.search(hook["files"], name)) == runs


# --- versions and the image ------------------------------------------------------------------------------------------


def test_every_library_is_pinned_within_its_bounds():
    lines = [line for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[\w.]+", line) for line in lines)
    pinned = dict(line.split("==") for line in lines)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for needed in map(Requirement, project["dependencies"]):
        assert needed.specifier.contains(pinned[needed.name.replace("_", "-")]), needed


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in text.splitlines() if line.strip()]


def test_the_image_is_pinned_and_runs_without_rights():
    found = instructions()
    (base,) = [value for name, value in found if name == "FROM"]
    assert re.fullmatch(r"nvidia/cuda:\d+\.\d+\.\d+-base-ubuntu\d\d\.04", base)
    last = dict(found)
    assert last["USER"] == "privaudit"
    assert [name for name, _ in found].index("USER") > max(i for i, (name, _) in enumerate(found) if name == "RUN")
    assert json.loads(last["ENTRYPOINT"]) == ["privaudit"]
    installs = [value for name, value in found if name == "RUN" and "pip install" in value]
    assert installs
    assert all("--constraint /opt/constraints.txt" in value for value in installs)


def test_the_image_copies_what_there_is_and_all_that_is_built():
    copied = [source for name, value in instructions() if name == "COPY" for source in value.split()[:-1]]
    assert all((ROOT / source).exists() for source in copied)
    assert {"pyproject.toml", "README.md", "LICENSE", "auditor", "reference_attacks", "templates"} <= set(copied)


def test_action_and_image_install_the_same_libraries_for_the_pdf():
    libraries = ("libpango-1.0-0", "libpangoft2-1.0-0", "libharfbuzz-subset0", "fonts-dejavu-core")
    for text in (ACTION.read_text(encoding="utf-8"), DOCKERFILE.read_text(encoding="utf-8")):
        assert all(name in text for name in libraries)
