"""``engine=devices``: the items of a stage shared out over the devices of this machine."""

from __future__ import annotations

import os
import pickle
import shutil
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from aspire.errors import AspireError, ConfigError, RemoteError, last_line
from aspire.pipeline.stage import Item, ItemResult, LocalEngine, Rec, SaveImage, Stage
from aspire.values import Count

POLL = 0.1  # seconds between looks at what the processes have finished


class DeviceEngine:
    """Works items off with Lightning's ``predict``, in a process a device.

    Each process loads the models once and takes every n-th batch, whose images it writes itself;
    the records come back as they are made. The results of an item do not depend on where it was
    done, so records and digests equal :class:`~aspire.pipeline.stage.LocalEngine`'s.

    Args:
        devices: how many, or "auto" for all there are. With one, the work is done here.
        accelerator: as Lightning calls it: auto, gpu, cpu, ...
        batch_size: items handed to a stage at once; so many are done again after a kill.
        stages: which are worth processes of their own; all others are processed here.
    """

    def __init__(
        self,
        devices: Count | Literal["auto"] = "auto",
        accelerator: str = "auto",
        batch_size: Count = 64,
        stages: Sequence[str] = ("caption", "edit", "generate"),
    ) -> None:
        self.devices = devices
        self.accelerator = accelerator
        self.batch_size = batch_size
        self.stages = tuple(stages)

    def map(
        self, stage: Stage[Item, Rec], items: Sequence[Item], save: SaveImage
    ) -> Iterator[ItemResult[Rec]]:
        """See :class:`aspire.pipeline.stage.Engine`.

        Raises:
            ConfigError: when the stage cannot be sent to another process, or this is one of
                several processes already.
            AspireError: what a process raises, or when one dies.
        """
        number = self._number() if stage.name in self.stages else 1
        if number < 2 or len(items) < 2:
            yield from LocalEngine(self.batch_size).map(stage, items, save)
            return
        if "WORLD_SIZE" in os.environ:
            raise ConfigError(
                "engine=devices starts a process for each device itself; leave torchrun out, or "
                "take engine=local."
            )
        try:
            work = pickle.dumps((stage, save))
        except (TypeError, AttributeError, pickle.PicklingError) as error:
            raise ConfigError(
                f"engine=devices cannot send the stage {stage.name} to another process: {error}. "
                "Take engine=local for it."
            ) from None
        size = min(self.batch_size, -(-len(items) // number))
        batches = [
            pickle.dumps(list(items[start : start + size])) for start in range(0, len(items), size)
        ]
        spool = Path(tempfile.mkdtemp(prefix="aspire-devices-"))
        failures: list[BaseException] = []

        def predict() -> None:
            from aspire.pipeline.predicting import predict_on

            try:
                predict_on(work, batches, spool, self.accelerator, number)
            except BaseException as error:  # told by the thread that waits for results
                failures.append(error)

        # A daemon: when this process ends, the processes that it has started end with it.
        thread = threading.Thread(target=predict, name="predict", daemon=True)
        thread.start()
        try:
            while thread.is_alive():
                thread.join(POLL)
                yield from _collected(spool, stage.name)
            yield from _collected(spool, stage.name)
        finally:
            shutil.rmtree(spool, ignore_errors=True)
        if failures:
            raise AspireError(
                f"{stage.name}: a process of engine=devices failed: {last_line(failures[0])}\n"
                "Finished items are kept: the same command continues."
            ) from failures[0]

    def _number(self) -> int:
        if self.devices != "auto":
            return int(self.devices)
        import torch

        if self.accelerator == "cpu":
            return 1
        return max(1, torch.cuda.device_count())


def _collected(spool: Path, stage: str) -> Iterator[Any]:
    """What has been finished since the last look; each result is given once."""
    for path in sorted(spool.glob("*.done")):
        answer = pickle.loads(path.read_bytes())
        path.unlink()
        if isinstance(answer, RemoteError):
            raise answer
        yield answer
