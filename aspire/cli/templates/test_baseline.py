"""Blank: its loss by hand."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch

from aspire.cli.templates.baseline import BlankLoss
from aspire.data.datamodule import Batch


def test_the_loss_by_hand() -> None:
    none = torch.tensor([-1])
    batch = Batch(torch.tensor([[1.0, -1.0]]), torch.tensor([0]), none, torch.tensor([0]))
    net = cast(Any, torch.nn.Identity())  # the logits are the images
    # ln(1 + e^-2) is 0.126928; both squares are 1
    assert float(BlankLoss(0.0)(net, batch).loss) == pytest.approx(0.126928, abs=1e-6)
    assert float(BlankLoss(0.1)(net, batch).loss) == pytest.approx(0.226928, abs=1e-6)
