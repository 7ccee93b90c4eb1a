"""Blank: its layout is read, and what does not fit is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from aspire.cli.templates.dataset import Blank
from aspire.data.table import Split
from aspire.errors import DataError

LABELS = """file,class,background,split
a.jpg,cat,indoors,train
b.jpg,dog,outdoors,train
c.jpg,dog,indoors,val
d.jpg,cat,outdoors,test
"""


def test_a_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(LABELS, "utf-8")
    dataset = Blank(tmp_path).read()
    assert dataset.table["y"].tolist() == [0, 1, 1, 0]
    assert dataset.table["place"].tolist() == [0, 1, 0, 1]
    assert dataset.split(Split.VAL)["img_filename"].tolist() == ["c.jpg"]


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Expected Blank unpacked there \(labels.csv"):
        Blank(tmp_path / "nowhere").read()
    (tmp_path / "labels.csv").write_text(LABELS.replace("dog,indoors", "bird,indoors"), "utf-8")
    with pytest.raises(DataError, match="column 'y' holds nan in row 2"):
        Blank(tmp_path).read()
