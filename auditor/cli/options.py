"""The options that say what to audit, shared by `scan` and `plan`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, TypeVar

import click

from auditor.threat import Access

if TYPE_CHECKING:
    from auditor.audit import AuditOptions

__all__ = ["AuditArguments", "audit_arguments", "audit_options"]

Function = TypeVar("Function", bound=Callable[..., object])

_DURATION = re.compile(r"(?=\d)(?:(\d{1,4})h)?(?:(\d{1,5})m)?(?:(\d{1,7})s)?", re.ASCII)


def _names(context: click.Context, option: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """Split `lira,rmia` at the commas; an empty or doubled name is refused."""
    if value is None:
        return None
    names = tuple(name.strip() for name in value.split(","))
    if not all(names) or len(set(names)) < len(names):
        raise click.BadParameter(f"{value!r} must name each thing once, separated by commas.", context, option)
    return names


def _names_or_none(context: click.Context, option: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """The same, where `none` stands for an empty list."""
    names = () if value == "none" else _names(context, option, value)
    if names and "none" in names:
        raise click.BadParameter("none stands alone.", context, option)
    return names


def _release(context: click.Context, option: click.Parameter, value: str | None) -> Access:
    """As asked for, or as the policy says: one report is not written for one release and judged for another."""
    from auditor.policy_file import read_policy

    policy: Path | None = context.params.get("policy")
    stated = None if policy is None else read_policy(policy).gate.release
    if None not in (value, stated) and value != stated:
        raise click.BadParameter(
            f"{value} is asked for, and [gate] of {policy} judges {stated}: leave one of them out.", context, option
        )
    return Access(value or stated or Access.WEIGHTS)


def _seconds(context: click.Context, option: click.Parameter, value: str | None) -> int | None:
    """A length of time such as `45m`, `90s` or `1h30m` as whole seconds; one that is none at all is refused."""
    if value is None:
        return None
    found = _DURATION.fullmatch(value)
    hours, minutes, seconds = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
    total = 3600 * hours + 60 * minutes + seconds
    if not total:
        raise click.BadParameter(f"{value!r} is no length of time like 45m, 90s or 1h30m.", context, option)
    return total


class AuditArguments(TypedDict):
    """What Click hands to a command that carries `audit_arguments`."""

    checkpoint: Path
    data: Path
    arch: str | None
    release: Access
    budget: str | None
    seed: int | None
    device: str
    workers: int | None
    run_dir: Path | None
    plan: Path | None
    attacks: tuple[str, ...] | None
    defenses: tuple[str, ...] | None
    trust_checkpoint: bool
    key: Path | None
    shadows: Path | None
    max_time: int | None
    canaries: Path | None
    generator: str | None
    show_records: bool
    policy: Path | None


_ARGUMENTS = (
    click.argument("checkpoint", type=click.Path(path_type=Path)),
    click.option(
        "--data",
        required=True,
        metavar="DIR",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="Folder with the splits: train/ (members), test/ (non-members), optionally population/ and public/.",
    ),
    click.option("--arch", metavar="NAME", help="Architecture: a timm name or module.py:factory."),
    click.option(
        "--release",
        type=click.Choice([access.value for access in Access]),
        callback=_release,
        help="How the model will go out: as the policy says, or weights. All three are reported; this one is judged.",
    ),
    click.option(
        "--budget",
        type=click.Choice(["quick", "standard", "thorough"]),
        help="How many shadow models are trained and which attacks run; standard, or as the plan says.",
    ),
    click.option(
        "--max-time",
        metavar="TIME",
        callback=_seconds,
        help="Train no more shadows than fit, with the rest of the scan, into this time: 45m, 90s, 1h30m.",
    ),
    click.option(
        "--plan",
        metavar="FILE",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="Replay this plan, as printed by `privaudit plan --json`.",
    ),
    click.option("--attacks", metavar="A,B,...", callback=_names, help="Only these attacks; see `privaudit attacks`."),
    click.option(
        "--defenses",
        metavar="A,B,...",
        callback=_names_or_none,
        help="Only these defenses, or none; see `privaudit defenses`.",
    ),
    click.option(
        "--shadows",
        metavar="DIR",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="Shadow models of your own instead of ours, with inclusion.npz; see docs/bring-your-own-shadows.md.",
    ),
    click.option(
        "--canaries",
        metavar="FILE",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="canaries.npz of the canaries that the model was trained with, to bound epsilon; see docs/canaries.md.",
    ),
    click.option(
        "--generator",
        metavar="MODULE.PY:FACTORY",
        help="An image generator of your own for inversion attacks; see docs/bring-your-own-generator.md.",
    ),
    click.option(
        "--show-records",
        is_flag=True,
        help="Show in the report what inversion attacks rebuilt; it is then to be kept like the training data.",
    ),
    click.option(
        "--policy",
        is_eager=True,  # --release asks it
        metavar="FILE",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="Limits, severity and gate of your own, privaudit.toml or pyproject.toml; judged at the end of a scan.",
    ),
    click.option(
        "--run-dir",
        metavar="DIR",
        type=click.Path(file_okay=False, path_type=Path),
        help="Where shadows and signals are kept. A scan that was killed goes on from there.",
    ),
    click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="Decides all randomness; 0, or as the plan says."),
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
    click.option("--workers", type=click.IntRange(min=1), help="Processes; one per core by default, one on a GPU."),
    click.option(
        "--trust-checkpoint",
        is_flag=True,
        help="Load a checkpoint that can run code when loaded. Recorded in the report.",
    ),
    click.option(
        "--key",
        metavar="FILE",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Secret under which record ids are made; written there if it does not exist.",
    ),
)


def audit_arguments(function: Function) -> Function:
    """Decorate a command with CHECKPOINT and the options that say what to audit."""
    for argument in reversed(_ARGUMENTS):
        function = argument(function)
    return function


def audit_options(arguments: AuditArguments) -> AuditOptions:
    """The same as the audit takes it."""
    from auditor.audit import AuditOptions

    return AuditOptions(**arguments)
