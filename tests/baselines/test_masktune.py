"""MaskTune: heat and thresholds by hand, masks against the evaluation's own view."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from aspire.baselines.erm import CrossEntropy
from aspire.baselines.masktune import MaskTune, hottest, in_image, masked_path, xgradcam
from aspire.classification.backbones import SmallCNN
from aspire.classification.classifier import Classifier
from aspire.data.image_table import ImageTable
from aspire.data.images import png_bytes, read_image
from aspire.data.pixels import PixelSource
from aspire.data.transforms import Preprocessing
from aspire.errors import ConfigError


class Maps(nn.Module):
    """A backbone whose maps are its input; ``pool`` makes the features of them."""

    def __init__(self, pool: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.pool = pool

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def forward_head(self, maps: torch.Tensor, pre_logits: bool) -> torch.Tensor:
        return self.pool(maps)


def net_with(pool: Callable[[torch.Tensor], torch.Tensor], head: list[list[float]]) -> Classifier:
    net = Classifier(Maps(pool), len(head[0]), len(head))
    with torch.no_grad():
        net.head.weight.copy_(torch.tensor(head))
        net.head.bias.zero_()
    return net


def mean(maps: torch.Tensor) -> torch.Tensor:
    return maps.mean((2, 3))


def largest(maps: torch.Tensor) -> torch.Tensor:
    return maps.amax((2, 3))


# --- heat --------------------------------------------------------------------------------------


def test_heat_by_hand() -> None:
    # largest value 3 of 1, 3, 0, 0: dS/dA is the head's 2 there, alpha = 2 * 3 / 4 = 1.5
    # largest value 2 of 0, 2, 2, 1 is met twice; torch shares the gradient -1 between them:
    # alpha = -1/2 (2 + 2) / 5 = -0.4; heat = max(0, 1.5 A_0 - 0.4 A_1)
    maps = torch.tensor([[[[1.0, 3.0], [0.0, 0.0]], [[0.0, 2.0], [2.0, 1.0]]]])
    heat = xgradcam(net_with(largest, [[-9.0, 0.0], [2.0, -1.0]]), maps)
    assert heat[0].tolist() == pytest.approx(np.array([[1.5, 4.5 - 0.8], [0.0, 0.0]]))


def test_with_average_pooling_it_is_the_class_activation_map() -> None:
    # dS/dA_k is w_k / (h w) everywhere, and so is alpha
    maps = torch.rand(5, 3, 4, 4)
    head = [[0.3, -0.2, 0.5], [-0.4, 0.6, 0.1]]
    net = net_with(mean, head)
    expected = []
    for image, logits in zip(maps, mean(maps) @ torch.tensor(head).T, strict=True):
        w = torch.tensor(head[int(logits.argmax())])
        expected.append(((w[:, None, None] * image).sum(0) / 16).clamp(min=0))
    assert torch.allclose(xgradcam(net, maps), torch.stack(expected), atol=1e-6)


def test_heat_is_the_same_in_inference_mode_and_leaves_no_gradients() -> None:
    torch.manual_seed(0)
    model = SmallCNN(image_size=32, widths=(4, 8))
    net = model.build(3).eval()
    images = torch.randn(4, 3, 32, 32)
    plain = xgradcam(net, images)
    with torch.inference_mode():
        quiet = xgradcam(net, images)
    assert plain.shape == (4, 8, 8)
    assert torch.equal(plain, quiet)
    assert not plain.requires_grad
    assert all(p.grad is None for p in net.parameters())
    assert float(plain.max()) > 0


def test_dead_channels_give_no_heat() -> None:
    maps = torch.zeros(2, 2, 3, 3)
    maps[0, 0, 1, 1] = 2.0
    heat = xgradcam(net_with(mean, [[1.0, 1.0], [0.0, 0.0]]), maps)
    assert torch.isfinite(heat).all()
    assert heat[0, 1, 1] == pytest.approx(2 / 9)
    assert float(heat.sum()) == pytest.approx(2 / 9)


@pytest.mark.parametrize("shape", [(2, 10, 6), (2, 7, 7, 6)])  # tokens, and channels last
def test_networks_without_convolutional_maps_are_config_errors(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="MaskTune needs the maps of a convolutional network"):
        xgradcam(net_with(mean, [[1.0] * 6, [0.0] * 6]), torch.rand(shape))


# --- masks -------------------------------------------------------------------------------------


def test_threshold_by_hand() -> None:
    # positive heat 1, 1, 1, 5: mean 2, deviation sqrt(3) = 1.73; zeros do not count (with them the
    # mean would be 0.89, the deviation 1.52, and two deviations would be exceeded)
    heat = np.array([[0, 0, 1], [1, 5, 1], [0, 0, 0]], dtype=np.float32)
    assert hottest(heat, 3, 1.7).tolist() == (heat == 5).tolist()
    assert not hottest(heat, 3, 1.75).any()
    assert hottest(heat, 3, 0.0).tolist() == (heat == 5).tolist()


def test_without_positive_heat_nothing_is_masked() -> None:
    assert not hottest(np.zeros((7, 7)), 32, 2.0).any()
    assert not hottest(np.ones((7, 7)), 32, 2.0).any()


def test_heat_is_enlarged_to_the_view() -> None:
    heat = np.zeros((4, 4), dtype=np.float32)
    heat[0, 3] = 1.0
    mask = hottest(heat, 64, 1.0)
    assert mask.shape == (64, 64)
    assert mask[:16, 48:].mean() > 0.3
    assert not mask[32:].any()
    assert not mask[:, :32].any()


def test_masks_in_the_image_by_hand() -> None:
    mask = np.array([[True, False], [False, False]])
    # the view is the image
    assert in_image(mask, 2, 2, Preprocessing(size=2, crop=1.0)).tolist() == mask.tolist()
    # the view is the middle 2 x 2 of a 4 x 4 image
    expected = np.zeros((4, 4), dtype=bool)
    expected[1, 1] = True
    assert (in_image(mask, 4, 4, Preprocessing(size=2, crop=0.5)) == expected).all()
    # the same of an 8 x 16 one, resized to 4 x 8: the view is rows 2 to 5, columns 6 to 9
    expected = np.zeros((8, 16), dtype=bool)
    expected[2:4, 6:8] = True
    assert (in_image(mask, 8, 16, Preprocessing(size=2, crop=0.5)) == expected).all()


def test_masks_of_published_views_by_hand() -> None:
    mask = np.array([[True, False], [False, False]])
    # all of a 4 x 8 image squeezed to 2 x 2: a quarter of it is masked
    expected = np.zeros((4, 8), dtype=bool)
    expected[:2, :4] = True
    assert (in_image(mask, 4, 8, Preprocessing(size=2, crop=1.0, view="squash")) == expected).all()
    # the central 4 x 4 pixels of an 8 x 6 image
    expected = np.zeros((8, 6), dtype=bool)
    expected[2:4, 1:3] = True
    assert (in_image(mask, 8, 6, Preprocessing(size=2, view=4)) == expected).all()


@pytest.mark.parametrize("shape", [(100, 100), (90, 160), (301, 217), (48, 64)])
@pytest.mark.parametrize(("size", "crop"), [(64, 0.875), (64, 1.0), (100, 0.9)])
def test_what_is_masked_is_what_the_evaluation_sees(
    shape: tuple[int, int], size: int, crop: float
) -> None:
    preprocessing = Preprocessing(size=size, crop=crop)
    mask = np.zeros((size, size), dtype=bool)
    mask[size // 4 : size // 2, size // 2 : size - 4] = True
    hidden = in_image(mask, *shape, preprocessing)
    assert hidden.shape == shape
    image = np.where(hidden[:, :, None], np.uint8(0), np.full((*shape, 3), 255, np.uint8))
    view = preprocessing.evaluation(image)[0].numpy()
    # at the edges of the mask resizing blurs; a pixel away from them all must agree
    edge = 1 + round(max(1.0, size / crop / min(shape)))
    inner = mask[size // 4 + edge : size // 2 - edge, size // 2 + edge : size - 4 - edge]
    dark = view < 128
    assert inner.all()
    assert dark[size // 4 + edge : size // 2 - edge, size // 2 + edge : size - 4 - edge].all()
    outer = np.ones_like(mask)
    outer[size // 4 - edge : size // 2 + edge, size // 2 - edge : size - 4 + edge] = False
    assert not dark[outer].any()


# --- the whole method --------------------------------------------------------------------------

SIZE = 16


def context(folder: Path, number: int, cold: bool = False) -> SimpleNamespace:
    """Grey images whose hot corner is 255 in red; the last image has none."""
    folder.mkdir(exist_ok=True)
    paths = []
    for row in range(number):
        image = np.full((SIZE, SIZE, 3), 100 + row, dtype=np.uint8)
        if row < number - 1 and not cold:
            image[:4, :4, 0] = 255
        paths.append(folder / f"{row}.png")
        paths[-1].write_bytes(png_bytes(image))
    y = np.arange(number) % 2
    made = SimpleNamespace(
        train=ImageTable(tuple(paths), y, np.full(number, -1)),
        folder=folder / "run",
        batch_size=4,
        preprocessing=Preprocessing(size=SIZE, crop=1.0),
        pixels=PixelSource(256),
        erm=lambda **keywords: f"erm {keywords}",
        collected=[],
        store={},
        recorded={},
        warned=[],
        fitted={},
    )

    def collect(net: Any, table: ImageTable, fn: Any) -> torch.Tensor:
        made.collected.append((net, len(table), fn))
        red = [read_image(path)[::4, ::4, 0] for path in table.paths]
        return torch.tensor(np.array(red) == 255).float()

    def remember(name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        if name not in made.store:
            made.store[name] = make()
        return np.asarray(made.store[name])

    def fit(phase: str, objective: Any, **keywords: Any) -> str:
        made.fitted = {"phase": phase, "objective": objective, **keywords}
        return "tuned"

    made.collect, made.remember, made.fit = collect, remember, fit
    made.record = lambda **values: made.recorded.update(values)
    made.warn = made.warned.append
    made.real = made
    return made


def test_tuning_starts_from_the_last_weights_on_masked_images(tmp_path: Path) -> None:
    made = context(tmp_path, 7)
    assert MaskTune(deviations=1.0).run(made) == "tuned"
    assert made.collected == [("erm {'select': 'val_acc'}", 7, xgradcam)]
    fitted = made.fitted
    assert fitted["phase"] == "tune"
    assert isinstance(fitted["objective"], CrossEntropy)
    assert fitted["net"] == "erm {'select': 'last'}"
    assert fitted["steps"] == 2  # a pass over 7 images in batches of 4
    assert "select" not in fitted
    paths = fitted["train"].paths
    assert paths[:6] == tuple(masked_path(made.folder, row) for row in range(6))
    assert paths[6] == made.train.paths[6]
    assert fitted["train"].y.tolist() == made.train.y.tolist()
    for row in range(6):
        before, after = read_image(made.train.paths[row]), read_image(paths[row])
        changed = (before != after).any(2)
        assert changed[:2, :2].all()
        assert not changed[8:].any()
        assert not changed[:, 8:].any()
        assert (after[changed] == 0).all()
    assert made.recorded["masked_images"] == 6
    assert 0 < made.recorded["masked_pixels"] < 0.25
    assert made.warned == []


def test_weights_of_the_rows_stay(tmp_path: Path) -> None:
    made = context(tmp_path, 4)
    weight = np.array([0.1, 0.2, 0.3, 0.4])
    made.train = replace(made.train, weight=weight)
    MaskTune(1.0, passes=2.5).run(made)
    assert made.fitted["train"].weight is weight
    assert made.fitted["steps"] == 3  # 10 images in batches of 4


def test_an_interrupted_run_keeps_what_it_has_written(tmp_path: Path) -> None:
    made = context(tmp_path, 5)
    MaskTune(1.0).run(made)
    first = {p: p.read_bytes() for p in (made.folder / "masked").iterdir()}
    lost, kept = masked_path(made.folder, 0), masked_path(made.folder, 1)
    lost.unlink()
    os.utime(kept, ns=(1, 1))
    del made.store["masked"]  # killed while it wrote the images; the heat was there
    MaskTune(1.0).run(made)
    assert len(made.collected) == 1
    assert kept.stat().st_mtime_ns == 1
    assert {p: p.read_bytes() for p in (made.folder / "masked").iterdir()} == first
    lost.unlink()  # the tuning is done and nobody needs the images any more
    MaskTune(1.0).run(made)
    assert not lost.exists()


def test_nothing_hot_is_said_and_tuned_all_the_same(tmp_path: Path) -> None:
    made = context(tmp_path, 4, cold=True)
    assert MaskTune().run(made) == "tuned"
    assert made.fitted["train"].paths == made.train.paths
    (text,) = made.warned
    assert "no pixel of any training image is hot enough" in text
    assert "baseline.deviations" in text
    assert made.recorded == {"masked_images": 0, "masked_pixels": 0.0}
    assert not (made.folder / "masked").exists()


def test_it_needs_no_groups() -> None:
    assert MaskTune.needs.describe() == "none"
