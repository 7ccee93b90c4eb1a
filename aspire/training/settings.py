"""How long and how to train, where and how fast, and what runs share."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from aspire.classification.selection import selection_rule
from aspire.errors import ConfigError
from aspire.values import Count, Natural, OpenFraction


@dataclass
class FitSettings:
    """How long and how to train; part of a run's identity.

    Args:
        steps: optimiser steps, the same in every arm of a comparison.
        evaluations: how often the val split is measured; divides ``steps``.
        batch_size: images a batch.
        selection: which evaluation counts, a name of :mod:`aspire.classification.selection`.
        augment: whether training sees random crops and flips.
        accumulate: batches whose gradients are averaged for one step; a method that looks at a
            whole batch (GroupDRO, CVaR, ...) looks at each of them alone.
        ema: decay of the exponential moving average of the weights that is measured, selected and
            kept (Polyak and Juditsky 1992); None for the weights themselves.
        frozen: True to train the last layers alone: backbones keep the weights they begin with,
            while the statistics of batch normalisation follow the images.

    Raises:
        ConfigError: when the numbers do not fit together.
    """

    steps: Count
    evaluations: Count
    batch_size: Count
    selection: str
    augment: bool = True
    accumulate: Count = 1
    ema: OpenFraction | None = None
    frozen: bool | None = None

    def __post_init__(self) -> None:
        selection_rule(self.selection)
        if self.steps % self.evaluations:
            near = max(self.evaluations, round(self.steps / self.evaluations) * self.evaluations)
            raise ConfigError(
                f"fit.steps={self.steps} is not a multiple of fit.evaluations={self.evaluations}. "
                f"Try fit.steps={near}."
            )

    def identity(self) -> dict[str, Any]:
        """What changes the result."""
        return {k: v for k, v in asdict(self).items() if v is not None}

    @property
    def steps_per_epoch(self) -> int:
        """Steps between two evaluations."""
        return self.steps // self.evaluations


@dataclass
class DeviceSettings:
    """Where and how fast; never part of a run's identity.

    Args:
        accelerator, strategy: as Lightning takes them.
        devices: how many. Several are started by torchrun; "auto" is as many as it started.
        precision: "auto" is bf16 where a GPU supports it, else float32; otherwise "bf16" or what
            Lightning takes.
        num_workers: loader processes.
        channels_last: memory format; faster on most convolutional networks.
        compile: torch.compile the backbone; pays off in long trainings on a GPU.
        pixel_cache: decode every image once into ``outputs/cache``, for all jobs; "auto" does so
            up to 4 GiB. Never changes a result.
        threads: CPU threads, or None for torch's choice.
        share_stages: train the ERM that several methods start from once.
        feature_cache: keep penultimate features on disk.
    """

    accelerator: str = "auto"
    devices: Count | Literal["auto"] = 1
    strategy: str = "auto"
    precision: str = "auto"
    num_workers: Natural = 0
    channels_last: bool = True
    compile: bool = False
    threads: Count | None = None
    pixel_cache: bool | Literal["auto"] = "auto"
    share_stages: bool = True
    feature_cache: bool = True

    def torch_device(self) -> torch.device:
        """The device for evaluation."""
        if self.accelerator in ("cpu", "auto") and not torch.cuda.is_available():
            mps = self.accelerator == "auto" and torch.backends.mps.is_available()
            return torch.device("mps" if mps else "cpu")
        if self.accelerator == "cpu":
            return torch.device("cpu")
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))

    def num_devices(self) -> int:
        """One for each process; Lightning's own "auto" would start the command again for others."""
        started = int(os.environ.get("WORLD_SIZE", 1))
        return started if self.devices == "auto" else int(self.devices)

    def autocast(self) -> torch.dtype | None:
        """What backbones compute in: None for float32, or for Lightning's choice."""
        if self.precision == "auto":
            on_gpu = self.torch_device().type == "cuda" and torch.cuda.is_bf16_supported()
            return torch.bfloat16 if on_gpu else None
        return torch.bfloat16 if self.precision == "bf16" else None


@dataclass(frozen=True)
class Identities:
    """Plain values and digests that say what is trained on and how, for what runs share.

    Args:
        images: of the dataset and of what augmentation made of it.
        real_images: the same without what augmentation added.
        training: model, optimizer, scheduler and fit.
        root: folder below which shared things are kept.
    """

    images: Any
    real_images: Any
    training: Mapping[str, Any]
    root: Path
