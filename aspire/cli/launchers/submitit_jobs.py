"""``hydra/launcher=submitit``: jobs of a Slurm cluster, or of this machine as if it were one."""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from aspire.cli.launchers.base import PLUGINS, Ended, Job, ProcessLauncher, Work
from aspire.errors import ConfigError, RemoteError, last_line
from aspire.values import Count, Natural

POLL = 0.5  # seconds between two looks at the jobs


class SubmititLauncher(ProcessLauncher):
    """Each job is submitted and waited for; one that is preempted or timed out is queued again.

    On SIGUSR1, SIGUSR2 and SIGTERM a job gives its place up. It then continues in the same run
    folder from its last evaluation, as often as ``parameters.timeout_min`` cuts it off.

    Args:
        cluster: ``slurm``, ``local``, ``debug``, or null for what there is.
        parallel: jobs that are queued or running at once.
        max_num_timeout: how often a job may be cut off by its time limit.
        parameters: of submitit, such as timeout_min, cpus_per_task, gpus_per_node and
            slurm_partition.
    """

    __module__ = PLUGINS

    def __init__(
        self,
        cluster: Literal["slurm", "local", "debug"] | None = None,
        parallel: Count = 64,
        max_num_timeout: Natural = 8,
        parameters: Mapping[str, Any] | None = None,
    ) -> None:
        self.cluster = cluster
        self.parallel = parallel
        self.max_num_timeout = max_num_timeout
        self.parameters = dict(parameters or {})

    def run_jobs(self, jobs: Sequence[Job]) -> Iterator[Ended]:
        try:
            import submitit
        except ImportError:
            raise ConfigError(
                "hydra/launcher=submitit needs submitit: pip install 'aspire-shortcuts[submitit]'"
            ) from None
        try:
            executor = submitit.AutoExecutor(
                folder=f"{self.work.config.hydra.sweep.dir}/submitit/%j",
                cluster=self.cluster,
                **{f"{name}_max_num_timeout": self.max_num_timeout for name in ("slurm", "local")},
            )
            executor.update_parameters(**self.parameters)
        except (NameError, RuntimeError, TypeError, ValueError) as error:
            raise ConfigError(
                f"hydra.launcher: submitit does not take these values: {last_line(error)}"
            ) from None
        waiting = deque(jobs)
        running: list[tuple[Any, Job]] = []
        try:
            while waiting or running:
                while waiting and len(running) < self.parallel:
                    job = waiting.popleft()
                    running.append((executor.submit(Requeued(self.work), *job), job))
                for submitted, job in [r for r in running if r[0].done()]:
                    running.remove((submitted, job))
                    yield Ended(job, _outcome(submitted))
                time.sleep(POLL)
        except BaseException:
            for submitted, _ in running:
                submitted.cancel()
            raise


def _outcome(submitted: Any) -> RemoteError | None:
    try:
        result: RemoteError | None = submitted.result()
    except Exception as error:  # submitit's own, for a job that left no answer
        return RemoteError(f"submitit job {submitted.job_id} left no result: {_first(error)}")
    return result


def _first(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


class Requeued:
    """The work as submitit wants it: with a way to go on after an interruption."""

    def __init__(self, work: Work) -> None:
        self.work = work

    def __call__(self, number: int, words: list[str]) -> RemoteError | None:
        from submitit import JobEnvironment

        # submitit has put its own handler on one signal; clusters send others, too
        requeue = signal.getsignal(JobEnvironment()._usr_sig())
        for name in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM):
            signal.signal(name, requeue)
        return self.work(number, words)

    def checkpoint(self, number: int, words: list[str]) -> Any:
        """The same again: the run folder knows how far it is."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, number, words)
