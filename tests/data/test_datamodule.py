"""Batches by step: reproducible, resumable, and blind to groups where they must be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import aspire.data.datamodule as module
from aspire.data.datamodule import Batch, GroupDataModule, StepSampler, evaluation_loader
from aspire.data.image_table import ImageTable
from aspire.data.table import Dataset, Split
from aspire.data.transforms import Preprocessing
from aspire.errors import ConfigError

SMALL = Preprocessing(size=16, crop=1.0, mean=(0.5,) * 3, std=(0.25,) * 3)


def table(size: int, weight: np.ndarray | None = None) -> ImageTable:
    zeros = np.zeros(size, np.int64)
    return ImageTable(tuple(Path(str(i)) for i in range(size)), zeros, zeros, weight)


def stream(sampler: StepSampler, epochs: int) -> list[tuple[int, int]]:
    drawn: list[tuple[int, int]] = []
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        drawn += [key for batch in sampler for key in batch]
    return drawn


@pytest.mark.parametrize(
    ("size", "batch_size", "steps"), [(10, 4, 3), (7, 3, 5), (5, 4, 4), (8, 8, 1)]
)
def test_every_pass_visits_every_row_once_across_epoch_borders(
    size: int, batch_size: int, steps: int
) -> None:
    rows = [r for r, _ in stream(StepSampler(table(size), batch_size, steps, seed=1), epochs=9)]
    assert len(rows) == 9 * batch_size * steps
    for start in range(0, len(rows) - size + 1, size):
        assert sorted(rows[start : start + size]) == list(range(size))


def test_passes_are_in_different_orders() -> None:
    rows = [r for r, _ in stream(StepSampler(table(20), 10, 2, seed=1), epochs=3)]
    assert len({tuple(rows[i : i + 20]) for i in (0, 20, 40)}) == 3


def test_setting_the_epoch_continues_the_stream() -> None:
    whole = stream(StepSampler(table(10), 4, 3, seed=1), epochs=6)
    late = StepSampler(table(10), 4, 3, seed=1)
    late.set_epoch(4)
    assert [key for batch in late for key in batch] == whole[4 * 12 : 5 * 12]


def test_length_of_an_epoch_does_not_change_the_stream() -> None:
    often = stream(StepSampler(table(10), 4, 2, seed=1), epochs=6)
    seldom = stream(StepSampler(table(10), 4, 6, seed=1), epochs=2)
    assert often == seldom


def test_streams_of_other_seeds_differ() -> None:
    first, second = (stream(StepSampler(table(50), 10, 5, seed=s), 1) for s in (0, 1))
    assert [r for r, _ in first] != [r for r, _ in second]


def test_every_draw_has_its_own_view_seed() -> None:
    drawn = stream(StepSampler(table(10), 4, 5, seed=1), epochs=5)
    assert len({seed for _, seed in drawn}) == len(drawn)


def test_weights_are_frequencies() -> None:
    weight = np.array([0.0, 1.0, 3.0, 6.0])
    rows = [r for r, _ in stream(StepSampler(table(4, weight), 100, 10, seed=0), epochs=4)]
    shares = np.bincount(rows, minlength=4) / len(rows)
    # 4000 draws: standard deviations below 0.008
    assert shares == pytest.approx([0.0, 0.1, 0.3, 0.6], abs=0.03)
    assert shares[0] == 0


def test_weighted_draws_continue_after_set_epoch() -> None:
    weight = np.arange(1.0, 11.0)
    whole = stream(StepSampler(table(10, weight), 4, 3, seed=1), epochs=6)
    late = StepSampler(table(10, weight), 4, 3, seed=1)
    late.set_epoch(5)
    assert [key for batch in late for key in batch] == whole[60:]
    assert whole[:12] != whole[12:24]


def test_training_view_depends_on_its_seed_alone() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (120, 90, 3), dtype=np.uint8)
    torch.manual_seed(1)
    first = SMALL.training(pixels, 5)
    torch.manual_seed(2)
    torch.rand(7)
    second = SMALL.training(pixels, 5)
    assert torch.equal(first, second)
    views = {SMALL.training(pixels, s).numpy().tobytes() for s in range(8)}
    assert len(views) == 8


def test_training_view_leaves_the_global_generator_alone() -> None:
    pixels = np.zeros((20, 30, 3), np.uint8)
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    SMALL.training(pixels, 5)
    assert torch.equal(torch.rand(3), expected)


def test_evaluation_view_is_the_normalised_centre() -> None:
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, 8:24] = (255, 128, 0)  # exactly the centre square
    view = SMALL.evaluation(pixels)
    assert view.shape == (3, 16, 16)
    assert view.dtype == torch.uint8
    (view,) = SMALL.normalise(view[None])
    assert view.dtype == torch.float32
    for channel, value in enumerate((255, 128, 0)):
        expected = torch.full((16, 16), (value / 255 - 0.5) / 0.25)
        torch.testing.assert_close(view[channel], expected)


def test_evaluation_cuts_the_stated_share() -> None:
    # size / crop = 20: a 40 x 40 image is halved to 20 and loses 2 px on every side
    pixels = np.zeros((40, 40, 3), np.uint8)
    pixels[4:36, 4:36] = 255
    preprocessing = Preprocessing(size=16, crop=0.8)
    assert int(preprocessing.evaluation(pixels)[:, 1:-1, 1:-1].min()) == 255
    assert int(preprocessing.evaluation(np.roll(pixels, 4, axis=0))[:, 0].max()) < 255


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_views_are_pillow_s_within_one_grey_level(interpolation: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    preprocessing = Preprocessing(size=24, crop=0.75, interpolation=interpolation)
    how = getattr(Image.Resampling, interpolation.upper())

    reference = Image.fromarray(pixels).resize((45, 32), how)  # 32 = 24 / 0.75, 45 = 70 * 32 / 50
    expected = np.asarray(reference)[4:28, 10:34].astype(int)  # the centre 24 of 32 and of 45
    view = preprocessing.evaluation(pixels).permute(1, 2, 0).numpy().astype(int)
    assert np.abs(view - expected).max() <= 1

    top, left, height, width = preprocessing._crop(np.random.default_rng(3), 50, 70)
    crop = Image.fromarray(pixels[top : top + height, left : left + width]).resize((24, 24), how)
    view = preprocessing.training(pixels, 3).permute(1, 2, 0).numpy().astype(int)
    plain, mirrored = np.asarray(crop).astype(int), np.asarray(crop)[:, ::-1].astype(int)
    assert min(np.abs(view - plain).max(), np.abs(view - mirrored).max()) <= 1
    assert 0.7 * 0.95 <= height * width / (50 * 70) <= 1
    assert 0.7 < width / height < 1.4


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_enlarged_views_are_pillow_s_too(interpolation: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    preprocessing = Preprocessing(size=48, crop=1.0, interpolation=interpolation)
    how = getattr(Image.Resampling, interpolation.upper())
    expected = np.asarray(Image.fromarray(pixels).resize((72, 48), how))[:, 12:60].astype(int)
    view = preprocessing.evaluation(pixels).permute(1, 2, 0).numpy().astype(int)
    assert np.abs(view - expected).max() <= 1


def test_normalising_is_the_formula() -> None:
    views = torch.randint(0, 256, (2, 3, 5, 5), dtype=torch.uint8)
    preprocessing = Preprocessing(size=5, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.2))
    mean = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)
    std = torch.tensor([0.5, 0.25, 0.2]).view(3, 1, 1)
    expected = (views.float() / 255 - mean) / std
    for memory in (torch.contiguous_format, torch.channels_last):
        found = preprocessing.normalise(views.contiguous(memory_format=memory))
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.fixture
def tables(waterbirds: Dataset) -> tuple[ImageTable, ImageTable]:
    return ImageTable.of(waterbirds, Split.TRAIN), ImageTable.of(waterbirds, Split.VAL)


def batches(data: GroupDataModule, epoch: int = 0) -> list[Batch]:
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return list(loader)


def test_batches_are_reproducible(tables: tuple[ImageTable, ImageTable]) -> None:
    def make() -> list[Batch]:
        return batches(GroupDataModule(tables[0], tables[1:], SMALL, 8, 3, seed=4), epoch=2)

    torch.manual_seed(1)
    first = make()
    torch.manual_seed(2)
    second = make()
    assert len(first) == 3
    for a, b in zip(first, second, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_batch_has_the_documented_shapes(tables: tuple[ImageTable, ImageTable]) -> None:
    train = tables[0]
    batch = batches(GroupDataModule(tables[0], tables[1:], SMALL, 8, 3, seed=4))[0]
    assert batch.image.shape == (8, 3, 16, 16)
    assert batch.y.dtype == batch.group.dtype == batch.row.dtype == torch.int64
    assert batch.y.tolist() == train.y[batch.row].tolist()
    assert batch.group.tolist() == train.group[batch.row].tolist()


def test_processes_share_the_images_and_see_all_labels(
    tables: tuple[ImageTable, ImageTable], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = GroupDataModule(tables[0], tables[1:], SMALL, 8, 5, seed=4)
    whole = batches(data)[0]
    parts, rows = [], []
    for rank in (0, 1):
        monkeypatch.setattr(module, "process_share", lambda rank=rank: (rank, 2))
        batch = batches(data)[0]
        assert torch.equal(batch.row, whole.row)
        assert torch.equal(batch.y, whole.y)
        parts.append(batch.image)
        rows += [b.row for b in data.val_dataloader()[0]]
    assert torch.equal(torch.cat(parts), whole.image)
    assert sorted(torch.cat(rows).tolist()) == list(range(len(tables[1])))
    data.whole_images = True
    assert torch.equal(batches(data)[0].image, whole.image)
    data.batch_size = 7
    with pytest.raises(ConfigError, match=r"fit\.batch_size=7 cannot be shared by 2 devices\. Try"):
        data.train_dataloader()


def test_own_draw_decides_the_rows_of_every_step(tables: tuple[ImageTable, ImageTable]) -> None:
    def draw(rng: np.random.Generator, step: int) -> np.ndarray:
        return np.array([step, *rng.integers(40, size=4)])

    data = GroupDataModule(tables[0], tables[1:], SMALL, 8, 3, seed=4, draw=draw)
    first, second = batches(data), batches(data, epoch=1)
    assert [int(b.row[0]) for b in first + second] == [0, 1, 2, 3, 4, 5]
    assert [len(b.row) for b in first] == [5, 5, 5]
    again = GroupDataModule(tables[0], tables[1:], SMALL, 8, 6, seed=4, draw=draw)
    for a, b in zip(first + second, batches(again), strict=True):  # whatever an epoch is
        assert torch.equal(a.row, b.row)
        assert torch.equal(a.image, b.image)


def test_plain_views_are_those_of_evaluation(tables: tuple[ImageTable, ImageTable]) -> None:
    data = GroupDataModule(tables[0], tables[1:], SMALL, 8, 1, seed=4, views=False)
    (batch,) = batches(data)
    whole = torch.cat([b.image for b in evaluation_loader(tables[0], SMALL, 7)])
    assert torch.equal(batch.image, whole[batch.row])


def test_evaluation_goes_through_every_row_in_order(tables: tuple[ImageTable, ImageTable]) -> None:
    index = torch.cat([b.row for b in evaluation_loader(tables[0], SMALL, 7)])
    assert index.tolist() == list(range(40))


def test_table_of_a_split(waterbirds: Dataset) -> None:
    table = ImageTable.of(waterbirds, Split.TRAIN)
    assert len(table) == 40
    assert table.y.tolist() == [0] * 20 + [1] * 20
    assert table.group.tolist() == [0] * 16 + [1] * 4 + [2] * 4 + [3] * 16
    assert table.paths[0] == waterbirds.root / "000.Landbird/jungle_0_00.jpg"


def test_nothing_to_train_on_is_a_config_error(tables: tuple[ImageTable, ImageTable]) -> None:
    with pytest.raises(ConfigError, match="Cannot train on 0 images in batches of 8"):
        GroupDataModule(table(0), tables[1:], SMALL, 8, 3, seed=0)
    with pytest.raises(ConfigError, match=r"40 images in batches of 0; both .* fit\.batch_size"):
        GroupDataModule(tables[0], tables[1:], SMALL, 0, 3, seed=0)
