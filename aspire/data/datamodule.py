"""One datamodule for every dataset: images by row, batches by step.

What is in batch ``t`` and how its images are cropped follows from the seed and ``t`` alone, so a
run that is killed and resumed sees the same batches as one that is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from aspire.data.image_table import ImageTable
from aspire.data.pixels import PixelReader, PixelSource
from aspire.data.random_views import Change
from aspire.data.transforms import Preprocessing, stack_views
from aspire.errors import ConfigError
from aspire.processes import process_share
from aspire.rng import seed_for

Key = tuple[int, int | None]  # row, and the seed of its random view or None for the plain one


Draw = Callable[[np.random.Generator, int], NDArray[np.int64]]
"""Generator of this step, number of the step -> rows of its batch, the same number each time."""


class Batch(NamedTuple):
    """What an objective sees.

    From a loader the images come as uint8 views; the Lightning module turns them into normalised
    floats on the device before the objective gets them. On several devices each has its share of
    the images and everything else of all of them.
    """

    image: Tensor  # (B, 3, S, S) float32, normalised; uint8 from a loader
    y: Tensor  # (B,) int64 class
    group: Tensor  # (B,) int64 group, -1 where unknown or not to be seen
    row: Tensor  # (B,) int64 row of its table


class _Images(TorchDataset[Batch]):
    """Makes whole batches.

    One after the other: cutting a view takes a tenth of a millisecond, and threads lose more than
    that by waiting for the interpreter.
    """

    def __init__(
        self,
        table: ImageTable,
        preprocessing: Preprocessing,
        pixels: PixelReader,
        share: tuple[int, int] = (0, 1),
        change: Change | None = None,
    ) -> None:
        self.table = table
        self.preprocessing = preprocessing
        self.pixels = pixels
        self.share = share  # this device, number of devices
        self.change = change

    def __getitem__(self, keys: Sequence[Key]) -> Batch:
        rows = np.array([row for row, _ in keys], dtype=np.int64)
        rank, world = self.share
        if len(keys) % world:
            raise ConfigError(
                f"A batch of {len(keys)} images cannot be shared by {world} devices. Take a "
                "fit.batch_size whose batches divide evenly, or fewer devices."
            )
        mine = keys[rank * len(keys) // world : (rank + 1) * len(keys) // world]
        return Batch(
            stack_views([self._view(key) for key in mine]),
            torch.from_numpy(self.table.y[rows]),
            torch.from_numpy(self.table.group[rows]),
            torch.from_numpy(rows),
        )

    def _view(self, key: Key) -> Tensor:
        row, seed = key
        pixels = self.pixels(self.table.paths[row])
        if seed is None:
            return self.preprocessing.evaluation(pixels)
        view = self.preprocessing.training(pixels, seed)
        return view if self.change is None else self.change(view, seed_for(seed, "change"))


class StepSampler(Sampler[list[Key]]):
    """Gives ``steps`` batches of rows per epoch, each row with the seed of its random view.

    Without weights it goes through seeded permutations of the table, one after another and across
    epochs; with weights it draws with replacement; ``draw`` decides for itself.

    Args:
        table: what to draw from.
        batch_size, steps: images a step, steps an epoch.
        seed: of the data order.
        draw: gives the rows of each step.
        views: False for plain views.
    """

    def __init__(
        self,
        table: ImageTable,
        batch_size: int,
        steps: int,
        seed: int,
        draw: Draw | None = None,
        views: bool = True,
    ) -> None:
        self.table = table
        self.batch_size = batch_size
        self.steps = steps
        self.length = batch_size * steps
        self.seed = seed
        self.draw = draw
        self.views = views
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[Key]]:
        if self.draw is not None:
            for step in range(self.epoch * self.steps, (self.epoch + 1) * self.steps):
                drawn = self.draw(np.random.default_rng(seed_for(self.seed, "rows", step)), step)
                yield [(int(row), self._view(step, i)) for i, row in enumerate(drawn)]
            return
        first = self.epoch * self.length
        rows = self.rows(first)
        for start in range(0, self.length, self.batch_size):
            yield [
                (int(rows[i]), self._view(first + i)) for i in range(start, start + self.batch_size)
            ]

    def _view(self, *position: int) -> int | None:
        return seed_for(self.seed, "view", *position) if self.views else None

    def rows(self, first: int) -> NDArray[np.int64]:
        """Rows of the stream from position ``first`` on, ``length`` of them."""
        size = len(self.table)
        if self.table.weight is not None:
            rng = np.random.default_rng(seed_for(self.seed, "draw", first))
            p = self.table.weight / self.table.weight.sum()
            return rng.choice(size, size=self.length, p=p)
        passes = [
            np.random.default_rng(seed_for(self.seed, "pass", n)).permutation(size)
            for n in range(first // size, (first + self.length - 1) // size + 1)
        ]
        start = first % size
        return np.concatenate(passes)[start : start + self.length]


class GroupDataModule(pl.LightningDataModule):
    """Loaders for one training phase.

    Args:
        train: what to train on, with its sampling weights.
        evaluated: what to measure after every epoch, in this order.
        preprocessing: the backbone's.
        batch_size: images a step.
        steps_per_epoch: batches between two evaluations.
        seed: of the data order and the random views.
        draw: see :class:`StepSampler`.
        views: whether training sees random crops and flips.
        whole_images: whether every device needs all images of a batch.
        num_workers: loader processes; never changes a result.
        pixels: gives the decoded images; None for their files.
        change: done to every random view after the crop and the flip; None for nothing.

    Raises:
        ConfigError: for an empty training table, a batch size below 1, or one that the devices
            cannot share.
    """

    def __init__(
        self,
        train: ImageTable,
        evaluated: Sequence[ImageTable],
        preprocessing: Preprocessing,
        batch_size: int,
        steps_per_epoch: int,
        seed: int,
        draw: Draw | None = None,
        views: bool = True,
        whole_images: bool = False,
        num_workers: int = 0,
        pixels: PixelReader | None = None,
        change: Change | None = None,
    ) -> None:
        super().__init__()
        if len(train) == 0 or batch_size < 1:
            raise ConfigError(
                f"Cannot train on {len(train)} images in batches of {batch_size}; both must be at "
                "least 1. Check the dataset's train split and fit.batch_size."
            )
        self.train = train
        self.evaluated = tuple(evaluated)
        self.preprocessing = preprocessing
        self.pixels = pixels or PixelSource(preprocessing.stored_side)
        self.batch_size = batch_size
        self.steps_per_epoch = steps_per_epoch
        self.seed = seed
        self.draw = draw
        self.views = views
        self.whole_images = whole_images
        self.num_workers = num_workers
        self.change = change

    def train_dataloader(self) -> DataLoader[Batch]:
        rank, world = process_share()
        if self.batch_size % world:
            raise ConfigError(
                f"fit.batch_size={self.batch_size} cannot be shared by {world} devices. Try "
                f"fit.batch_size={max(1, self.batch_size // world) * world}."
            )
        sampler = StepSampler(
            self.train, self.batch_size, self.steps_per_epoch, self.seed, self.draw, self.views
        )
        share = (0, 1) if self.whole_images else (rank, world)
        images = _Images(self.train, self.preprocessing, self.pixels, share, self.change)
        return _loader(images, sampler, self.num_workers)

    def val_dataloader(self) -> list[DataLoader[Batch]]:
        return [
            evaluation_loader(
                table,
                self.preprocessing,
                2 * self.batch_size,
                self.num_workers,
                self.pixels,
                process_share(),
            )
            for table in self.evaluated
        ]


def evaluation_loader(
    table: ImageTable,
    preprocessing: Preprocessing,
    batch_size: int,
    num_workers: int = 0,
    pixels: PixelReader | None = None,
    share: tuple[int, int] = (0, 1),
) -> DataLoader[Batch]:
    """Every row once, in order, without random views; uint8 images.

    Args:
        pixels: gives the decoded images; None for their files.
        share: (r, n) gives every n-th row, from the r-th on.
    """
    reader = pixels or PixelSource(preprocessing.stored_side)
    images = _Images(table, preprocessing, reader)
    rank, world = share
    rows = range(rank, len(table), world)
    batches: list[list[Key]] = [
        [(row, None) for row in rows[start : start + batch_size]]
        for start in range(0, len(rows), batch_size)
    ]
    return _loader(images, batches, num_workers)


def _loader(images: _Images, batches: Any, num_workers: int) -> DataLoader[Batch]:
    # batch_size=None: a batch is one item of the dataset, and is not collated again. A generator of
    # its own: a loader would draw its workers' seed from the global one, at another moment in a
    # resumed run.
    return DataLoader(
        images,
        batch_size=None,
        sampler=batches,
        num_workers=num_workers,
        generator=torch.Generator(),
    )
