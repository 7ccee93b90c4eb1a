"""Loggers of training runs. ``metrics.csv`` is always written; these come on top.

Each factory is called once per phase of a job with the same words and gives a Lightning logger, or
None for no logging.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

from aspire.data.images import Pixels, png_bytes
from aspire.errors import ConfigError
from aspire.processes import is_main
from aspire.reporting import wandb_run
from aspire.reporting.closing import close_jobs
from aspire.reporting.wandb_logger import open_run
from aspire.stored.files import write_atomic
from aspire.values import Positive


def wandb_logger(
    folder: Path,
    name: str,
    group: str,
    tags: Sequence[str],
    config: Mapping[str, Any],
    run_id: str,
    project: str = "aspire",
    entity: str | None = None,
    mode: Literal["auto", "online", "offline", "disabled"] = "auto",
    timeout: Positive = 20.0,
    job_type: str = "train",
) -> Any:
    """One W&B run per job, offline unless the user is logged in.

    Args:
        folder: of the run; W&B's files go below it.
        name, group, tags, config: as W&B takes them; ``config`` holds plain values. The name of a
            sweep takes the place of the group.
        run_id: ``<key of the job>-<phase>``.
        project, entity: where W&B puts it.
        mode: "auto" is online with a key and offline without; ``WANDB_MODE`` wins over it.
        timeout: seconds to wait for a server that does not answer, before going on offline.
        job_type: what the job does.

    Raises:
        ConfigError: for another mode.
    """
    chosen = wandb_run.chosen_mode(mode)
    if chosen == "disabled" or not is_main():
        return None
    about = _about(folder, name, group, tags, config, run_id, job_type)
    job = open_run(about, wandb_run.Place(project, entity, chosen, timeout))
    job.phase = _phase(run_id)
    return job


def mlflow_logger(
    folder: Path,
    name: str,
    group: str,
    tags: Sequence[str],
    config: Mapping[str, Any],
    run_id: str,
    local: str,
    tracking_uri: str | None = None,
    experiment: str = "aspire",
    job_type: str = "train",
) -> Any:
    """One MLflow run per job, in the user's store or a file of this machine.

    Args:
        folder, name, group, tags, config, run_id, job_type: as for :func:`wandb_logger`.
        local: the SQLite file for who names no other store.
        tracking_uri: of a store or server; ``MLFLOW_TRACKING_URI`` where it is None. User and
            password are in MLflow's own variables.
        experiment: in which MLflow lists the runs.

    Raises:
        ConfigError: when MLflow is not installed.
    """
    if not is_main():
        return None
    about = _about(folder, name, group, tags, config, run_id, job_type)
    uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        Path(local).parent.mkdir(parents=True, exist_ok=True)
        uri = f"sqlite:///{Path(local).absolute().as_posix()}"
    try:
        from aspire.reporting.mlflow_logger import open_mlflow

        job = open_mlflow(about, uri, experiment)
    except ModuleNotFoundError:
        raise ConfigError(
            "logger=mlflow needs the package mlflow or mlflow-skinny: pip install -e '.[mlflow]'"
        ) from None
    job.phase = _phase(run_id)
    return job


def _about(
    folder: Path,
    name: str,
    group: str,
    tags: Sequence[str],
    config: Mapping[str, Any],
    run_id: str,
    job_type: str,
) -> wandb_run.About:
    """What a job is, for services that have a run for it."""
    labels = {"dataset": tags[0], **config["labels"], "seed": config["seed"]}
    settings = {k: v for k, v in config.items() if k not in ("labels", "seed")}
    return wandb_run.About(
        *(Path(folder), run_id.partition("-")[0], name, group, tuple(tags), labels, settings),
        sweep=wandb_run.remembered().sweep,
        job_type=job_type,
    )


class Events(TensorBoardLogger):
    """Lightning's, for pictures too."""

    def log_image(self, key: str, images: Sequence[Pixels], step: int) -> None:
        """Pictures of a step, one below the other."""
        for index, image in enumerate(images):
            name = f"{key}/{index}" if len(images) > 1 else key
            self.experiment.add_image(name, image, step, dataformats="HWC")


class Rows(CSVLogger):
    """Lightning's, with pictures as files beside the metrics."""

    def log_image(self, key: str, images: Sequence[Pixels], step: int) -> None:
        """``images/<key>-<step>-<index>.png``."""
        for index, image in enumerate(images):
            name = f"{key.replace('/', '-')}-{step:06d}-{index}.png"
            write_atomic(Path(self.log_dir) / "images" / name, png_bytes(image))


def tensorboard_logger(folder: Path, run_id: str, **about: Any) -> Any:
    """Event files in ``<folder>/tensorboard/<phase>``: ``tensorboard --logdir outputs``.

    Raises:
        ConfigError: when tensorboard is not installed.
    """
    try:
        return Events(folder / "tensorboard", name="", version=_phase(run_id))
    except ModuleNotFoundError:
        raise ConfigError(
            "logger=tensorboard needs the package tensorboard: pip install -e '.[tensorboard]'"
        ) from None


def csv_logger(folder: Path, run_id: str, **about: Any) -> Any:
    """Every logged step in ``<folder>/csv/<phase>/metrics.csv``, an attempt a folder."""
    root, phase = folder / "csv", _phase(run_id)
    attempts = len(list(root.glob(f"{phase}*")))  # Lightning would empty that of the last attempt
    return Rows(root, name="", version=f"{phase}-{attempts + 1}" if attempts else phase)


def _phase(run_id: str) -> str:
    return run_id.partition("-")[2]


def finish_phase(failed: bool) -> None:
    """After a phase: a failed one ends the job's runs at once, see :mod:`.closing`."""
    if failed:
        close_jobs(failed=True)
