"""Tells W&B's runs which sweep they belong to, and closes them; comes with ``logger=wandb``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from aspire.reporting import wandb_run


class RunKeeper(Callback):
    """Called by Hydra around every job, in whichever process it runs."""

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        sweeping = config.hydra.mode == RunMode.MULTIRUN
        wandb_run.session.sweep = Path(config.hydra.sweep.dir).name if sweeping else ""
        choices = config.hydra.runtime.choices
        wandb_run.session.wanted = {k: choices[k] for k in ("baseline", "augmentation")}

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        wandb_run.close_run()
