"""What stood in the way of reading or writing, in one sentence."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator

from aspire.errors import StorageError

UNWRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)

_ROOM = "Make room, or take another folder with paths.outputs=DIR"
_CAUSES = {
    errno.ENOSPC: ("the disk is full", _ROOM),
    errno.EDQUOT: ("your quota of the disk is used up", _ROOM),
    errno.EFBIG: ("it would be larger than the limit for files (ulimit -f)", "Raise the limit"),
    errno.EROFS: ("the file system is read-only", "Take another folder with paths.outputs=DIR"),
    errno.EACCES: ("permission is denied", "Change the permissions, or take another folder"),
    errno.EPERM: (
        "the system does not permit it",
        "Change the permissions, or take another folder",
    ),
    errno.EEXIST: ("a file is where a folder should be", "Move it, or take another folder"),
    errno.ENOTDIR: ("a file is where a folder should be", "Move it, or take another folder"),
    errno.EISDIR: ("a folder is where a file should be", "Move it, or take another folder"),
    errno.ENOTEMPTY: ("a folder with files is in its place", "Move it"),
    errno.EMFILE: ("too many files are open", "Raise the limit (ulimit -n)"),
    errno.ENFILE: ("too many files are open on this machine", "Close other programs"),
    errno.ENAMETOOLONG: ("its name is too long", "Take a folder with a shorter path"),
    errno.ENOENT: ("it is gone", "Put it back"),
    errno.EIO: ("the disk reports an error", "Check the disk"),
    errno.ESTALE: ("the network share has gone", "Mount it again"),
    errno.ELOOP: ("its links lead in a circle", "Fix the links"),
}
# How libraries word it that raise errors of their own.
_NUMBER = re.compile(r"(?:os error|Errno) (\d+)")
_WORDS = {
    "No space left on device": errno.ENOSPC,
    "PytorchStreamWriter failed": errno.ENOSPC,
    "Disk quota exceeded": errno.EDQUOT,
    "File too large": errno.EFBIG,
    "Read-only file system": errno.EROFS,
    "Too many open files": errno.EMFILE,
}


def is_of_a_file(error: BaseException) -> bool:
    """Whether an error itself, and not one before it, says that a file could not be written.

    >>> is_of_a_file(OSError(28, "No space")), is_of_a_file(ConnectionError()), is_of_a_file(
    ...     OSError("503 Service Unavailable")
    ... )
    (True, False, False)
    """
    return _number(error) not in (None, errno.ENOENT)


def storage_error(error: BaseException, below: object = "") -> StorageError | None:
    """The error in our words; None where no file stood in the way.

    What came first counts: on a full disk the report of an error fails as well.

    Args:
        below: folder that is named where the system does not say which file it is.

    >>> print(storage_error(OSError(28, "No space", "a/b.json")))
    a/b.json: the disk is full. Make room, or take another folder with paths.outputs=DIR.
    What is finished is kept, and the same command goes on.
    """
    found = [(e, n) for e in _chain(error) if (n := _number(e)) is not None]
    if not found:
        return None
    # Folders are made from below, so that a missing one is what a handled error says.
    found = [f for f in found if f[1] != errno.ENOENT] or found
    first, number = found[-1]
    cause, remedy = _CAUSES.get(number, (str(getattr(first, "strerror", first)), "See to it"))
    # The second of two is where something was to be moved to.
    files = [e.filename2 or e.filename for e, _ in found if isinstance(e, OSError)]
    names = [f for f in files if f is not None]
    name = names[-1] if names else f"A file below {below}" if below else "A file"
    if isinstance(name, bytes):
        name = name.decode(errors="replace")
    return StorageError(
        f"{name}: {cause}. {remedy}.\nWhat is finished is kept, and the same command goes on."
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _number(error: BaseException) -> int | None:
    """Its errno, if it is about files."""
    if isinstance(error, ConnectionError | TimeoutError | InterruptedError | BlockingIOError):
        return None
    if isinstance(error, OSError) and error.errno in _CAUSES:
        return error.errno
    if type(error).__module__.partition(".")[0] == "aspire":
        return None  # in our words already
    text = str(error)
    if (told := _NUMBER.search(text)) and int(told[1]) in _CAUSES:
        return int(told[1])
    return next((number for words, number in _WORDS.items() if words in text), None)
