from __future__ import annotations

from pathlib import Path

import pytest

from auditor import cli
from auditor.audit import AuditOptions
from auditor.cli.summary import summary
from auditor.difference.pairing import ALONE
from auditor.errors import InputError
from auditor.findings import AuditReport, Check, CheckLevel, ControlResult, Failed, Family, Skipped, VerdictState
from auditor.report import load_json, write_outputs
from auditor.threat import Access
from tests.minimal_report import attack, auc, report, tpr, verdict
from tests.report.example import canaries

pytestmark = pytest.mark.usefixtures("one_thing_at_a_time")
REPORT = report(membership=[attack(auc(0.5, rejected=False), tpr(0.0, rejected=False))])


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[AuditOptions]:
    """What the audit was asked for; it answers with `REPORT`. The working directory is a fresh folder."""
    options: list[AuditOptions] = []

    def audit(asked_for: AuditOptions, progress: object) -> AuditReport:
        options.append(asked_for)
        return REPORT

    monkeypatch.setattr("auditor.audit.audit", audit)
    monkeypatch.chdir(tmp_path)
    Path("model.safetensors").touch()
    Path("splits").mkdir()
    Path("plan.json").touch()
    return options


def scan(*more: str) -> int:
    return cli.main(["scan", "model.safetensors", "--data", "splits", *more])


def test_the_paths_are_the_artifact(asked, capsys: pytest.CaptureFixture[str]):
    assert scan("-o", "out/a.json", "-o", "b.html", "-o", "out/a.json") == 0
    assert capsys.readouterr().out == "out/a.json\nb.html\n"
    assert load_json(Path("out/a.json")) == REPORT
    assert "<html" in Path("b.html").read_text(encoding="utf-8")


def test_without_options_the_audit_gets_its_own_defaults(asked):
    assert scan("-o", "a.json") == 0
    assert asked == [AuditOptions(Path("model.safetensors"), Path("splits"))]


EVERY_OPTION = """
    -o a.json --arch resnet18 --release scores --budget quick --seed 7 --device cpu --workers 2 --run-dir run
    --plan plan.json --attacks lira,rmia --defenses purifier --trust-checkpoint --key secret --shadows splits
    --canaries plan.json --show-records --policy plan.json --exit-zero
"""


def test_every_option_reaches_the_audit(asked):
    assert scan(*EVERY_OPTION.split()) == 0
    assert asked == [
        AuditOptions(
            checkpoint=Path("model.safetensors"),
            data=Path("splits"),
            arch="resnet18",
            release=Access.SCORES,
            budget="quick",
            seed=7,
            device="cpu",
            workers=2,
            run_dir=Path("run"),
            plan=Path("plan.json"),
            attacks=("lira", "rmia"),
            defenses=("purifier",),
            trust_checkpoint=True,
            key=Path("secret"),
            shadows=Path("splits"),
            canaries=Path("plan.json"),
            show_records=True,
            policy=Path("plan.json"),
        )
    ]


@pytest.mark.parametrize(
    ("stated", "more", "release"),
    [
        ("scores", "", Access.SCORES),
        ("scores", "--release scores", Access.SCORES),
        ("", "--release labels", Access.LABELS),
        ("", "", Access.WEIGHTS),
        ("scores", "--release weights", None),
    ],
)
def test_the_release_is_that_of_the_policy_unless_they_contradict(asked, capsys, stated, more, release):
    Path("p.toml").write_text(f'[gate]\nrelease = "{stated}"\n' if stated else "[gate]\n", encoding="utf-8")
    code = scan("-o", "a.json", "--policy", "p.toml", "--exit-zero", *more.split())
    assert [one.release for one in asked] == ([] if release is None else [release])
    assert (code == 2) is (release is None)
    assert ("leave one of them out" in capsys.readouterr().err) is (release is None)


@pytest.mark.parametrize(
    ("more", "defenses"),
    [("", None), ("--defenses none", ()), ("--defenses purifier,labels-only", ("purifier", "labels-only"))],
)
def test_defenses_may_be_left_out(asked, more: str, defenses: tuple[str, ...] | None):
    assert scan("-o", "a.json", *more.split()) == 0
    assert asked[0].defenses == defenses


def test_the_largest_seed_is_one_that_every_library_takes(asked):
    assert scan("-o", "a.json", "--seed", str(2**63 - 1)) == 0
    assert scan("-o", "a.json", "--seed", str(2**63)) == 2
    assert [each.seed for each in asked] == [2**63 - 1]


def test_outputs_are_checked_before_anything_is_trained(asked, capsys: pytest.CaptureFixture[str]):
    assert scan("-o", "a.json", "-o", "a.docx") == 2
    assert asked == []
    assert "a.docx" in capsys.readouterr().err


def without_pango(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(paths: list[Path]) -> None:
        if any(path.suffix == ".pdf" for path in paths):
            raise InputError("PDF needs Pango.", "Install it.")

    monkeypatch.setattr("auditor.report.pdf_problem", lambda: "Pango is not installed.")
    monkeypatch.setattr("auditor.report.check_outputs", refuse)


def test_an_explicit_pdf_without_pango_is_refused_at_once(asked, monkeypatch: pytest.MonkeyPatch):
    without_pango(monkeypatch)
    assert scan("-o", "a.pdf") == 2
    assert asked == []


def test_in_the_default_set_the_pdf_is_skipped_with_one_sentence(
    asked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    without_pango(monkeypatch)
    assert scan() == 0
    told = capsys.readouterr()
    assert told.out.splitlines() == ["privaudit-report/report.html", "privaudit-report/report.json"]
    assert told.err.splitlines()[0] == "No PDF will be written: Pango is not installed."


def test_a_failed_scan_leaves_no_report(asked, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def audit(*_: object) -> AuditReport:
        raise RuntimeError

    monkeypatch.setattr("auditor.audit.audit", audit)
    before = sorted(tmp_path.rglob("*"))
    assert scan("-o", "out/a.json") == 4
    assert sorted(tmp_path.rglob("*")) == before


def test_the_gate_says_why(asked, capsys: pytest.CaptureFixture[str]):
    assert scan("-o", "a.json", "--fail-on", "high") == 0
    told = capsys.readouterr().err.splitlines()
    assert told[-4].startswith("pass          severity: Membership at release weights: nothing was found")
    assert told[-3] == f"model         model.safetensors, sha256 {'0' * 16}: it is the one that this scan audited"
    assert told[-2].startswith("inversion     not judged (severity is of membership); ")
    assert told[-1] == (
        "Gate: pass. Every rule is met at release weights: severity. Not judged: inversion (no verdict)."
    )


def test_what_the_policy_says_is_in_the_files(asked):
    Path("privaudit.toml").write_text("[gate]\nleast_evaluated = 9999\n", encoding="utf-8")
    assert scan("-o", "a.xml", "-o", "a.json", "--policy", "privaudit.toml", "--fail-on", "high", "--exit-zero") == 0
    told = Path("a.xml").read_text(encoding="utf-8")
    assert "1,000 records a side were evaluated; the policy asks for 9,999." in told
    assert '<property name="policy" value="privaudit.toml and --fail-on high" />' in told
    assert load_json(Path("a.json")) == REPORT
    assert scan("-o", "b.xml", "--fail-on", "high") == 0
    assert '<property name="policy" value="--fail-on high" />' in Path("b.xml").read_text(encoding="utf-8")
    assert scan("-o", "c.xml") == 0
    assert "policy" not in Path("c.xml").read_text(encoding="utf-8")


def test_the_last_release_is_held_against(asked, capsys: pytest.CaptureFixture[str]):
    Path("privaudit.toml").write_text("[gate]\nno_worse_than_last = { auc = 0.02 }\n", encoding="utf-8")
    last = REPORT.model_copy(update={"model": REPORT.model.model_copy(update={"sha256": "1" * 64})})
    write_outputs(last, [Path("old.json")])
    assert scan("-o", "a.json", "--policy", "privaudit.toml") == 3
    assert "The report of the last release was not given" in capsys.readouterr().err
    assert scan("-o", "a.json", "--policy", "privaudit.toml", "--baseline", "old.json") == 3
    assert "no_worse_than_last: AUC of lira changed by 0.000 (" in capsys.readouterr().err
    assert [each.baseline for each in asked] == [None, last]


def test_scores_are_looked_for_beside_both_reports(asked, monkeypatch: pytest.MonkeyPatch):
    looked: list[Path] = []
    monkeypatch.setattr("auditor.difference.kept_scores.read_kept", lambda file, _: looked.append(file) or ALONE[0])
    Path("privaudit.toml").touch()
    write_outputs(REPORT, [Path("old.json")])
    asked_for = "-o a.json --policy privaudit.toml --baseline old.json --run-dir run --exit-zero"
    assert scan(*asked_for.split()) == 0
    assert looked == [Path("old.json"), Path("run/report.json")]
    looked.clear()
    assert scan(*asked_for.replace("--run-dir run", "").split()) == 0
    assert looked == [Path("old.json"), Path("report.json")]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("--baseline old.json", "--baseline needs --policy"),
        ("--baseline old.json --fail-on high", "--baseline needs --policy"),
        ("--baseline plan.json --policy privaudit.toml", "plan.json"),
        ("--baseline nowhere.json --policy privaudit.toml", "nowhere.json"),
    ],
)
def test_a_last_release_that_is_of_no_use_is_refused_before_anything_is_trained(asked, capsys, arguments, told):
    write_outputs(REPORT, [Path("old.json")])
    Path("privaudit.toml").touch()
    assert scan("-o", "a.json", *arguments.split()) == 2
    assert told in capsys.readouterr().err
    assert asked == []


def test_a_report_that_cannot_be_held_against_the_last_one_is_written_all_the_same(asked, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise InputError("The reports list more exposed records than they evaluated.")

    monkeypatch.setattr("auditor.policy.judge", refuse)
    assert scan("-o", "a.json", "--fail-on", "high") == 2
    assert load_json(Path("a.json")) == REPORT


def lines_of(audited: AuditReport) -> list[str]:
    return summary(audited).plain.strip().splitlines()


def test_the_summary_has_a_line_per_access_most_first():
    verdicts = [
        verdict(Access.LABELS, VerdictState.CANNOT_SAY),
        verdict(Access.SCORES, VerdictState.LEAK_FOUND),
        verdict(Access.SCORES, VerdictState.NOTHING_FOUND, family=Family.INVERSION),
        verdict(Access.WEIGHTS, VerdictState.LEAK_FOUND),
    ]
    tiles = lines_of(report(verdicts=verdicts, release=Access.SCORES))[:3]
    assert [line.split()[0] for line in tiles] == ["weights", "scores", "labels"]
    assert "membership: leak found" in tiles[1]
    assert "inversion: nothing found" in tiles[1]
    assert [line.endswith("<- this release") for line in tiles] == [False, True, False]


def test_the_summary_tells_what_did_not_run_and_why():
    missing = [
        attack(name="rmia", outcome=Skipped(reason="no population")),
        attack(name="gap", outcome=Failed(error="RuntimeError: no")),
    ]
    lines = lines_of(report(membership=[attack(), *missing]))
    assert "skipped rmia: no population" in lines
    assert "failed gap: RuntimeError: no" in lines
    assert not any("lira" in line for line in lines)


def test_what_many_lack_for_one_reason_is_counted_by_kind():
    names = "abcde"
    skipped = [attack(name=name, outcome=Skipped(reason="runs from --budget standard")) for name in names]
    lines = lines_of(report(membership=[attack(), *skipped]))
    assert "skipped 5 membership attacks: runs from --budget standard (the report names each)" in lines
    lines = lines_of(report(membership=[attack(), *skipped[1:]]))
    assert "skipped b, c, d, e: runs from --budget standard" in lines


def test_the_summary_tells_why_another_release_has_no_answer_and_says_it_once():
    verdicts = [
        verdict(access, VerdictState.CANNOT_SAY).model_copy(update={"sentence": sentence})
        for access, sentence in zip(Access, ("No attack ran.", "Few records.", "Few records."), strict=True)
    ]
    verdicts.append(verdict(Access.LABELS, VerdictState.NOTHING_FOUND, family=Family.INVERSION))
    lines = lines_of(report(verdicts=verdicts, release=Access.WEIGHTS))
    told = [line for line in lines if line.startswith(("membership, ", "inversion, "))]
    assert told == ["membership, weights and scores: Few records.", "membership, labels: No attack ran."]


def test_the_summary_tells_what_to_distrust():
    doubtful = REPORT.model_copy(
        update={
            "checks": (
                Check(id="overlap", title="Overlap", level=CheckLevel.PASS, sentence="None."),
                Check(id="recipe", title="Recipe", level=CheckLevel.WARN, sentence="Shadows fit less."),
            ),
            "controls": (
                ControlResult(id="blind", title="Blind", question="?", status="fail", sentence="AUC 0.8."),
                ControlResult(id="null", title="Null", question="?", status="pass", sentence="AUC 0.5."),
            ),
        }
    )
    lines = lines_of(doubtful)
    assert "check recipe, warn: Shadows fit less." in lines
    assert "control blind, fail: AUC 0.8." in lines
    assert not any("overlap" in line or "null" in line for line in lines)


def test_the_summary_tells_what_the_canaries_showed():
    audited = REPORT.model_copy(update={"canaries": canaries(1.0)})
    assert any(line.startswith("canaries: The training is not (2.56, 1e-05)") for line in lines_of(audited))
    assert not any(line.startswith("canaries") for line in lines_of(REPORT))


def test_the_summary_tells_of_limits_that_are_not_the_defaults():
    own = REPORT.model_copy(
        update={"plan": REPORT.plan.model_copy(update={"auc_limit": 0.75, "default_policy": False})}
    )
    assert any(
        line.startswith("policy: not the defaults of privaudit; limits: AUC 0.75, TPR 5 % at 1 % FPR; ")
        for line in lines_of(own)
    )
    assert not any(line.startswith("policy") for line in lines_of(REPORT))


def test_the_summary_ends_with_the_cost():
    assert lines_of(REPORT)[-1] == "CPU time 2 min 0 s, elapsed 1 min 1 s"


def test_a_hostile_reason_is_harmless():
    hostile = attack(outcome=Skipped(reason="[red]\x1b[2J"))
    assert "skipped lira: [red]�[2J" in lines_of(report(membership=[hostile]))
