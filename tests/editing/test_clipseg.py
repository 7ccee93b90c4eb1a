"""CLIPSeg: thresholds by hand, and the real class end to end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aspire.data.loaded import LoadedImage
from aspire.editing.clipseg import ClipSegSegmenter
from aspire.errors import AspireError


def noise(height: int, width: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_pixels_above_the_threshold_are_the_mask(tiny_clipseg: Path) -> None:
    probabilities = np.zeros((4, 4), np.float32)
    probabilities[:, 2:] = 0.9
    found = ClipSegSegmenter(str(tiny_clipseg)).read(probabilities, (8, 16))
    assert found.mask is not None
    assert found.score == pytest.approx(0.9, abs=1e-4)
    # columns 4 times as wide, blended linearly between the centres 5.5 (0.0) and 9.5 (0.9): at
    # column 7 stand 0.9 * 1.5 / 4 = 0.34, at column 8 0.9 * 2.5 / 4 = 0.56
    assert found.mask.all(axis=0).tolist() == [False] * 8 + [True] * 8


@pytest.mark.parametrize(("best", "reason"), [(0.39, "low_score"), (0.1, "no_box")])
def test_nothing_and_something_doubtful_are_told_apart(
    tiny_clipseg: Path, best: float, reason: str
) -> None:
    found = ClipSegSegmenter(str(tiny_clipseg)).read(np.full((4, 4), best, np.float32), (8, 8))
    assert found.mask is None
    assert (found.reason, found.score) == (reason, best)
    assert found.detail == f"best probability {best:.2f}, threshold 0.4"


@pytest.mark.parametrize("size", [1, 2, 32])
def test_real_class_end_to_end_whatever_the_batch(
    tiny_clipseg: Path, loaded: Callable[..., LoadedImage], size: int
) -> None:
    images = [loaded("a", noise(40, 60, 1)), loaded("b", noise(50, 50, 2))]
    asked = [images[0], images[1], images[0]], ["a cat", "a dog on a lake", "tree"]
    segmenter = ClipSegSegmenter(str(tiny_clipseg), threshold=0.0, batch_size=size)
    found = segmenter.segment(*asked)
    assert [f.mask.shape for f in found if f.mask is not None] == [(40, 60), (50, 50), (40, 60)]
    for one, image, phrase in zip(found, *asked, strict=True):
        (alone,) = segmenter.segment([image], [phrase])
        assert one.score == pytest.approx(alone.score, abs=2e-4)
    (objects,) = segmenter.segment_class_object([images[0]], [["waterbird", "bird"]])
    (words,) = segmenter.segment([images[0]], ["waterbird, bird"])
    assert objects.score == words.score


def test_model_that_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(AspireError, match="holds no model that"):
        ClipSegSegmenter(str(empty)).segment([None], ["cat"])


def test_identity_holds_the_weights_and_the_thresholds(tiny_clipseg: Path) -> None:
    one = ClipSegSegmenter(str(tiny_clipseg)).identity()
    assert ClipSegSegmenter(str(tiny_clipseg), device="cpu", batch_size=1).identity() == one
    assert ClipSegSegmenter(str(tiny_clipseg), threshold=0.5).identity() != one
    assert ClipSegSegmenter(str(tiny_clipseg), near_threshold=0.1).identity() != one
