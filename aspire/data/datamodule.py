"""One datamodule for every dataset: images by row, batches by step.

What is in batch ``t`` and how its images are cropped follows from the seed and ``t`` alone, so a
run that is killed and resumed sees the same batches as one that is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from aspire.data.image_table import ImageTable
from aspire.data.images import read_image
from aspire.data.transforms import Preprocessing
from aspire.errors import ConfigError
from aspire.rng import seed_for


class Batch(NamedTuple):
    """What an objective sees."""

    image: Tensor  # (B, 3, S, S) float32, normalised
    y: Tensor  # (B,) int64 class
    group: Tensor  # (B,) int64 group, -1 where unknown or not to be seen
    row: Tensor  # (B,) int64 row of its table


class _Images(TorchDataset[Batch]):
    """Loads rows: by index for evaluation, by (index, seed) for a training view."""

    def __init__(self, table: ImageTable, preprocessing: Preprocessing, hide_groups: bool) -> None:
        self.table = table
        self.preprocessing = preprocessing
        self.hide_groups = hide_groups

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, key: int | tuple[int, int]) -> Batch:
        index, seed = key if isinstance(key, tuple) else (key, None)
        image = Image.fromarray(read_image(self.table.paths[index]))
        if seed is None:
            pixels = self.preprocessing.evaluation(image)
        else:
            pixels = self.preprocessing.training(image, seed)
        group = -1 if self.hide_groups else int(self.table.group[index])
        return Batch(
            pixels, torch.tensor(int(self.table.y[index])), torch.tensor(group), torch.tensor(index)
        )


class StepSampler(Sampler[tuple[int, int]]):
    """Draws ``steps * batch_size`` rows per epoch, each with the seed of its random view.

    Without weights it goes through seeded permutations of the table, one after another and across
    epochs; with weights it draws with replacement.

    Args:
        table: what to draw from.
        batch_size, steps: images a step, steps an epoch.
        seed: of the data order.
    """

    def __init__(self, table: ImageTable, batch_size: int, steps: int, seed: int) -> None:
        self.table = table
        self.length = batch_size * steps
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[tuple[int, int]]:
        first = self.epoch * self.length
        for position, row in enumerate(self.rows(first), start=first):
            yield int(row), seed_for(self.seed, "view", position)

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
        val: what to validate on.
        preprocessing: the backbone's.
        batch_size: images a step.
        steps_per_epoch: steps between two evaluations.
        seed: of the data order and the random views.
        hide_train_groups: put -1 in place of the training groups, for methods that must not see
            them.
        num_workers: loader processes; never changes a result.

    Raises:
        ConfigError: for an empty training table or a batch size below 1.
    """

    def __init__(
        self,
        train: ImageTable,
        val: ImageTable,
        preprocessing: Preprocessing,
        batch_size: int,
        steps_per_epoch: int,
        seed: int,
        hide_train_groups: bool = True,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        if len(train) == 0 or batch_size < 1:
            raise ConfigError(
                f"Cannot train on {len(train)} images in batches of {batch_size}; both must be at "
                "least 1. Check the dataset's train split and fit.batch_size."
            )
        self.train = train
        self.val = val
        self.preprocessing = preprocessing
        self.batch_size = batch_size
        self.steps_per_epoch = steps_per_epoch
        self.seed = seed
        self.hide_train_groups = hide_train_groups
        self.num_workers = num_workers

    def train_dataloader(self) -> DataLoader[Batch]:
        sampler = StepSampler(self.train, self.batch_size, self.steps_per_epoch, self.seed)
        images = _Images(self.train, self.preprocessing, self.hide_train_groups)
        return DataLoader(
            images,
            self.batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            drop_last=True,
        )

    def val_dataloader(self) -> DataLoader[Batch]:
        return evaluation_loader(
            self.val, self.preprocessing, 2 * self.batch_size, self.num_workers
        )


def evaluation_loader(
    table: ImageTable, preprocessing: Preprocessing, batch_size: int, num_workers: int = 0
) -> DataLoader[Batch]:
    """Every row once, in order, without random views."""
    images = _Images(table, preprocessing, hide_groups=False)
    return DataLoader(images, batch_size, shuffle=False, num_workers=num_workers)
