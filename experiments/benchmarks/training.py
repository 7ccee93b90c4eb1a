"""Training images per second of ERM, GroupDRO and JTT against a bare PyTorch loop, in one run.

The ceiling is forward, loss, backward and SGD step on one batch that already lies in memory: no
loading, no augmentation, no metrics. Ours is the whole framework: random views from the pixel
cache, the Lightning trainer, the method's own loss. The time is that between steps, so starting up
and the evaluation at the end do not count. Both have the same network, threads and memory format.

    python experiments/benchmarks/training.py ../shared/data/waterpets
    python experiments/benchmarks/training.py FOLDER --architecture resnet50 --batch-size 128
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from aspire.baselines.base import DatasetInfo
from aspire.baselines.erm import ERM
from aspire.baselines.groupdro import GroupDRO
from aspire.baselines.jtt import JTT
from aspire.classification.backbones import TimmModel
from aspire.classification.schedules import constant
from aspire.data.image_table import ImageTable
from aspire.data.pixels import PixelSource, open_cache
from aspire.data.table import Split
from aspire.data.waterbirds import Waterbirds
from aspire.memory import keep_freed_memory
from aspire.training.context import TrainingContext
from aspire.training.settings import DeviceSettings, FitSettings

METHODS = {"erm": ERM, "groupdro": GroupDRO, "jtt": JTT}
WARM_UP = 3  # steps at the beginning of each phase that do not count


def sgd(parameters, lr=1e-3):
    return torch.optim.SGD(parameters, lr=lr, momentum=0.9, weight_decay=1e-4)


class Timed(TrainingContext):
    """Notes when each step of each phase begins."""

    def _fit(self, phase, folder, objective, *rest):
        device, times = self.device, self.__dict__.setdefault("times", {}).setdefault(phase, [])

        def note(*_):
            synchronise(device)
            times.append(time.perf_counter())

        objective.register_forward_pre_hook(note)
        return super()._fit(phase, folder, objective, *rest)


def synchronise(device):
    if device.type == "cuda":
        torch.cuda.synchronize()


def rate(phases, batch_size):
    """Images a second over the steps of all phases but the first ones."""
    steps = sum(len(times) - 1 - WARM_UP for times in phases)
    return steps * batch_size / sum(times[-1] - times[WARM_UP] for times in phases)


def bare(model, device_settings, batch_size, steps):
    device = device_settings.torch_device()
    torch.manual_seed(0)
    net = model.build(2).to(device).train()
    images = torch.randn(batch_size, 3, model.image_size, model.image_size, device=device)
    if device_settings.channels_last:
        net, images = (t.to(memory_format=torch.channels_last) for t in (net, images))
    labels = torch.randint(2, (batch_size,), device=device)
    optimizer = sgd(net.parameters())
    precision = device_settings.autocast()
    times = []
    for _ in range(steps):
        synchronise(device)
        times.append(time.perf_counter())
        optimizer.zero_grad()
        with torch.autocast(device.type, precision, enabled=precision is not None):
            loss = cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()
    return rate([times], batch_size)


def framework(method, dataset, model, device_settings, pixels, batch_size, steps):
    train, val = (ImageTable.of(dataset, split) for split in (Split.TRAIN, Split.VAL))
    grouper = dataset.grouper
    counts = tuple(np.bincount(train.group, minlength=grouper.num_groups).tolist())
    with tempfile.TemporaryDirectory() as folder:
        context = Timed(
            folder=Path(folder),
            model=model,
            tables={Split.VAL: val.take(np.arange(2 * batch_size))},
            train=train,
            info=DatasetInfo(
                2, grouper.num_groups, len(train), counts, dataset.class_names, grouper.names
            ),
            grouper=grouper,
            train_counts=list(counts),
            optimizer=sgd,
            scheduler=constant,
            fit_settings=FitSettings(steps, 1, batch_size, "last"),
            device_settings=device_settings,
            seed=0,
            pixels=pixels,
        )
        METHODS[method]().run(context)
        phases = [times for times in context.times.values() if len(times) > WARM_UP + 1]
        return rate(phases, batch_size)


def main(options):
    dataset = Waterbirds(options.folder).read()
    model = TimmModel(options.architecture, weights="none", image_size=options.size)
    device_settings = DeviceSettings()
    side = model.preprocessing().stored_side
    paths = [dataset.path(name) for name in dataset.table["img_filename"]]
    contestants = ["bare loop", *METHODS]
    rounds = []
    with tempfile.TemporaryDirectory() as cache:
        pixels = PixelSource(side, [open_cache(Path(cache), "benchmark", paths, side)])
        for number in range(options.rounds):
            # Another order in each round, so that no one always runs on the warmer machine.
            order = list(itertools.islice(itertools.cycle(contestants), number, number + 4))
            found = {}
            for name in order:
                if name == "bare loop":
                    found[name] = bare(model, device_settings, options.batch_size, options.steps)
                else:
                    found[name] = framework(
                        name, dataset, model, device_settings, pixels,
                        options.batch_size, options.steps,
                    )  # fmt: skip
            rounds.append(found)
    print(
        f"{options.architecture}, {options.size} px, batches of {options.batch_size}, "
        f"{device_settings.torch_device()}, {os.cpu_count()} cores, {torch.get_num_threads()} "
        f"threads, {options.rounds} rounds of {options.steps} steps"
    )
    for name in contestants:
        speeds = [found[name] for found in rounds]
        ratios = [found[name] / found["bare loop"] for found in rounds]
        print(
            f"  {name:<10}{np.median(speeds):8.1f} images/s   share of the bare loop: "
            f"{', '.join(f'{r:.3f}' for r in ratios)}, median {np.median(ratios):.3f}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--architecture", default="resnet18")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    keep_freed_memory()  # as every verb does; the bare loop gains from it too
    main(parser.parse_args())
