"""From decoded pixels to what a backbone was trained on, and random views for training."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from aspire.data.images import Pixels
from aspire.values import Side

View = Literal["squash"] | Side
WHOLE = 2**15  # a side that no image has


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
        view: what evaluation sees in place of the above: "squash", the centre of the whole image
            after it was squeezed to a square of ``size / crop`` (group_DRO on Waterbirds), or a
            number, the central square of so many pixels of the file (178: group_DRO on CelebA).
    """

    size: int
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    crop: float = 0.875
    interpolation: str = "bilinear"
    min_scale: float = 0.7
    flip: bool = True
    view: View | None = None

    @property
    def stored_side(self) -> int:
        """Larger images are shrunk to this shorter side when they are decoded: 256 or more."""
        if self.view is not None:  # whoever published a view cut it from the file itself
            return WHOLE
        return max(256, round(self.size / self.crop))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for identities and results."""
        plain = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        return {k: v for k, v in plain.items() if (k, v) != ("view", None)}  # as before there was

    def evaluation(self, pixels: Pixels) -> Tensor:
        """The centre of an image: (H, W, 3) uint8 -> (3, size, size) uint8."""
        seen, size, (top, left) = self.placed(*pixels.shape[:2])
        pixels = pixels[seen]
        same = pixels.shape[:2] == size
        image = _channels_first(pixels) if same else self._resize(pixels, *size)
        return image[:, top : top + self.size, left : left + self.size]

    def placed(
        self, height: int, width: int
    ) -> tuple[tuple[slice, slice], tuple[int, int], tuple[int, int]]:
        """How an image of that size comes into the evaluation's view.

        Returns:
            The rows and columns that are taken, the (height, width) they are resized to, and the
            (top, left) from which ``size`` pixels are cut.
        """
        shorter = round(self.size / self.crop)
        if isinstance(self.view, int):
            side = min(self.view, height, width)
            seen = tuple(slice(a := round((n - side) / 2), a + side) for n in (height, width))
            return (seen[0], seen[1]), (self.size, self.size), (0, 0)
        size = (shorter, shorter)
        if self.view is None:
            scale = shorter / min(height, width)
            size = max(shorter, round(height * scale)), max(shorter, round(width * scale))
        corner = (size[0] - self.size) // 2, (size[1] - self.size) // 2
        return (slice(0, height), slice(0, width)), size, corner

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
