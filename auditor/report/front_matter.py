"""The front matter of a model card: one key written anew, everything else kept byte for byte.

Loading the YAML and dumping it again would lose comments, quotes and order, so the lines of the one key are cut out of
the text and replaced; what comes out is read again and compared before anybody writes it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from auditor.errors import InputError

__all__ = ["Card", "line_end", "read_key", "split", "with_key"]

_BLOCK = re.compile(r"\A(\s*---[ \t]*(?:\r\n|\r|\n))((?:.*?(?:\r\n|\r|\n))??)(---[ \t]*(?:\r\n|\r|\n|\Z))", re.DOTALL)
_MARK = "\ufeff"
_MOST_ALIASES = 16  # aliases of aliases grow without bound once they are compared
_BY_HAND = "Correct it by hand, or name another file."


@dataclass(frozen=True)
class Card:
    """A card in pieces that make the whole again, in this order; without front matter, head and close are empty.

    Attributes:
        mark: A byte order mark, or nothing.
        head: The line that opens the front matter.
        front: The YAML, every line with its end.
        close: The line that closes it.
        body: Everything after.
    """

    mark: str
    head: str
    front: str
    close: str
    body: str


def line_end(text: str) -> str:
    """The first line end of a text."""
    found = re.search(r"\r\n|\r|\n", text)
    return found.group() if found else "\n"


def split(text: str) -> Card:
    """Take a card apart."""
    mark = _MARK if text.startswith(_MARK) else ""
    found = _BLOCK.match(text[len(mark) :])
    if found is None:
        return Card(mark, "", "", "", text[len(mark) :])
    head, front, close = found.groups()
    return Card(mark, head, front, close, text[len(mark) + found.end() :])


def read_key(front: str, key: str) -> object:
    """The value of a key at the top of the YAML; None: there is none.

    Raises:
        InputError: this is no YAML mapping.
    """
    return _loaded(front).get(key)


def with_key(front: str, key: str, value: object, end: str) -> str:
    """The YAML with another value for a key, in the place of the old one, else at the end.

    Args:
        front: YAML, every line with its end.
        key: A key at the top.
        value: What it shall hold; None removes it.
        end: The line end of what is written.

    Raises:
        InputError: the YAML is no mapping, or is written in a way in which no single key can be exchanged.
    """
    start, stop = _span(front, key)
    edited = front[:start] + ("" if value is None else _dumped(key, value, end)) + front[stop:]
    before = dict(_loaded(front))
    before.pop(key, None)
    if _without(edited, key, value) != repr(before):
        raise InputError(f"The front matter is written in a way in which `{key}` cannot be exchanged.", _BY_HAND)
    return edited


def _without(edited: str, key: str, value: object) -> str | None:
    """What the YAML holds beside a key that must have this value; None: it has not, or is YAML no more."""
    try:
        after = dict(_loaded(edited))
    except InputError:
        return None
    return repr(after) if after.pop(key, None) == value else None


def _loaded(front: str) -> Mapping[str, object]:
    import yaml

    try:
        events = yaml.parse(front, Loader=yaml.SafeLoader)
        if sum(isinstance(event, yaml.AliasEvent) for event in events) > _MOST_ALIASES:
            raise InputError(f"The front matter of the card uses more than {_MOST_ALIASES} YAML aliases.", _BY_HAND)
        content = yaml.safe_load(front)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise InputError("The front matter of the card is not valid YAML.", _BY_HAND) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InputError("The front matter of the card is not a YAML mapping.", _BY_HAND)
    return content


def _dumped(key: str, value: object, end: str) -> str:
    import yaml

    text: str = yaml.safe_dump({key: value}, sort_keys=False, allow_unicode=True, line_break=end)
    return text


def _span(front: str, key: str) -> tuple[int, int]:
    """From where to where the lines of a key go; comments and empty lines after it are not its own."""
    import yaml

    root = yaml.compose(front, Loader=yaml.SafeLoader)
    for name, node in root.value if isinstance(root, yaml.MappingNode) else ():
        if name.value == key:
            start, lines = name.start_mark.index, front[: node.end_mark.index].splitlines(keepends=True)
            while lines and (not (told := lines[-1].strip()) or told.startswith("#")):
                lines.pop()
            stop = len("".join(lines))
            rest = re.match(r"[^\r\n]*(?:\r\n|\r|\n)?", front[stop:]) if not lines[-1].endswith(("\r", "\n")) else None
            return start, stop + (rest.end() if rest else 0)
    return len(front), len(front)
