"""From a file's pixels to what a backbone was trained on, and random views for training."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import v2 as T
from torchvision.transforms.v2 import functional as F


@dataclass(frozen=True)
class Preprocessing:
    """What a backbone expects of its input; it travels with the backbone.

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

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for identities and results."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    def evaluation(self, image: Image.Image) -> Tensor:
        """The centre of the image, normalised: (3, size, size) float32."""
        how = InterpolationMode(self.interpolation)
        image = F.resize(image, [round(self.size / self.crop)], interpolation=how)
        return self._normalise(F.center_crop(image, [self.size, self.size]))

    def training(self, image: Image.Image, seed: int) -> Tensor:
        """A random crop (ratio 3/4 to 4/3) and flip drawn from ``seed`` alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            i, j, h, w = T.RandomResizedCrop.get_params(
                image, scale=(self.min_scale, 1.0), ratio=(3 / 4, 4 / 3)
            )
            mirror = self.flip and bool(torch.rand(()) < 0.5)
        how = InterpolationMode(self.interpolation)
        image = F.resized_crop(image, i, j, h, w, [self.size, self.size], interpolation=how)
        return self._normalise(F.hflip(image) if mirror else image)

    def _normalise(self, image: Image.Image) -> Tensor:
        tensor = F.to_dtype(F.to_image(image), torch.float32, scale=True)
        normal: Tensor = F.normalize(tensor, list(self.mean), list(self.std))
        return normal
