"""From decoded pixels to what a backbone was trained on, and random views for training."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from aspire.data.images import Pixels


@dataclass(frozen=True)
class Preprocessing:
    """What a backbone expects of its input; it travels with the backbone.

    Views are cut from uint8 pixels one by one on the CPU; :meth:`normalise` turns a whole batch of
    them into floats, on whatever device the batch is.

    Args:
        size: side of the square input in pixels.
        mean, std: per channel, of pixels in [0, 1].
        crop: evaluation resizes the shorter side to ``size / crop`` and cuts the centre.
        interpolation: "bilinear" or "bicubic".
        min_scale: training crops cover at least this fraction of the area, in (0, 1].
        flip: whether training mirrors half of the images.
    """

    size: int
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    crop: float = 0.875
    interpolation: str = "bilinear"
    min_scale: float = 0.7
    flip: bool = True

    @property
    def stored_side(self) -> int:
        """Larger images are shrunk to this shorter side when they are decoded: 256 or more."""
        return max(256, round(self.size / self.crop))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for identities and results."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    def evaluation(self, pixels: Pixels) -> Tensor:
        """The centre of an image: (H, W, 3) uint8 -> (3, size, size) uint8."""
        height, width = pixels.shape[:2]
        shorter = round(self.size / self.crop)
        scale = shorter / min(height, width)
        size = max(shorter, round(height * scale)), max(shorter, round(width * scale))
        image = self._resize(pixels, *size) if (height, width) != size else _channels_first(pixels)
        top, left = (size[0] - self.size) // 2, (size[1] - self.size) // 2
        return image[:, top : top + self.size, left : left + self.size]

    def training(self, pixels: Pixels, seed: int) -> Tensor:
        """A random crop (ratio 3/4 to 4/3) and flip drawn from ``seed`` alone; as ``evaluation``.

        The crop is drawn as Inception's (Szegedy et al. 2015): area and log ratio uniform, ten
        attempts, then the largest centre crop of an accepted ratio.
        """
        rng = np.random.default_rng(seed)
        top, left, height, width = self._crop(rng, *pixels.shape[:2])
        image = self._resize(pixels[top : top + height, left : left + width], self.size, self.size)
        return image.flip(-1) if self.flip and rng.random() < 0.5 else image

    def normalise(self, views: Tensor) -> Tensor:
        """(B, 3, size, size) uint8 -> float32 as the backbone expects it, channels last."""
        # Over whole rows of pixels, since a broadcast over three channels is not vectorised.
        batch, _, height, width = views.shape
        rows = views.permute(0, 2, 3, 1).reshape(batch, height, width * 3)
        std = torch.tensor(self.std, device=views.device).repeat(width)
        mean = torch.tensor(self.mean, device=views.device).repeat(width)
        rows = rows.to(torch.float32).mul_(1 / (255 * std)).sub_(mean / std)
        return rows.view(batch, height, width, 3).permute(0, 3, 1, 2)

    def _resize(self, pixels: Pixels, height: int, width: int) -> Tensor:
        """(H, W, 3) uint8 -> (3, height, width) uint8: Pillow's result within one grey level.

        OpenCV where nothing is made smaller: twice as fast as torch, and it leaves torch's threads
        alone, but it has no antialiasing. Its cubic is another one than Pillow's.
        """
        kind = self.interpolation
        if kind == "bilinear" and height >= pixels.shape[0] and width >= pixels.shape[1]:
            larger = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
            return _channels_first(larger)
        image = _channels_first(pixels)[None]
        size = [height, width]
        return F.interpolate(image, size, mode=kind, antialias=True, align_corners=False)[0]

    def _crop(self, rng: np.random.Generator, height: int, width: int) -> tuple[int, int, int, int]:
        """Top, left, height, width of a random crop."""
        low, high = math.log(3 / 4), math.log(4 / 3)
        for _ in range(10):
            area = height * width * rng.uniform(self.min_scale, 1.0)
            ratio = math.exp(rng.uniform(low, high))
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                top = int(rng.integers(height - h + 1))
                return top, int(rng.integers(width - w + 1)), h, w
        w = min(width, round(height * 4 / 3))
        h = min(height, round(width * 4 / 3))
        return (height - h) // 2, (width - w) // 2, h, w


def _channels_first(pixels: Pixels) -> Tensor:
    """A (3, H, W) view of (H, W, 3) pixels, a view where torch allows one."""
    # torch takes only what may be written to; read-only pixels are copied here
    return torch.from_numpy(np.require(pixels, requirements="W")).permute(2, 0, 1)


def stack_views(views: list[Tensor]) -> Tensor:
    """Views (3, S, S) uint8 as one batch (B, 3, S, S), channels last in memory."""
    _, height, width = views[0].shape
    batch = torch.empty((len(views), height, width, 3), dtype=torch.uint8)
    for row, view in zip(batch, views, strict=True):
        row.copy_(view.permute(1, 2, 0))
    return batch.permute(0, 3, 1, 2)
