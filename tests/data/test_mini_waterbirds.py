"""Mini-Waterbirds: the promises of the table, the masks and the cache."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import aspire.data.mini_waterbirds as module
from aspire.data.images import read_image, read_labels
from aspire.data.mini_waterbirds import MiniWaterbirds
from aspire.data.scenes import LAND, WATER, Background, load_sprite
from aspire.data.table import Dataset, Split
from aspire.errors import ConfigError

SCALE = 0.02


def split_counts(dataset: Dataset, split: Split) -> list[int]:
    return list(dataset.group_counts(split).values())


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return MiniWaterbirds(tmp_path_factory.mktemp("mini"), scale=SCALE).read()


def test_counts_are_those_of_waterbirds_scaled(dataset: Dataset) -> None:
    # 0.02 x (3498, 184, 56, 1057) = 69.96, 3.68, 1.12, 21.14; val 9.34, 9.32, 2.66, 2.66; and so on
    assert split_counts(dataset, Split.TRAIN) == [70, 4, 1, 21]
    assert split_counts(dataset, Split.VAL) == [9, 9, 3, 3]
    assert split_counts(dataset, Split.TEST) == [45, 45, 13, 13]
    assert dataset.grouper.names == (
        "landbird/land", "landbird/water", "waterbird/land", "waterbird/water",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("scale", "correlation", "expected"),
    [
        (0.25, None, (875, 46, 14, 264)),  # 874.5 and 264.25: half up
        (0.001, None, (3, 1, 1, 1)),
        (0.02, 0.8, (59, 15, 4, 18)),  # 74 landbirds: 59.2; 22 waterbirds: 17.6
        (0.02, 0.999, (73, 1, 1, 21)),  # below 1 every group keeps an image
        (0.02, 1, (74, 0, 0, 22)),
    ],
)
def test_train_counts(
    tmp_path: Path, scale: float, correlation: float | None, expected: tuple[int, ...]
) -> None:
    reader = MiniWaterbirds(tmp_path, scale=scale, correlation=correlation)
    assert reader.counts(Split.TRAIN) == expected


def test_correlation_leaves_val_and_test_alone(tmp_path: Path) -> None:
    plain, skewed = MiniWaterbirds(tmp_path), MiniWaterbirds(tmp_path, correlation=0.7)
    for split in (Split.VAL, Split.TEST):
        assert plain.counts(split) == skewed.counts(split)


def test_table(dataset: Dataset) -> None:
    table = dataset.table
    assert tuple(table.columns) == module.COLUMNS
    assert (table["img_id"].iloc[0], table["img_filename"].iloc[0]) == (
        "train-00000", "images/train/train-00000.png",
    )  # fmt: skip
    dataset.check_files()
    # Groups are mixed, so that the first rows are not all of one kind.
    assert table["y"].iloc[:40].nunique() == 2


def test_images_and_masks_fit_the_table(dataset: Dataset) -> None:
    seen_objects = 0
    for row in dataset.table.itertuples():
        image, mask = dataset.path(str(row.img_filename)), dataset.path(str(row.mask_filename))
        pixels, labels = read_image(image), read_labels(mask)
        assert pixels.shape == (64, 64, 3)
        assert labels.shape == (64, 64)
        objects: dict[str, int] = json.loads(str(row.objects))
        seen_objects += len(objects)
        values, counts = np.unique(labels, return_counts=True)
        assert values.tolist() == [0, 1, *sorted(objects.values())]
        assert counts[1] > 150, "the bird must be large enough to be seen"
        assert counts.min() >= 12
    assert seen_objects > 50


def test_captions_name_what_is_there(dataset: Dataset) -> None:
    for row in dataset.table.itertuples():
        caption = str(row.caption)
        for phrase in json.loads(str(row.objects)):
            assert phrase in caption
        words = [*dataset.class_words[int(row.y)], dataset.class_names[int(row.y)]]
        assert any(f" {word}" in f" {caption}" for word in words), caption
        places = {b.phrase for b in (LAND, WATER)[int(row.place)]}
        assert any(place in caption for place in places), caption
        assert not {"a owl", "a eagle", "a umbrella", "a anchor"} & {
            " ".join(pair) for pair in zip(caption.split(), caption.split()[1:], strict=False)
        }
    assert dataset.table["caption"].str.contains(r"\bbird\b").any(), "mixed wording"


def test_every_sprite_and_class_word() -> None:
    things = [*module.LAND_THINGS, *module.WATER_THINGS, *module.ANY_THINGS]
    sprites = [(code, t.keep) for t in things for code in t.sprites]
    sprites += [(code, 1.0) for birds in module.BIRDS.values() for _, code in birds]
    for code, keep in sprites:
        assert min(load_sprite(code, keep).size) > 15
    phrases = [t.phrase for t in things]
    species = [name for birds in module.BIRDS.values() for name, _ in birds]
    assert len({*phrases, *species}) == len(phrases) + len(species)


@pytest.mark.parametrize("background", [*LAND, *WATER], ids=lambda b: b.name)
def test_backgrounds_vary(background: Background) -> None:
    one, _ = background.paint(np.random.default_rng(1), 64)
    two, horizon = background.paint(np.random.default_rng(2), 64)
    assert one.shape == two.shape == (64, 64, 3)
    assert np.isfinite(two).all()
    assert 0 < horizon < 0.8
    assert np.abs(one - two).mean() > 0.02
    assert two.std() > 0.05, "a texture, not one colour"


def test_second_read_draws_nothing(tmp_path: Path) -> None:
    reader = MiniWaterbirds(tmp_path, scale=0.005)
    first = reader.read()
    times = {p: p.stat().st_mtime_ns for p in first.root.rglob("*")}
    second = MiniWaterbirds(tmp_path, scale=0.005).read()
    assert {p: p.stat().st_mtime_ns for p in second.root.rglob("*")} == times
    assert first.digest() == second.digest()


def test_digest_depends_on_the_seed_and_not_on_the_folder(tmp_path: Path) -> None:
    digests = [
        MiniWaterbirds(tmp_path / folder, scale=0.005, seed=seed).read().digest()
        for folder, seed in (("a", 0), ("b", 0), ("a", 1))
    ]
    assert digests[0] == digests[1] != digests[2]


def test_keys_tell_every_argument_apart(tmp_path: Path) -> None:
    readers = [
        MiniWaterbirds(tmp_path),
        MiniWaterbirds(tmp_path, scale=0.5),
        MiniWaterbirds(tmp_path, correlation=0.9),
        MiniWaterbirds(tmp_path, size=32),
        MiniWaterbirds(tmp_path, seed=1),
        MiniWaterbirds(tmp_path, clutter=0),
    ]
    assert len({r.key for r in readers}) == len(readers)
    assert not any(tmp_path.iterdir()), "construction must not draw"


@pytest.mark.parametrize(("size", "clutter"), [(32, 1.0), (96, 0.0)])
def test_other_sizes(tmp_path: Path, size: int, clutter: float) -> None:
    dataset = MiniWaterbirds(tmp_path, scale=0.003, size=size, clutter=clutter).read()
    assert read_image(dataset.path(dataset.table["img_filename"].iloc[0])).shape[:2] == (size, size)
    assert (dataset.table["objects"] == "{}").all() == (clutter == 0)


def test_an_interrupted_render_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = MiniWaterbirds(tmp_path, scale=0.005)
    drawn, draw = 0, module.compose

    def interrupted(*args: object, **kwargs: object) -> object:
        nonlocal drawn
        drawn += 1
        if drawn == 20:
            raise KeyboardInterrupt
        return draw(*args, **kwargs)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(module, "compose", interrupted)
        with pytest.raises(KeyboardInterrupt):
            reader.read()
    assert drawn == 20
    assert [p for p in tmp_path.iterdir() if p.is_dir()] == []
    assert reader.read().group_counts(Split.VAL)["landbird/land"] == 2


def test_leftovers_of_a_killed_process_are_replaced(tmp_path: Path) -> None:
    reader = MiniWaterbirds(tmp_path, scale=0.003)
    left = tmp_path / f".{reader.key}.partial" / "images" / "train"
    left.mkdir(parents=True)
    (left / "train-99999.png").write_bytes(b"half")
    (tmp_path / reader.key).mkdir()  # a folder without its table is not a dataset
    dataset = reader.read()
    dataset.check_files()
    assert not (dataset.root / "images/train/train-99999.png").exists()
    assert [p for p in tmp_path.iterdir() if p.is_dir()] == [dataset.root]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("scale", -1), ("scale", 0), ("scale", 1.5), ("scale", float("nan")), ("scale", "big"),
        ("correlation", 0.5), ("correlation", 1.1), ("correlation", True),
        ("size", 31), ("size", 64.0), ("seed", 0.5), ("seed", None),
        ("clutter", -0.1), ("clutter", 2),
    ],
)  # fmt: skip
def test_bad_arguments_name_the_key(tmp_path: Path, key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"dataset\.{key}=.*Type .*dataset\.{key}="):
        MiniWaterbirds(tmp_path, **{key: value})  # type: ignore[arg-type]


def test_a_root_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"dataset\.root"):
        MiniWaterbirds(tmp_path / "file" / "below", scale=0.003).read()
