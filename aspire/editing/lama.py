"""Inpainting with LaMa (Suvorov et al. 2022, arXiv 2109.07161), from a TorchScript file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from aspire.data.images import Pixels
from aspire.editing.base import Failure, Mask
from aspire.editing.batching import Batches
from aspire.editing.pixels import fill
from aspire.errors import ConfigError
from aspire.identity import Json
from aspire.pretrained import device_and_dtype
from aspire.stored.seals import file_digest
from aspire.values import Count, Natural

MODULO = 8


class LamaInpainter:
    """The authors' inpainter, loaded once. Images keep their size.

    Args:
        path: a TorchScript file by the convention of ``big-lama.pt``: it takes images (B, 3, H, W)
            in [0, 1] and masks (B, 1, H, W) of 0 and 1, sides multiples of 8, and gives images
            (B, 3, H, W) in [0, 1].
        feather: width in pixels of the blend, inside the hole.
        device: "auto", or a device of torch.
        batch_size: images at once; only images of one size share a batch.
    """

    bleeds = False

    def __init__(
        self, path: str | None, feather: Natural = 2, device: str = "auto", batch_size: Count = 16
    ) -> None:
        self.path = path
        self.feather = feather
        self.device = device
        self.batches = Batches(batch_size)

    def identity(self) -> Mapping[str, Json]:
        return {
            "inpainter": "lama",
            "file": file_digest(self._file()),
            "feather": self.feather,
        }

    def inpaint(
        self, images: Sequence[Pixels], masks: Sequence[Mask], seeds: Sequence[int]
    ) -> list[Pixels | Failure]:
        groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for place, image in enumerate(images):
            groups[tuple(-(-side // MODULO) for side in image.shape[:2])].append(place)
        results: dict[int, Pixels | Failure] = {}
        for places in groups.values():
            made = self.batches.map(self._run, [(images[i], masks[i]) for i in places])
            results |= zip(places, made, strict=True)
        return [result for _, result in sorted(results.items())]

    def _file(self) -> Path:
        if self.path is None or not Path(self.path).is_file():
            raise ConfigError(
                f"inpainter.path={self.path}: expected LaMa as a TorchScript file (big-lama.pt). "
                "Download it by hand, then: inpainter=lama inpainter.path=/path/to/big-lama.pt"
            )
        return Path(self.path)

    @cached_property
    def _loaded(self) -> Any:
        import torch

        try:
            model = torch.jit.load(str(self._file()), map_location=device_and_dtype(self.device)[0])
        except RuntimeError as error:
            raise ConfigError(
                f"inpainter.path={self.path} is not a TorchScript file that this torch reads: "
                f"{str(error).strip().splitlines()[0]}"
            ) from error
        return model.eval()

    def _run(self, batch: Sequence[tuple[Pixels, Mask]]) -> list[Pixels | Failure]:
        import torch

        model, device = self._loaded, device_and_dtype(self.device)[0]
        pixels = torch.from_numpy(np.stack([_padded(image) for image, _ in batch]))
        holes = torch.from_numpy(np.stack([_padded(mask) for _, mask in batch]))
        with torch.inference_mode():
            made = model(
                pixels.permute(0, 3, 1, 2).to(device, torch.float32) / 255.0,
                holes[:, None].to(device, torch.float32),
            )
        made = made.float().cpu().permute(0, 2, 3, 1).numpy()
        return [
            _result(one, image, mask, self.feather)
            for one, (image, mask) in zip(made, batch, strict=True)
        ]


def _padded(image: Any) -> Any:
    """Mirrored at the lower and right edge to sides that are multiples of 8."""
    height, width = image.shape[:2]
    further = [(0, -height % MODULO), (0, -width % MODULO)] + [(0, 0)] * (image.ndim - 2)
    return np.pad(image, further, mode="symmetric")


def _result(made: Any, image: Pixels, mask: Mask, feather: int) -> Pixels | Failure:
    height, width = image.shape[:2]
    if not np.isfinite(made).all():
        return Failure("the model gave values that are not numbers")
    content = np.round(made[:height, :width] * 255.0).clip(0, 255).astype(np.uint8)
    return fill(image, mask, content, feather)
