"""Loggers that have one run per job: opened by its first phase, closed when the job is over."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from aspire.reporting.wandb_run import About, close_run
from aspire.session import session


class OneRun(Protocol):
    """A logger with one run per job."""

    about: About

    def close(self, failed: bool) -> None:
        """The results of a finished job, then the end of the run."""


T = TypeVar("T", bound=OneRun)


@dataclass
class _Open:
    """What is open, of whatever kind."""

    jobs: list[OneRun] = field(default_factory=list)


def open_job(kind: type[T], folder: Path) -> T | None:
    """The open one of the job in this folder; one of another job is closed."""
    for job in [j for j in session().of(_Open).jobs if isinstance(j, kind)]:
        if job.about.folder == folder:
            return job
        _close(job, failed=False)
    return None


def keep_open(job: OneRun) -> None:
    """Until :func:`close_jobs`."""
    session().of(_Open).jobs.append(job)


def close_jobs(failed: bool = False) -> None:
    """Close all that are open: finished where the job has left its result."""
    close_run(failed)
    for job in list(session().of(_Open).jobs):
        _close(job, failed)


def _close(job: OneRun, failed: bool) -> None:
    session().of(_Open).jobs.remove(job)
    job.close(failed or not (job.about.folder / "result.json").is_file())
