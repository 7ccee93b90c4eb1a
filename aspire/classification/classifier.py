"""A classifier with its last layer apart, since half of the methods need that seam."""

from __future__ import annotations

from torch import Tensor, nn


class Classifier(nn.Module):
    """``head(backbone(x))``.

    Args:
        backbone: (B, 3, S, S) -> (B, D) features.
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

    def forward(self, x: Tensor) -> Tensor:
        """(B, K) logits."""
        logits: Tensor = self.head(self.features(x))
        return logits
