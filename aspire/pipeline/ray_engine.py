"""``engine=ray``: the items of a stage processed by actors of a Ray cluster."""

from __future__ import annotations

import importlib
import logging
import pickle
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aspire.errors import AspireError, ConfigError, RemoteError, last_line
from aspire.own_code import find_code_in
from aspire.pipeline.ray_cluster import connect
from aspire.pipeline.stage import Item, ItemResult, LocalEngine, Rec, SaveImage, Stage
from aspire.values import Count, Natural, NonNegative, Positive


class RayEngine:
    """Works items off in actors of Ray Data, each with the stage and its backends loaded once.

    The machines must share the data and the outputs under the same paths: an actor reads the images
    and writes those it makes itself, only records travel. The results of an item do not depend on
    where it was done, so records and digests equal :class:`~aspire.pipeline.stage.LocalEngine`'s.

    Args:
        address: of a cluster (``auto``, ``ray://host:10001``); None for one of this machine alone.
        batch_size: items handed to a stage at once; so many are done again when an actor dies.
        actors: at once; None for one per core, or per GPU where ``num_gpus`` says so.
        num_cpus, num_gpus: what an actor takes.
        retries: how often an actor that died is started again, and a batch tried again.
    """

    def __init__(
        self,
        address: str | None = None,
        batch_size: Count = 64,
        actors: Count | None = None,
        num_cpus: Positive = 1,
        num_gpus: NonNegative = 0,
        retries: Natural = 3,
    ) -> None:
        self.address = address
        self.batch_size = batch_size
        self.actors = actors
        self.num_cpus = num_cpus
        self.num_gpus = num_gpus
        self.retries = retries

    def map(
        self, stage: Stage[Item, Rec], items: Sequence[Item], save: SaveImage
    ) -> Iterator[ItemResult[Rec]]:
        if len(items) < 2:  # as those stages have that look at everything at once
            yield from LocalEngine(self.batch_size).map(stage, items, save)
            return
        ray, _ = connect(self.address, "engine=ray")
        importlib.import_module("ray.data")  # only now, it takes a second

        try:
            payload = ray.cloudpickle.dumps((stage, save))
        except (TypeError, pickle.PicklingError) as error:
            raise ConfigError(
                f"engine=ray cannot send the stage {stage.name} to another process: {error}. Take "
                "engine=local for it."
            ) from None
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        batches = [
            {"items": pickle.dumps(list(items[start : start + self.batch_size]))}
            for start in range(0, len(items), self.batch_size)
        ]
        with warnings.catch_warnings():
            # of max_restarts: until Ray has another way, without it an item that kills its actor
            # would do so for ever
            warnings.simplefilter("ignore", DeprecationWarning)
            done = ray.data.from_items(batches, override_num_blocks=len(batches)).map_batches(
                _Actor,
                fn_constructor_args=(payload, Path.cwd()),
                batch_size=1,
                compute=ray.data.ActorPoolStrategy(size=self._size(ray, len(batches))),
                num_cpus=self.num_cpus,
                num_gpus=self.num_gpus,
                max_restarts=self.retries,
                max_task_retries=self.retries,
            )
        try:
            for row in done.iter_rows():
                answer = pickle.loads(row["results"])
                if isinstance(answer, RemoteError):
                    raise answer
                yield from answer
        except ray.exceptions.RayError as error:
            raise AspireError(
                f"{stage.name}: Ray gave it up after {self.retries} tries: {last_line(error)}\n"
                "Finished items are kept: the same command continues."
            ) from error

    def _size(self, ray: Any, batches: int) -> int:
        """Actors to start: as many as there is room for, and work."""
        there = ray.cluster_resources()
        room = there.get("CPU", 1) / self.num_cpus if self.num_cpus else batches
        if self.num_gpus:
            room = min(room, there.get("GPU", 0) / self.num_gpus)
        return max(1, min(batches, self.actors or int(room)))


class _Actor:
    """Holds the stage in a process of its own; a batch is one pickled list of items."""

    def __init__(self, payload: bytes, folder: Path) -> None:
        find_code_in(folder)  # classes in the payload may be the user's own
        self.stage, self.save = pickle.loads(payload)

    def __call__(self, batch: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        answers: list[Any] = []
        for items in batch["items"]:
            try:
                answers.append(list(self.stage.run(pickle.loads(items), self.save)))
            except AspireError as error:  # nothing that another try would help
                answers.append(RemoteError(str(error), error.exit_code))
        results = np.empty(len(answers), object)
        results[:] = [pickle.dumps(a) for a in answers]
        return {"results": results}
