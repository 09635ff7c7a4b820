"""The case: all that is settled before the first question is asked, and where the work is done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from auditor.battery.plan import Plan, software
from auditor.canaries import Canaries, read_canaries, without_canaries
from auditor.checks import Subject
from auditor.compute import (
    PLAN_NAME,
    Clock,
    Progress,
    RunFolder,
    Workers,
    default_workers,
    one_thread,
    resolve_device,
)
from auditor.defenses import applied_to
from auditor.difference.changes import refuse_itself, refuse_other_task
from auditor.difference.kept_scores import default_run_folder
from auditor.findings import DataFacts
from auditor.intake import data_facts, open_inputs, published
from auditor.inversion.prior import OwnGenerator, read_generator
from auditor.inversion.workshop import Models, Workshop
from auditor.laboratory import Blueprint, Laboratory
from auditor.membership.evidence import Context, Evidence
from auditor.membership.gather import records_context
from auditor.membership.measure import Jury, Scored
from auditor.planning import AuditOptions, Design, plan_facts, settle_plan
from auditor.signals import class_probabilities
from auditor.splits import Splits, load_key
from auditor.target import Target
from auditor.verdict import ShadowData

__all__ = ["Case", "Material", "open_case", "open_material", "planned_before"]


@dataclass(frozen=True)
class Material:
    """What the owner hands over: the model, the splits without canaries, canaries and a generator if there are any."""

    target: Target
    splits: Splits
    canaries: Canaries | None
    generator: OwnGenerator | None = None


@dataclass(frozen=True)
class Case:
    """One audit, opened.

    Attributes:
        options: What the caller asked for.
        material: Model, splits, canaries.
        plan: What will run.
        design: Who is evaluated, and who trains on whom.
        data: What the report says of the data.
        key: The owner's, for opaque ids.
        jury: Membership, classes and halves of the audit records.
        context: What is known of the records without asking.
        laboratory: Trains models and keeps what they answer.
        clock: Time by phase.
    """

    options: AuditOptions
    material: Material
    plan: Plan
    design: Design
    data: DataFacts
    key: bytes
    jury: Jury
    context: Context
    laboratory: Laboratory
    clock: Clock

    @property
    def target(self) -> Target:
        """The audited model."""
        return self.material.target

    @property
    def stated_random(self) -> bool | None:
        """Whether the owner states that chance alone told members from non-members; None: nothing is stated."""
        return self.material.splits.settings.random_split

    @property
    def shadow_data(self) -> ShadowData:
        """What the shadows were trained on."""
        if self.plan.given is not None:
            return "given"
        return "audited and others" if self.plan.others else "audited"

    @property
    def digests(self) -> tuple[bytes, ...]:
        """Of the audit records."""
        return self.design.audit_set.records.digests

    @property
    def workshop(self) -> Workshop:
        """Where inversion attacks are run."""
        material, pictured = self.material, self.data.classes if self.options.show_records else None
        return Workshop(
            self.laboratory,
            self.design.audit_set,
            material.splits.public,
            material.generator,
            self.plan.seed,
            pictured=pictured,
        )

    @property
    def inverted_models(self) -> Models:
        """On whom they are run."""
        return Models(self.target, self.design.control, self.design.left_out(self.plan))

    def named_classes(self) -> npt.NDArray[np.int64]:
        """The class that the target names for each evaluated non-member, int64 [non-member]."""
        audit_set = self.design.audit_set
        released = class_probabilities(self.target, audit_set.records.inputs[audit_set.evaluated :])
        return np.asarray(released.argmax(1), dtype=np.int64)

    def subject(
        self,
        evidence: Evidence,
        *,
        predicted: npt.NDArray[np.int64] | None = None,
        scored: Sequence[Scored] = (),
    ) -> Subject:
        """All that a check may look at."""
        return Subject(
            splits=self.material.splits,
            audit_set=self.design.audit_set,
            jury=self.jury,
            evidence=evidence,
            recipe_stated=self.plan.recipe_stated,
            recipe=self.plan.recipe,
            shadows_given=self.plan.given is not None,
            predicted=predicted,
            scored=tuple(scored),
            planned_with=self.plan.software,
            running=software(),
        )


def open_material(options: AuditOptions) -> Material:
    """Load what the caller names.

    Raises:
        InputError: the device does not exist, or checkpoint, data, canaries or generator cannot be used.
    """
    device = resolve_device(options.device)
    target, splits = open_inputs(
        options.checkpoint, options.data, arch=options.arch, device=device, trust=options.trust_checkpoint
    )
    own = None if options.generator is None else read_generator(options.generator, target)
    if options.canaries is None:
        return Material(target, splits, None, own)
    canaries = read_canaries(options.canaries, splits)
    return Material(target, without_canaries(splits, canaries, options.canaries), canaries, own)


def planned_before(options: AuditOptions, target: Target) -> RunFolder | None:
    """The run folder that a scan would use, where one has left its plan in it."""
    root = _root_of(options, target)
    return RunFolder(root) if (root / PLAN_NAME).is_file() else None


def _root_of(options: AuditOptions, target: Target) -> Path:
    return options.run_dir or default_run_folder(target.facts.name, target.fingerprint)


@contextmanager
def open_case(options: AuditOptions, progress: Progress) -> Iterator[Case]:
    """Open an audit: load, lock the run folder, start workers, settle the plan.

    Raises:
        InputError: checkpoint, data or options cannot be used.
    """
    clock = Clock()
    with one_thread():
        with clock.phase("open checkpoint and data"):
            material = open_material(options)
            target, splits = material.target, material.splits
            folder = RunFolder.create(_root_of(options, target))
        with folder.lock(), Workers.open(options.workers or default_workers(target.device), clock) as workers:
            plan, design = settle_plan(options, target, splits, folder, material.generator)
            audit_set = design.audit_set
            key = load_key(options.key or folder.root.parent / "privaudit.key")
            blueprint = Blueprint(target.architecture, target.facts, str(target.device))
            defense = applied_to(target)
            laboratory = Laboratory(folder, workers, blueprint, plan.recipe, plan.queries, audit_set, progress, defense)
            data = data_facts(splits, audit_set, key)
            if options.baseline is not None:
                refuse_other_task(options.baseline, published(data), target.facts.num_classes)
                refuse_itself(options.baseline, plan_facts(plan, options).digest, target.facts.sha256)
            with clock.phase("lay out the records"):
                laboratory.publish()
                context = records_context(target, audit_set, plan.seed)
            yield Case(
                options=options,
                material=material,
                plan=plan,
                design=design,
                data=data,
                key=key,
                jury=Jury.of(audit_set.records, audit_set.membership, plan.seed),
                context=context,
                laboratory=laboratory,
                clock=clock,
            )
