"""The halves of a classifier fit together, for our own backbone and for timm's."""

from __future__ import annotations

import pytest
import torch

from aspire.classification.backbones import Model, SmallCNN, TimmModel


@pytest.mark.parametrize(
    ("model", "size"),
    [
        (SmallCNN(image_size=16, widths=(4, 8)), 16),
        (TimmModel("resnet18", "none", 32), 32),
        (TimmModel("tf_efficientnet_lite0", "none", 32), 32),
    ],
)
def test_pooled_maps_are_the_features(model: Model, size: int) -> None:
    torch.manual_seed(0)
    net = model.build(3).eval()
    images = torch.rand(2, 3, size, size)
    with torch.inference_mode():
        maps = net.feature_maps(images)
        assert maps.ndim == 4
        torch.testing.assert_close(net.pool(maps), net.features(images))
        torch.testing.assert_close(net.head(net.pool(maps)), net(images))
