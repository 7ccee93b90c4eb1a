"""Blank: its captions of drawn images."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from aspire.cli.templates.captioner import Blank
from aspire.data.loaded import LoadedImage
from aspire.records import ImageRef


def test_captions(tmp_path: Path) -> None:
    images = []
    for name, colour in {"a.png": (200, 10, 10), "b.png": (0, 0, 90)}.items():
        Image.new("RGB", (8, 8), colour).save(tmp_path / name)
        images.append(LoadedImage(ImageRef(img_id=name, file=name, y=0), tmp_path))
    assert Blank().caption(images) == ["something red", "something blue"]
    assert Blank("all {}").identity() != Blank().identity()
