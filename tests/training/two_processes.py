"""Trains baselines on a folder, alone or as one of several processes; see test_processes.py."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from aspire.baselines.base import DatasetInfo
from aspire.baselines.cvardro import CVaRDRO
from aspire.baselines.erm import ERM
from aspire.baselines.groupdro import GroupDRO
from aspire.baselines.jtt import JTT
from aspire.baselines.lff import LfF
from aspire.baselines.mixup import Mixup
from aspire.classification.classifier import Classifier
from aspire.classification.schedules import constant
from aspire.data.image_table import ImageTable
from aspire.data.table import Split
from aspire.data.transforms import Preprocessing
from aspire.data.waterbirds import Waterbirds
from aspire.training.context import TrainingContext
from aspire.training.module import ClassificationModule
from aspire.training.settings import DeviceSettings, FitSettings, Identities

BASELINES = {
    "erm": ERM,
    "groupdro": partial(GroupDRO, eta=0.5),
    "cvardro": partial(CVaRDRO, alpha=0.3),
    "jtt": partial(JTT, identify=0.5, upweight=5.0),
    "lff": LfF,
    "mixup": Mixup,
}


class Plain:
    """A network without batch statistics, which each process would take of its own share."""

    def preprocessing(self) -> Preprocessing:
        return Preprocessing(8, crop=1.0)

    def build(self, num_classes: int) -> Classifier:
        body = nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.Tanh())
        return Classifier(body, 16, num_classes)


def train(root: Path, out: Path, devices: int) -> dict[str, Any]:
    """Every baseline: weights, state of the objective, history, test predictions."""
    dataset = Waterbirds(root).read()
    table = ImageTable.of(dataset, Split.TRAIN)
    counts = tuple(dataset.group_counts(Split.TRAIN).values())
    info = DatasetInfo(2, 4, len(table), counts, dataset.class_names, dataset.grouper.names)
    states: list[dict[str, Any]] = []
    original = ClassificationModule.on_train_end

    def keep(self: ClassificationModule) -> None:
        states.append({k: v.clone().numpy() for k, v in self.objective.state_dict().items()})
        original(self)

    ClassificationModule.on_train_end = keep
    results: dict[str, Any] = {}
    for name, make in BASELINES.items():
        baseline = make()
        known = baseline.needs.train_groups
        run = TrainingContext(
            folder=out / name,
            model=Plain(),
            tables={s: ImageTable.of(dataset, s) for s in (Split.VAL, Split.TEST)},
            train=table if known else replace(table, group=np.full(len(table), -1)),
            info=info,
            grouper=dataset.grouper,
            train_counts=list(counts),
            optimizer=partial(torch.optim.SGD, lr=0.05, momentum=0.9),
            scheduler=constant,
            fit_settings=FitSettings(8, 2, 8, "last"),
            device_settings=DeviceSettings(
                accelerator="cpu", devices=devices, strategy="ddp" if devices > 1 else "auto"
            ),
            seed=0,
            shared=Identities(str(devices), None, {}, out / "shared"),
        )
        net = baseline.run(run)
        results[name] = {
            "weights": {k: v.numpy() for k, v in net.state_dict().items()},
            "state": states[-1],
            "history": {k: p["history"] for k, p in run.phases.items()},
            "predicted": run.predict(net, Split.TEST).numpy(),
        }
    ClassificationModule.on_train_end = original
    return results


def train_and_save(data: Path, out: Path) -> None:
    """What one of the processes that torchrun starts does."""
    torch.set_num_threads(1)
    trained = train(data, out, int(os.environ["WORLD_SIZE"]))
    torch.save(trained, out / f"{os.environ['RANK']}.pt")
