"""One setting of the C allocator that training on a CPU gains from."""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def keep_freed_memory() -> bool:
    """Let this process keep the memory it frees, to use it again.

    glibc hands every freed block above 32 MiB back to the kernel, so each training step has the
    same activations mapped and zeroed anew. The process stays as large as its largest step was.

    Returns:
        Whether it worked; elsewhere than on glibc nothing is done.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # macOS, musl, Windows
        return False
    large = mallopt(M_MMAP_THRESHOLD, 2**30) or mallopt(M_MMAP_THRESHOLD, 2**25)  # older limit
    return bool(large and mallopt(M_TRIM_THRESHOLD, 2**31 - 1))
