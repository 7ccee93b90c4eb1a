"""What a scheduler's SIGTERM does: the work stops where it is, and one line says so."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

STOPPED = 128 + signal.SIGTERM  # exit code, as a shell reports it


class Stopped(SystemExit):
    """Somebody wants this process to end."""


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise :class:`Stopped` on SIGTERM, unless somebody else already answers to it."""
    usual = threading.current_thread() is threading.main_thread()
    if not usual or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _stop(number: int, frame: Any) -> None:
    raise Stopped(STOPPED)
