"""How a personalisation is trained. Free of torch, so that a finished one is found fast."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aspire.errors import ConfigError

Loggers = Callable[[Path], Sequence[Any]]  # folder of a personalisation -> Lightning loggers


@dataclass(frozen=True)
class Training:
    """How long and how fast. What changes the result comes first; the defaults are the paper's.

    Args:
        steps: optimiser steps.
        batch_size: samples a step.
        learning_rate, weight_decay: of AdamW, at a constant rate.
        size: side of the images in pixels; None for the size the model was trained at.
        seed: everything drawn follows from it.
        micro_batch: samples at once; None for ``batch_size``. Halved when memory runs out.
        checkpointing: trade time for memory by computing activations twice.
        checkpoint_every: steps between states to resume from.
        strip_every: steps between samples; 0 for none.
        strip: how many samples.

    Raises:
        ConfigError: for a micro-batch that does not divide the batch, or an impossible size.
    """

    steps: int = 1000
    batch_size: int = 4
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    size: int | None = None
    seed: int = 0
    micro_batch: int | None = None
    checkpointing: bool = True
    checkpoint_every: int = 100
    strip_every: int = 100
    strip: int = 4

    def __post_init__(self) -> None:
        if self.micro_batch is not None and (
            self.micro_batch < 1 or self.batch_size % self.micro_batch
        ):
            raise ConfigError(
                f"personaliser.micro_batch={self.micro_batch}: expected a divisor of "
                f"personaliser.batch_size={self.batch_size}."
            )

    def identity(self) -> dict[str, int | float | None]:
        """What changes the result."""
        names = ("steps", "batch_size", "learning_rate", "weight_decay", "size", "seed")
        return {name: getattr(self, name) for name in names}

    @property
    def accumulate(self) -> int:
        """Micro-batches a step."""
        return self.batch_size // (self.micro_batch or self.batch_size)
