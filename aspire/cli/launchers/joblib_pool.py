"""``hydra/launcher=joblib``: processes of joblib's loky on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from msgspec import Meta

from aspire.cli.launchers.base import PLUGINS, Ended, Job, ProcessLauncher, Work
from aspire.errors import AspireError, ConfigError, last_line

_Jobs = Annotated[int, Meta(ge=-1)]


class JoblibLauncher(ProcessLauncher):
    """Jobs run at once in ``n_jobs`` processes, which joblib gives their share of the cores.

    Args:
        n_jobs: processes; -1 or 0 for one per core.
        options: further ones of ``joblib.Parallel``.
    """

    __module__ = PLUGINS

    def __init__(self, n_jobs: _Jobs = -1, **options: Any) -> None:
        own = {"backend": "loky", "batch_size": 1, "return_as": "generator_unordered"}
        self.options = {**options, "n_jobs": n_jobs or -1, **own}

    def run_jobs(self, jobs: Sequence[Job]) -> Iterator[Ended]:
        from joblib import Parallel, delayed
        from joblib.externals.loky.process_executor import TerminatedWorkerError

        try:
            pool = Parallel(**self.options)
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"hydra.launcher: joblib.Parallel does not take these values: {last_line(error)}"
            ) from None
        try:
            yield from pool(delayed(_do)(self.work, job) for job in jobs)
        except TerminatedWorkerError:
            raise AspireError(
                "A worker process died: out of memory, or killed; joblib then stops them all. The "
                "same command does what is left; hydra/launcher=slots goes on without the job."
            ) from None


def _do(work: Work, job: Job) -> Ended:
    return Ended(job, work(*job))
