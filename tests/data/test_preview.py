"""The contact sheet shows every group, the same each time, in bounded memory."""

import dataclasses

import numpy as np
import pytest

from aspire.data import preview
from aspire.data.preview import GAP, HEAD, LABEL, MARGIN, TILE, contact_sheet
from aspire.errors import ConfigError


def tile(sheet, row, column):
    top, left = MARGIN + HEAD + row * (TILE + GAP), MARGIN + LABEL + column * (TILE + GAP)
    return np.asarray(sheet)[top : top + TILE, left : left + TILE]


def test_groups_down_examples_across(waterbirds):
    sheet = contact_sheet(waterbirds, "train", 6)
    assert sheet.size == (
        2 * MARGIN + LABEL + 6 * (TILE + GAP) - GAP,
        2 * MARGIN + HEAD + 4 * (TILE + GAP),
    )
    blue = [tile(sheet, row, 0)[..., 2].mean() for row in range(4)]
    green = [tile(sheet, row, 0)[..., 1].mean() for row in range(4)]
    assert [b > g for b, g in zip(blue, green, strict=True)] == [False, True, False, True]
    assert (tile(sheet, 1, 4) == 255).all()  # the group has four images
    labels = np.asarray(sheet)[:, MARGIN : MARGIN + LABEL - 20]
    for row in range(4):
        top = MARGIN + HEAD + row * (TILE + GAP)
        assert (labels[top : top + TILE] < 128).any()


def test_the_same_picture_each_time(waterbirds):
    first = contact_sheet(waterbirds, "val", 3)
    assert first.tobytes() == contact_sheet(waterbirds, "val", 3).tobytes()
    more = contact_sheet(waterbirds, "val", 4)
    assert (tile(first, 2, 1) == tile(more, 2, 1)).all()


def test_unknown_attributes_and_unreadable_images(waterbirds, tmp_path):
    table = waterbirds.table.assign(place=-1)
    table.loc[table["split"] == 2, "img_filename"] = "nowhere.jpg"
    unknown = dataclasses.replace(waterbirds, table=table)
    sheet = contact_sheet(unknown, "test", 2)
    assert sheet.size[1] == 2 * MARGIN + HEAD + 2 * (TILE + GAP)
    assert tile(sheet, 0, 0).std() > 0  # says so


def test_many_groups_are_cut_and_names_of_any_length_fit(waterbirds, monkeypatch):
    monkeypatch.setattr(preview, "MAX_GROUPS", 2)
    named = dataclasses.replace(waterbirds, class_names=("a very long class name " * 9, "x"))
    assert contact_sheet(named, "train", 1).size[1] == 2 * MARGIN + HEAD + 2 * (TILE + GAP)


def test_wrong_settings(waterbirds):
    with pytest.raises(ConfigError, match=r"split=tset: .* Did you mean test\? Splits: train"):
        contact_sheet(waterbirds, "tset")
    with pytest.raises(ConfigError, match="examples=0: expected 1 to 32"):
        contact_sheet(waterbirds, examples=0)
