"""A classifier with its last layer apart, since half of the methods need that seam."""

from __future__ import annotations

from torch import Tensor, nn


class Classifier(nn.Module):
    """``head(backbone(x))``.

    Args:
        backbone: (B, 3, S, S) -> (B, D) features, made of ``forward_features`` (feature maps) and
            ``forward_head(maps, pre_logits=True)`` as every timm network is.
        num_features: D.
        num_classes: K.
    """

    def __init__(self, backbone: nn.Module, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(num_features, num_classes)

    def features(self, x: Tensor) -> Tensor:
        """(B, D) penultimate features."""
        features: Tensor = self.backbone(x)
        return features

    def feature_maps(self, x: Tensor) -> Tensor:
        """(B, C, h, w) what the last convolution sees, before pooling."""
        maps: Tensor = self.backbone.forward_features(x)  # type: ignore[operator]
        return maps

    def pool(self, maps: Tensor) -> Tensor:
        """(B, D) features of ``feature_maps``."""
        features: Tensor = self.backbone.forward_head(maps, pre_logits=True)  # type: ignore[operator]
        return features

    def forward(self, x: Tensor) -> Tensor:
        """(B, K) logits."""
        logits: Tensor = self.head(self.features(x))
        return logits
