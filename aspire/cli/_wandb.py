"""Tells W&B's runs which sweep they belong to, and closes them; comes with ``logger=wandb``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from aspire.reporting import wandb_run


class RunKeeper(Callback):
    """Called by Hydra around every job, in whichever process it runs."""

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        sweeping = config.hydra.mode == RunMode.MULTIRUN
        kept = wandb_run.remembered()
        kept.seen, kept.trained = False, None
        kept.sweep = Path(config.hydra.sweep.dir).name if sweeping else ""
        choices = config.hydra.runtime.choices
        kept.wanted = {k: choices[k] for k in ("baseline", "augmentation")}

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        wandb_run.close_run()
        kept, chosen = wandb_run.remembered(), config.logger.wandb
        mode = wandb_run.chosen_mode(chosen.mode)
        unseen = job_return.status == JobStatus.COMPLETED and not kept.seen
        if unseen and kept.trained and wandb_run.under_agent() and mode != "disabled":
            from aspire.reporting import wandb_sync

            # A run that was finished before: the agent waits for its numbers all the same.
            place = wandb_run.Place(chosen.project, chosen.entity, mode, chosen.timeout)
            wandb_sync.write_run(kept.trained, place, kept.sweep)
