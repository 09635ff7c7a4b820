"""Every attack file has a header in the same order, and names its paper as the battery's card does."""

import ast
import re
from pathlib import Path

import pytest

from auditor.battery import CARDS

ROOT = Path(__file__).parents[2] / "reference_attacks"
ORDER = ["What it claims", "What the attacker needs", "Algorithm", "What we changed", "Published number and ours"]
PUBLISHED = re.compile(r"(?:arxiv\.org/abs/|doi\.org/|openreview\.net/forum\?id=)(\S+)")


def headers(*folders: str) -> dict[str, str]:
    files = [path for folder in folders for path in sorted((ROOT / folder).glob("*.py")) if path.stem != "__init__"]
    return {f"{path.parent.name}/{path.stem}": ast.get_docstring(ast.parse(path.read_text())) for path in files}


ATTACK_FILES = {name: text for name, text in headers("membership", "inversion").items() if "\nWhat it " in text}


def test_there_are_attack_files_of_both_families():
    assert len([name for name in ATTACK_FILES if name.startswith("membership/")]) > 25
    assert len([name for name in ATTACK_FILES if name.startswith("inversion/")]) > 14


@pytest.mark.parametrize("name", ATTACK_FILES)
def test_a_header_says_the_same_things_in_the_same_order(name: str):
    titles = re.findall(r"^[A-Z][\w ]+$", ATTACK_FILES[name], re.MULTILINE)
    assert titles == ORDER


@pytest.mark.parametrize("card", [card for card in CARDS if PUBLISHED.search(card.paper.url)], ids=lambda card: card.id)
def test_the_paper_of_a_card_is_named_by_an_attack_file(card):
    family = {text for name, text in headers("membership", "inversion").items() if name.startswith(card.family.value)}
    assert any(PUBLISHED.search(card.paper.url)[1] in text for text in family), card.paper.url
