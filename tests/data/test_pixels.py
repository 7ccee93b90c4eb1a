"""The pixel cache gives what the files give, whatever happens while it is built."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import aspire.data.pixels as module
from aspire.data.datamodule import GroupDataModule
from aspire.data.image_table import ImageTable
from aspire.data.pixels import PixelSource, decode, expected_bytes, open_cache
from aspire.data.table import Dataset, Split
from aspire.data.transforms import Preprocessing


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Images of many sizes, some larger than the stored side of 32."""
    rng = np.random.default_rng(0)
    made = []
    for index, (height, width) in enumerate([(10, 20), (32, 32), (64, 48), (33, 100)] * 5):
        made.append(tmp_path / f"{index:02d}.png")
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(made[-1])
    return made


def test_shorter_side_is_at_most_the_stored_one(paths: list[Path]) -> None:
    sizes = [decode(p, 32).shape[:2] for p in paths[:4]]
    assert sizes == [(10, 20), (32, 32), (43, 32), (32, 97)]
    assert expected_bytes(paths[:1], 32) == 10 * 20 * 3


def test_cache_gives_what_the_files_give(paths: list[Path], tmp_path: Path) -> None:
    cache = open_cache(tmp_path / "cache", "key", paths, 32)
    plain, cached = PixelSource(32), PixelSource(32, [cache])
    for path in reversed(paths):
        np.testing.assert_array_equal(plain(path), cached(path))
    again = pickle.loads(pickle.dumps(cache))  # as a loader's worker gets it
    np.testing.assert_array_equal(again(paths[3]), plain(paths[3]))


def test_pages_handed_back_are_read_again(
    paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAPPED_BYTES", 5000)
    cache = open_cache(tmp_path / "cache", "key", paths, 32)
    for _ in range(3):
        for path in paths:
            np.testing.assert_array_equal(cache(path), decode(path, 32))


def test_finished_cache_is_not_built_again(
    paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_cache(tmp_path / "cache", "key", paths, 32)
    monkeypatch.setattr(module, "decode", lambda path, side: pytest.fail("decoded again"))
    open_cache(tmp_path / "cache", "key", paths, 32)


def test_killed_build_continues(
    paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", 4)
    calls: list[Path] = []

    def failing(path: Path, side: int) -> np.ndarray:
        calls.append(path)
        if path == paths[9]:
            raise KeyboardInterrupt
        return decode(path, side)

    monkeypatch.setattr(module, "decode", failing)
    with pytest.raises(KeyboardInterrupt):
        open_cache(tmp_path / "cache", "key", paths, 32, threads=1)
    (partial,) = (tmp_path / "cache").glob("*.partial")
    with (partial / "pixels.bin").open("ab") as file:  # written, but not in the index
        file.write(b"half an image")
    with (partial / "index.jsonl").open("a") as file:
        file.write("[123, 4")
    calls.clear()
    monkeypatch.setattr(module, "decode", lambda p, s: calls.append(p) or decode(p, s))
    cache = open_cache(tmp_path / "cache", "key", paths, 32, threads=1)
    assert calls == paths[8:]
    for path in paths:
        np.testing.assert_array_equal(cache(path), decode(path, 32))


@pytest.mark.parametrize("name", ["pixels.bin", "index.npy", "pixels.bin.sha256"])
def test_a_damaged_cache_is_decoded_again(
    paths: list[Path], tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = open_cache(tmp_path, "key", paths, 32).folder
    data = bytearray((folder / name).read_bytes())
    data[-1] ^= 1
    (folder / name).write_bytes(bytes(data))
    cache = open_cache(tmp_path, "key", paths, 32)
    assert caplog.messages == [f"{folder} is not what was kept. The images are decoded again."]
    for path in paths:
        np.testing.assert_array_equal(cache(path), decode(path, 32))


def test_a_damaged_build_continues_before_the_damage(
    paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", 1)

    def failing(path: Path, side: int) -> np.ndarray:
        if path == paths[6]:
            raise KeyboardInterrupt
        return decode(path, side)

    monkeypatch.setattr(module, "decode", failing)
    with pytest.raises(KeyboardInterrupt):
        open_cache(tmp_path, "key", paths, 32, threads=1)
    (partial,) = tmp_path.glob("*.partial")
    with (partial / "pixels.bin").open("r+b") as file:  # in the fourth of six images
        file.seek(3 * file.seek(0, 2) // 6 + 1)
        file.write(b"\x07\x07\x07")
    calls: list[Path] = []
    monkeypatch.setattr(module, "decode", lambda p, s: calls.append(p) or decode(p, s))
    cache = open_cache(tmp_path, "key", paths, 32, threads=1)
    assert calls == paths[3:]
    for path in paths:
        np.testing.assert_array_equal(cache(path), decode(path, 32))


def test_batches_are_the_same_with_and_without(waterbirds: Dataset, tmp_path: Path) -> None:
    train, val = (ImageTable.of(waterbirds, s) for s in (Split.TRAIN, Split.VAL))
    preprocessing = Preprocessing(size=16)
    cache = open_cache(tmp_path, "key", [*train.paths, *val.paths], preprocessing.stored_side)
    batches = []
    for source in (None, PixelSource(preprocessing.stored_side, [cache])):
        data = GroupDataModule(train, [val], preprocessing, 8, 4, seed=1, pixels=source)
        batches.append([*data.train_dataloader(), *data.val_dataloader()[0]])
    for plain, cached in zip(*batches, strict=True):
        assert (plain.image == cached.image).all()
        assert (plain.row == cached.row).all()
