"""``aspire`` in processes of its own, which can be killed, without the imports of each.

A fresh Python pays seconds for its imports. One server a test process (the forkserver of
``multiprocessing``) pays them once, and every command is a fork of it, with its own process id,
environment and output.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

FORKS = multiprocessing.get_context("forkserver")
# What a run imports on its way; none of it starts threads, which would not survive a fork.
FORKS.set_forkserver_preload(
    ["commands", "aspire.cli.run", "aspire.cli.train", "pytorch_lightning", "spacy", "imagehash"]
)


class Ended(NamedTuple):
    """A command that is over."""

    code: int
    stdout: str
    stderr: str


class Command:
    """A running command, with the environment of this process and what is given.

    Args:
        words: what follows ``aspire``.
        folder: where its output is kept.
        not_before: the moment it begins at, in seconds as ``time.time`` tells them.
        environment: variables of its own.
    """

    def __init__(
        self, words: Sequence[str], folder: Path, *, not_before: float = 0.0, **environment: str
    ) -> None:
        self.folder = folder
        whole = {**os.environ, **environment}
        arguments = (list(words), whole, folder, not_before)
        self.process = FORKS.Process(target=_command, args=arguments)
        self.process.start()

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    def end(self, timeout: float = 500) -> Ended:
        """Wait for it, with what it said; one that does not end is killed."""
        try:
            self.process.join(timeout)
        finally:
            self.kill()
        out, err = ((self.folder / name).read_text() for name in ("out", "err"))
        assert self.process.exitcode is not None
        return Ended(self.process.exitcode, out, err)

    def kill(self) -> None:
        """``kill -9``, unless it is over."""
        self.process.kill()
        self.process.join()

    def kill_when(self, happened: Callable[[], object], timeout: float = 500) -> None:
        """Kill it at the moment something is seen; a failure if it ends before.

        What looks through folders may find one renamed under its hands, and looks again.
        """
        end = time.monotonic() + timeout

        def seen() -> object:
            try:
                return happened()
            except FileNotFoundError:
                return False

        try:
            while not seen():
                assert self.process.exitcode is None, f"ended before it was killed: {self.end()}"
                assert time.monotonic() < end, "waited in vain"
                time.sleep(0.01)
        finally:
            self.kill()


def _command(
    words: list[str], environment: Mapping[str, str], folder: Path, not_before: float
) -> None:
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = [p for p in environment.get("PYTHONPATH", "").split(os.pathsep) if p]
    import torch

    from aspire.cli import main

    torch.set_num_threads(1)
    time.sleep(max(0.0, not_before - time.time()))
    sys.exit(main(words))


def torchrun(function: Callable[..., Any], *arguments: Any) -> dict[int, Any]:
    """What it returns in each of two processes, started as ``torchrun --standalone`` does."""
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        1, 1, 2,
        run_id=str(uuid.uuid4()),
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        start_method=FORKS.get_start_method(),
    )  # fmt: skip
    with ThreadPoolExecutor(1) as thread:  # in the main one it would answer to signals for good
        return thread.submit(elastic_launch(config, function), *arguments).result()


def together(words: Sequence[str]) -> int:
    """The largest exit code of ``torchrun --nproc-per-node 2 -m aspire WORDS``, from here."""
    return max(torchrun(_one_of_two, list(words), dict(os.environ), str(Path.cwd())).values())


def _one_of_two(words: list[str], environment: Mapping[str, str], folder: str) -> int:
    for name, value in environment.items():
        os.environ.setdefault(name, value)
    os.chdir(folder)
    import torch

    from aspire.cli import main

    torch.set_num_threads(1)
    return main(words)
