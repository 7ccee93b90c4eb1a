"""Backbones: an architecture, its weights and the preprocessing that goes with them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from aspire.classification.classifier import Classifier
from aspire.data.transforms import Preprocessing, View
from aspire.errors import ConfigError, DataError, ServiceError, did_you_mean
from aspire.pretrained import Checkpoint
from aspire.values import Side


class Model(Protocol):
    """Builds classifiers of one kind. Construction is cheap."""

    def preprocessing(self) -> Preprocessing: ...

    def build(self, num_classes: int) -> Classifier:
        """A classifier with a fresh head; random parts come from torch's global generator."""
        ...


class SmallCNN:
    """Four convolution blocks for the 64 x 64 miniatures: fast on a laptop, trained from scratch.

    The first halves the resolution by its stride, so that most of the work is at 16 x 16 and below:
    0.058 GFLOP an image forward and backward, 10.0 million multiplications forward.

    Args:
        image_size: input side in pixels.
        widths: channels of the blocks.
        view: of an image, see :class:`~aspire.data.transforms.Preprocessing`.
    """

    def __init__(
        self,
        image_size: Side = 64,
        widths: Sequence[int] = (24, 64, 96, 128),
        view: View | None = None,
    ) -> None:
        self.image_size = image_size
        self.widths = tuple(widths)
        self.view = view

    def preprocessing(self) -> Preprocessing:
        mean, std = (0.5,) * 3, (0.25,) * 3
        return Preprocessing(size=self.image_size, crop=1.0, mean=mean, std=std, view=self.view)

    def build(self, num_classes: int) -> Classifier:
        layers: list[nn.Module] = [nn.Conv2d(3, self.widths[0], 4, stride=2, padding=1, bias=False)]
        for width, out in pairwise(self.widths):
            layers += [
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
                nn.MaxPool2d(2),
                nn.Conv2d(width, out, 3, padding=1, bias=False),
            ]
        last = self.widths[-1]
        layers += [nn.BatchNorm2d(last), nn.ReLU(inplace=True)]
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        return Classifier(_Pooled(*layers), last, num_classes)


class _Pooled(nn.Sequential):
    """Layers of which the last two pool, with timm's names for the halves."""

    def forward_features(self, x: Tensor) -> Tensor:
        maps: Tensor = self[:-2](x)
        return maps

    def forward_head(self, maps: Tensor, pre_logits: bool = False) -> Tensor:
        pooled: Tensor = self[-2:](maps)
        return pooled


class TimmModel:
    """Any timm architecture with the preprocessing its weights were trained with.

    Args:
        architecture: timm name, with or without a weights tag (``resnet50.tv_in1k``).
        weights: "hub" (timm's own download), "none" (random) or a file (.safetensors or .pth).
        image_size: input side in pixels; None for the size of the weights.
        view: of an image, see :class:`~aspire.data.transforms.Preprocessing`.

    Raises:
        ConfigError: for an architecture that timm does not know.
    """

    def __init__(
        self,
        architecture: str,
        weights: str = "hub",
        image_size: Side | None = None,
        view: View | None = None,
    ) -> None:
        self.architecture = architecture
        self.weights = weights
        self.image_size = image_size
        self.view = view

    def preprocessing(self) -> Preprocessing:
        import timm

        self._check_name()
        config = timm.get_pretrained_cfg(self.architecture, allow_unregistered=False)
        return Preprocessing(
            size=self.image_size or config.input_size[-1],
            mean=tuple(config.mean),
            std=tuple(config.std),
            crop=config.crop_pct or 0.875,
            interpolation=config.interpolation or "bilinear",
            view=self.view,
        )

    def fetches(self) -> list[Checkpoint]:
        """What timm downloads, for :mod:`aspire.model_files`."""
        if self.weights != "hub":
            return []
        import timm

        self._check_name()
        config = timm.get_pretrained_cfg(self.architecture, allow_unregistered=False)
        instead = "model=efficientnet_lite0, whose weights are installed"
        return [Checkpoint(config.hf_hub_id, instead=instead)] if config.hf_hub_id else []

    def build(self, num_classes: int) -> Classifier:
        import timm

        self._check_name()
        try:
            backbone = timm.create_model(
                self.architecture, pretrained=self.weights == "hub", num_classes=0
            )
        except Exception as error:
            if self.weights != "hub":
                raise
            raise ServiceError(
                f"The weights of {self.architecture} could not be fetched: {error}\n"
                "Without a network use model.weights=FILE (safetensors or pth), model.weights=none "
                "or model=efficientnet_lite0, whose weights come with the installation."
            ) from None
        if self.weights not in ("hub", "none"):
            self.load(backbone, Path(self.weights))
        return Classifier(backbone, backbone.num_features, num_classes)

    def load(self, backbone: nn.Module, path: Path) -> None:
        """Fill a backbone from a file, the head's tensors aside.

        Raises:
            DataError: when the file is missing or does not fit.
        """
        if not path.is_file():
            raise DataError(f"model.weights={path}: no such file.")
        try:
            if path.suffix == ".safetensors":
                from safetensors.torch import load_file

                state = load_file(path)
            else:
                state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # each format has its own
            reason = str(error).splitlines()[0]
            raise DataError(
                f"model.weights={path} cannot be read: {reason} Expected tensors by name, as "
                "safetensors or as torch.save writes them."
            ) from None
        try:
            missing, _ = backbone.load_state_dict(state, strict=False)
        except RuntimeError as error:  # tensors of other shapes
            raise DataError(
                f"model.weights={path} does not fit {self.architecture}: {error}"
            ) from None
        if missing:
            raise DataError(
                f"model.weights={path} does not fit {self.architecture}: {len(missing)} tensors "
                f"are missing, the first {missing[0]}."
            )

    def _check_name(self) -> None:
        import timm

        base = self.architecture.split(".")[0]
        if not timm.is_model(base):
            near = did_you_mean(base, timm.list_models())
            raise ConfigError(f"model.architecture={self.architecture}: unknown to timm.{near}")
        try:
            timm.get_pretrained_cfg(self.architecture)
        except RuntimeError:  # the architecture is known, its tag is not
            known = ", ".join(timm.list_pretrained(f"{base}.*"))
            raise ConfigError(
                f"model.architecture={self.architecture}: no such weights. timm has {known}."
            ) from None
