"""What a process remembers between the jobs of one command, in one place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


class Session:
    """One record of each kind; whoever keeps something has a class of its own for it."""

    def __init__(self) -> None:
        self._records: dict[type[Any], Any] = {}

    def of(self, kind: type[T]) -> T:
        """The record of that class, which can be changed; a fresh one at first."""
        record: T = self._records.setdefault(kind, kind())
        return record

    @contextmanager
    def replaced(self, record: object) -> Iterator[None]:
        """Have another record of its class for a while."""
        before = self.of(type(record))
        self._records[type(record)] = record
        try:
            yield
        finally:
            self._records[type(record)] = before


_session = Session()


def session() -> Session:
    """That of the command that runs here."""
    return _session


@contextmanager
def new_session() -> Iterator[Session]:
    """Nothing is remembered from before, and nothing of it afterwards."""
    global _session
    before, _session = _session, Session()
    try:
        yield _session
    finally:
        _session = before
