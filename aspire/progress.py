"""How long work shows where it is: a bar on a terminal or in a notebook, a line in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from typing import Protocol

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichBars

from aspire.console import Console

Advance = Callable[[int], None]

_PAUSE = 1.0  # seconds without an item after which those that follow are of another batch


class Progress(Protocol):
    """Shows one piece of work at a time."""

    def task(self, name: str, total: int, done: int = 0) -> AbstractContextManager[Advance]: ...


class Silent:
    """Shows nothing; for libraries and tests."""

    @contextmanager
    def task(self, name: str, total: int, done: int = 0) -> Iterator[Advance]:
        yield lambda n: None


class Bars:
    """A rich bar on a terminal, and in a notebook with ipywidgets; else a line now and then.

    Args:
        console: where to write.
        every: seconds between those lines, each with the rate so far and the time left.
        clock: seconds, from any beginning.
    """

    def __init__(
        self, console: Console, every: float = 30.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.console = console
        self.every = every
        self.clock = clock

    @contextmanager
    def task(self, name: str, total: int, done: int = 0) -> Iterator[Advance]:
        if self.console.is_terminal or (self.console.is_jupyter and find_spec("ipywidgets")):
            with RichBars(
                TextColumn("  {task.description:<12}"),
                BarColumn(bar_width=32),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=self.console,
                transient=True,
            ) as bars:
                task = bars.add_task(name, total=total, completed=done)
                yield lambda n: bars.advance(task, n)
            return
        began = shown = last = self.clock()
        now_done, calls, waits = done, 0, 0

        def advance(n: int) -> None:
            nonlocal shown, last, now_done, calls, waits
            now, before, until = self.clock(), now_done, last
            waits += now - last >= _PAUSE
            calls, now_done, last = calls + 1, now_done + n, now
            if now - shown >= self.every:
                shown = now
                # Of items made together the first arrives long before it says how fast they are.
                if calls > max(1, waits) or n == calls == 1:
                    rate = (before - done) / max(until - began, _PAUSE)
                else:
                    rate = (now_done - done) / (now - began)
                self.console.print(f"  {name}: {_plain_line(now_done, total, rate)}")

        yield advance


def _plain_line(done: int, total: int, rate: float) -> str:
    """How far, how fast and how long still.

    >>> _plain_line(60, 300, 2.0), _plain_line(1, 4, 0.025), _plain_line(0, 4, 0.0)
    ('60/300, 2.0/s, 2 min left', '1/4, 40 s each, 2 min left', '0/4')
    """
    if rate <= 0:
        return f"{done}/{total}"
    speed = f"{rate:.1f}/s" if rate >= 0.5 else f"{duration(1 / rate)} each"
    return f"{done}/{total}, {speed}, {duration(max(0, total - done) / rate)} left"


def duration(seconds: float) -> str:
    """Two units at most.

    >>> duration(5), duration(65), duration(3700), duration(200000)
    ('5 s', '1 min 5 s', '1 h 1 min', '2 d 7 h')
    """
    whole = round(seconds)
    for size, unit, small, name in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // small
            return f"{whole // size} {unit}" + (f" {rest} {name}" if rest else "")
    return f"{whole} s"
