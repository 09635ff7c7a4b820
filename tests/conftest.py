"""Nothing that a test does reaches the state folder of whoever runs it."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_state_folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield
