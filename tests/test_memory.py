"""The allocator's setting."""

from __future__ import annotations

import platform

from aspire.memory import keep_freed_memory


def test_glibc_takes_it_and_others_are_left_alone() -> None:
    assert keep_freed_memory() == (platform.libc_ver()[0] == "glibc")
