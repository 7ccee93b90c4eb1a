"""``hydra/launcher=slots``: processes on this machine, so many per device, that live on."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Literal

from aspire.cli.launchers.base import (
    PLUGINS,
    Ended,
    Job,
    ProcessLauncher,
    Work,
    thread_limits,
)
from aspire.errors import RemoteError
from aspire.processes import cores
from aspire.values import Count, Natural

SPAWN = multiprocessing.get_context("spawn")  # CUDA and threads do not survive a fork
_work: list[Work] = []  # of a worker process, which keeps it from job to job


class SlotsLauncher(ProcessLauncher):
    """Jobs run at once, each slot a process of its own: imports and datasets are loaded once.

    A slot has its share of the cores as threads and, where there are GPUs, one of them as the only
    one it sees. A process that dies (out of memory) costs its job, not the sweep.

    Args:
        slots: processes per device; a machine without a GPU is one device.
        devices: "auto" for every visible GPU, or their numbers; [] for none.
    """

    __module__ = PLUGINS

    def __init__(
        self, slots: Count = 1, devices: Literal["auto"] | Sequence[Natural | str] = "auto"
    ) -> None:
        found = visible_gpus() if devices == "auto" else [str(d) for d in devices]
        self.devices: list[str | None] = [*found] or [None]
        self.slots = slots * len(self.devices)

    def environment(self, slot: int) -> dict[str, str]:
        """What a worker process finds different from this one."""
        device = self.devices[slot % len(self.devices)]
        gpu = {} if device is None else {"CUDA_VISIBLE_DEVICES": device}
        return thread_limits(cores() // self.slots) | gpu

    def run_jobs(self, jobs: Sequence[Job]) -> Iterator[Ended]:
        waiting = deque(jobs)
        pools = [self._pool(slot) for slot in range(min(self.slots, len(jobs)))]
        running: dict[Future[RemoteError | None], tuple[int, Job]] = {}

        def start(slot: int) -> None:
            if waiting:
                job = waiting.popleft()
                running[pools[slot].submit(_do, *job)] = (slot, job)

        try:
            for slot in range(len(pools)):
                start(slot)
            while running:
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    slot, job = running.pop(future)
                    try:
                        error = future.result()
                    except BrokenProcessPool:
                        error = RemoteError("its process died: out of memory, or killed")
                        pools[slot].shutdown()  # buries the dead, which counts as alive before
                        pools[slot] = self._pool(slot)
                    yield Ended(job, error)
                    start(slot)
        finally:
            for pool in pools:
                pool.shutdown(cancel_futures=True)

    def _pool(self, slot: int) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, SPAWN, _begin, (self.work, self.environment(slot)))


def _begin(work: Work, environment: Mapping[str, str]) -> None:
    os.environ.update(environment)  # nothing that reads it is imported yet
    _work.append(work)


def _do(number: int, words: list[str]) -> RemoteError | None:
    return _work[0](number, words)


def visible_gpus() -> list[str]:
    """Their numbers or names, as CUDA_VISIBLE_DEVICES takes them; asks the driver, not torch."""
    if (given := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [d.strip() for d in given.split(",") if d.strip() not in ("", "-1")]
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, check=False)
    return answer.stdout.split() if answer.returncode == 0 else []
