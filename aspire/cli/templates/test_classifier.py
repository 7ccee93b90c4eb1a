"""Blank: its probabilities by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from aspire.classification.predictor import Request
from aspire.cli.templates.classifier import Blank


def not_needed(*_: Any) -> Any:
    raise AssertionError


def test_probabilities_by_hand() -> None:
    predict = Blank(np.log(3)).classifier(Request(("dark", "bright"), 0, not_needed, not_needed))
    white = np.full((2, 2, 3), 255, np.uint8)
    # the scores are -ln 3 and 0, so that the weights are 1/3 and 1
    bright, dark = predict([white, 0 * white]).tolist()
    assert bright == pytest.approx([0.25, 0.75])
    assert dark == pytest.approx([0.75, 0.25])
    assert predict([]).shape == (0, 2)
