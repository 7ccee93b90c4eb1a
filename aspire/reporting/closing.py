"""Loggers that have one run per job: opened by its first phase, closed when the job is over."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from aspire.reporting.wandb_run import close_run
from aspire.session import session

T = TypeVar("T")


@dataclass
class _Open:
    """What is open, of whatever kind: each has ``about.folder`` and ``close(failed)``."""

    jobs: list[Any] = field(default_factory=list)


def open_job(kind: type[T], folder: Path) -> T | None:
    """The open one of the job in this folder; one of another job is closed."""
    for job in [j for j in session().of(_Open).jobs if isinstance(j, kind)]:
        if job.about.folder == folder:
            return job
        _close(job, failed=False)
    return None


def keep_open(job: Any) -> None:
    """Until :func:`close_jobs`."""
    session().of(_Open).jobs.append(job)


def close_jobs(failed: bool = False) -> None:
    """Close all that are open: finished where the job has left its result."""
    close_run(failed)
    for job in list(session().of(_Open).jobs):
        _close(job, failed)


def _close(job: Any, failed: bool) -> None:
    session().of(_Open).jobs.remove(job)
    job.close(failed or not (job.about.folder / "result.json").is_file())
