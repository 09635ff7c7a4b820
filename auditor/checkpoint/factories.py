"""Python files of the user's that make a network: `path/to/module.py:factory`, run only because the user names them."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from auditor.errors import InputError

__all__ = ["absolute_factory", "load_factory"]


def absolute_factory(named: str, option: str) -> str:
    """The same factory, named by an absolute path.

    Raises:
        InputError: there is no such file, or no factory is named in it; the message names the option.
    """
    file, _, function = named.rpartition(":")
    if not function or named.endswith(".py"):
        raise InputError(f"{option} {named} names a file but no factory in it.", f"Write {named}:NAME_OF_THE_FACTORY.")
    if not Path(file).is_file():
        raise InputError(f"There is no file {file} ({option}).", "Give the path of the module that makes the network.")
    return f"{Path(file).resolve()}:{function}"


def load_factory(name: str, option: str) -> Callable[..., object]:
    """Run the file and take its factory.

    Raises:
        InputError: the file cannot be read or run, or has no such factory.
    """
    file, _, function = name.rpartition(":")
    made = getattr(_module(Path(file), option), function, None)
    if not callable(made):
        raise InputError(f"{file} has no factory {function}.", "Name a function or class that makes the network.")
    factory: Callable[..., object] = made
    return factory


def _module(file: Path, option: str) -> ModuleType:
    """Run a Python file once per content, so that classes stay the same between two builds."""
    try:
        digest = hashlib.sha256(str(file).encode() + file.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}.", f"Correct {option}.") from error
    name = f"privaudit_factory_{digest[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise InputError(f"{file} is not a Python module.", f"Correct {option}.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up while it is being run
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise InputError(f"{file} cannot be imported: {type(error).__name__}: {error}.", "Mend it first.") from error
    return module
