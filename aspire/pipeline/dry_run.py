"""The engine of a plan: stages that are finished are used, and none is run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from aspire.pipeline.stage import Item, ItemResult, Rec, SaveImage, Stage
from aspire.runs.policy import PendingError


class DryRunEngine:
    """Raises :class:`PendingError` in place of running a stage."""

    def map(
        self, stage: Stage[Item, Rec], items: Sequence[Item], save: SaveImage
    ) -> Iterator[ItemResult[Rec]]:
        raise PendingError(f"{stage.name} of {len(items)} items")
