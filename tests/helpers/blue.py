"""A network that takes nothing but the shortcut, as a user of the API might bring it."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn


class Blue(nn.Module):
    """Calls everything a waterbird whose corners are blue, as an image of [0, 1] comes."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(20.0))

    def forward(self, x: Tensor) -> Tensor:
        corners = x[:, :, [0, 0, -1, -1], [0, -1, 0, -1]].mean(2)
        water = self.gain * (corners[:, 2] - corners[:, 1])
        return torch.stack([-water, water], 1)


def to_tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255
