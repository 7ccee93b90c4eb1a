"""The looks of a miniature: what they change, and what they must not."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from aspire.checking import problems
from aspire.data.images import Pixels, read_image
from aspire.data.table import Dataset
from aspire.miniatures.drawing.looks import LOOKS, infrared
from aspire.miniatures.mini_spuco_dogs import MiniSpucoDogs
from aspire.miniatures.mini_waterbirds import MiniWaterbirds
from aspire.rng import seed_for


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dataset]:
    root = tmp_path_factory.mktemp("looks")
    return {look: MiniWaterbirds(root, scale=0.002, style=look).read() for look in LOOKS}


def pixels(dataset: Dataset, img_id: str) -> Pixels:
    (name,) = dataset.table.loc[dataset.table["img_id"] == img_id, "img_filename"]
    return read_image(dataset.path(name))


def test_infrared_film() -> None:
    picture = np.array([[[0, 255, 0], [0, 0, 255]], [[255, 255, 255], [100, 100, 100]]], np.uint8)
    # in 2 x 2 every pixel is 0.25 off the middle both ways: 1 - 0.45 x 2 x 0.125 = 0.8875 is left
    assert infrared(picture).tolist() == [
        [[255, 0, 226], [0, 0, 0]],  # leaves: 1.3 is too much; water: -0.7
        [[204, 226, 226], [80, 89, 89]],  # 0.9 x 0.8875 x 255 = 203.7; 0.9 x 88.75, 88.75
    ]


def test_plain_is_named_as_before_there_were_looks() -> None:
    parts = ["mini_waterbirds", 2, 0.25, None, 64, 0, 0.5]
    assert MiniWaterbirds("x").key == hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]
    assert len({MiniSpucoDogs("x", style=look).key for look in LOOKS}) == 3


def test_a_look_changes_pixels_alone(drawn: dict[str, Dataset]) -> None:
    plain, film = drawn["plain"], drawn["infrared"]
    assert plain.table.equals(film.table)
    for row in plain.table.itertuples():
        img_id, mask = str(row.img_id), str(row.mask_filename)
        assert (pixels(film, img_id) == infrared(pixels(plain, img_id))).all()
        assert plain.path(mask).read_bytes() == film.path(mask).read_bytes()
    outlined = drawn["openmoji"].table
    assert outlined[["y", "place", "split"]].equals(plain.table[["y", "place", "split"]])


@pytest.mark.parametrize(("look", "train", "unseen"), [("plain", 0, 1), ("openmoji", 1, 0)])
def test_outlined_pictures_change_places_with_the_unseen_ones(
    look: str, train: int, unseen: int, drawn: dict[str, Dataset], tmp_path: Path
) -> None:
    reader, table = MiniWaterbirds(tmp_path), drawn[look].table.set_index("img_id")
    for split, style in (("train", train), ("unseen", unseen)):
        rng = np.random.default_rng(seed_for(0, "mini_waterbirds", split, 0))
        y, place = (int(table.loc[f"{split}-00000", c]) for c in ("y", "place"))
        picture = reader.draw(rng, y, place, ("twemoji", "openmoji")[style])
        assert (pixels(drawn[look], f"{split}-00000") == picture.pixels).all()


def test_an_unknown_look_is_named() -> None:
    reader = {"_target_": "aspire.miniatures.mini_waterbirds.MiniWaterbirds", "root": "x"}
    (said,) = problems({**reader, "style": "infarred"}, "dataset")
    assert said.startswith("dataset.style=infarred: expected")
