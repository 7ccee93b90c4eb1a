"""Settings of the C allocator and of Python's garbage collector that everything here gains from."""

from __future__ import annotations

import ctypes
import gc

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


YOUNG = 50_000  # new objects after which Python looks for cycles among them; its own number is 700


def collect_less_often() -> None:
    """Let Python look for reference cycles less often.

    A start creates many objects that live on, and a tenth of it was spent looking through them.
    """
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])


def keep_freed_memory() -> bool:
    """Let this process keep the memory it frees, to use it again.

    glibc hands every freed block above 32 MiB back to the kernel, so each training step has the
    same activations mapped and zeroed again. The process stays as large as its largest step was.

    Returns:
        Whether it worked; elsewhere than on glibc nothing is done.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # macOS, musl, Windows
        return False
    large = mallopt(M_MMAP_THRESHOLD, 2**30) or mallopt(M_MMAP_THRESHOLD, 2**25)  # older limit
    return bool(large and mallopt(M_TRIM_THRESHOLD, 2**31 - 1))
