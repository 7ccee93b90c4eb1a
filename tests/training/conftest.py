"""A training context on the tiny folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aspire.baselines.base import DatasetInfo
from aspire.classification.backbones import SmallCNN
from aspire.classification.schedules import cosine
from aspire.data.image_table import ImageTable
from aspire.data.table import Dataset, Split
from aspire.training.context import TrainingContext
from aspire.training.settings import DeviceSettings, FitSettings

STEPS, EVALUATIONS = 8, 4  # two steps an epoch


def sgd(parameters: Any, lr: float = 0.1, **settings: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=lr, momentum=0.9, **settings)


@pytest.fixture
def context(waterbirds: Dataset, tmp_path: Path) -> Callable[..., TrainingContext]:
    def make(
        name: str,
        seed: int = 0,
        groups: bool = True,
        evaluations: int = EVALUATIONS,
        **changes: Any,
    ) -> TrainingContext:
        train = ImageTable.of(waterbirds, Split.TRAIN)
        if not groups:
            train = replace(train, group=np.full(len(train), -1))
        grouper = waterbirds.grouper
        counts = tuple(waterbirds.group_counts(Split.TRAIN).values())
        settings: dict[str, Any] = {
            "folder": tmp_path / name,
            "model": SmallCNN(image_size=16, widths=(4, 8)),
            "tables": {s: ImageTable.of(waterbirds, s) for s in (Split.VAL, Split.TEST)},
            "train": train,
            "info": DatasetInfo(2, 4, len(train), counts, waterbirds.class_names, grouper.names),
            "grouper": grouper,
            "train_counts": list(counts),
            "optimizer": sgd,
            "scheduler": cosine,
            "fit_settings": FitSettings(STEPS, evaluations, 8, "val_worst_group"),
            "device_settings": DeviceSettings(accelerator="cpu"),
            "seed": seed,
            **changes,
        }
        return TrainingContext(**settings)

    return make
