"""What checkpoint and data say of each other where they are opened together."""

from types import SimpleNamespace

import pytest
import torch

from auditor.errors import InputError
from auditor.intake import open_inputs
from tests.stores import NAMES, as_folder, as_tar, rows


def as_table(path, records):
    from tests.test_splits_tables import table_of, write

    write(path.with_suffix(".parquet"), table_of(records, labels="text"))


@pytest.mark.parametrize(
    ("store", "told"),
    [
        (as_folder, "3 class folders"),
        (lambda path, records: as_tar(path.with_suffix(".tar"), records), "3 class names"),
        (as_table, "3 class names"),
    ],
    ids=["folder", "tar", "table"],
)
def test_fewer_classes_by_name_than_the_model_has_need_a_list(store, told, tmp_path, monkeypatch):
    splits = tmp_path / "splits"
    for seed, role in enumerate(("train", "test")):
        store(splits / role, rows(6, seed))
    (tmp_path / "model.safetensors").touch()
    target = SimpleNamespace(facts=SimpleNamespace(num_classes=len(NAMES) + 2))
    monkeypatch.setattr("auditor.intake.load_target", lambda *_, **__: target)

    def read():
        return open_inputs(tmp_path / "model.safetensors", splits, arch=None, device=torch.device("cpu"), trust=False)

    with pytest.raises(InputError, match=f"splits holds {told}, and the model has 5 classes.* Write classes.txt"):
        read()
    (splits / "classes.txt").write_text("\n".join([*NAMES, "fox", "gnu"]))
    assert read()[1].num_classes == 5


def test_a_checkpoint_that_is_not_there_is_told_before_the_data_is_read(tmp_path):
    with pytest.raises(InputError, match=r"There is no checkpoint at .*absent"):
        open_inputs(tmp_path / "absent", tmp_path / "nowhere", arch=None, device=torch.device("cpu"), trust=False)
