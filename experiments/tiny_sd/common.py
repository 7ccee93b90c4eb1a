"""What every part of the training shares: settings, the drawn scenes, sheets of pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from aspire.yardstick import yardstick
from experiments.tiny_sd import models


@dataclass
class Settings:
    """What the command line says as ``key=value``; see the README.

    Args:
        folder: where everything lies.
        device: of torch; bfloat16 there, but on a processor that only imitates it.
        steps: at which training ends.
        batch: scenes a step.
        rate: learning rate.
        cooldown: last steps, in which the learning rate falls to 0.
        kl: weight of the VAE's divergence from the normal distribution, a latent.
        seed: of everything drawn.
        sheet_every: steps between sample sheets.
        sizes: of the models.
    """

    folder: Path = Path("outputs/tiny_sd")
    device: str = "cpu"
    steps: int = 3000
    batch: int = 16
    rate: float = 1e-3
    cooldown: int = 0
    kl: float = 5e-4
    seed: int = 0
    sheet_every: int = 500
    sizes: models.Sizes = field(default_factory=models.Sizes)

    def autocast(self) -> Any:
        """bfloat16 where it is safe, and faster than float32."""
        return torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self._faster)

    @cached_property
    def _faster(self) -> bool:
        return torch.device(self.device).type != "cpu" or yardstick().bf16 > 1


class Scenes:
    """The drawn scenes of a folder: pixels, label maps, captions and facts."""

    def __init__(self, folder: Path) -> None:
        shards = sorted(p.parent for p in folder.glob("*/pixels.npy"))
        if not shards:
            raise SystemExit(f"{folder} holds no scenes; draw some first (see README.md).")
        self.pixels = [np.load(s / "pixels.npy", mmap_mode="r") for s in shards]
        self.maps = [np.load(s / "labels.npy", mmap_mode="r") for s in shards]
        self.facts: list[dict[str, Any]] = [
            json.loads(line) for s in shards for line in (s / "scenes.jsonl").open()
        ]
        self.starts = np.cumsum([0, *(len(s) for s in self.pixels)])

    def __len__(self) -> int:
        return len(self.facts)

    def images(self, chosen: Sequence[int] | np.ndarray) -> Tensor:
        """(B, 3, S, S) float32 in [-1, 1]."""
        pixels = torch.from_numpy(self._of(self.pixels, chosen))
        return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1

    def labels(self, chosen: Sequence[int] | np.ndarray) -> np.ndarray:
        """(B, S, S) uint8, as in ``Captioned``."""
        return self._of(self.maps, chosen)

    def _of(self, shards: Sequence[np.ndarray], chosen: Sequence[int] | np.ndarray) -> np.ndarray:
        shard = np.searchsorted(self.starts, chosen, side="right") - 1
        return np.stack([shards[k][i - self.starts[k]] for i, k in zip(chosen, shard, strict=True)])


def write_sheet(path: Path, images: Tensor, across: int) -> None:
    """(N, 3, S, S) in [-1, 1] as one picture, twice as large."""
    pixels = ((images.clip(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    n, size = len(pixels) // across, pixels.shape[1]
    grid = pixels[: n * across].reshape(n, across, size, size, 3).swapaxes(1, 2)
    picture = Image.fromarray(grid.reshape(n * size, across * size, 3))
    picture.resize((2 * picture.width, 2 * picture.height), Image.Resampling.NEAREST).save(path)
