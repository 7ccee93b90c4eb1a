"""Single images: what comes out for each kind of file, and what is said when nothing can."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aspire.data import images
from aspire.data.images import image_size, png_bytes, read_image, read_labels
from aspire.data.loaded import LoadedImage
from aspire.errors import DataError
from aspire.records import ImageRef


@pytest.mark.parametrize(
    ("mode", "value", "rgb"),
    [
        ("RGB", (1, 2, 3), (1, 2, 3)),
        ("L", 7, (7, 7, 7)),
        ("RGBA", (1, 2, 3, 0), (255, 255, 255)),  # on white, as a browser shows it
        ("RGBA", (1, 2, 3, 255), (1, 2, 3)),
        ("LA", (7, 255), (7, 7, 7)),
        ("LA", (7, 0), (255, 255, 255)),
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


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_ordinary_images_are_what_pillow_makes_of_them(tmp_path: Path, kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (17, 23, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a", kind)
    with Image.open(tmp_path / "a") as image:
        expected = np.asarray(image.convert("RGB"))
    assert (read_image(tmp_path / "a") == expected).all()


def test_half_transparent_is_half_white(tmp_path: Path) -> None:
    Image.new("RGBA", (2, 2), (0, 0, 0, 128)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png")[0, 0].tolist() == [127, 127, 127]


def test_transparent_palette_and_colour_key(tmp_path: Path) -> None:
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), mode="P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.save(tmp_path / "p.png", transparency=0)
    assert read_image(tmp_path / "p.png")[0].tolist() == [[255, 255, 255], [40, 50, 60]]
    Image.fromarray(np.array([[[9, 9, 9], [8, 8, 8]]], np.uint8)).save(
        tmp_path / "k.png", transparency=(9, 9, 9)
    )
    assert read_image(tmp_path / "k.png")[0].tolist() == [[255, 255, 255], [8, 8, 8]]


def test_cmyk(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    red, green, blue = read_image(tmp_path / "a.jpg")[4, 4].tolist()
    assert red > 250
    assert green < 5
    assert blue < 5


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_16_bit_grey_is_scaled_and_not_clipped(tmp_path: Path, ending: str) -> None:
    values = np.array([[0, 257, 128 * 257, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / f"a.{ending}")
    pixels = read_image(tmp_path / f"a.{ending}")
    assert pixels[0, :, 0].tolist() == [0, 1, 128, 255]
    assert (pixels == pixels[:, :, :1]).all()


def test_16_bit_colour_is_scaled(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(2, 1, depth=16, colour=2, row=[0, 257, 65535] * 2))
    assert read_image(tmp_path / "a.png")[0, 0].tolist() == [0, 1, 255]


def png(width: int, height: int, depth: int, colour: int, row: list[int]) -> bytes:
    """A PNG written by hand: Pillow writes neither 16-bit colour nor a header alone."""

    def chunk(name: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    lines = (b"\0" + struct.pack(f">{len(row)}H", *row)) * (height if row else 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(n, d) for n, d in parts)


def test_numbers_without_a_known_white_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((2, 2), np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(DataError, match=r"f\.tif holds decimal numbers"):
        read_image(tmp_path / "f.tif")
    Image.fromarray(np.full((2, 2), 70000, np.int32)).save(tmp_path / "i.tif")
    with pytest.raises(DataError, match=r"grey levels from 70000 to 70000; expected 0 to 65535"):
        read_image(tmp_path / "i.tif")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, kind: str, turn: int) -> None:
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :16] = 255  # white top left
    upright[8:, 16:] = 128  # grey bottom right
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Transpose that a camera would have done
    image = Image.fromarray(upright)
    if turn in undo:
        image = image.transpose(Image.Transpose(undo[turn]))
    exif = Image.Exif()
    exif[0x0112] = turn
    image.save(tmp_path / "a", kind, exif=exif, **({"quality": 95} if kind == "JPEG" else {}))
    pixels = read_image(tmp_path / "a")
    assert pixels.shape == (16, 32, 3)
    assert np.abs(pixels.astype(int) - upright).mean() < 8
    assert image_size(tmp_path / "a") == (16, 32)


def test_damaged_exif_is_ignored(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff junk")
    assert read_image(tmp_path / "a.jpg").shape == (8, 8, 3)


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (6, 4), c) for c in ((255, 0, 0), (0, 255, 0))]
    for name in ("a.gif", "a.png", "a.webp"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
        assert read_image(tmp_path / name)[0, 0].tolist() == [255, 0, 0]


def test_huge_images_are_refused_before_they_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bomb.png"
    for side in (12_000, 60_000):  # beyond ours, beyond Pillow's limit
        path.write_bytes(png(side, side, depth=8, colour=0, row=[]))
        for read in (read_image, read_labels):
            with pytest.raises(DataError, match=r"bomb\.png"):
                read(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # Pillow would warn: nothing to see
    Image.new("RGB", (4, 4)).save(path)
    assert read_image(path).shape == (4, 4, 3)
    assert images.MAX_PIXELS < 12_000**2


def test_16_bit_masks_keep_their_labels(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 1, 255]], np.uint16)).save(tmp_path / "m.png")
    assert read_labels(tmp_path / "m.png").tolist() == [[0, 1, 255]]
    Image.fromarray(np.array([[0, 65535]], np.uint16)).save(tmp_path / "b.png")
    assert read_labels(tmp_path / "b.png").tolist() == [[0, 255]]
    Image.fromarray(np.array([[0, 300]], np.uint16)).save(tmp_path / "x.png")
    with pytest.raises(DataError, match=r"x\.png holds labels up to 300"):
        read_labels(tmp_path / "x.png")
