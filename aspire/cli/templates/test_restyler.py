"""Blank: objects stay, the scene is the donor's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from aspire.cli.templates.restyler import Blank
from aspire.data.loaded import LoadedImage
from aspire.editing.base import Restyled, RestyleRequest
from aspire.records import ImageRef


def test_the_object_stays_and_the_scene_is_the_donor_s(tmp_path: Path) -> None:
    images = []
    for name, colour in {"a.png": (10, 0, 0), "b.png": (0, 0, 80)}.items():
        Image.new("RGB", (2, 1), colour).save(tmp_path / name)
        images.append(LoadedImage(ImageRef(img_id=name, file=name, y=0), tmp_path))
    image, donor = images
    keep = np.array([[True, False]])
    asked = RestyleRequest(image, keep, "land", "lake", [donor], lambda i: [None] * len(i), 0)
    (done,) = Blank().restyle([asked])
    assert isinstance(done, Restyled)
    assert done.pixels[0].tolist() == [[10, 0, 0], [0, 0, 80]]
    assert done.donor == donor.ref
    without = RestyleRequest(image, keep, "land", "lake", [], asked.find_objects, 0)
    assert Blank().restyle([without]) == [None]
