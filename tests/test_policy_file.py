"""The policy file: what is read, what is refused, and that the complaint names the file, the key and the remedy."""

import json
import re
from pathlib import Path
from typing import get_args

import pytest

from auditor.checks import CHECKS
from auditor.errors import InputError
from auditor.limits import Limits, SeverityRow, SeverityTable, declared, declared_share
from auditor.policy_file import CheckName, Policy, read_policy

ROOT = Path(__file__).parents[1]
OWN = """
[limits]
auc = 0.55
tpr_at_fpr."0.01" = 0.03
[severity]
high = { tpr = 0.2, auc = 0.75 }
critical = { tpr = 1, auc = 1 }
"""


def read(tmp_path, text, name="privaudit.toml"):
    (tmp_path / name).write_text(text, encoding="utf-8")
    return read_policy(tmp_path / name)


def in_pyproject(text):
    return re.sub(r"(?m)^(\[+)", r"\1tool.privaudit.", text)


@pytest.mark.parametrize("name", ["privaudit.toml", "release.toml", "pyproject.toml"])
def test_every_key_arrives_and_the_rest_keeps_its_default(tmp_path, name):
    policy = read(tmp_path, in_pyproject(OWN) if name == "pyproject.toml" else OWN, name)
    assert policy.limits.stated() == Limits(auc=0.55, tpr=0.03)
    assert policy.severity.moderate == SeverityTable().moderate
    assert policy.severity.high == SeverityRow(tpr=0.2, auc=0.75)
    assert policy.severity.critical == SeverityRow(tpr=1.0, auc=1.0)


@pytest.mark.parametrize("text", ["", "[limits]", "[limits.tpr_at_fpr]\n[severity]", "[limits]\nauc = 0.60"])
def test_what_is_not_said_is_the_default(tmp_path, text):
    assert read(tmp_path, text) == Policy()
    assert Policy().limits.stated() == Limits()


@pytest.mark.parametrize(
    ("text", "complaint", "remedy"),
    [
        ("[limit]\nauc = 0.7", "unknown key `limit`", "Known there: limits, severity, gate, waiver."),
        ("[limits]\nacu = 0.7", "unknown key `limits.acu`", "Known there: auc, tpr_at_fpr, inversion_excess."),
        ("[limits]\nfpr = 0.1", "unknown key `limits.fpr`", "Known there: auc, tpr_at_fpr, inversion_excess."),
        ('[limits]\ntpr_at_fpr."0.1" = 0.2', 'unknown key `limits.tpr_at_fpr."0.1"`', 'Known there: "0.01".'),
        ("[limits]\ntpr_at_fpr.0.01 = 0.05", "unknown key `limits.tpr_at_fpr.0`", 'Known there: "0.01".'),
        ("[limits]\ntpr_at_fpr = 0.05", "`limits.tpr_at_fpr`: it must be a table", "Correct it."),
        ("limits = 0.6", "`limits`: it must be a table", "Correct it."),
        ("[severity]\nlow = {tpr = 0, auc = 0.5}", "`severity.low`", "Known there: moderate, high, critical."),
        ("[severity]\nhigh = {tpr = 0.1, acu = 0.7}", "lacks the key `severity.high.auc`", "Add it"),
        ("[severity]\nhigh = 0.1", "`severity.high`: it must be a table", "Correct it."),
        ("[severity.high]\ntpr = 0.1\nauc = 0.7\nfpr = 0.1", "`severity.high.fpr`", "Known there: tpr, auc."),
        ("[severity]\nhigh = {tpr = 0.02, auc = 0.7}", "`severity`: high asks for less than moderate", "Correct it."),
        ("[severity]\nhigh = {tpr = 0.1, auc = 0.95}", "`severity`: critical asks for less than high", "Correct it."),
        ("[limits", "is not valid TOML", "Correct that line."),
        (f"auc = 1{'0' * 6000}", "is not valid TOML", "Correct that line."),
        ("[gate]\nmodes = 3", "unknown key `gate.modes`", "Known there: families, mode, release, fail_on"),
        ("[gate]\nmode = 'soft'", "bad value for `gate.mode`", "Correct it."),
        ("[gate]\nfamilies = []", "bad value for `gate.families`", "Correct it."),
        ("[gate]\nfamilies = ['both']", "bad value for `gate.families.0`", "Correct it."),
        ("[gate]\nmax_age = '0d'", "bad value for `gate.max_age`", "Correct it."),
        ("[gate]\nmax_age = 90", "bad value for `gate.max_age`", "Correct it."),
        ("[gate]\nno_worse_than_last = {auc = 0}", "bad value for `gate.no_worse_than_last.auc`", "Correct it."),
        ("[gate]\nno_worse_than_last = {tpr = 0.1}", "`gate.no_worse_than_last.tpr`", "Known there: auc, tpr_at_fpr."),
        ("[gate]\nclaimed_epsilon = 8", "`gate.claimed_epsilon`: it must be a table", "Correct it."),
        ("[gate]\nclaimed_epsilon = {epsilon = 8}", "lacks the key `gate.claimed_epsilon.delta`", "Add it"),
        ("[limits]\ninversion_excess = {record = 0}", "`limits.inversion_excess.record`", "Correct it."),
        ("[[waiver]]\nrule = 'auc'\nreason = 'x'", "lacks the key `waiver.0.expires`", "Add it"),
        ("[[waiver]]\nrule = 'auc'\nexpires = 2027-01-01", "lacks the key `waiver.0.reason`", "Add it"),
        ("[[waiver]]\nrule = 'auc'\nreason = ' '\nexpires = 2027-01-01", "value for `waiver.0.reason`", "Correct it."),
        ("[[waiver]]\nrule = 'acu'\nreason = 'x'\nexpires = 2027-01-01", "value for `waiver.0.rule`", "Correct it."),
        ("[[waiver]]\nrule = 'auc'\nreason = 'x'\nexpires = 'never'", "value for `waiver.0.expires`", "Correct it."),
        ("[[waiver]]\nuntil = 2027-01-01", "lacks the key", "Add it"),
    ],
)
@pytest.mark.parametrize("shared", [False, True])
def test_a_complaint_names_file_key_and_remedy(tmp_path, text, complaint, remedy, shared):
    if shared:
        text = in_pyproject(text) if text.startswith("[") else f"[tool.privaudit]\n{text}"
        complaint = re.sub("`(?=[a-z])", "`tool.privaudit.", complaint)
    name = "pyproject.toml" if shared else "privaudit.toml"
    with pytest.raises(InputError) as caught:
        read(tmp_path, text, name)
    assert caught.value.message.startswith(str(tmp_path / name))
    assert complaint in caught.value.message
    assert remedy in caught.value.hint


BAD = ['"0.6"', "true", "nan", "inf", "-0.1", "[0.6]", "{}"]


@pytest.mark.parametrize("value", [*BAD, "0.5", "1", "1.01"])
def test_a_limit_on_auc_lies_between_a_half_and_one(tmp_path, value):
    with pytest.raises(InputError, match=r"bad value for `limits\.auc`"):
        read(tmp_path, f"[limits]\nauc = {value}")


@pytest.mark.parametrize("value", [*BAD, "0", "0.01", "1"])
def test_a_limit_on_tpr_lies_between_its_fpr_and_one(tmp_path, value):
    with pytest.raises(InputError, match=r'bad value for `limits\.tpr_at_fpr\."0\.01"`'):
        read(tmp_path, f'[limits]\ntpr_at_fpr."0.01" = {value}')


@pytest.mark.parametrize(
    ("row", "key"),
    [
        *((f"tpr = {value}, auc = 0.9", "tpr") for value in (*BAD, "1.01")),
        *((f"tpr = 0.9, auc = {value}", "auc") for value in (*BAD, "0.49", "1.01")),
    ],
)
def test_numbers_of_a_row_are_shares_and_aucs(tmp_path, row, key):
    with pytest.raises(InputError, match=rf"bad value for `severity\.critical\.{key}`"):
        read(tmp_path, f"[severity]\ncritical = {{ {row} }}")


def test_rows_may_be_equal(tmp_path):
    rows = "\n".join(f"{name} = {{ tpr = 1, auc = 0.8 }}" for name in ("moderate", "high", "critical"))
    assert {row.auc for _, row in read(tmp_path, f"[severity]\n{rows}").severity.rows} == {0.8}


@pytest.mark.parametrize(
    "text", ["", "tool = 3", "[tool.other]\nx = 1", "[limits]\nauc = 0.7"], ids=["empty", "no table", "other", "bare"]
)
def test_a_pyproject_without_the_table_is_refused(tmp_path, text):
    with pytest.raises(InputError, match=r"pyproject\.toml has no table \[tool\.privaudit\]"):
        read(tmp_path, text, "pyproject.toml")


def test_the_whole_table_must_be_one(tmp_path):
    with pytest.raises(InputError, match=r"bad value for `tool\.privaudit`: it must be a table"):
        read(tmp_path, "[tool]\nprivaudit = 3", "pyproject.toml")


def test_what_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(InputError, match=re.escape(f"{tmp_path} is not a regular file")):
        read_policy(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"# \xe9")
    with pytest.raises(InputError, match=r"latin\.toml is not UTF-8"):
        read_policy(tmp_path / "latin.toml")


def test_the_documented_defaults_are_the_defaults(tmp_path):
    block = re.search(r"```toml\n(.*?)```", (ROOT / "docs" / "policy.md").read_text(encoding="utf-8"), re.DOTALL)[1]
    for said in (block, in_pyproject(block)):
        policy = read(tmp_path, said, "pyproject.toml" if "tool." in said else "privaudit.toml")
        assert policy == Policy()
        assert policy.model_dump(exclude_unset=True, by_alias=True) == {
            "limits": Policy().limits.model_dump(by_alias=True, exclude={"inversion_excess"}),
            "severity": Policy().severity.model_dump(),
            "gate": {"families": ("membership",), "mode": "strict"},
        }
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name, row in SeverityTable().rows:
        assert f"| {name} | at least {declared_share(row.tpr)} | at least {declared(row.auc).lstrip('0')} |" in readme


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("max_age = '90'", 'write a number of hours, days or weeks, as in "36h", "90d" or "12w"'),
        ("max_age = '-1d'", "write a number of hours, days or weeks"),
        ("families = []", 'it names nothing to judge: write ["membership"], ["inversion"] or both'),
        ("no_worse_than_last = {}", 'it states no margin: write { auc = 0.02 }, { tpr_at_fpr."0.01" = 0.02 } or both'),
        ("required_checks = ['nope']", "'owner-label-null', 'instrument-null', 'planted' or 'planted-shadow'"),
    ],
)
def test_a_bad_value_is_told_with_what_to_write(tmp_path, text, told):
    with pytest.raises(InputError) as caught:
        read(tmp_path, f"[gate]\n{text}")
    assert told in caught.value.message


@pytest.mark.parametrize(
    "reason", ["", " \t", "\u200b", "\u00a0\u2060", "\u3164", "\u2800 \u2800", "\ufe0f", "\U000e0041", "\ue000"]
)
def test_a_waiver_says_why_in_letters_that_are_seen(tmp_path, reason):
    waiver = f"[[waiver]]\nrule = 'auc'\nexpires = 2027-01-01\nreason = {json.dumps(reason, ensure_ascii=False)}"
    with pytest.raises(InputError, match="it must say why"):
        read(tmp_path, waiver)
    assert read(tmp_path, waiver[:-1] + 'é"').waiver[0].reason == f"{reason}é"


def test_the_checks_that_can_be_required_are_those_that_there_are():
    sources = (ROOT / "auditor" / "controls").glob("*.py")
    controls = {name for file in sources for name in re.findall(r'\bid="([a-z-]+)"', file.read_text(encoding="utf-8"))}
    assert "planted" in controls
    assert set(get_args(CheckName)) == {row.id for row in CHECKS} | controls


def test_lengths_of_time(tmp_path):
    days = {text: read(tmp_path, f"[gate]\nmax_age = '{text}'").gate.longest_age.days for text in ("48h", "90d", "2w")}
    assert days == {"48h": 2, "90d": 90, "2w": 14}
    assert Policy().gate.longest_age is None


@pytest.mark.parametrize(
    ("number", "auc", "share"), [(0.6, "0.60", "60 %"), (0.625, "0.625", "62.5 %"), (0.07, "0.07", "7 %")]
)
def test_what_was_declared_is_not_rounded(number, auc, share):
    assert (declared(number), declared_share(number)) == (auc, share)
