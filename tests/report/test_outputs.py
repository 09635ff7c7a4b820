import pytest

from auditor.errors import InputError
from auditor.report import check_outputs, load_json, outputs, write_outputs
from tests.report.example import leaky


def test_every_format_is_written_by_its_suffix(tmp_path, monkeypatch):
    monkeypatch.setattr(outputs, "pdf_problem", lambda: None)
    monkeypatch.setitem(outputs._FORMATS, ".pdf", lambda report: b"%PDF-1.7\n")
    paths = [tmp_path / name for name in ("deep/er/report.json", "report.HTML", "report.md", "report.pdf")]
    write_outputs(leaky(), paths)
    starts = [path.read_bytes()[:9] for path in paths]
    assert starts[1:] == [b"<!DOCTYPE", b"# Privacy", b"%PDF-1.7\n"]
    assert load_json(paths[0]) == leaky()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "report.HTML", "report.md", "report.pdf"]


@pytest.mark.parametrize("name", ["report", "report.docx", "report.json.gz", ".json~"])
def test_an_unknown_suffix_lists_what_exists(name, tmp_path):
    with pytest.raises(InputError, match="unknown") as caught:
        check_outputs([tmp_path / name])
    assert caught.value.hint == "There are .html, .json, .md, .pdf."


@pytest.mark.parametrize("name", ["r.sarif", "r.xml", "r.cdx.json", "R.SARIF"])
def test_formats_of_later_versions_are_refused_by_name(name, tmp_path):
    with pytest.raises(InputError, match="not supported yet"):
        check_outputs([tmp_path / name])


def test_folders_and_files_in_the_way_are_named(tmp_path):
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="this is a folder"):
        check_outputs([tmp_path / "folder.json"])
    with pytest.raises(InputError, match="is a file, not a folder"):
        check_outputs([tmp_path / "file" / "report.json"])


def test_a_missing_folder_is_made_when_writing_not_when_checking(tmp_path):
    check_outputs([tmp_path / "new" / "report.json"])
    assert not (tmp_path / "new").exists()


def test_without_pango_a_pdf_is_refused_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(outputs, "pdf_problem", lambda: "PDF needs Pango.")
    check_outputs([tmp_path / "report.html"])
    with pytest.raises(InputError, match=r"report\.pdf: PDF needs Pango"):
        check_outputs([tmp_path / "report.html", tmp_path / "report.pdf"])


def test_a_format_that_fails_leaves_nothing_half_written(tmp_path, monkeypatch):
    def fail(report):
        raise InputError("no")

    monkeypatch.setitem(outputs._FORMATS, ".md", fail)
    with pytest.raises(InputError):
        write_outputs(leaky(), [tmp_path / "report.json", tmp_path / "report.md"])
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "report.json"
    path.write_text("old")

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(InputError, match="No space left on device"):
        write_outputs(leaky(), [path])
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["report.json"]
