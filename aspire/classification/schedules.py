"""Learning-rate schedules by name; each receives the optimiser and the number of steps."""

from __future__ import annotations

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler


def constant(optimizer: Optimizer, steps: int) -> LRScheduler | None:
    """No change."""
    return None


def cosine(optimizer: Optimizer, steps: int) -> LRScheduler | None:
    """Down to 0 over the run along half a cosine (Loshchilov and Hutter 2017)."""
    return CosineAnnealingLR(optimizer, T_max=steps)


def cosine_to_hundredth(optimizer: Optimizer, steps: int) -> LRScheduler | None:
    """Down to a hundredth of the rate along half a cosine (AFR's authors on CelebA)."""
    (rate,) = {float(group["lr"]) for group in optimizer.param_groups}
    return CosineAnnealingLR(optimizer, T_max=steps, eta_min=rate / 100)
