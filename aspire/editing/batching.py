"""Work in batches that neither a full memory nor one bad item can stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from aspire.editing.base import Failure
from aspire.errors import AspireError

T = TypeVar("T")
R = TypeVar("R")


class Batches:
    """Hands items to a function, ``size`` at a time.

    When memory runs out the batch is halved, and stays so. Any other error is traced to its item
    by halving too: that item becomes a :class:`Failure` and the others get their results. Errors
    that the user must see (:class:`AspireError`: no such model, a broken mask file) pass through.

    Args:
        size: largest batch; bounds memory, never changes a result.
    """

    def __init__(self, size: int) -> None:
        self.size = max(1, size)

    def map(
        self, work: Callable[[Sequence[T]], Sequence[R | Failure]], items: Sequence[T]
    ) -> list[R | Failure]:
        """One result per item, in order."""
        results: list[R | Failure] = []
        while len(results) < len(items):
            batch = items[len(results) : len(results) + self.size]
            results += self._guarded(work, batch)
        return results

    def _guarded(
        self, work: Callable[[Sequence[T]], Sequence[R | Failure]], batch: Sequence[T]
    ) -> list[R | Failure]:
        try:
            results = list(work(batch))
            if len(results) != len(batch):
                raise RuntimeError(f"{len(results)} results for {len(batch)} items")
            return results
        except AspireError:
            raise
        except Exception as error:
            full, detail = is_out_of_memory(error), describe(error)
        # Past the except block the failed attempt's tensors are gone with its traceback.
        if full:
            _release()
            self.size = min(self.size, max(1, len(batch) // 2))
        if len(batch) == 1:
            return [Failure("out of memory" if full else detail)]
        middle = len(batch) // 2
        return self._guarded(work, batch[:middle]) + self._guarded(work, batch[middle:])


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that there is no memory left, on the host or on a device."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    return "out of memory" in text or "can't allocate memory" in text


def describe(error: Exception) -> str:
    """One short line that names the error."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:200]


def _release() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
