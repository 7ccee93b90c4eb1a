"""Uploading later: offline runs by ``wandb sync``, other finished jobs from their results."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from aspire.errors import ConfigError, ServiceError
from aspire.identity import arm_name
from aspire.reporting import wandb_run
from aspire.reporting.grid import Grid, make_grid
from aspire.reporting.grid_text import records
from aspire.reporting.wandb_data import check_uploads
from aspire.runs.ledger import JobEntry, find_jobs
from aspire.stored.results import read_training

AT_ONCE = 50  # folders in one call of wandb sync
ANSWER = 10.0  # seconds within which a server must answer


def offline_runs(folder: Path) -> list[Path]:
    """Folders of the W&B runs of a job or sweep that were not uploaded, oldest first.

    W&B leaves a ``*.wandb.synced`` beside the data of an uploaded run.
    """
    files = sorted(Path(folder).glob("wandb/offline-run-*/*.wandb"))
    return [p.parent for p in files if not p.with_name(f"{p.name}.synced").exists()]


def unlogged(jobs: Sequence[JobEntry]) -> list[Path]:
    """Run folders of finished jobs that W&B knows nothing of, neither online nor offline."""
    done = [job.look.folder for job in jobs if job.state == "done"]
    return [f for f in done if not any((f / "wandb").glob("*run-*"))]


def write_run(folder: Path, place: wandb_run.Place, sweep: str = "") -> None:
    """The W&B run of a finished job, offline, from its ``result.json`` alone."""
    result = read_training(folder)
    labels = {k: result[k] for k in ("dataset", "baseline", "augmentation", "model", "seed")}
    arm = f"{labels['dataset']}-{labels['baseline']}-{labels['augmentation']}"
    about = wandb_run.About(
        folder,
        result["key"],
        f"{arm}-s{labels['seed']}",
        arm,
        tuple(str(v) for k, v in labels.items() if k != "seed"),
        labels,
        result["identity"],
        sweep,
    )
    from aspire.reporting.wandb_logger import open_run  # Lightning and torch take seconds

    open_run(about, place)
    wandb_run.close_run()


def moved(run: Path) -> bool:
    """Whether an offline run is elsewhere than where it was written.

    W&B notes the whole path of the artifacts that wait for their upload.
    """
    (data,) = run.glob("*.wandb")
    content = data.read_bytes()
    return b"artifacts/staging" in content and str(run.resolve().parent).encode() not in content


def write_table(folder: Path, place: wandb_run.Place, metrics: Sequence[str]) -> Path | None:
    """The table of a sweep and its gains as one more W&B run, offline.

    Args:
        folder: of the sweep; the run goes below it.
        metrics: of the test split.

    Returns:
        The folder of the W&B run.

    Raises:
        ConfigError: when no job in the folder is finished, or different settings meet in a cell.
    """
    import wandb

    grid = make_grid_of(find_jobs(folder), metrics)
    rows = records(grid)
    columns = ["baseline", "augmentation", "dataset", "metric", "mean", "std", "n"]
    columns += ["gain", "gain_low", "gain_high", "needs", "selection", "open", "finish"]
    folder = Path(folder).resolve()
    about = wandb_run.About(
        folder, f"table-{folder.name}", f"{folder.name}-table", sweep=folder.name, job_type="table"
    )
    run = wandb_run.start(about, place)
    if run.disabled:
        return None
    run.log({"table": wandb.Table(columns=columns, data=[[r[c] for c in columns] for r in rows])})
    for row in rows:
        if row["gain"] is not None:
            arm = arm_name(row["baseline"], row["augmentation"])
            run.summary[gain_key(row["metric"], row["dataset"], arm)] = row["gain"]
    written = Path(run.dir).parent
    run.finish()
    return written


def gain_key(metric: str, dataset: str, arm: str) -> str:
    """Under which name a gain stands in the run of a table.

    >>> gain_key("worst_group_acc", "mini_celeba", "erm + aspire")
    'gain/worst_group_acc/mini_celeba/erm + aspire'
    """
    return f"gain/{metric}/{dataset}/{arm}"


def make_grid_of(jobs: Sequence[JobEntry], metrics: Sequence[str]) -> Grid:
    """Baselines by datasets of these jobs.

    Raises:
        ConfigError: when none of them is finished.
    """
    done = [j.look.folder for j in jobs if j.state == "done"]
    if not done:
        raise ConfigError("No job here is finished; see aspire sweep status DIR.")
    results = {str(f): read_training(f) for f in done}
    return make_grid(jobs, results, ["baseline"], ["dataset"], metrics, "test")


def write_again(run: Path, place: wandb_run.Place, sweep: str = "") -> None:
    """Write a moved run again, from the results it is beside."""
    before = set(run.parent.glob("offline-run-*"))
    write_run(run.parents[1], place, sweep)
    if set(run.parent.glob("offline-run-*")) - before:
        shutil.rmtree(run)


def check_account() -> None:
    """Refuse to go on without an account or a server; nobody is ever asked for a key.

    Raises:
        ConfigError: saying how to log in.
        ServiceError: when no server answers; wandb sync itself would try for days.
    """
    if not wandb_run.logged_in():
        raise ConfigError(
            "W&B has no key of yours here, and nobody is asked for one. Type wandb login, or set "
            "WANDB_API_KEY, then the same command again."
        )
    import requests
    import wandb

    address = wandb.setup().settings.base_url
    try:
        requests.get(address, timeout=ANSWER)
    except requests.RequestException as error:
        raise ServiceError(
            f"{address} does not answer ({type(error).__name__}). Nothing was uploaded and nothing "
            "is lost; the same command tries again."
        ) from None


def upload(runs: Sequence[Path], place: wandb_run.Place) -> None:
    """Hand offline runs to ``wandb sync``, which says what it does.

    Raises:
        DamagedError: when one names files that are not its own; none is handed over then.
        ServiceError: when W&B does not take one.
    """
    import wandb

    wandb.teardown()  # what was written a moment ago is on disk only now
    for run in runs:
        check_uploads(run)
    given = {"--project": place.project, "--entity": place.entity}
    options = [w for k, v in given.items() if v for w in (k, v)]
    logs = tempfile.gettempdir()  # else wandb sync leaves a folder where it was started
    environment = {**os.environ, "WANDB_MODE": "online", "WANDB_DIR": logs}
    for first in range(0, len(runs), AT_ONCE):
        paths = map(str, runs[first : first + AT_ONCE])
        command = [sys.executable, "-m", "wandb", "sync", *options, *paths]
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=False)
        if done.returncode:
            raise ServiceError(
                "wandb sync failed, for the reason above; the same command tries again."
            )
