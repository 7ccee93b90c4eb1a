"""The four miniatures: the promises of the table, the masks, the captions and the cache."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aspire.checking import problems, shown
from aspire.data.images import read_image, read_labels
from aspire.data.table import Dataset, Split
from aspire.errors import ConfigError
from aspire.language.spacy_extractor import SpacyExtractor
from aspire.miniatures.mini_base import COLUMNS, Miniature
from aspire.miniatures.mini_celeba import MiniCelebA
from aspire.miniatures.mini_hard_imagenet import MiniHardImageNet
from aspire.miniatures.mini_spuco_dogs import MiniSpucoDogs
from aspire.miniatures.mini_waterbirds import MiniWaterbirds


@dataclass(frozen=True)
class Case:
    """A miniature small enough for tests; counts by hand, in group order."""

    build: Callable[..., Miniature]
    scale: float
    train: tuple[int, ...]
    val: tuple[int, ...]
    test: tuple[int, ...]
    unseen: tuple[int, ...]
    groups: tuple[str, ...]  # the first ones
    subject: int  # pixels that the class object has at least
    bad: tuple[tuple[str, object], ...] = ()


CASES = {
    # 0.02 x (3498, 184, 56, 1057) = 69.96, 3.68, 1.12, 21.14; val 9.34, 9.32, 2.66, 2.66; ...
    "mini_waterbirds": Case(
        MiniWaterbirds, 0.02, (70, 4, 1, 21), (9, 9, 3, 3), (45, 45, 13, 13), (11, 11, 3, 3),
        ("landbird/land", "landbird/water", "waterbird/land", "waterbird/water"), 150,
    ),
    # 0.001 x (71629, 66874, 22880, 1387); val and test times 0.004; blond men 8, 16 and 48 at least
    "mini_celeba": Case(
        MiniCelebA, 0.001, (72, 67, 23, 8), (34, 33, 11, 16), (39, 30, 10, 48), (10, 8, 3, 12),
        ("dark/female", "dark/male", "blond/female", "blond/male"), 280,
        (("minority_share", -0.1), ("minority_share", 0.5)),
    ),
    # 0.007 x (10000, 500, 500, 10000): 3.5 is 4; 0.042 x (500, 25, 25, 500) and 0.042 x 500
    "mini_spuco_dogs": Case(
        MiniSpucoDogs, 0.007, (70, 4, 4, 70), (21, 1, 1, 21), (21, 21, 21, 21), (5, 5, 5, 5),
        ("small_dogs/indoor", "small_dogs/outdoor", "big_dogs/indoor", "big_dogs/outdoor"), 150,
        (("object_size", 0.4), ("object_size", "big")),
    ),
    # 0.01 x 1273 = 12.73, of these 95 % = 12.35; 0.08 x 50 = 4, halved; a quarter of 2 is 0.5
    "mini_hard_imagenet": Case(
        MiniHardImageNet, 0.01, (12, 1) * 15, (2, 2) * 15, (2, 2) * 15, (1, 1) * 15,
        ("balance beam/cue", "balance beam/no_cue", "horizontal bar/cue"), 30,
        (("object_size", 1.6), ("object_size", True)),
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture(scope="module")
def dataset(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return case.build(tmp_path_factory.mktemp("mini"), scale=case.scale).read()


def tiny(case: Case, root: Path, **more: object) -> Miniature:
    return case.build(root, **{"scale": case.scale / 10, **more})


def test_counts_are_those_of_the_benchmark_scaled(case: Case, dataset: Dataset) -> None:
    for split in Split:
        expected = getattr(case, split.name.lower())
        assert tuple(dataset.group_counts(split).values()) == expected, split
    assert dataset.grouper.names[: len(case.groups)] == case.groups


def test_correlation_changes_train_alone(case: Case, tmp_path: Path) -> None:
    plain = tiny(case, tmp_path, scale=0.05)
    skewed = tiny(case, tmp_path, scale=0.05, correlation=0.7)
    assert plain.counts(Split.TRAIN) != skewed.counts(Split.TRAIN)
    assert sum(plain.counts(Split.TRAIN)) == sum(skewed.counts(Split.TRAIN))
    for split in (Split.VAL, Split.TEST, Split.UNSEEN):
        assert plain.counts(split) == skewed.counts(split)
    pairs = np.array(skewed.counts(Split.TRAIN)).reshape(-1, 2)
    assert np.abs(pairs.max(axis=1) / pairs.sum(axis=1) - 0.7).max() < 0.02
    everything = np.array(tiny(case, tmp_path, correlation=1).counts(Split.TRAIN)).reshape(-1, 2)
    assert (everything.min(axis=1) == 0).all()


def test_table(dataset: Dataset) -> None:
    table = dataset.table
    assert tuple(table.columns) == COLUMNS
    assert (table["img_id"].iloc[0], table["img_filename"].iloc[0]) == (
        "train-00000", "images/train/train-00000.png",
    )  # fmt: skip
    dataset.check_files()
    # Groups are mixed, so that the first rows are not all of one kind.
    assert table["y"].iloc[:40].nunique() >= 2


def test_images_and_masks_fit_the_table(case: Case, dataset: Dataset) -> None:
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
        assert counts[1] >= case.subject, "the class object must be large enough to be seen"
        assert counts.min() >= 12
    assert seen_objects > 50


def test_no_two_images_are_alike(dataset: Dataset) -> None:
    files = [dataset.path(name) for name in dataset.table["img_filename"]]
    assert len({hashlib.sha256(f.read_bytes()).digest() for f in files}) == len(files)


def test_captions_name_what_is_there(dataset: Dataset) -> None:
    for row in dataset.table.itertuples():
        caption = str(row.caption)
        for phrase in json.loads(str(row.objects)):
            assert re.search(rf"\b{phrase}\b", caption), caption
        words = [*dataset.class_words[int(row.y)], dataset.class_names[int(row.y)]]
        assert any(word in caption for word in words), caption
        assert not re.search(r"\ba [aeo]", caption), caption


def test_the_extractor_finds_background_and_objects(dataset: Dataset) -> None:
    table = dataset.table
    words = [(*dataset.class_words[y], dataset.class_names[y]) for y in table["y"]]
    found = SpacyExtractor().extract(list(table["caption"]), words)
    objects = [json.loads(text) for text in table["objects"]]
    named = [p.background not in (None, *o) for p, o in zip(found, objects, strict=True)]
    assert np.mean(named) > 0.8
    hits = sum(len(set(o) & set(p.foreground)) for o, p in zip(objects, found, strict=True))
    assert hits > 0.95 * sum(map(len, objects))


def test_second_read_draws_nothing(case: Case, tmp_path: Path) -> None:
    first = tiny(case, tmp_path).read()
    times = {p: p.stat().st_mtime_ns for p in first.root.rglob("*")}
    second = tiny(case, tmp_path).read()
    assert {p: p.stat().st_mtime_ns for p in second.root.rglob("*")} == times
    assert first.digest() == second.digest()


def test_digest_depends_on_the_seed_and_not_on_the_folder(case: Case, tmp_path: Path) -> None:
    digests = [
        tiny(case, tmp_path / folder, seed=seed).read().digest()
        for folder, seed in (("a", 0), ("b", 0), ("a", 1))
    ]
    assert digests[0] == digests[1] != digests[2]


def test_keys_tell_every_argument_apart(case: Case, tmp_path: Path) -> None:
    changes: list[dict[str, object]] = [
        {}, {"scale": 0.5}, {"correlation": 0.9}, {"size": 32}, {"seed": 1}, {"clutter": 0},
    ]  # fmt: skip
    changes += [{key: 0.05 if key == "minority_share" else 1.2} for key, _ in case.bad[:1]]
    assert len({case.build(tmp_path, **c).key for c in changes}) == len(changes)
    assert not any(tmp_path.iterdir()), "construction must not draw"


@pytest.mark.parametrize(("size", "clutter"), [(32, 1.0), (96, 0.0)])
def test_other_sizes(case: Case, tmp_path: Path, size: int, clutter: float) -> None:
    dataset = tiny(case, tmp_path, size=size, clutter=clutter).read()
    assert read_image(dataset.path(dataset.table["img_filename"].iloc[0])).shape[:2] == (size, size)
    most = dataset.table["objects"].map(lambda text: len(json.loads(text))).max()
    # Without clutter only suit or dress, or what carries the class object.
    bare = 1 if dataset.name in ("mini_celeba", "mini_hard_imagenet") else 0
    assert most == bare if clutter == 0 else most >= 2


def test_the_unseen_split_has_another_style(case: Case, tmp_path: Path) -> None:
    reader = tiny(case, tmp_path)
    one, two = (
        reader.draw(np.random.default_rng(5), 0, 0, style) for style in ("twemoji", "openmoji")
    )
    assert (one.pixels != two.pixels).any()
    where = two.labels == 1
    # That style outlines in black.
    assert two.pixels[where].min(axis=0).max() < 90


def test_an_interrupted_render_leaves_nothing(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = tiny(case, tmp_path)
    drawn, draw = 0, type(reader).draw

    def interrupted(*args: object) -> object:
        nonlocal drawn
        drawn += 1
        if drawn == 20:
            raise KeyboardInterrupt
        return draw(*args)

    with monkeypatch.context() as patch:
        patch.setattr(type(reader), "draw", interrupted)
        with pytest.raises(KeyboardInterrupt):
            reader.read()
    assert drawn == 20
    assert [p for p in tmp_path.iterdir() if p.is_dir()] == []
    assert tuple(reader.read().group_counts(Split.VAL).values()) == reader.counts(Split.VAL)


def test_leftovers_of_a_killed_process_are_replaced(case: Case, tmp_path: Path) -> None:
    reader = tiny(case, tmp_path)
    left = tmp_path / f".{reader.key}.partial" / "images" / "train"
    left.mkdir(parents=True)
    (left / "train-99999.png").write_bytes(b"half")
    (tmp_path / reader.key).mkdir()  # a folder without its table is not a dataset
    dataset = reader.read()
    dataset.check_files()
    assert not (dataset.root / "images/train/train-99999.png").exists()
    assert [p for p in tmp_path.iterdir() if p.is_dir()] == [dataset.root]


def test_bad_arguments_name_the_key(case: Case, tmp_path: Path) -> None:
    bad: list[tuple[str, object]] = [
        ("scale", -1), ("scale", 0), ("scale", 1.5), ("scale", float("nan")), ("scale", "big"),
        ("correlation", 0.5), ("correlation", 1.1), ("correlation", True),
        ("size", 31), ("size", 64.0), ("seed", 0.5), ("seed", None),
        ("clutter", -0.1), ("clutter", 2), *case.bad,
    ]  # fmt: skip
    kind: Any = case.build
    reader = {"_target_": f"{kind.__module__}.{kind.__name__}", "root": str(tmp_path)}
    for key, value in bad:
        (said,) = problems({**reader, key: value}, "dataset")
        assert said.startswith(f"dataset.{key}={shown(value)}: expected a ")


def test_a_root_that_cannot_be_made(case: Case, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"dataset\.root"):
        tiny(case, tmp_path / "file" / "below").read()


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
def test_waterbirds_train_counts(
    tmp_path: Path, scale: float, correlation: float | None, expected: tuple[int, ...]
) -> None:
    reader = MiniWaterbirds(tmp_path, scale=scale, correlation=correlation)
    assert reader.counts(Split.TRAIN) == expected


def test_celeba_minority_share(tmp_path: Path) -> None:
    # 0.0092 x (71629, 66874, 22880, 1387) = 658.99, 615.2, 210.5, 12.8; 1497 in all, 223 blond
    plain = MiniCelebA(tmp_path)
    assert plain.counts(Split.TRAIN) == (659, 615, 210, 13)
    more = MiniCelebA(tmp_path, minority_share=0.1)
    assert more.counts(Split.TRAIN) == (659, 615, 73, 150)
    assert MiniCelebA(tmp_path, minority_share=0.0).counts(Split.TRAIN) == (659, 615, 223, 0)
    assert more.counts(Split.TEST) == plain.counts(Split.TEST)
    assert more.key != plain.key


@pytest.mark.parametrize("damage", ["cut", "picture", "gone", "no table at all"])
def test_a_damaged_miniature_is_drawn_again(tmp_path, caplog, damage):
    made = MiniWaterbirds(root=tmp_path, scale=0.02)
    before = made.read()
    digest = before.digest()
    table, picture = before.root / "metadata.csv", before.path(before.table["img_filename"][0])
    if damage == "cut":
        table.write_bytes(table.read_bytes()[: table.stat().st_size // 2])
    elif damage == "picture":
        picture.write_bytes(before.path(before.table["img_filename"][1]).read_bytes())
    elif damage == "gone":
        picture.unlink()
    else:
        table.write_bytes(b"\x00" * 64)
    after = MiniWaterbirds(root=tmp_path, scale=0.02).read()
    assert after.digest() == digest
    assert "is not what was drawn. It is drawn again." in caplog.text
    caplog.clear()
    assert made.read().digest() == digest
    assert not caplog.text
