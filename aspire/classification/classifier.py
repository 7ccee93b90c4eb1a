"""A classifier with its last layer apart, since half of the methods need that seam."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn

from aspire.processes import process_share


class Classifier(nn.Module):
    """``head(backbone(x))``.

    Args:
        backbone: (B, 3, S, S) -> (B, D) features, made of ``forward_features`` (feature maps) and
            ``forward_head(maps, pre_logits=True)`` as every timm network is.
        num_features: D.
        num_classes: K.
    """

    autocast: torch.dtype | None = None  # the backbone computes in it, everything else in float32
    whole_input: bool = False  # in training: every process is given the whole batch

    def __init__(self, backbone: nn.Module, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(num_features, num_classes)

    def features(self, x: Tensor) -> Tensor:
        """(B, D) float32 penultimate features.

        While several processes train together, each computes its share of the batch and all get
        the features of the whole batch.
        """
        rank, world = process_share() if self.training else (0, 1)
        if world > 1 and self.whole_input:
            x = x[rank * len(x) // world : (rank + 1) * len(x) // world]
        if self.autocast is None:
            features: Tensor = self.backbone(x)
        else:
            with torch.autocast(x.device.type, self.autocast):
                features = self.backbone(x).float()
        return features if world == 1 else _Gather.apply(features)

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


class _Gather(torch.autograd.Function):
    """Rows of all processes, in the order of their ranks.

    Every process then computes the same loss of all rows. The gradient of a row is summed over the
    processes here and parameters' gradients are averaged by DistributedDataParallel: together that
    is the gradient of the loss.
    """

    @staticmethod
    def forward(ctx: Any, mine: Tensor) -> Tensor:
        ctx.rows = len(mine)
        parts = [torch.empty_like(mine) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, mine.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> Tensor:
        total = gradient[0].contiguous()
        distributed.all_reduce(total)
        first = distributed.get_rank() * ctx.rows
        return total[first : first + ctx.rows]
