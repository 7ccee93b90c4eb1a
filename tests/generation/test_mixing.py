"""Mixing: what is drawn how often, by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aspire.data.image_table import ImageTable
from aspire.data.table import Dataset, Split
from aspire.errors import ConfigError
from aspire.generation.base import GeneratedSet
from aspire.generation.mixing import (
    Duplicates,
    Generated,
    RealOnly,
    Replaced,
    mix_weights,
    replacement_weights,
)


@pytest.fixture
def generated(waterbirds: Dataset) -> GeneratedSet:
    """Two images of class 0 in water and of an unknown scene, three of class 1 on land."""
    table = waterbirds.table
    land = str(table["img_id"][table["place"] == 0].iloc[0])
    water = str(table["img_id"][table["place"] == 1].iloc[0])
    return GeneratedSet(
        root=Path("/made"),
        files=("0.png", "1.png", "2.png", "3.png", "4.png"),
        y=(0, 0, 1, 1, 1),
        scene_parents=(water, "", land, land, land),
        digest="d",
    )


def test_real_only_is_the_train_split(waterbirds: Dataset) -> None:
    table = RealOnly().table(waterbirds, None, 0)
    assert table.paths == ImageTable.of(waterbirds, Split.TRAIN).paths
    assert table.weight is None


def test_weights_by_hand() -> None:
    # classes hold 6/10, 3/10 and 1/10 of the real rows; 0.4 of the first two is generated
    real = np.array([0] * 6 + [1] * 3 + [2])
    weights = mix_weights(real, np.array([0, 0, 1, 1, 1, 1]), 0.4)
    expected = [0.6 * 0.6 / 6] * 6 + [0.3 * 0.6 / 3] * 3 + [0.1] + [0.6 * 0.4 / 2] * 2
    expected += [0.3 * 0.4 / 4] * 4
    assert weights == pytest.approx(expected)
    assert weights.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_classes_keep_their_real_share(share: float) -> None:
    rng = np.random.default_rng(0)
    real, made = rng.choice(4, 200, p=[0.5, 0.3, 0.15, 0.05]), rng.choice(4, 60)
    weights = mix_weights(real, made, share)
    y = np.concatenate([real, made])
    for label in range(4):
        assert weights[y == label].sum() == pytest.approx((real == label).mean())
    assert weights[200:].sum() == pytest.approx(share)


def test_classes_may_be_drawn_as_often_each() -> None:
    real = np.array([0] * 6 + [1] * 3 + [2])
    weights = mix_weights(real, np.array([0, 0, 1]), 0.25, even=True)
    third = 1 / 3
    expected = [third * 0.75 / 6] * 6 + [third * 0.75 / 3] * 3 + [third]
    expected += [third * 0.25 / 2] * 2 + [third * 0.25]
    assert weights == pytest.approx(expected)


def test_generated_rows_follow_the_real_ones(waterbirds: Dataset, generated: GeneratedSet) -> None:
    table = Generated(share=0.5).table(waterbirds, generated, seed=0)
    assert len(table) == 45
    assert table.paths[40:] == tuple(Path(f"/made/{i}.png") for i in range(5))
    assert table.y[40:].tolist() == [0, 0, 1, 1, 1]
    # groups y * 2 + place: landbird/water, unknown, waterbird/land three times
    assert table.group[40:].tolist() == [1, -1, 2, 2, 2]
    assert table.weight is not None
    assert table.weight[40:].sum() == pytest.approx(0.5)
    assert table.weight[40:] == pytest.approx([0.125, 0.125, 1 / 12, 1 / 12, 1 / 12])


def test_duplicates_differ_from_generated_in_the_images_alone(
    waterbirds: Dataset, generated: GeneratedSet
) -> None:
    made = Generated(share=0.3).table(waterbirds, generated, seed=0)
    control = Duplicates(share=0.3).table(waterbirds, generated, seed=0)
    assert len(control) == len(made)
    assert control.y.tolist() == made.y.tolist()
    assert control.weight == pytest.approx(made.weight)
    real = dict(zip(made.paths[:40], zip(made.y[:40], made.group[:40], strict=True), strict=True))
    for path, y, group in zip(control.paths, control.y, control.group, strict=True):
        assert real[path] == (y, group)


def test_duplicates_are_drawn_by_seed(waterbirds: Dataset, generated: GeneratedSet) -> None:
    drawn = [Duplicates(share=0.3).table(waterbirds, generated, s).paths for s in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_without_a_share_every_image_of_a_class_counts_alike() -> None:
    # class 0: 6 real and 2 generated share 6/9; class 1: 3 real and 5 generated share 3/9
    real = np.array([0] * 6 + [1] * 3)
    weights = mix_weights(real, np.array([0] * 2 + [1] * 5), None)
    expected = [6 / 9 / 8] * 6 + [3 / 9 / 8] * 3 + [6 / 9 / 8] * 2 + [3 / 9 / 8] * 5
    assert weights == pytest.approx(expected)


def test_replacement_by_hand() -> None:
    # real rows 0 to 3 of class 0, 4 and 5 of class 1, 6 of class 2; one draw is 1/7.
    # Row 0 has two images of its own, row 1 one; 2 and 3 have none, so one of the class stands in,
    # the one without a parent. Of class 1 there is none without: both stand in for both rows' rest.
    real = np.array([0, 0, 0, 0, 1, 1, 2])
    made, parents = np.array([0, 0, 0, 0, 1]), np.array([0, 0, 1, -1, 4])
    weights = replacement_weights(real, made, parents, 0.4)
    of_real = [0.6] * 6 + [1.0]  # class 2 has no generated image: it stays
    of_made = [0.2, 0.2, 0.4, 0.8, 0.4 + 0.4]
    assert weights * 7 == pytest.approx([*of_real, *of_made])


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_replacement_keeps_classes_and_share(share: float) -> None:
    rng = np.random.default_rng(0)
    real, made = rng.choice(4, 200, p=[0.5, 0.3, 0.15, 0.05]), rng.choice(4, 60)
    parents = np.array([rng.choice([-1, *np.flatnonzero(real == y)]) for y in made])
    weights = replacement_weights(real, made, parents, share)
    y = np.concatenate([real, made])
    for label in range(4):
        assert weights[y == label].sum() == pytest.approx((real == label).mean())
    assert weights[200:].sum() == pytest.approx(share)


def test_replacement_is_the_two_draws_in_one() -> None:
    rng = np.random.default_rng(0)
    real, made, parents = np.array([0, 0, 0]), np.array([0, 0, 0]), np.array([0, 0, 2])
    counts = np.zeros(6)
    for _ in range(60_000):
        row = int(rng.integers(3))
        own = np.flatnonzero(parents == row)
        stand_ins = own if len(own) else np.arange(3)
        counts[3 + rng.choice(stand_ins) if rng.random() < 0.3 else row] += 1
    weights = replacement_weights(real, made, parents, 0.3)
    assert counts / counts.sum() == pytest.approx(weights, abs=0.01)


def test_replaced_differs_from_generated_in_the_weights_alone(
    waterbirds: Dataset, generated: GeneratedSet
) -> None:
    first = str(waterbirds.split(Split.TRAIN)["img_id"].iloc[0])
    owned = replace(generated, parents=(first, "", "", "", ""))
    added, table = (k(share=0.3).table(waterbirds, owned, 0) for k in (Generated, Replaced))
    assert (table.paths, table.y.tolist()) == (added.paths, added.y.tolist())
    assert table.group.tolist() == added.group.tolist()
    assert table.weight is not None
    # its own image stands in for the first of 20 landbirds, the other one for the other 19
    assert table.weight[40:42] * 40 == pytest.approx([0.3, 19 * 0.3])
    with pytest.raises(ConfigError, match=r"share=null: an image is replaced with a probability"):
        Replaced(share=None).table(waterbirds, owned, 0)


def test_generated_images_are_in_no_other_split(
    waterbirds: Dataset, generated: GeneratedSet
) -> None:
    for kind in (Generated, Replaced, Duplicates):
        made = set(kind(share=0.5).table(waterbirds, generated, 0).paths)
        for split in (Split.VAL, Split.TEST):
            assert not made & set(ImageTable.of(waterbirds, split).paths)
