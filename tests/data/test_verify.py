"""Counts against the published ones."""

import pandas as pd
import pytest

from aspire.data.verify import compare, surplus
from aspire.data.waterbirds import Waterbirds
from aspire.errors import ConfigError, DataError

PUBLISHED = {
    "train": {"landbird/land": 16, "landbird/water": 4, "waterbird/land": 4, "waterbird/water": 16},
    "test": {"landbird/land": 4, "landbird/water": 4, "waterbird/land": 4, "waterbird/water": 4},
}


def test_the_published_dataset_has_no_difference(waterbirds):
    counts = compare(waterbirds, PUBLISHED)
    assert [(c.split, c.group) for c in counts] == [(s, g) for s in PUBLISHED for g in PUBLISHED[s]]
    assert all(c.found == c.published for c in counts)
    assert surplus(waterbirds, PUBLISHED) == {}


def test_too_few_and_too_many_are_named(waterbirds_folder):
    table = pd.read_csv(waterbirds_folder / "metadata.csv")
    moved = table.index[(table["split"] == 0) & (table["y"] == 0) & (table["place"] == 0)][:3]
    table.loc[moved, "place"] = 1
    table.to_csv(waterbirds_folder / "metadata.csv", index=False)
    counts = compare(Waterbirds(waterbirds_folder).read(), PUBLISHED)
    fewer, more = [c for c in counts if c.found != c.published]
    assert str(fewer) == "train landbird/land: published 16, found 13, 3 missing"
    assert (more.published, more.found) == (4, 7)
    # rows 0 to 2 were moved to the front of the group, so its rows beyond the fourth are the rest
    rows = table.index[(table["split"] == 0) & (table["y"] == 0) & (table["place"] == 1)][4:]
    expected = "; ".join(f"row {r} ({table.loc[r, 'img_filename']})" for r in rows)
    assert str(more).endswith(f"found 7, 3 too many; the first beyond: {expected}")


def test_images_outside_of_the_published_groups_are_counted(waterbirds_folder):
    table = pd.read_csv(waterbirds_folder / "metadata.csv")
    table.loc[0, "place"] = -1
    table.to_csv(waterbirds_folder / "metadata.csv", index=False)
    assert surplus(Waterbirds(waterbirds_folder).read(), PUBLISHED) == {"train": 1}


def test_other_groups_or_splits_cannot_be_compared(waterbirds):
    with pytest.raises(DataError, match=r"group 'cat/land', which is none of its groups here"):
        compare(waterbirds, {"train": {"cat/land": 3}})
    with pytest.raises(ConfigError, match=r"dataset\.published\.trian: .* Did you mean train"):
        compare(waterbirds, {"trian": {}})
