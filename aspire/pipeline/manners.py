"""How unfinished work is met: wait for it, leave it alone, or only plan it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from aspire.errors import AspireError
from aspire.pipeline.jobs import Look
from aspire.pipeline.stage import Item, ItemResult, Rec, SaveImage, Stage


@dataclass(frozen=True)
class Manners:
    """How a run is met that is not done, set far above the place where it is met.

    Args:
        busy: "wait" for a run that someone else works on, or "leave" it alone.
        plan: nothing is trained; what would be is raised as :class:`PendingError`.
        stale_after: seconds without a heartbeat after which a run is taken over.
        started: told of a run folder as soon as this process works in it.
        command: what the user typed for this job; kept with a run so that tables can say it.
    """

    busy: Literal["wait", "leave"] = "wait"
    plan: bool = False
    stale_after: float = 60.0
    started: Callable[[Path], None] = lambda folder: None
    command: str = ""


_manners: ContextVar[Manners] = ContextVar("manners", default=Manners())  # noqa: B039 - frozen


def manners() -> Manners:
    """Those in force here."""
    return _manners.get()


@contextmanager
def with_manners(**changes: Any) -> Iterator[None]:
    """Change some of them for a while."""
    token = _manners.set(replace(_manners.get(), **changes))
    try:
        yield
    finally:
        _manners.reset(token)


class PendingError(AspireError):
    """Work that a plan has come to: a run that is not done, or a stage."""

    def __init__(self, what: str, look: Look | None = None) -> None:
        self.look = look
        super().__init__(what)


class NoWork:
    """The engine of a plan: stages that are finished are used, none is worked off."""

    def map(
        self, stage: Stage[Item, Rec], items: Sequence[Item], save: SaveImage
    ) -> Iterator[ItemResult[Rec]]:
        raise PendingError(f"{stage.name} of {len(items)} items")
