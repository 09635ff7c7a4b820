"""Errors in one sentence, for the user and for the report."""

import pytest

from auditor.errors import crash_report


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (FileNotFoundError(2, "No such file", "/home/jo/anna.npy"), "FileNotFoundError: No such file ("),
        (ValueError("cannot read '/home/jo/a b/anna.npy' here"), "ValueError: cannot read '…' here ("),
        (ValueError("/home/jo/shadows/anna.npy: cut"), "ValueError: …: cut ("),
        (ValueError("cannot read ~/jo/anna.npy, or (/tmp/jo/anna)"), "ValueError: cannot read …, or (…) ("),
        (ValueError("3/4 km/h, https://example.org/a, a/b"), "ValueError: 3/4 km/h, https://example.org/a, a/b ("),
        (OSError("no code"), "OSError: no code ("),
    ],
)
def test_a_crash_is_reported_without_the_paths_of_the_machine(error, told):
    with pytest.raises(type(error)) as caught:
        raise error
    report = crash_report(caught.value)
    assert report.startswith(told)
    assert "(test_errors.py:" in report
