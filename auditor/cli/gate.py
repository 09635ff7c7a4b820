"""`privaudit gate`: may this report's model go out, by this policy?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from auditor.cli import judgement
from auditor.cli import outputs as made
from auditor.cli.terminal import Terminal

if TYPE_CHECKING:
    from auditor.checkpoint.likeness import Setting
    from auditor.findings import AuditReport

__all__ = ["gate"]

_FURTHER = frozenset({".onnx", ".pt2", ".h5", ".keras", ".msgpack", ".tflite", ".gguf"})
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(short_help="Hold a report against a policy.")
@click.argument("report", metavar="REPORT.json", type=_FILE)
@click.option("--policy", metavar="FILE", type=_FILE, help="privaudit.toml or pyproject.toml; the defaults without it.")
@click.option(
    "--checkpoint",
    metavar="CHECKPOINT",
    type=click.Path(exists=True, path_type=Path),
    help="The model that is to go out, file or folder; a report of another one, or of fewer attacks, is refused.",
)
@click.option("--baseline", metavar="OLD.json", type=_FILE, help="Report of the last release, for no_worse_than_last.")
@made.output_options
@click.pass_obj
def gate(
    terminal: Terminal,
    report: Path,
    policy: Path | None,
    checkpoint: Path | None,
    baseline: Path | None,
    outputs: tuple[Path, ...],
    github: bool,
) -> int:
    """Hold REPORT.json against a policy: exit code 0 where it is met, 1 where it is violated, 3 where neither is shown.

    Every rule is printed with the number that decided it, its interval, its limit and every waiver; then what no rule
    judged. Files are made as by `render`, with what the policy says in them.
    """
    from auditor.battery.known import refuse_unknown_attacks
    from auditor.difference.kept_scores import read_kept
    from auditor.difference.pairing import ALONE
    from auditor.policy import judge
    from auditor.policy_file import Policy, read_policy
    from auditor.report import check_outputs, load_json

    files = tuple(dict.fromkeys(outputs))
    check_outputs(files)
    audited = load_json(report)
    asked = Policy()
    if policy is not None:
        asked = read_policy(policy)
        told = [*(one.card.id for one in audited.membership), *(one.card.id for one in audited.inversion)]
        refuse_unknown_attacks(asked, policy, told)
    compared = judgement.of_model(audited, _compared(audited, report, checkpoint))
    last, kept = None, ALONE
    if baseline is not None:
        last = load_json(baseline)
        kept = read_kept(baseline, last), read_kept(report, audited)
    named = judgement.named(policy)
    found = judge(audited, asked, now=judgement.now(), baseline=last, kept=kept, named=named, compared=compared)
    stated = "the report" if asked.gate.release is None else "the policy"
    release = judgement.line("release", f"{found.release}, as {stated} says")
    for line in (*judgement.told(found), release):
        terminal.emit(line)
    made.write(terminal, audited, files, found, github=github)
    return judgement.conclude(terminal, found)


def _compared(audited: AuditReport, report: Path, checkpoint: Path | None) -> str:
    """How far what is to go out was held against the report; that of another model is refused."""
    if checkpoint is None:
        return "no file was compared with it, --checkpoint does that"
    from auditor.battery.known import refuse_older_attacks
    from auditor.checkpoint.likeness import in_words

    refuse_older_attacks(audited, report)
    return f"the file shown is that one, {in_words(_settings_alike(audited, report, checkpoint))}"


def _settings_alike(audited: AuditReport, report: Path, checkpoint: Path) -> tuple[Setting, ...]:
    """What was compared beside the weights.

    The report of another model never passes: of other weights, behind another wrapper, or used otherwise.
    """
    from auditor.checkpoint.likeness import settings_beside
    from auditor.checkpoint.sidecar import read_trained_with, wrapper_digest
    from auditor.checkpoint.weights import locate, sha256_of
    from auditor.errors import InputError

    files = locate(checkpoint)
    shown = sha256_of(files.weights)
    if shown != audited.model.sha256:
        raise InputError(
            f"{report} is the report of another model: its weights have SHA-256 {_start(audited.model.sha256)}, "
            f"those of {files.weights} have {_start(shown)}.",
            "Audit this file, or name the report that was made of it.",
        )
    if checkpoint.is_dir():
        _refuse_further_weights(audited, report, checkpoint)
    if wrapper_digest(files.folder) != audited.model.wrapper_sha256:
        raise InputError(
            f"{report} is of the same weights behind another output wrapper than the one in {files.folder}.",
            "Audit the folder as it is.",
        )
    mark = read_trained_with(files.folder, shown)
    if (None if mark is None else mark.defense) != audited.model.trained_with:
        raise InputError(
            f"{report} and {files.folder} do not say alike with which defense the weights were trained.",
            "Audit the folder as it is.",
        )
    settings = settings_beside(audited.model, files.folder)
    if different := [str(one) for one in settings if one.differs]:
        raise InputError(
            f"{report} is of the same weights used otherwise: {'; '.join(different)}.",
            "Audit the folder as it is, or put the file right: it must state what goes out.",
        )
    if audited.model.head is None and mark is not None and mark.head is not None and not mark.head.noisy:
        raise InputError(
            f"{report} does not say that the noise of the bottleneck was left away, as it is in {files.folder}.",
            "Release the folder as `privaudit defend` wrote it.",
        )
    return settings


def _refuse_further_weights(audited: AuditReport, report: Path, folder: Path) -> None:
    """Whoever loads a folder may take another of its weights files than the one that was audited."""
    from auditor.checkpoint.sidecar import SIDECAR_NAME
    from auditor.checkpoint.weights import WRAPPER_TENSORS, is_weights_name, sha256_of
    from auditor.errors import InputError
    from auditor.records import printable

    of_wrapper = WRAPPER_TENSORS if (folder / SIDECAR_NAME).exists() else ""
    for file in sorted(folder.iterdir()):
        weights = is_weights_name(file.name) or file.suffix.lower() in _FURTHER
        if not weights or file.name == of_wrapper or not file.is_file():
            continue
        if sha256_of(file) != audited.model.sha256:
            raise InputError(
                f"{folder} also holds {printable(file.name)}, of which {report} says nothing: its SHA-256 is another.",
                "Take it out of the folder, or name with --checkpoint the one file that goes out.",
            )


def _start(sha256: str) -> str:
    """Enough of a digest to tell two apart, whatever a report says that it is."""
    from auditor.records import printable

    return printable(sha256[:16])
