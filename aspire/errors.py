"""The errors a user meets: what was given, what was expected, what to type next.

Library code raises these; ``aspire.cli`` prints the message without a traceback and exits
with ``exit_code``. Anything else that reaches the user is a bug.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


class AspireError(Exception):
    """A problem the user can solve. The message must say how.

    Exit codes: 2 configuration, 3 data, 4 some jobs failed, 5 a service is unreachable, 6 a
    file cannot be written or read, such as on a full disk.
    """

    exit_code = 1


class ConfigError(AspireError):
    """A key, a choice or a combination of settings that cannot work."""

    exit_code = 2


class DataError(AspireError):
    """A file or table that is missing, unreadable or inconsistent."""

    exit_code = 3


class DamagedError(DataError):
    """Stored work that is not what was kept: cut short, changed, or of another shape."""


class ServiceError(AspireError):
    """Something outside this machine (a model hub, an endpoint) did not answer."""

    exit_code = 5


class StorageError(AspireError):
    """The disk, the file system or its permissions stood in the way."""

    exit_code = 6


class RemoteError(AspireError):
    """An error in another process: text and exit code, which is all that travels."""

    def __init__(self, text: str, exit_code: int = 1) -> None:
        super().__init__(text)
        self.exit_code = exit_code

    def __reduce__(self) -> tuple[Any, ...]:
        return (RemoteError, (str(self), self.exit_code))


def last_line(error: BaseException) -> str:
    r"""What is worth telling of another library's long error.

    >>> last_line(ValueError("worker died\n  why: no memory\n"))
    'why: no memory'
    >>> last_line(KeyError())
    'KeyError'
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def did_you_mean(given: str, choices: Iterable[str]) -> str:
    """The nearest right name as half a sentence, or an empty string when nothing is near.

    >>> did_you_mean("waterbird", ["waterbirds", "celeba"])
    ' Did you mean waterbirds?'
    >>> did_you_mean("qqq", ["waterbirds"])
    ''
    """
    near = get_close_matches(given, list(choices), n=1, cutoff=0.6)
    return f" Did you mean {near[0]}?" if near else ""
