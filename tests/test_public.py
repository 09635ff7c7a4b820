from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

import auditor


def test_the_public_names_are_sorted():
    assert auditor.__all__ == sorted(auditor.__all__)


@pytest.mark.parametrize("name", auditor.__all__)
def test_every_public_name_exists(name: str):
    assert getattr(auditor, name) is not None
    assert name in dir(auditor)


def test_the_version_is_the_installed_one():
    assert auditor.__version__ == version("privaudit")


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'audits'"):
        auditor.audits  # noqa: B018 - the access is the test


def test_the_audit_module_does_not_hide_the_audit_function():
    from auditor import run_audit
    from auditor.audit import audit

    assert auditor.run_audit is run_audit is audit


def test_importing_the_package_does_not_import_torch():
    code = "import sys, auditor; auditor.PrivauditError; auditor.Access; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
