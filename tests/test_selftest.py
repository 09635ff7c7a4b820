"""The self-test: it passes here, fails where the instrument is broken, and reports remember it."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from auditor import selftest
from auditor.cli import main
from auditor.findings import Environment, VerdictState
from auditor.instrument import last_selftest, remember_selftest
from auditor.selftest import Answer, SelfTest
from tests.minimal_report import report

NEVER = "never run on this machine"


@pytest.fixture(autouse=True)
def fresh_state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "privaudit" / "selftest.json"


def saying(*states):
    """An instrument whose audits say these things, in turn."""
    left = list(states)
    return lambda options: report(left.pop(0))


def test_it_passes_here(capsys):
    assert main(["selftest", "--device", "cpu"]) == 0
    told = capsys.readouterr()
    assert re.findall(r"^(pass|FAIL) ", told.out, re.MULTILINE) == ["pass", "pass"]
    assert "leak found" in told.out.splitlines()[0]
    assert last_selftest() in told.err
    assert re.match(r"passed on 20\d\d-.*, cpu; CPU and CUDA were never compared$", last_selftest())


@pytest.mark.parametrize(
    ("planted", "null", "code"),
    [
        (VerdictState.LEAK_FOUND, VerdictState.NOTHING_FOUND, 0),
        (VerdictState.LEAK_FOUND, VerdictState.CANNOT_SAY, 0),
        (VerdictState.NOTHING_FOUND, VerdictState.NOTHING_FOUND, 4),
        (VerdictState.CANNOT_SAY, VerdictState.CANNOT_SAY, 4),
        (VerdictState.LEAK_FOUND, VerdictState.LEAK_FOUND, 4),
    ],
)
def test_a_broken_instrument_is_noticed(monkeypatch, capsys, planted, null, code):
    monkeypatch.setattr(selftest, "_trained", lambda *_: None)
    monkeypatch.setattr(selftest, "audit", saying(planted, null))
    assert main(["selftest", "--device", "cpu"]) == code
    assert ("FAIL" in capsys.readouterr().out) == bool(code)
    assert last_selftest().startswith("failed" if code else "passed")


def test_a_device_that_is_not_there_is_refused_and_not_remembered(capsys):
    assert main(["selftest", "--device", "cuda:77"]) == 2
    assert "cuda:77" in capsys.readouterr().err
    assert last_selftest() == NEVER


@pytest.mark.parametrize(("shift", "agrees"), [(0.0, True), (0.01, False)])
def test_signals_that_differ_between_devices_are_noticed(monkeypatch, tmp_path, shift, agrees):
    records = selftest._records()
    target = selftest._trained(tmp_path / "net.safetensors", records["train"], torch.device("cpu"))
    asked = []

    def answered(model, inputs):
        asked.append(model)
        logits = np.zeros((len(inputs), 4), np.float32)
        return logits + np.float32(shift * (len(asked) - 1)), logits

    monkeypatch.setattr(selftest, "class_vectors", answered)
    assert selftest._compared(target, records["test"].inputs).passed is agrees
    for one, other in zip(*(model.module.state_dict().values() for model in asked), strict=True):
        assert torch.equal(one, other)


def test_the_same_network_on_one_device_agrees_with_itself(tmp_path):
    records = selftest._records()
    target = selftest._trained(tmp_path / "net.safetensors", records["train"], torch.device("cpu"))
    assert selftest._compared(target, records["test"].inputs) == Answer(
        "Do CPU and CUDA give the same signals?", passed=True, said="logits differ by up to 0"
    )


def test_a_comparison_with_cuda_is_remembered_when_the_next_test_has_none():
    assert last_selftest() == NEVER
    remember_selftest(passed=True, device="cuda:0", cuda_agrees=True)
    assert re.search(r"passed on .*, cuda:0; CPU and CUDA agreed on 20", last_selftest())
    remember_selftest(passed=False, device="cpu", cuda_agrees=None)
    assert re.search(r"failed on .*, cpu; CPU and CUDA agreed on 20", last_selftest())
    remember_selftest(passed=False, device="cuda", cuda_agrees=False)
    assert "CPU and CUDA differed on 20" in last_selftest()


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '"passed"', '{"passed": true}', "[" * 100_000, '{"passed": true, "cuda": {}}', "\xff"]
)
def test_a_spoiled_memory_is_none(fresh_state, content):
    fresh_state.parent.mkdir(parents=True)
    fresh_state.write_bytes(content.encode("latin-1"))
    assert last_selftest() == NEVER
    remember_selftest(passed=True, device="cpu", cuda_agrees=None)
    assert last_selftest().startswith("passed")


@pytest.mark.parametrize("field", ["date", "privaudit", "torch", "device", "cuda"])
def test_what_was_tampered_with_is_short_or_not_said(fresh_state, field):
    remember_selftest(passed=True, device="cpu", cuda_agrees=True)
    said = json.loads(fresh_state.read_text())
    for value in (5, ["x"], "x" * 10_000):
        fresh_state.write_text(json.dumps({**said, field: value}))
        assert len(last_selftest()) < 250


def test_where_no_state_can_be_kept_the_test_still_ends(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(selftest, "_trained", lambda *_: None)
    monkeypatch.setattr(selftest, "audit", saying(VerdictState.LEAK_FOUND, VerdictState.CANNOT_SAY))
    assert main(["selftest", "--device", "cpu"]) == 0
    assert last_selftest() == NEVER


def test_without_a_state_folder_named_it_lies_in_the_home(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    remember_selftest(passed=True, device="cpu", cuda_agrees=None)
    assert (tmp_path / ".local" / "state" / "privaudit" / "selftest.json").exists()


def test_a_user_without_a_home_is_never_told_of_a_test(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    assert not remember_selftest(passed=True, device="cpu", cuda_agrees=None)
    assert last_selftest() == NEVER


def test_a_report_says_it_was_never_run_unless_told():
    assert Environment.model_fields["selftest"].default == NEVER
    answers = (Answer("?", passed=True, said=""), Answer("?", passed=False, said=""))
    assert [SelfTest(answers[:end], "cpu", None).passed for end in (1, 2)] == [True, False]


def test_an_outcome_that_cannot_be_kept_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert not remember_selftest(passed=False, device="cpu", cuda_agrees=None)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert remember_selftest(passed=True, device="cpu", cuda_agrees=None)
