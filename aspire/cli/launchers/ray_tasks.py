"""``hydra/launcher=ray``: tasks of a Ray cluster, or of one that is started on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from aspire.cli.launchers.base import PLUGINS, Ended, Job, ProcessLauncher, Work
from aspire.errors import RemoteError
from aspire.pipeline.ray_cluster import connect
from aspire.values import Natural, NonNegative


class RayLauncher(ProcessLauncher):
    """Each job is a task; one whose machine is lost is done again elsewhere.

    The machines must share the outputs and the data under the same paths.

    Args:
        address: of a cluster (``auto``, ``ray://host:10001``); null for one on this machine.
        num_cpus, num_gpus: what a job takes; Ray gives a job that many threads.
        retries: how often a job is done again whose process died.
    """

    __module__ = PLUGINS

    def __init__(
        self,
        address: str | None = None,
        num_cpus: NonNegative = 1,
        num_gpus: NonNegative = 0,
        retries: Natural = 2,
    ) -> None:
        self.address = address
        self.num_cpus = num_cpus
        self.num_gpus = num_gpus
        self.retries = retries

    def run_jobs(self, jobs: Sequence[Job]) -> Iterator[Ended]:
        ray, started = connect(self.address, "hydra/launcher=ray")
        try:
            work = ray.put(self.work)
            resources = {"num_cpus": self.num_cpus, "num_gpus": self.num_gpus}
            do = ray.remote(max_retries=self.retries, **resources)(_do)
            running = {do.remote(work, job): job for job in jobs}
            while running:
                (done,), _ = ray.wait(list(running))
                job = running.pop(done)
                try:
                    error = ray.get(done)
                except ray.exceptions.RayError as lost:
                    error = RemoteError(f"its process died: {str(lost).splitlines()[0]}")
                yield Ended(job, error)
        finally:
            if started:
                ray.shutdown()


def _do(work: Work, job: Job) -> RemoteError | None:
    return work(*job)
