"""What was computed from an object, remembered as long as the object lives."""

from __future__ import annotations

import weakref
from typing import Any, Generic, TypeVar

V = TypeVar("V")


class WhileAlive(Generic[V]):
    """Values by object, by identity rather than equality, so that arrays can be keys.

    A stage asks about the images of its batch several times and then lets go of them; what is
    remembered of them goes with them.

    Args:
        most: values kept at once; further ones are not remembered.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._known: dict[int, tuple[weakref.ref[Any], V]] = {}

    def __contains__(self, thing: Any) -> bool:
        return id(thing) in self._known

    def __getitem__(self, thing: Any) -> V:
        return self._known[id(thing)][1]

    def __len__(self) -> int:
        return len(self._known)

    def put(self, thing: Any, value: V) -> None:
        """Remember a value for an object that can be referred to weakly."""
        if len(self._known) < self.most:
            key, known = id(thing), self._known
            # Gone before its id can be given to another object.
            known[key] = (weakref.ref(thing, lambda _: known.pop(key, None)), value)
