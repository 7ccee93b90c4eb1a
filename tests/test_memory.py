"""The settings of allocator and garbage collector."""

from __future__ import annotations

import gc
import platform

from aspire.memory import collect_less_often, keep_freed_memory


def test_glibc_takes_it_and_others_are_left_alone() -> None:
    assert keep_freed_memory() == (platform.libc_ver()[0] == "glibc")


def test_python_looks_for_cycles_less_often_and_no_less_deep() -> None:
    before = gc.get_threshold()
    try:
        gc.set_threshold(700, 10, 10)
        collect_less_often()
        assert gc.get_threshold() == (50_000, 10, 10)
    finally:
        gc.set_threshold(*before)
