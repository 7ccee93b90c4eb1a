"""How unfinished work is met: wait for it, leave it alone, or only plan it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from aspire.errors import AspireError
from aspire.runs.claims import RunStatus
from aspire.session import session


@dataclass(frozen=True)
class RunPolicy:
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


def policy() -> RunPolicy:
    """The one in force here."""
    return session().of(RunPolicy)


def run_policy(**changes: Any) -> AbstractContextManager[None]:
    """Change some of it for a while."""
    return session().replaced(replace(policy(), **changes))


class PendingError(AspireError):
    """Work that a plan has come to: a run that is not done, or a stage."""

    def __init__(self, what: str, look: RunStatus | None = None) -> None:
        self.look = look
        super().__init__(what)
