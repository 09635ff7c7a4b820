import json
import math
import os

import pytest

from auditor.errors import InputError
from auditor.report import load_json, render_json
from tests.report.example import EXAMPLES, leaky


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_was_written_is_read_back(name, tmp_path):
    report = EXAMPLES[name]()
    path = tmp_path / "report.json"
    path.write_text(render_json(report), encoding="utf-8")
    assert load_json(path) == report


def test_the_text_is_sorted_and_stable():
    text = render_json(leaky())
    assert text == render_json(leaky())
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def test_a_number_that_is_not_finite_is_not_written():
    report = leaky()
    with pytest.raises(ValueError, match="not JSON compliant"):
        render_json(report.model_copy(update={"plan": report.plan.model_copy(update={"auc_limit": math.nan})}))


def _without(content, key):
    return {name: part for name, part in content.items() if name != key}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda content: content | {"schema_version": "99"}, "schema version is '99'"),
        (lambda content: _without(content, "schema_version"), "schema version is 'None'"),
        (lambda content: [content], "schema version is 'None'"),
        (lambda content: content | {"surprise": 1}, "`surprise`"),
        (lambda content: _without(content, "model"), "`model`"),
        (lambda content: content | {"severity": "apocalyptic"}, "`severity`"),
        (lambda content: content | {"data": content["data"] | {"members": "many"}}, "`data.members`"),
    ],
)
def test_a_report_that_does_not_fit_is_named(change, told, tmp_path):
    path = tmp_path / "report.json"
    path.write_text(json.dumps(change(json.loads(render_json(leaky())))), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_json(path)
    assert told in caught.value.message
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"a": NaN}',
        '{"a": 1e999}',
        '{"a": -1e308}',
        f'{{"a": 1{"0" * 400}}}',
        "[" * 100_000,
        '{"schema_version": -Infinity}',
    ],
)
def test_what_is_not_json_is_refused(text, tmp_path):
    path = tmp_path / "report.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="not valid JSON"):
        load_json(path)


def test_what_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(InputError, match="there is no such report"):
        load_json(tmp_path / "none.json")
    with pytest.raises(InputError, match="cannot be read"):
        load_json(tmp_path)
    binary = tmp_path / "binary.json"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        load_json(binary)


def test_what_has_no_end_or_is_far_too_large_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    with (tmp_path / "large.json").open("wb") as file:
        file.truncate(65 * 2**20)
    for name, told in (("pipe.json", "no regular file"), ("large.json", "larger than 64 MiB")):
        with pytest.raises(InputError, match=told) as caught:
            load_json(tmp_path / name)
        assert caught.value.hint
