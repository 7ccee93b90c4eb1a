"""A trained classifier as a function from pixels to probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from aspire.classification.training import TrainedRun
from aspire.data.images import Pixels


class Probabilities(Protocol):
    """What discovery and filters need of a classifier."""

    digest: str

    def __call__(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        """(N, K) probabilities of the classes; rows sum to 1. Images may differ in size."""
        ...


class RunPredictor:
    """The classifier of a finished run, loaded when first used.

    Args:
        run: a finished run.
        make_model: gives the :class:`~aspire.classification.backbones.Model` it was trained with.
        device: gives the torch device; asked only when there is something to predict.
        batch_size: images at once; does not change a result.
        weights: other weights of the run than the selected ones.
    """

    def __init__(
        self,
        run: TrainedRun,
        make_model: Callable[[], Any],
        device: Callable[[], Any] = lambda: "cpu",
        batch_size: int = 64,
        weights: Path | None = None,
    ) -> None:
        self.run = run
        self.digest = run.digest
        self.weights = weights or run.weights
        self.make_model = make_model
        self.device = device
        self.batch_size = batch_size
        self._loaded: tuple[Any, Any, Any] | None = None

    def __call__(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        import torch

        from aspire.data.pixels import shrink
        from aspire.data.transforms import stack_views

        if self._loaded is None:
            from safetensors.torch import load_file

            model = self.make_model()
            net = model.build(len(self.run.result["class_names"]))
            net.load_state_dict(load_file(self.weights))
            device = self.device()
            net.to(device, memory_format=torch.channels_last).eval()
            self._loaded = (net, model.preprocessing(), device)
        net, preprocessing, device = self._loaded
        side = preprocessing.stored_side
        parts = []
        with torch.inference_mode():
            for start in range(0, len(images), self.batch_size):
                chunk = images[start : start + self.batch_size]
                views = [preprocessing.evaluation(shrink(i, side)) for i in chunk]
                logits = net(preprocessing.normalise(stack_views(views).to(device)))
                parts.append(logits.softmax(1).cpu().numpy())
        if not parts:
            return np.zeros((0, len(self.run.result["class_names"])), np.float32)
        return np.concatenate(parts)
