"""Single images: what comes out for each kind of file, and what is said when nothing can."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aspire.data.images import png_bytes, read_image, read_labels
from aspire.data.loaded import LoadedImage
from aspire.errors import DataError
from aspire.pipeline.records import ImageRef


@pytest.mark.parametrize(
    ("mode", "value", "rgb"),
    [
        ("RGB", (1, 2, 3), (1, 2, 3)),
        ("L", 7, (7, 7, 7)),
        ("RGBA", (1, 2, 3, 0), (1, 2, 3)),
        ("1", 1, (255, 255, 255)),
    ],
)
def test_every_mode_is_read_as_rgb(
    tmp_path: Path, mode: str, value: int, rgb: tuple[int, ...]
) -> None:
    Image.new(mode, (5, 3), value).save(tmp_path / "a.png")
    pixels = read_image(tmp_path / "a.png")
    assert pixels.dtype == np.uint8
    assert pixels.shape == (3, 5, 3)
    assert (pixels == rgb).all()


def test_label_maps_keep_their_numbers(tmp_path: Path) -> None:
    labels = np.array([[0, 1, 2], [3, 200, 255]], np.uint8)
    Image.fromarray(labels).save(tmp_path / "grey.png")
    palette = Image.fromarray(labels, mode="P")
    palette.putpalette([9, 8, 7] * 256)
    palette.save(tmp_path / "palette.png")
    for name in ("grey.png", "palette.png"):
        assert (read_labels(tmp_path / name) == labels).all()


def test_one_bit_masks_are_zero_and_one(tmp_path: Path) -> None:
    mask = np.eye(4, dtype=bool)
    Image.fromarray(mask).save(tmp_path / "mask.png")
    labels = read_labels(tmp_path / "mask.png")
    assert labels.dtype == np.uint8
    assert (labels == np.eye(4, dtype=np.uint8)).all()


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.jpg does not exist"):
        read_image(tmp_path / "gone.jpg")


@pytest.mark.parametrize("content", [b"", b"not an image", None])
def test_unreadable_file_is_named_with_its_size_and_what_to_do(
    tmp_path: Path, content: bytes | None
) -> None:
    if content is None:  # a download that broke off
        buffer = io.BytesIO()
        noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(buffer, "JPEG")
        content = buffer.getvalue()[:1000]
    path = tmp_path / "bad.jpg"
    path.write_bytes(content)
    for read in (read_image, read_labels):
        with pytest.raises(DataError) as caught:
            read(path)
        assert f"{path} ({len(content)} bytes) cannot be read" in str(caught.value)
        assert "Replace the file or take its row out" in str(caught.value)


def test_png_is_lossless_and_the_same_for_equal_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (9, 6, 3), dtype=np.uint8)
    view = np.repeat(pixels, 2, axis=1)[:, ::2]  # equal pixels, other memory layout
    assert png_bytes(pixels) == png_bytes(view)
    assert (np.asarray(Image.open(io.BytesIO(png_bytes(pixels)))) == pixels).all()


def test_mask_of_another_size_than_its_image_is_a_data_error(tmp_path: Path) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    Image.new("L", (8, 5)).save(tmp_path / "m.png")
    image = LoadedImage(ImageRef(img_id="1", file="a.png", y=0, mask="m.png"), tmp_path)
    with pytest.raises(DataError, match=r"m\.png is 8 x 5, its image a\.png 8 x 6"):
        _ = image.labels


def test_image_without_mask_has_no_labels(tmp_path: Path) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    assert LoadedImage(ImageRef(img_id="1", file="a.png", y=0), tmp_path).labels is None
