"""A share of a stage's batches as Lightning's ``predict`` gives it to each process."""

from __future__ import annotations

import logging
import pickle
import signal
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
from pytorch_lightning.strategies import DDPStrategy
from torch.utils.data import DataLoader

from aspire.errors import AspireError, RemoteError

START: Literal["spawn", "forkserver"] = "spawn"  # CUDA and threads do not survive a fork
# Start-up notes, in every process: this module is the first of ours that each imports.
for _name in ("pytorch_lightning", "lightning_fabric"):
    logging.getLogger(_name).setLevel(logging.ERROR)


def predict_on(
    work: bytes, batches: Sequence[bytes], spool: Path, accelerator: str, devices: int
) -> None:
    """Process batches in a process a device; every result becomes a file of its own.

    Args:
        work: a pickled stage, and what saves its images.
        batches: pickled lists of items.
        spool: where the results appear, whole, as ``*.done``.
        accelerator, devices: as Lightning takes them.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        trainer = pl.Trainer(
            accelerator=accelerator,
            devices=devices,
            strategy=DDPStrategy(start_method=START),
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            inference_mode=False,  # stages say themselves what needs no gradients
        )
        # batches are dealt out by Lightning's sampler for predicting, which repeats none
        loader: Any = DataLoader(list(batches), batch_size=None)  # type: ignore[arg-type]  # a list will do
        trainer.predict(Share(work, spool), loader, return_predictions=False)


class Share(pl.LightningModule):
    """The stage in one of the processes."""

    def __init__(self, work: bytes, spool: Path) -> None:
        super().__init__()
        self.work = work
        self.spool = spool
        self.number = 0

    def on_predict_start(self) -> None:
        """Models load here, on this process's own device, when they are first used."""
        # When another process dies, this one is ended too. Lightning would then tell the dead one,
        # and fail at it in the middle of an image, which would count as one that cannot be made.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self.stage, self.save = pickle.loads(self.work)

    def predict_step(self, batch: bytes, batch_idx: int) -> None:
        try:
            for result in self.stage.run(pickle.loads(batch), self.save):
                self.finished(result)
        except AspireError as error:
            self.finished(RemoteError(str(error), error.exit_code))
            raise

    def finished(self, answer: Any) -> None:
        """Give a result to the process that waits for it."""
        name = f"{self.global_rank:03d}-{self.number:09d}"
        self.number += 1
        whole = self.spool / f"{name}.part"
        whole.write_bytes(pickle.dumps(answer))
        whole.replace(self.spool / f"{name}.done")
