"""What may be done to a training view after the random crop and flip."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

Change = Callable[["Tensor", int], "Tensor"]
"""View (3, S, S) uint8, its seed -> another of that shape; nothing else may decide."""


class RandAugment:
    """RandAugment (Cubuk et al. 2020, arXiv 1909.13719) as torchvision has it.

    ``num_ops`` of 14 changes (identity, shear, translate, rotate, brightness, colour, contrast,
    sharpness, posterise, solarise, autocontrast, equalise), each at ``magnitude`` of its range.

    Args:
        num_ops: changes to each view, at least 1 (paper: 2 on ImageNet).
        magnitude: in [0, 30] (paper: 9 for a ResNet-50 on ImageNet).

    Raises:
        ConfigError: for other values.
    """

    def __init__(self, num_ops: int = 2, magnitude: int = 9) -> None:
        self.num_ops = num_ops
        self.magnitude = magnitude
        self._changes: Any = None

    def __call__(self, view: Tensor, seed: int) -> Tensor:
        """The changed view; what is drawn follows from ``seed`` alone."""
        import torch

        if self._changes is None:
            from torchvision.transforms.v2 import RandAugment as Changes

            self._changes = Changes(self.num_ops, self.magnitude, num_magnitude_bins=31)
        # It draws from the CPU's global generator; that of a GPU must not be touched.
        generator = torch.default_generator
        before = generator.get_state()
        try:
            generator.manual_seed(seed)
            changed: Tensor = self._changes(view)
        finally:
            generator.set_state(before)
        return changed
