"""What every call happens in, and its settings as the words of the command line."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from aspire.cli._overrides import check_overrides, initialized_apart
from aspire.cli._plugins import add_to_hydra
from aspire.cli._words import quoted
from aspire.errors import AspireError
from aspire.memory import keep_freed_memory
from aspire.own_code import find_code_in
from aspire.stored.trouble import storage_error


@contextmanager
def calling(outputs: object = "") -> Iterator[None]:
    """What every call happens in: as on the command line, but errors are raised.

    Raises:
        AspireError: for all that the user can mend, a full disk included.
    """
    if _within.get():  # one function of the API calls another
        yield
        return
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    keep_freed_memory()
    find_code_in(Path.cwd())
    add_to_hydra()
    token = _within.set(True)
    try:
        with initialized_apart():
            yield
    except AspireError:
        raise
    except Exception as problem:
        if (told := storage_error(problem, outputs)) is not None:
            raise told from problem
        raise
    finally:
        _within.reset(token)


_within: ContextVar[bool] = ContextVar("within", default=False)


def place(outputs: str | Path | None) -> dict[str, Any]:
    """The setting for where everything is kept; none where the environment says it.

    Without either it is ``outputs`` in the folder where Python is by now, not where it was started.
    """
    if outputs is None and "ASPIRE_OUTPUTS" in os.environ:
        return {}
    return {"paths.outputs": str(Path(outputs or "outputs").absolute())}


def words_of(verb: str, settings: Mapping[str, Any]) -> list[str]:
    """Settings by dotted key as the command line takes them.

    Raises:
        ConfigError: for a key or choice there is not, with the nearest right name.
    """
    words = [f"{key}={quoted(_plain(value))}" for key, value in settings.items()]
    return check_overrides(verb, words)


def _plain(value: Any) -> Any:
    """A value as the grammar of overrides has it."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(v) for v in value]
    return value.item() if hasattr(value, "item") else value
