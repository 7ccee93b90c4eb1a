"""What every launcher shares: a job in a worker process, and what the main process makes of it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import threading
import time
import traceback
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from aspire.errors import AspireError, RemoteError
from aspire.memory import keep_freed_memory
from aspire.own_code import find_code_in

PLUGINS = "hydra_plugins.aspire"  # where Hydra looks for launchers, see plugins.py

Job = tuple[int, list[str]]  # its number in the sweep and its words


class Work:
    """Does any job of a sweep, in whichever process it is sent to.

    Args:
        task: what is done with the configuration of a job.
        config: of the sweep.
        context: Hydra's own, which composes the jobs.
    """

    def __init__(self, task: TaskFunction, config: DictConfig, context: HydraContext) -> None:
        self.task = task
        self.config = config
        self.context = context
        self.hydra = GlobalHydra.instance().hydra
        self.folder = Path.cwd()

    def __call__(self, number: int, words: list[str]) -> RemoteError | None:
        """Why the job failed, or None; its output goes to a file beside the ledger's entry."""
        self._settle()
        with _output_to(output_of(self.config, words)):
            try:
                config = self.context.config_loader.load_sweep_config(self.config, words)
                with open_dict(config):
                    config.hydra.job.id = config.hydra.job.num = number
                returned = run_job(
                    hydra_context=self.context,
                    task_function=self.task,
                    config=config,
                    job_dir_key="hydra.sweep.dir",
                    job_subdir_key="hydra.sweep.subdir",
                )
                _ = returned.return_value  # raises what the job raised
            except AspireError as error:
                return RemoteError(str(error), error.exit_code)
            except Exception as error:
                traceback.print_exc()
                return RemoteError(f"{type(error).__name__}: {error}")
        return None

    def _settle(self) -> None:
        """What the main process has done when it started."""
        find_code_in(self.folder)
        Plugins.instance()
        setup_globals()
        if GlobalHydra.instance().hydra is None:
            GlobalHydra.instance().initialize(self.hydra)
            keep_freed_memory()
            _leave_with_parent()


def output_of(config: DictConfig, words: Sequence[str]) -> Path:
    """The file that a job in another process writes its output to."""
    from aspire.runs.ledger import Ledger

    return Ledger(Path(config.hydra.sweep.dir)).file(words).with_suffix(".txt")


def _leave_with_parent() -> None:
    """End with the main process, however it ended, so that no job goes on unseen.

    Only in its children: what runs on a cluster is the cluster's to end.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        try:
            parent.join()
        except ValueError:  # joblib's workers are given nothing to wait on
            while os.getppid() == parent.pid:
                time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="parent").start()


@contextlib.contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """Everything this process writes, other libraries and their children included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    try:
        with path.open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, old in enumerate(kept, start=1):
            os.dup2(old, number)
            os.close(old)


@dataclass
class Ended:
    """A job that is over."""

    job: Job
    error: RemoteError | None


class ProcessLauncher(Launcher):
    """A launcher whose jobs run in other processes. Subclasses say how in :meth:`run_jobs`."""

    __module__ = PLUGINS
    work: Work

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.work = Work(task_function, config, hydra_context)

    @abstractmethod
    def run_jobs(self, jobs: Sequence[Job]) -> Iterator[Ended]:
        """Every job as it ends, in any order; one that fails keeps no other from running."""

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        from aspire.cli import _sweep

        jobs = [(n, list(w)) for n, w in enumerate(job_overrides, start=initial_job_idx)]
        returns = {n: JobReturn(overrides=w, status=JobStatus.COMPLETED) for n, w in jobs}
        for done, ended in enumerate(self.run_jobs(jobs), start=1):
            number, words = ended.job
            if _sweep.started():  # whose ledger knows of every failure
                _sweep.job_ended(words, ended.error, done, output_of(self.work.config, words))
            elif ended.error is not None:
                returns[number].status = JobStatus.FAILED
                returns[number].return_value = ended.error
        return list(returns.values())


def thread_limits(threads: int) -> dict[str, str]:
    """Environment of a process that shares a machine; what the user has set holds."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {name: os.environ.get(name, str(max(1, threads))) for name in names}
