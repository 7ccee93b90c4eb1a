"""What a stage is: typed records in, typed records out.

A stage never decides paths, never reads a configuration and never talks to a logger. Around it
:class:`aspire.pipeline.store.ArtifactStore` names, keeps and resumes its work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeAlias, TypeVar

from numpy.typing import NDArray

from aspire.identity import Json
from aspire.records import Record, Rejected
from aspire.values import Count

In = TypeVar("In", contravariant=True)
Item = TypeVar("Item")
Rec = TypeVar("Rec", bound=Record)
Out = TypeVar("Out", bound=Record)


@dataclass(frozen=True)
class ItemResult(Generic[Rec]):
    """All that became of one item: its records, and what was rejected with a reason."""

    item_id: str
    records: tuple[Rec, ...] = ()
    rejected: tuple[Rejected, ...] = ()


SaveImage: TypeAlias = Callable[[NDArray[Any]], str]
"""Stores (H, W, 3) or (H, W) uint8 pixels and returns the file's name relative to the artifact."""


class Stage(Protocol[In, Out]):
    """One step of the pipeline.

    ``version`` rises when the meaning of the output changes. ``identity`` holds everything that
    changes the answer (model, revision, prompt, thresholds, seed) and nothing else: device, batch
    size and workers never enter. ``run`` yields one result per item, in any order, and must give
    the same result for an item whatever else is in the batch.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    record: type[Out]

    def identity(self) -> Mapping[str, Json]: ...

    def item_id(self, item: In, /) -> str: ...

    def run(self, items: Sequence[In], save: SaveImage, /) -> Iterator[ItemResult[Out]]: ...


class Engine(Protocol):
    """How the items of a stage are processed: here, or on many machines."""

    def map(
        self, stage: Stage[Item, Rec], items: Sequence[Item], save: SaveImage
    ) -> Iterator[ItemResult[Rec]]: ...


class LocalEngine:
    """Works items off in this process, ``batch_size`` at a time.

    Args:
        batch_size: items handed to a stage at once; bounds memory, never changes a result.
    """

    def __init__(self, batch_size: Count = 64) -> None:
        self.batch_size = batch_size

    def map(
        self, stage: Stage[Item, Rec], items: Sequence[Item], save: SaveImage
    ) -> Iterator[ItemResult[Rec]]:
        for start in range(0, len(items), self.batch_size):
            yield from stage.run(items[start : start + self.batch_size], save)
