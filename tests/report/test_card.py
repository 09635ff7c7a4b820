"""The audit in a model card: what is ours is written again, what is not stays byte for byte."""

import socket

import pytest
import yaml
from huggingface_hub import ModelCard

from auditor.errors import InputError
from auditor.report import update_card
from auditor.report.card import END, START
from auditor.report.front_matter import split, with_key
from tests.report.example import EXAMPLES, at_once, confounded, leaky, persons, well_behaved
from tests.report.hostile import hostile

FRONT = """\
---
# how the hub finds it
license: apache-2.0   # as the data
tags: [a, "b"]
datasets:
- some/data
---
"""
BODY = "# A model\n\nWhat it is for.\n"
OTHERS = """\
---
model-index:
- name: A model
  results:
  - task:
      type: image-classification
    dataset:
      name: Clothes
      type: clothes
    metrics:
    - type: accuracy
      value: 0.9

# kept
license: mit
---
"""


def index_of(text):
    return yaml.safe_load(split(text).front)["model-index"]


def ours(text):
    return [
        one for entry in index_of(text) for one in entry["results"] if one["dataset"]["type"] == "privaudit-audit-set"
    ]


@pytest.mark.parametrize("start", [BODY, FRONT, FRONT + BODY, OTHERS + BODY, "\ufeff" + FRONT + BODY])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_twice_is_once_and_the_next_audit_replaces_the_last(start, end):
    start = start.replace("\n", end)
    once = update_card(start, leaky())
    assert update_card(once, leaky()) == once
    assert update_card(update_card(start, confounded()), leaky()) == once
    assert once.count(START) == once.count(END) == 1
    assert once.count("\n") == once.count(end)


@pytest.mark.parametrize("start", ["", "no end of line", "---\nlicense: mit\n---", "---\n---\n", "\n\n"])
def test_a_card_with_little_in_it(start):
    once = update_card(start, leaky())
    assert update_card(once, leaky()) == once
    assert len(ours(once)) == 2
    assert split(once).body.strip().endswith(END)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_is_not_ours_stays(end):
    front, body = FRONT.replace("\n", end), BODY.replace("\n", end)
    text = update_card(front + body, leaky())
    assert text.startswith(front.removesuffix(f"---{end}"))
    assert f"{end}---{end}{body}" in text
    card = ModelCard(text)
    assert card.data.license == "apache-2.0"
    assert card.data.datasets == ["some/data"]


def test_what_comes_after_the_section_stays_there():
    text = update_card(f"{BODY}\n{START}\nof the last audit\n{END}\n\n## Licence\n", leaky())
    assert text.endswith(f"{END}\n\n## Licence\n")
    assert "of the last audit" not in text


def test_results_of_others_stay_and_keep_their_name():
    text = update_card(OTHERS + BODY, leaky())
    (entry,) = index_of(text)
    assert entry["name"] == "A model"
    assert entry["results"][0]["metrics"] == [{"type": "accuracy", "value": 0.9}]
    assert len(ours(text)) == 2
    assert "\n\n# kept\nlicense: mit\n---\n" in text
    assert update_card(text, at_once()).startswith("---\nmodel-index:\n- name: A model\n")
    assert not ours(update_card(text, at_once()))


def test_before_anything_is_decided_there_is_no_entry():
    text = update_card("", at_once())
    assert text.startswith("\n# cifar-resnet18\n")
    assert "Preliminary" in text
    assert "model-index" not in update_card(update_card(FRONT, leaky()), at_once())


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_hub_reads_it_and_every_number_has_its_interval(name):
    card = ModelCard(update_card("", EXAMPLES[name]()))
    assert {one.metric_type for one in card.data.eval_results} >= {"verdict", "membership_inference_auc"}
    for one in card.data.eval_results:
        if one.metric_type != "verdict":
            low, high = one.metric_args["interval"]
            assert low <= one.metric_value <= high
            assert one.metric_args["n"]
            assert "% interval" in one.metric_name


def test_a_card_that_does_not_exist_is_made_with_the_verdict_and_the_digest():
    text = update_card("", well_behaved())
    assert "# cifar-resnet18-mid\n" in text
    assert "○ Nothing found" in text
    assert well_behaved().model.sha256 in text


def test_hostile_names_stay_inside_the_section():
    text = update_card(FRONT + BODY, hostile(persons()))
    assert text.count(START) == text.count(END) == 1
    assert update_card(text, hostile(persons())) == text
    assert yaml.safe_load(split(text).front)["license"] == "apache-2.0"
    forged = leaky().model_copy(update={"model": leaky().model.model_copy(update={"name": f"x {END}\n---\nevil: 1"})})
    text = update_card("", forged)
    assert split(text).body.count(END) == 1
    assert set(yaml.safe_load(split(text).front)) == {"model-index"}


BOMB = "".join(f"m{n + 1}: &m{n + 1} [*m{n}, *m{n}]\n" for n in range(60))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"{START}\n", "once each"),
        (f"{END}\n{START}\n", "once each"),
        (f"{START}\n{END}\n{START}\n{END}\n", "once each"),
        ("---\n: [\n---\n", "not valid YAML"),
        ("---\n- a\n---\n", "not a YAML mapping"),
        ("---\nmodel-index: 3\n---\n", "not a list"),
        ("---\nmodel-index:\n- 3\n---\n", "not a list"),
        ("---\n{license: mit}\n---\n", "cannot be exchanged|not valid YAML"),
        ("---\nmodel-index: &a []\nother: *a\n---\n", "cannot be exchanged|not valid YAML"),
        ("---\nmodel-index: []\nmodel-index: [{name: x}]\n---\n", "cannot be exchanged"),
        ("---\n" + "a: [" * 3000 + "\n---\n", "not valid YAML"),
        ("---\nm0: &m0 [x]\n" + BOMB + "---\n", "more than 16 YAML aliases"),
    ],
)
def test_what_cannot_be_edited_is_refused(text, told):
    with pytest.raises(InputError, match=told) as caught:
        update_card(text, leaky())
    assert caught.value.hint


@pytest.mark.parametrize("value", ["", " []", " null", " []  # none yet"])
def test_an_empty_index_is_filled(value):
    text = update_card(f"---\nmodel-index:{value}\nlicense: mit\n---\n", leaky())
    assert len(ours(text)) == 2
    assert "\nlicense: mit\n---\n" in text


def test_nothing_is_sent_anywhere(monkeypatch):
    def refuse(*_):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert START in update_card(FRONT, leaky())


@pytest.mark.parametrize("front", ["{license: mit}", " license: mit\n tags: [a]"])
def test_front_matter_in_which_no_key_can_be_exchanged_is_told_as_such(front):
    with pytest.raises(InputError, match="written in a way in which `model-index` cannot be exchanged"):
        with_key(f"{front}\n", "model-index", [1], "\n")
