"""A baseline that trains with discovered groups and is measured with the annotated ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aspire.baselines.base import Baseline, Needs


@dataclass(frozen=True)
class DiscoveredNeeds(Needs):
    """Needs that discovery met: no human labelled a group."""

    def describe(self) -> str:
        return super().describe().replace(" groups", " groups (discovered)")


class OnDiscoveredGroups:
    """A baseline that receives discovered groups; afterwards its context is as without them.

    So training and selection see nothing of the annotation, and the result is measured with it.

    Args:
        baseline: what is run.
        after: fields of the context after training, for measuring the result.
        counts: what was left out, kept with the result.
    """

    def __init__(
        self, baseline: Baseline, after: Mapping[str, Any], counts: Mapping[str, int]
    ) -> None:
        self.baseline = baseline
        needs = baseline.needs
        self.needs = DiscoveredNeeds(needs.train_groups, needs.val_groups, needs.target)
        self.after = after
        self.counts = counts

    def run(self, ctx: Any) -> Any:
        net = self.baseline.run(ctx)
        ctx.record(groups="discovered", **self.counts)
        for name, value in self.after.items():
            setattr(ctx, name, value)
        return net
