"""Processes that train together, one per device, started by torchrun; and their cores."""

from __future__ import annotations

import os


def is_main() -> bool:
    """Whether this process writes what all of them have made; true for a process alone."""
    return int(os.environ.get("RANK", 0)) == 0


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def process_share() -> tuple[int, int]:
    """Rank of this process and their number once they are connected; (0, 1) before, and alone."""
    import torch

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def wait_for_all() -> None:
    """Wait until every process is here."""
    import torch

    if process_share()[1] > 1:
        torch.distributed.barrier()
