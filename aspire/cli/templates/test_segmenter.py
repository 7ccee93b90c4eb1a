"""Blank: the mask of a drawn image."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from aspire.cli.templates.segmenter import Blank
from aspire.data.loaded import LoadedImage
from aspire.records import ImageRef


def test_the_middle(tmp_path: Path) -> None:
    Image.new("RGB", (8, 4)).save(tmp_path / "a.png")
    image = LoadedImage(ImageRef(img_id="a", file="a.png", y=0), tmp_path)
    (middle,) = Blank(0.5).segment_class_object([image], [["bird"]])
    assert middle.mask is not None
    assert middle.mask.astype(int).tolist() == [
        [0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 1, 1, 1, 1, 0, 0],
        [0, 0, 1, 1, 1, 1, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0],
    ]
    assert Blank().segment([image], ["tree"])[0].reason == "no_box"
