"""The parts of a page as the templates print them: text in, nothing decided."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field

from markupsafe import Markup

from auditor.report.wording import Action, Number

__all__ = [
    "Advised",
    "Block",
    "Defenses",
    "Facts",
    "Inversion",
    "Judged",
    "Link",
    "Method",
    "Page",
    "Picture",
    "Row",
    "Shelf",
    "Shot",
    "Table",
    "Tile",
    "Unrun",
    "VerdictLine",
    "picture",
]

Facts = tuple[tuple[str, str | tuple[str, ...]], ...]


@dataclass(frozen=True)
class Link:
    """Words, and the place in the page that they lead to."""

    text: str
    href: str


@dataclass(frozen=True)
class Row:
    """A row of a table; the first cell is its heading, `mark` the level that colours it. A tuple is a cell of lines.

    `anchor` is the row's own place in the page; `links` lead to the defaults that decide it.
    """

    cells: tuple[str | tuple[str, ...], ...]
    mark: str = ""
    anchor: str = ""
    links: tuple[Link, ...] = ()


@dataclass(frozen=True)
class Table:
    """A table; `numbers` are the columns that are set flush right, `links` lead to the defaults that decide it.

    `widths`: of the columns in percent, where tables of one kind stand below each other; none are what the cells take.
    """

    caption: str
    head: tuple[str, ...]
    rows: tuple[Row, ...]
    numbers: frozenset[int] = field(default_factory=frozenset)
    links: tuple[Link, ...] = ()
    widths: tuple[int, ...] = ()


@dataclass(frozen=True)
class Picture:
    """A figure as a data URI, with the words for who cannot see it and the table behind it."""

    caption: str
    alt: str
    uri: Markup
    table: Table
    print_table: bool = True


@dataclass(frozen=True)
class Shot:
    """Something that was rebuilt, as a data URI."""

    label: str
    alt: str
    uri: Markup


@dataclass(frozen=True)
class Shelf:
    """What one attack rebuilt."""

    title: str
    told: str
    shots: tuple[Shot, ...]


@dataclass(frozen=True)
class Inversion:
    """The section on inversion; `shelves` only where the owner asked to see them."""

    told: tuple[str, ...]
    setup: Facts
    pictures: tuple[Picture, ...]
    tables: tuple[Table, ...]
    not_run: Table
    shelves: tuple[Shelf, ...]


@dataclass(frozen=True)
class Advised:
    """What to take for one way of release, and where all that were measured lie."""

    title: str
    told: tuple[str, ...]
    plane: Picture | None


@dataclass(frozen=True)
class Block:
    """One defense: `told` is its result in short; `part` of the one before it that is none."""

    method: Method
    told: str
    effects: Table
    part: bool


@dataclass(frozen=True)
class Defenses:
    """The section on defenses: `advised` for the declared way of release, `others` for the others."""

    advised: Advised
    table: Table
    remarks: tuple[str, ...]
    not_planned: tuple[str, ...]
    others: tuple[Advised, ...]
    blocks: tuple[Block, ...]
    links: tuple[Link, ...]


@dataclass(frozen=True)
class VerdictLine:
    """One family on a tile."""

    family: str
    name: str
    icon: str
    kind: str
    note: str
    sentence: str


@dataclass(frozen=True)
class Tile:
    """One way of release; `kind` is of the whole, every line carries word, icon and colour of its own."""

    title: str
    access: str
    description: str
    declared: bool
    kind: str
    lines: tuple[VerdictLine, ...]


@dataclass(frozen=True)
class Judged:
    """What a policy says; `idle` are the waivers that no rule took, `notes` what no rule says of the judgement."""

    policy: str
    name: str
    icon: str
    kind: str
    release: str
    when: str
    sentence: str
    rulings: Table
    idle: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Method:
    """An attack or a defense: what it is, and what became of it."""

    title: str
    id: str
    citation: str
    url: str
    facts: Facts


@dataclass(frozen=True)
class Unrun:
    """An attack that did not run, in the appendix."""

    title: str
    id: str
    citation: str
    url: str
    reason: str


@dataclass(frozen=True)
class Page:
    """Everything that the templates print, in the order in which they print it."""

    title: str
    created: str
    created_iso: str
    short_hash: str
    banner: str
    facts: Facts
    tiles: tuple[Tile, ...]
    judged: Judged | None
    numbers: tuple[Number, ...]
    actions: tuple[Action, ...]
    scope: str
    best_of_all: str
    not_run: Facts
    primary_endpoints: Table
    power_told: str
    power: Table
    membership: tuple[Picture, ...]
    attacks: Picture | None
    secondary: str
    instant_told: str
    instant: Table
    outputs: Picture | None
    output_table: Table
    canaries_told: str
    canary_bounds: Table
    implied: Table
    exposure: Picture | None
    record_exposure: str
    exposed_groups: Table
    inversion: Inversion
    defenses: Defenses
    controls: Table
    doses: Picture | None
    checks: Table
    read_as: Facts
    methods: tuple[Method, ...]
    unrun: tuple[Unrun, ...]
    interval_methods: Facts
    data_statement: str
    data_facts: Facts
    recipe_facts: Facts
    defaults: Table
    default_links: Mapping[str, tuple[Link, ...]]
    environment: Facts
    timings: Table
    terms: Table
    glossary: Facts


def picture(svg: str, caption: str, alt: str, table: Table, *, print_table: bool = True) -> Picture:
    """A figure as an image that loads from nowhere."""
    uri = Markup("data:image/svg+xml;base64," + b64encode(svg.encode()).decode())  # noqa: S704 - base64 has no markup
    return Picture(caption, alt, uri, table, print_table)
