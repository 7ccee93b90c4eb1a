"""How long work shows where it is: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichBars

from aspire.console import Console

Advance = Callable[[int], None]


class Progress(Protocol):
    """Shows one piece of work at a time."""

    def task(self, name: str, total: int, done: int = 0) -> AbstractContextManager[Advance]: ...


class Silent:
    """Shows nothing; for libraries and tests."""

    @contextmanager
    def task(self, name: str, total: int, done: int = 0) -> Iterator[Advance]:
        yield lambda n: None


class Bars:
    """A rich bar on a terminal; elsewhere a plain line every ``every`` seconds.

    Args:
        console: where to write.
        every: seconds between plain lines.
    """

    def __init__(self, console: Console, every: float = 15.0) -> None:
        self.console = console
        self.every = every

    @contextmanager
    def task(self, name: str, total: int, done: int = 0) -> Iterator[Advance]:
        if self.console.is_terminal:
            with RichBars(
                TextColumn("  {task.description:<12}", markup=False),
                BarColumn(bar_width=32),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=self.console,
                transient=True,
            ) as bars:
                task = bars.add_task(name, total=total, completed=done)
                yield lambda n: bars.advance(task, n)
            return
        state = {"done": done, "shown": time.monotonic()}

        def advance(n: int) -> None:
            state["done"] += n
            if time.monotonic() - state["shown"] > self.every:
                state["shown"] = time.monotonic()
                self.console.print(f"  {name}: {state['done']}/{total}")

        yield advance
