"""Nothing that a test does reaches the state folder of whoever runs it; and reports that state one thing alone."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_state_folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture
def one_thing_at_a_time(monkeypatch):
    """Reports that state what one rule asks, and not all that an audit with that answer has to say, are read."""
    monkeypatch.setattr("auditor.report.jsonfile.contradiction", lambda report: "")
