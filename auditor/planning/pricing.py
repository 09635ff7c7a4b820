"""What a plan would run and what it would cost here, before it runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from auditor.battery import MEMBERSHIP
from auditor.battery.plan import Plan, why_not_planned
from auditor.compute import default_workers
from auditor.cost.price import Cost, spoken
from auditor.cost.trials import cost_of
from auditor.defenses import DEFENSES
from auditor.planning.design import Design
from auditor.splits import Records
from auditor.target import Target

__all__ = ["Preview", "preview"]


@dataclass(frozen=True)
class Preview:
    """A plan with what it would cost here, by short timed trials.

    Attributes:
        plan: What would run.
        cost: What it would cost.
        undecided: Rules of the policy that it cannot decide.
        doubts: What the model's answers and the checks of the records say against an audit.
    """

    plan: Plan
    cost: Cost
    undecided: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    def describe(self) -> str:
        """What would run, and what it would cost, in plain lines."""
        probes = {one.card.id: f", after probe {one.probe}" for one in MEMBERSHIP if one.probe}
        named = {name: spoken(seconds) for name, seconds in self.cost.by_name().items()}
        priced = {*self.plan.attacks, *self.plan.defenses}
        lines = [
            self.plan.describe({name: f"{named[name]}{probes.get(name, '')}" for name in named if name in priced}),
            *self._defenses_not_run(),
            *[f"undecided  {sentence}" for sentence in self.undecided],
            *[f"doubt      {sentence}" for sentence in self.doubts],
            *[f"cost       {name:35} {seconds}" for name, seconds in named.items() if name not in priced],
            f"cost       {'all':35} {spoken(self.cost.cpu_seconds)} of CPU time, {self._wall()}",
        ]
        return "\n".join(lines)

    def _defenses_not_run(self) -> Iterator[str]:
        reasons: dict[str, list[str]] = {}
        for row in DEFENSES:
            if reason := why_not_planned(row.card.id, row.budget, self.plan.defenses, self.plan):
                reasons.setdefault(reason, []).append(row.card.id)
        for reason, ids in reasons.items():
            yield f"not run    {', '.join(ids)}: {reason}"

    def _wall(self) -> str:
        workers = self.cost.workers
        return f"about {spoken(self.cost.wall_seconds)} with {workers} worker{'' if workers == 1 else 's'}"


def preview(
    plan: Plan, design: Design, target: Target, public: Records | None = None, workers: int | None = None
) -> Preview:
    """Time short trials of what a plan names, unless `--max-time` has done so; nothing is kept.

    Args:
        plan: What would run.
        design: Who is evaluated.
        target: The audited model.
        public: Records of public/, if there are any.
        workers: How many processes would share the work; as many as a scan takes by default.
    """
    cost = design.cost or cost_of(plan, design.audit_set, public, target, workers or default_workers(target.device))
    return Preview(plan, cost)
