"""``segmenter=onnx`` and ``segmenter=torchscript``: masks from a network of the user's in a file.

Salient-object networks (U2-Net, IS-Net, BiRefNet, as rembg has them) give one map that says how
much of the class object each pixel is; segmentation networks give one for each of their classes.
"""

from __future__ import annotations

import warnings
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aspire.data.images import Pixels
from aspire.data.loaded import LoadedImage
from aspire.editing.base import Failure, Segmentation, found
from aspire.editing.batching import Batches
from aspire.errors import ConfigError, last_line
from aspire.identity import Json
from aspire.language.phrases import normalise, singular
from aspire.onnx_file import OnnxFile
from aspire.pretrained import device_and_dtype
from aspire.stored.seals import file_digest
from aspire.values import Fraction, Side

Floats: TypeAlias = NDArray[np.float32]
Network: TypeAlias = Callable[[Floats], Any]  # (1, 3, S, S) -> what it gives

SLACK = 1e-3  # by which a probability may be off for rounding


class NetworkSegmenter(ABC):
    """Masks where the map of a network is at least ``threshold``.

    Nothing is believed before it was looked at: the output has to be one map an image, or one a
    channel, of finite numbers, and within [0, 1] unless it is said to hold logits.

    Args:
        path: the file.
        size: side of the square input in pixels; images are stretched to it, and the map back.
        mean, std: per channel, of pixels in [0, 1].
        channels: word -> channel, of a network that tells several things apart; a pixel is the
            channel's whose value is largest. None for a network of salient objects, which knows
            the class object only and no phrase.
        gives: what the map holds: probabilities or logits.
        threshold: least probability of a pixel of a salient object, in [0, 1].
        output: which of several outputs holds the map, by number; the first, as U2-Net has it.
        device: "auto", or a device of torch.
    """

    choice: ClassVar[str]  # of conf/segmenter
    holds: ClassVar[str]

    def __init__(
        self,
        path: str | None,
        size: Side = 320,
        mean: Sequence[float] = (0.485, 0.456, 0.406),
        std: Sequence[float] = (0.229, 0.224, 0.225),
        channels: Mapping[str, int] | None = None,
        gives: Literal["probabilities", "logits"] = "probabilities",
        threshold: Fraction = 0.5,
        output: int = 0,
        device: str = "auto",
    ) -> None:
        self.path = path
        self.size = size
        self.mean = tuple(mean)
        self.std = tuple(std)
        self.channels = None if channels is None else dict(channels)
        self.gives = gives
        self.threshold = threshold
        self.output = output
        self.device = device
        self.batches = Batches(1)

    def identity(self) -> Mapping[str, Json]:
        return {
            "segmenter": self.choice,
            "files": self.content(),
            "size": self.size,
            "mean": list(self.mean),
            "std": list(self.std),
            "channels": self.channels,
            "gives": self.gives,
            "threshold": self.threshold,
            "output": self.output,
        }

    def segment(self, images: Sequence[LoadedImage], phrases: Sequence[str]) -> list[Segmentation]:
        known = [self._channel([phrase]) for phrase in phrases]
        return self._segmented(images, known, "the network has no channel for it")

    def segment_class_object(
        self, images: Sequence[LoadedImage], class_words: Sequence[Sequence[str]]
    ) -> list[Segmentation]:
        if self.channels is None:
            return self._segmented(images, [0] * len(images), "")
        known = [self._channel(words) for words in class_words]
        return self._segmented(images, known, "the network has no channel for the class")

    def _channel(self, phrases: Sequence[str]) -> int | None:
        """Of a phrase, by all of it or by its last word."""
        named = {_plain(name): number for name, number in (self.channels or {}).items()}
        for phrase in phrases:
            for text in (_plain(phrase), _plain(phrase).rpartition(" ")[2]):
                if text in named:
                    return named[text]
        return None

    def _segmented(
        self, images: Sequence[LoadedImage], channels: Sequence[int | None], unknown: str
    ) -> list[Segmentation]:
        asked = [(i, c) for i, c in zip(images, channels, strict=True) if c is not None]
        maps = {id(i): i for i, _ in asked}  # an image with several phrases is looked at once
        looked: dict[int, Floats | Failure] = dict(
            zip(maps, self.batches.map(self._look, list(maps.values())), strict=True)
        )
        results = []
        for image, channel in zip(images, channels, strict=True):
            if channel is None:
                results.append(Segmentation(reason="no_box", detail=unknown))
                continue
            seen = looked[id(image)]
            if isinstance(seen, Failure):
                results.append(Segmentation(reason="failed", detail=seen.detail))
            else:
                results.append(self._read(seen, channel, image.pixels.shape[:2]))
        return results

    def _look(self, images: Sequence[LoadedImage]) -> list[Floats | Failure]:
        return [self._checked(self._network(self._view(image.pixels))) for image in images]

    def _view(self, pixels: Pixels) -> Floats:
        import cv2

        small = cv2.resize(pixels, (self.size, self.size), interpolation=cv2.INTER_AREA)
        mean, std = (np.array(v, dtype=np.float32) for v in (self.mean, self.std))
        scaled = (small.astype(np.float32) / 255 - mean) / std
        return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None], dtype=np.float32)

    def _checked(self, given: Any) -> Floats:
        """(C, h, w) of what the network gave for one image.

        Raises:
            ConfigError: when that cannot be maps.
        """
        if isinstance(given, tuple | list):
            if not 0 <= self.output < len(given):
                raise ConfigError(
                    f"segmenter.output={self.output}: {self.path} has {len(given)} outputs, "
                    f"numbered from 0 to {len(given) - 1}."
                )
            given = given[self.output]
        shape = tuple(getattr(given, "shape", ()))
        map_ = np.asarray(given, dtype=np.float32) if shape else np.zeros(0, np.float32)
        map_ = map_[0] if len(shape) > 2 and shape[0] == 1 else map_
        map_ = map_[None] if map_.ndim == 2 else map_
        wanted = 1 if self.channels is None else max(self.channels.values()) + 1
        enough = map_.ndim == 3 and min(map_.shape) > 0
        if not enough or (len(map_) != 1 if wanted == 1 else len(map_) < wanted):
            expected = "one map (1, 1, h, w)" if wanted == 1 else f"{wanted} or more channels"
            raise ConfigError(
                f"segmenter.path={self.path} gives {shape or 'no array'} for one image; expected "
                f"{expected}. Of a network with several outputs, segmenter.output=NUMBER says "
                "which; of one with a channel for each class, segmenter.channels={dog: 12}."
            )
        if not np.isfinite(map_).all():
            raise ConfigError(
                f"segmenter.path={self.path} gives values that are not numbers. Check "
                "segmenter.mean and segmenter.std."
            )
        if self.gives == "logits":
            return map_
        low, high = float(map_.min()), float(map_.max())
        if low < -SLACK or high > 1 + SLACK:
            raise ConfigError(
                f"segmenter.path={self.path} gives values from {low:.3g} to {high:.3g}, which are "
                "no probabilities. If these are logits: segmenter.gives=logits."
            )
        return map_

    def _read(self, map_: Floats, channel: int, size: tuple[int, int]) -> Segmentation:
        import cv2

        height, width = size
        full = np.stack(
            [cv2.resize(m, (width, height), interpolation=cv2.INTER_LINEAR) for m in map_]
        )
        if len(full) > 1:
            return found(np.asarray(full.argmax(axis=0) == channel))
        p = 1 / (1 + np.exp(-full[0])) if self.gives == "logits" else full[0]
        best = round(float(p.max()), 4)
        if best < self.threshold:
            detail = f"best probability {best:.2f}, threshold {self.threshold}"
            return Segmentation(None, best, "low_score", detail)
        return found(np.asarray(p >= self.threshold), best)

    def _file(self) -> Path:
        if self.path is None or not Path(self.path).is_file():
            raise ConfigError(
                f"segmenter.path={self.path}: expected {self.holds}: segmenter={self.choice} "
                "segmenter.path=FILE"
            )
        return Path(self.path)

    @cached_property
    def _network(self) -> Network:
        return self.load(device_and_dtype(self.device)[0])

    @abstractmethod
    def content(self) -> Json:
        """Digests of every file that the masks depend on."""

    @abstractmethod
    def load(self, device: Any) -> Network:
        """The network.

        Raises:
            ConfigError: when the file is none.
        """


class OnnxSegmenter(NetworkSegmenter):
    """A network in an ONNX file: data, of whose operations only the standard's are run.

    Args and errors: see :class:`NetworkSegmenter`.
    """

    choice = "onnx"
    holds = "an ONNX file"

    def content(self) -> Json:
        return [file_digest(f) for f in [self._file(), *self._onnx.beside()]]

    @property
    def _onnx(self) -> OnnxFile:
        file = self._file()
        if zipfile.is_zipfile(file):
            raise ConfigError(
                f"segmenter.path={file} is no ONNX file, but an archive as PyTorch writes them. If "
                "it is TorchScript, and you trust whoever made it, since it runs code of its own: "
                "segmenter=torchscript."
            )
        return OnnxFile(file, "segmenter.path")

    def load(self, device: Any) -> Network:
        session = self._onnx.session(device)
        given = session.get_inputs()[0]

        def run(view: Floats) -> Any:
            half = given.type == "tensor(float16)"
            try:
                return session.run(None, {given.name: view.astype(np.float16 if half else "f4")})
            except Exception as error:  # onnxruntime's own classes
                raise _wrong_input(self.path, view, last_line(error)) from None

        return run


class TorchScriptSegmenter(NetworkSegmenter):
    """A network in a file of ``torch.jit.save``, which runs code of its own: only what you trust.

    Args and errors: see :class:`NetworkSegmenter`.
    """

    choice = "torchscript"
    holds = "a file of torch.jit.save"

    def content(self) -> Json:
        return [file_digest(self._file())]

    def load(self, device: Any) -> Network:
        import torch

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # the file exists all the same
                module = torch.jit.load(str(self._file()), map_location=device).eval().float()
        except Exception as error:  # an archive may be broken in many ways
            raise ConfigError(
                f"segmenter.path={self.path} is no TorchScript file: {last_line(error)} Expected "
                "what torch.jit.trace(...).save(FILE) writes."
            ) from None

        def run(view: Floats) -> Any:
            try:
                with torch.inference_mode():
                    given = module(torch.from_numpy(view).to(device))
            except Exception as error:  # whatever a network of somebody else's does
                raise _wrong_input(self.path, view, last_line(error)) from None
            if isinstance(given, tuple | list):
                return [g.float().cpu().numpy() for g in given]
            return given.float().cpu().numpy()

        return run


def _plain(phrase: str) -> str:
    """As phrases are compared: normalised, the last word in the singular."""
    words = normalise(phrase.replace("_", " ")).split()
    return " ".join([*words[:-1], singular(words[-1])]) if words else ""


def _wrong_input(path: str | None, view: Floats, reason: str) -> ConfigError:
    return ConfigError(
        f"segmenter.path={path} does not take a batch of shape {view.shape}: {reason} Check "
        "segmenter.size."
    )
