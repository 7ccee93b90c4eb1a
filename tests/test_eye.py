"""The small eye of the package: what it sees, whatever else it looks at."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aspire.classification.efficientnet_lite0 import EfficientNetLite0
from aspire.eye import Eye


@pytest.fixture(scope="module")
def eye() -> Eye:
    return Eye(sides=(64, 96), device="cpu", remembered=1)


def drawn(seed: int, height: int = 40, width: int = 60) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_maps_have_a_cell_for_every_32_pixels(eye: Eye) -> None:
    sight = eye.look([drawn(0)])[0]
    # 60 x 40 at a longer side of 64: 43 rows are one cell; at 96: 64 are two
    assert [m.shape for m in sight.maps] == [(1, 2, 1280), (2, 3, 1280)]
    assert eye.logits(sight.maps[1]).shape == (2, 3, 1000)


def test_it_is_the_network_of_the_package(eye: Eye) -> None:
    classifier = EfficientNetLite0(64).build(2).eval()
    image = drawn(1, 64, 64)
    views = torch.from_numpy((image.astype(np.float32) - 127) / 128).permute(2, 0, 1)[None]
    with torch.inference_mode():
        expected = classifier.features(views)[0].numpy()
    np.testing.assert_allclose(eye.look([image])[0].pooled(0), expected, atol=2e-3)


def test_what_is_seen_depends_on_nothing_else_and_is_remembered(eye: Eye) -> None:
    alone = eye.look([drawn(2)])[0]
    eye.forget()
    among = eye.look([drawn(3), drawn(2), drawn(4)])
    assert all(np.array_equal(a, b) for a, b in zip(alone.maps, among[1].maps, strict=True))
    assert eye.look([drawn(2)])[0] is among[1]
    eye.remembered = 3 * 8 * 1280 * 2  # three sights of 8 cells of 1280 numbers of 2 bytes
    eye.look([drawn(2), drawn(5), drawn(6)])
    assert eye.look([drawn(2)])[0] is among[1]
    eye.look([drawn(7), drawn(8), drawn(9)])
    assert eye.look([drawn(2)])[0] is not among[1]


def test_it_draws_no_random_numbers() -> None:
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    Eye(sides=(32,), device="cpu").look([drawn(5)])
    assert torch.equal(before, torch.random.get_rng_state())
