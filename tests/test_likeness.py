"""A folder whose weights were audited, but which states another use of them, is another model."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from auditor import cli
from auditor.checkpoint.likeness import in_words, settings_beside
from auditor.checkpoint.new_head import NewHead, words_of
from auditor.checkpoint.sidecar import SIDECAR_NAME, TRAINING_SIDECAR_NAME, TrainedWith
from auditor.errors import InputError
from auditor.report import load_json, write_outputs
from auditor.report.appendix import recipe_facts
from auditor.target import load_target, save_target
from auditor.wrappers import PurifierNet
from tests.minimal_report import report
from tests.tiny_checkpoints import CONFIG, factories, timm_folder

pytestmark = pytest.mark.usefixtures("one_thing_at_a_time")
INPUTS = CONFIG["pretrained_cfg"]


@pytest.fixture
def audited(tmp_path):
    """A folder, and the facts that an audit of it reports."""
    folder = timm_folder(tmp_path / "model")
    return folder, load_target(folder).facts


def rewritten(folder, **config):
    entries = {key: value for key, value in {**CONFIG, **config}.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(entries))


def gate(tmp_path, facts, checkpoint) -> int:
    write_outputs(report().model_copy(update={"model": facts}), [tmp_path / "report.json"])
    return cli.main(["gate", str(tmp_path / "report.json"), "--checkpoint", str(checkpoint)])


def test_a_report_of_fewer_attacks_is_refused_by_a_later_version(audited, tmp_path, capsys):
    folder, facts = audited
    path, made = tmp_path / "report.json", report()
    earlier = made.model_copy(
        update={"model": facts, "environment": made.environment.model_copy(update={"privaudit": "0.0.9"})}
    )
    write_outputs(earlier, [path])
    assert cli.main(["gate", str(path), "--checkpoint", str(folder)]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert f"{path} was made by privaudit 0.0.9, which had fewer attacks than this" in told
    assert re.search(r"it tells nothing of [\w-]+, [\w-]+, [\w-]+ and \d+ more\. Audit the model again", told)
    assert cli.main(["gate", str(path)]) == 3


def test_the_report_keeps_what_config_json_says(audited):
    _, facts = audited
    assert (facts.model_args, facts.head) == (CONFIG["model_args"], "its own")


def test_the_appendix_prints_what_was_used(audited):
    told = dict(recipe_facts(report().model_copy(update={"model": audited[1]})))
    expected = "3 × 32 × 32; mean 0.5 0.4 0.3; std 0.2 0.25 0.3; bicubic, crop 1; from config.json pretrained_cfg"
    assert told["Preprocessing"] == expected
    assert told["Arguments"] == '{"channels": [8, 8, 8, 8], "stem_width": 8}'
    assert told["Last layer"] == "its own"
    assert "Arguments" not in dict(recipe_facts(report()))


def test_the_folder_as_it_was_audited(audited, tmp_path, capsys):
    folder, facts = audited
    assert gate(tmp_path, facts, folder) == 3
    assert "the file shown is that one, and used alike\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"architecture": "resnet14t"}, "architecture is resnet14t in {file}, and resnet10t was audited"),
        ({"num_classes": 5}, "num_classes is 5 in {file}, and 4 was audited"),
        ({"model_args": {**CONFIG["model_args"], "stem_width": 9}}, "model_args.stem_width is 9 in {file}, and 8 was"),
        ({"model_args": {"channels": [8] * 4}}, "model_args.stem_width is absent in {file}, and 8 was audited"),
        ({"model_args": {**CONFIG["model_args"], "output_stride": 16}}, "model_args.output_stride is 16 in {file},"),
        ({"pretrained_cfg": {**INPUTS, "mean": [0.5, 0.4, 0.31]}}, "mean is 0.5 0.4 0.31 in {file}, and 0.5 0.4 0.3 "),
        ({"pretrained_cfg": {**INPUTS, "std": [0.2, 0.2, 0.2]}}, "std is 0.2 in {file}, and 0.2 0.25 0.3 was audited"),
        ({"pretrained_cfg": {**INPUTS, "input_size": [3, 32, 33]}}, "input_size is 3 32 33 in {file}, and 3 32 32 was"),
        ({"pretrained_cfg": {**INPUTS, "interpolation": "bilinear"}}, "interpolation is bilinear in {file}, and"),
        ({"pretrained_cfg": {**INPUTS, "crop_pct": 0.9}}, "crop_pct is 0.9 in {file}, and 1.0 was audited"),
        ({"pretrained_cfg": {**INPUTS, "mean": "x\x1b[2J"}}, "mean in pretrained_cfg is impossible"),
        ({"model_args": {"x\x1b[2J": 1}}, "model_args hold"),
    ],
)
def test_equal_weights_used_otherwise_are_refused(audited, tmp_path, capsys, changed, told):
    folder, facts = audited
    rewritten(folder, **changed)
    assert gate(tmp_path, facts, folder / "model.safetensors") == 2
    ended = capsys.readouterr()
    assert told.format(file=folder / "config.json") in ended.err
    assert (ended.out, "\x1b" in ended.err) == ("", False)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"architecture": "resnet10t.c3_in1k"}, ", and used alike\n"),  # other weights, the same network
        ({"pretrained_cfg": {**INPUTS, "std": None}}, "as far as config.json states it, which leaves out std\n"),
        ({"num_classes": None}, "which leaves out num_classes\n"),
        ({"architecture": None}, "which leaves out architecture, model_args\n"),
        ({"label_names": ["a", "b", "c", "d"]}, ", and used alike\n"),
    ],
)
def test_what_a_folder_leaves_out_is_told(audited, tmp_path, capsys, changed, told):
    folder, facts = audited
    rewritten(folder, **changed)
    assert gate(tmp_path, facts, folder) == 3
    assert told in capsys.readouterr().out


def test_one_mean_for_all_channels_is_the_same_mean(audited, tmp_path):
    folder, facts = audited
    rewritten(folder, pretrained_cfg={**INPUTS, "mean": [0.5] * 3})
    one = facts.preprocessing.model_copy(update={"mean": (0.5,)})
    assert gate(tmp_path, facts.model_copy(update={"preprocessing": one}), folder) == 3


def test_bare_weights_are_compared_by_themselves(audited, tmp_path, capsys):
    folder, facts = audited
    (folder / "config.json").unlink()
    assert gate(tmp_path, facts, folder / "model.safetensors") == 3
    assert "that one, by its weights alone: no config.json beside them states" in capsys.readouterr().out


def test_a_report_from_before_says_what_it_does_not_know(audited, tmp_path, capsys):
    folder, facts = audited
    before = facts.model_copy(update={"model_args": None, "head": None, "trained_with": None})
    rewritten(folder, model_args={})
    assert gate(tmp_path, before, folder) == 3
    assert ", and used alike; not compared: model_args, which a report of that age does" in capsys.readouterr().out
    content = json.loads((tmp_path / "report.json").read_text())
    del content["model"]["model_args"], content["model"]["head"]
    (tmp_path / "report.json").write_text(json.dumps(content))
    assert load_json(tmp_path / "report.json").model == before


# --- what a defense leaves -------------------------------------------------------------------------------------------


@pytest.fixture
def headed(tmp_path):
    """A folder with the head of a defense, and the facts that an audit of it reports."""
    plain = load_target(timm_folder(tmp_path / "plain"))
    made = plain.with_head(NewHead(kind="bottleneck", width=3))
    mark = TrainedWith(defense="mid", chosen={"beta": 0.5}, head=made.architecture.head)
    save_target(replace(made, trained_with=mark), tmp_path / "headed")
    return tmp_path / "headed", load_target(tmp_path / "headed").facts


@pytest.mark.parametrize(
    ("head", "told"),
    [
        ({"kind": "bottleneck", "width": 4}, "bottleneck, width 4"),
        ({"kind": "low-rank", "width": 3}, "low-rank, width 3"),
        ({"kind": "bottleneck", "width": 3, "noisy": False}, "bottleneck, width 3, without its noise"),
        (None, "its own"),
    ],
)
def test_another_head_is_another_model(headed, tmp_path, capsys, head, told):
    folder, facts = headed
    file = folder / TRAINING_SIDECAR_NAME
    assert gate(tmp_path, facts, folder) == 3
    capsys.readouterr()
    content = json.loads(file.read_text())
    content["trained_with"]["head"] = head
    file.write_text(json.dumps(content))
    assert gate(tmp_path, facts, folder) == 2
    assert f"head is {told} in {file}, and bottleneck, width 3 was audited" in capsys.readouterr().err


def test_a_head_that_was_audited_without_its_noise_may_go_out_so(headed, tmp_path):
    folder, facts = headed
    file = folder / TRAINING_SIDECAR_NAME
    content = json.loads(file.read_text())
    content["trained_with"]["head"]["noisy"] = False
    file.write_text(json.dumps(content))
    assert gate(tmp_path, load_target(folder).facts, folder) == 3
    assert gate(tmp_path, facts.model_copy(update={"head": None}), folder) == 2


def test_a_head_is_named_by_all_that_it_is():
    heads = [None, *(NewHead(kind=kind, width=width) for kind in ("low-rank", "bottleneck") for width in (2, 3))]
    assert len({words_of(one) for one in heads}) == 5


def test_a_network_of_a_python_file_is_known_by_its_name(tmp_path):
    plain = load_target(timm_folder(tmp_path / "plain"))
    made = replace(plain.architecture, source="factory", name=f"{factories(tmp_path)}:flexible")
    facts = plain.facts.model_copy(update={"architecture": made.label, "model_args": {}})
    rewritten(tmp_path / "plain", architecture="networks.py:fixed", model_args=None)
    assert [one.name for one in settings_beside(facts, tmp_path / "plain") if one.differs] == ["architecture"]
    rewritten(tmp_path / "plain", architecture="networks.py:flexible", model_args=None)
    assert in_words(settings_beside(facts, tmp_path / "plain")) == "and used alike"


# --- files that are none --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [SIDECAR_NAME, TRAINING_SIDECAR_NAME, "config.json"])
@pytest.mark.parametrize("kind", ["a folder", "a dangling link"])
def test_what_is_no_file_does_not_pass_for_nothing(audited, tmp_path, capsys, name, kind):
    folder, facts = audited
    (folder / name).unlink(missing_ok=True)
    (folder / name).mkdir() if kind == "a folder" else (folder / name).symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="is no regular file"):
        load_target(folder)
    assert gate(tmp_path, facts, folder) == 2
    assert f"{name} is no regular file, or a link to none" in capsys.readouterr().err


def test_a_link_to_a_wrapper_is_a_wrapper(tmp_path):
    save_target(load_target(timm_folder(tmp_path / "a")).with_wrapper(PurifierNet(4, (3,))), tmp_path / "b")
    moved = (tmp_path / "b" / SIDECAR_NAME).rename(tmp_path / "elsewhere.json")
    (tmp_path / "b" / SIDECAR_NAME).symlink_to(moved)
    assert load_target(tmp_path / "b").wrapper is not None


def test_absurd_arguments_are_refused_before_a_report_holds_them(tmp_path):
    for value in (float("nan"), float("inf"), 10**200, [{"a": -1e300}], "\ud800"):
        rewritten(timm_folder(tmp_path / "model"), model_args={"drop_rate": value})
        with pytest.raises(InputError, match="absurd number or unprintable text"):
            load_target(tmp_path / "model")
