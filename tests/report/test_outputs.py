from pathlib import Path

import pytest

from auditor.errors import InputError, PrivauditError
from auditor.report import check_outputs, load_json, outputs, render_json, write_outputs, write_text
from tests.report.example import leaky
from tests.report.judged import JUDGED


def test_every_format_is_written_by_its_suffix(tmp_path, monkeypatch):
    monkeypatch.setattr(outputs, "pdf_problem", lambda: None)
    monkeypatch.setitem(outputs._FORMATS, ".pdf", lambda report, gate: b"%PDF-1.7\n")
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
    assert caught.value.hint == "There are .html, .pdf, .md, .sarif, .xml, .cdx.json, .codequality.json, .json."


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("r.sarif", '{\n  "$schema": "https://docs.oasis-open.org/sarif'),
        ("R.SARIF", '{\n  "$schema": "https://docs.oasis-open.org/sarif'),
        ("r.xml", '<?xml version="1.0" encoding="UTF-8"?>\n<testsuites'),
        ("r.cdx.json", '{\n  "$schema": "http://cyclonedx.org/schema/bom-1.7'),
        ("r.codequality.json", '[\n  {\n    "description"'),
        ("cdx.json", '{\n  "advice"'),
    ],
)
def test_a_suffix_of_two_parts_wins_over_the_one_it_ends_in(name, start, tmp_path):
    write_outputs(leaky(), [tmp_path / name])
    assert (tmp_path / name).read_text(encoding="utf-8").startswith(start)


def test_a_file_that_is_written_again_keeps_its_permissions(tmp_path):
    path = tmp_path / "report.md"
    path.touch(mode=0o600)
    write_outputs(leaky(), [path])
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real.md").write_text("old", encoding="utf-8")
    (tmp_path / "link.md").symlink_to("real.md")
    write_text(tmp_path / "link.md", "new")
    assert (tmp_path / "link.md").is_symlink()
    assert (tmp_path / "real.md").read_text(encoding="utf-8") == "new"


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


def test_a_format_that_fails_withholds_no_other_format(tmp_path, monkeypatch):
    def fail(report, gate):
        raise RuntimeError("a template is missing")

    monkeypatch.setitem(outputs._FORMATS, ".md", fail)
    with pytest.raises(PrivauditError, match=r"report\.md is not written.*a template is missing"):
        write_outputs(leaky(), [tmp_path / "report.md", tmp_path / "report.json"])
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
    assert load_json(tmp_path / "report.json") == leaky()


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


def test_a_file_is_no_folder_of_another(tmp_path):
    paths = [tmp_path / "a.html", tmp_path / "a.html" / "deep" / "b.json"]
    for order in (paths, paths[::-1]):
        with pytest.raises(InputError, match=r"b\.json: .*a\.html is to be a file, not a folder"):
            write_outputs(leaky(), order)
    assert list(tmp_path.iterdir()) == []


def test_what_was_replaced_before_a_failure_is_named(tmp_path, monkeypatch):
    paths = [tmp_path / name for name in ("a.json", "b.md", "c.xml")]
    replace = Path.replace

    def fail(self, target):
        if target == paths[1]:
            raise OSError(13, "Permission denied")
        return replace(self, target)

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(InputError, match=r"b\.md: cannot be written \(Permission denied\)") as caught:
        write_outputs(leaky(), paths)
    assert caught.value.message.endswith(f" Already written: {paths[0]}.")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_the_check_leaves_nothing_behind(tmp_path):
    (tmp_path / "report.json").write_text("old")
    check_outputs([tmp_path / "report.json", tmp_path / "new" / "report.md"])
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
    assert (tmp_path / "report.json").read_text() == "old"


@pytest.mark.parametrize("name", ["report.json", "new/er/report.json"])
def test_a_folder_where_nothing_can_be_written_is_found_before_the_audit(name, tmp_path, monkeypatch):
    def refuse(self, mode=0o666, exist_ok=True):
        assert self.parent == tmp_path
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.touch", refuse)
    with pytest.raises(InputError, match=r"report\.json: cannot be written \(Permission denied\)"):
        check_outputs([tmp_path / name])


@pytest.mark.parametrize("length", [230, 260])
def test_a_name_too_long_for_its_draft_is_found_before_the_audit(length, tmp_path):
    with pytest.raises(InputError, match="too long"):
        check_outputs([tmp_path / f"{'a' * length}.json"])


def test_a_disk_that_fills_up_keeps_every_old_file(tmp_path, monkeypatch):
    paths = [tmp_path / "report.json", tmp_path / "report.md"]
    for path in paths:
        path.write_text("old")
    write = Path.write_bytes

    def fill(self, content):
        write(self, content[:9])
        if "report.md" in self.name:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", fill)
    with pytest.raises(InputError, match=r"report\.md: cannot be written \(No space left on device\)"):
        write_outputs(leaky(), paths)
    assert [path.read_text() for path in paths] == ["old", "old"]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("error", [RuntimeError("a font\nis broken"), PrivauditError("a font is broken")])
def test_a_pdf_that_fails_withholds_no_other_format(error, tmp_path, monkeypatch):
    def fail(report, gate):
        raise error

    monkeypatch.setattr(outputs, "pdf_problem", lambda: None)
    monkeypatch.setitem(outputs._FORMATS, ".pdf", fail)
    paths = [tmp_path / name for name in ("report.pdf", "report.html", "report.json")]
    with pytest.raises(PrivauditError, match=r"report\.pdf is not written.*a font is broken") as caught:
        write_outputs(leaky(), paths)
    assert caught.value.exit_code == 4
    assert caught.value.hint == f"Written are {paths[1]}, {paths[2]}."
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.json"]
    assert load_json(paths[2]) == leaky()


def test_one_file_named_twice_is_written_once(tmp_path):
    write_outputs(
        leaky(), [tmp_path / "report.json", tmp_path / "new" / ".." / "report.json", tmp_path / "report.json"]
    )
    assert load_json(tmp_path / "report.json") == leaky()


def test_what_a_policy_says_is_in_every_format_but_the_report_and_the_inventory(tmp_path):
    report, gate = JUDGED["fail"]
    names = ("r.html", "r.md", "r.sarif", "r.xml", "r.codequality.json", "r.json", "r.cdx.json")
    write_outputs(report, [tmp_path / name for name in names], gate)
    told = [name for name in names if "required_attacks" in (tmp_path / name).read_text().replace("\\", "")]
    assert told == ["r.html", "r.md", "r.sarif", "r.xml", "r.codequality.json"]
    assert (tmp_path / "r.json").read_text(encoding="utf-8") == render_json(report)
