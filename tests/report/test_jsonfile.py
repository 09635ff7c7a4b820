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
        (lambda content: content | {"schema_version": 1}, 'the schema version must be text, "1", and is 1.'),
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


def _estimates(part):
    """Every estimate in a report, however deep."""
    if isinstance(part, dict) and "confidence" in part and "low" in part:
        yield part
    elif isinstance(part, dict | list):
        for inner in part.values() if isinstance(part, dict) else part:
            yield from _estimates(inner)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"value": 2.0, "low": 0.1, "high": 0.9}, "the value 2 must lie in its interval, 0.1 to 0.9"),
        ({"value": 0.5, "low": 0.9, "high": 0.1}, "must lie in its interval, 0.9 to 0.1"),
        ({"value": 0.5, "low": 0.5 + 1e-6, "high": 0.9}, "must lie in its interval"),
        ({"confidence": 0.0}, "the confidence must lie between 0 and 1, and is 0"),
        ({"confidence": 1.0}, "the confidence must lie between 0 and 1, and is 1"),
        ({"confidence": -3}, "the confidence must lie"),
        ({"n": {"members": 5, "non-members": -1}}, "n must not be negative, and is -1"),
    ],
)
def test_a_number_that_its_own_interval_belies_is_refused(change, told, tmp_path):
    whole = json.loads(render_json(leaky()))
    places = list(_estimates(whole))
    path = tmp_path / "report.json"
    for place in (places[0], places[len(places) // 2], places[-1]):
        kept = dict(place)
        place.update(change)
        path.write_text(json.dumps(whole), encoding="utf-8")
        with pytest.raises(InputError, match="does not fit the report schema") as caught:
            load_json(path)
        assert told in caught.value.message
        place.update(kept)


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        (("data", "evaluated"), -3, "`data.evaluated`"),
        (("data", "evaluated"), 10**18, "`data.evaluated`"),
        (("data", "evaluated"), 10**6, "1,000,000 records a side were evaluated, of "),
        (("data", "members"), -1, "`data.members`"),
        (
            ("exposure", 0, "auc"),
            {"value": 2.0, "high": 2.5},
            "must lie between 0 and 1, interval and all",
        ),
        (("exposure", 0, "auc"), {"low": -0.5}, "reaches -0.5"),
        (
            ("exposure", 0, "auc", "n"),
            {"members": 10**18},
            "n must not be so large, and is 1000000000000",
        ),
        (("membership", 0, "outcome", "endpoints", 0), {"p_value": 1.5}, "endpoints.0.p_value`"),
        (("membership", 0, "outcome", "endpoints", 0), {"upper_bound": 3}, "endpoints.0.upper_bound`"),
        (("membership", 0, "outcome", "roc"), {"tpr": [0.0]}, "must hold as many points as each other"),
        (("membership", 0, "outcome", "roc"), {"low": [0.0]}, "must hold as many points as each other"),
        (("histograms", 0), {"edges": [0.0]}, "a count for each bin"),
        (("timings", 0), {"wall_seconds": -1}, "`timings.0.wall_seconds`"),
        (("canaries", "bounds", 0), {"correct": 10**6}, "guesses cannot be right"),
        (("canaries",), {"included": 10**6}, "more were included or mislabelled than the"),
    ],
)
def test_an_impossible_number_is_refused_by_its_field(place, value, told, tmp_path):
    whole = json.loads(render_json(leaky()))
    part = whole
    for key in place[:-1] if not isinstance(value, dict) else place:
        part = part[key]
    part.update(value if isinstance(value, dict) else {place[-1]: value})
    path = tmp_path / "report.json"
    path.write_text(json.dumps(whole), encoding="utf-8")
    with pytest.raises(InputError, match="does not fit the report schema") as caught:
        load_json(path)
    assert told in caught.value.message
    assert "Value error" not in caught.value.message


def test_an_end_that_is_off_by_rounding_is_read(tmp_path):
    whole = json.loads(render_json(leaky()))
    next(_estimates(whole)).update(value=0.3, low=0.1 + 0.2, high=0.3)
    (tmp_path / "report.json").write_text(json.dumps(whole), encoding="utf-8")
    assert load_json(tmp_path / "report.json")


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


def test_what_turns_or_hides_text_is_escaped_and_comes_back():
    name = "a\u202eb\u2066c\u00add\u2028猫ß"
    report = leaky().model_copy(update={"model": leaky().model.model_copy(update={"name": name})})
    text = render_json(report)
    assert r"a\u202eb\u2066c\u00add\u2028猫ß" in text
    assert text.replace("\n", "").isprintable()
    assert json.loads(text)["model"]["name"] == name
