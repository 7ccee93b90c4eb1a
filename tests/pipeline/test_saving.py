"""Many images stored at once: in order, and equal ones once."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aspire.data.images import read_image, read_labels
from aspire.pipeline.saving import save_all
from aspire.stored.files import write_atomic


@pytest.fixture(params=["1", "3", "", "0"])
def threads(request: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("OMP_NUM_THREADS", request.param)
    return str(request.param)


def noise(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_names_are_in_order_and_equal_images_are_handed_on_once(threads: str) -> None:
    lock, stored = threading.Lock(), []

    def save(pixels: Any) -> str:
        with lock:
            stored.append(pixels)
        return f"{pixels.shape}-{pixels.sum()}"

    images = [noise(seed % 5, 8, 9, 3) for seed in range(12)]
    images += [images[0][..., 0], images[3][:, ::-1], np.ascontiguousarray(images[3][:, ::-1])]
    names = save_all(save, images)
    assert names == [f"{i.shape}-{i.sum()}" for i in images]
    assert len(stored) == 7  # five, one channel of the first, the fourth mirrored
    assert save_all(save, []) == []


def test_files_hold_the_pixels(tmp_path: Path, threads: str) -> None:
    from aspire.data.images import png_bytes

    def save(pixels: Any) -> str:
        name = f"{pixels.sum()}.png"
        write_atomic(tmp_path / name, png_bytes(pixels))
        return name

    images = [noise(seed, 30, 40, 3) for seed in range(8)] * 2
    for name, image in zip(save_all(save, images), images, strict=True):
        assert (read_image(tmp_path / name) == image).all()
    (mask,) = save_all(save, [noise(9, 20, 10)])
    assert (read_labels(tmp_path / mask) == noise(9, 20, 10)).all()


def test_an_error_of_one_reaches_the_caller(threads: str) -> None:
    def save(pixels: Any) -> str:
        if pixels[0, 0] == 2:
            raise OSError("no space left on device")
        return "x"

    with pytest.raises(OSError, match="no space left"):
        save_all(save, [np.full((2, 2), i, np.uint8) for i in range(4)])
