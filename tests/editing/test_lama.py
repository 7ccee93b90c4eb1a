"""LaMa's convention, with a scripted model that obeys it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aspire.editing.lama import LamaInpainter
from aspire.errors import ConfigError


class Tiny(torch.nn.Module):
    """Fills the hole with the mean of what is outside, as big-lama would be called."""

    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        assert image.shape[1] == 3
        assert mask.shape[1] == 1
        assert image.shape[2] % 8 == 0
        assert image.shape[3] % 8 == 0
        assert float(image.max()) <= 1.0
        assert float((mask * (1 - mask)).abs().max()) == 0.0  # nothing but 0 and 1
        known = 1 - mask
        mean = (image * known).sum(dim=(2, 3), keepdim=True) / known.sum(dim=(2, 3), keepdim=True)
        return image * known + mean * mask


@pytest.fixture(scope="module")
def lama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lama") / "tiny-lama.pt"
    torch.jit.script(Tiny()).save(str(path))
    return path


def noise(height: int, width: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def hole(height: int, width: int) -> Any:
    mask = np.zeros((height, width), dtype=bool)
    mask[3:12, 5:15] = True
    return mask


@pytest.mark.parametrize("feather", [0, 3])
@pytest.mark.parametrize("size", [1, 16])
def test_pixels_outside_are_bit_equal_for_every_size(lama: Path, feather: int, size: int) -> None:
    images = [noise(20, 30, 1), noise(24, 32, 2), noise(17, 25, 3), noise(41, 26, 4)]
    masks = [hole(*i.shape[:2]) for i in images]
    inpainter = LamaInpainter(str(lama), feather=feather, batch_size=size)
    filled = inpainter.inpaint(images, masks, [0, 1, 2, 3])
    for image, mask, made in zip(images, masks, filled, strict=True):
        assert isinstance(made, np.ndarray)
        assert made.dtype == np.uint8
        assert made.shape == image.shape
        assert (made[~mask] == image[~mask]).all()
        assert (made[mask] != image[mask]).any()
        (alone,) = LamaInpainter(str(lama), feather=feather).inpaint([image], [mask], [9])
        assert np.abs(made.astype(int) - np.asarray(alone)).max() <= 1


def test_hole_gets_what_the_model_gives(lama: Path) -> None:
    image = np.full((24, 32, 3), (10, 120, 240), np.uint8)
    mask = hole(24, 32)
    image[mask] = 0
    (made,) = LamaInpainter(str(lama), feather=0).inpaint([image], [mask], [0])
    assert (np.asarray(made) == (10, 120, 240)).all()


def test_feather_fades_from_the_rim_into_the_hole(lama: Path) -> None:
    image = np.full((40, 40, 3), 200, np.uint8)
    mask = np.zeros((40, 40), dtype=bool)
    mask[10:30, 10:30] = True
    image[mask] = 0
    (made,) = LamaInpainter(str(lama), feather=3).inpaint([image], [mask], [0])
    # 1/4, 2/4, 3/4 of the model's 200 on the first three pixels (OpenCV's step is 0.955), then all
    row = np.asarray(made)[20, 8:16, 0]
    expected = [200, 200, *(200 * 0.955 * d / 4 for d in (1, 2, 3, 4)), 200, 200]
    assert row == pytest.approx(np.array(expected), abs=1)


@pytest.mark.parametrize("path", [None, "nowhere.pt"])
def test_without_its_file_it_says_where_to_put_it(path: str | None) -> None:
    with pytest.raises(ConfigError, match=r"inpainter\.path=.*inpainter\.path=/path/to/big-lama"):
        LamaInpainter(path).identity()


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(b"not a model")
    with pytest.raises(ConfigError, match="is not a TorchScript file"):
        LamaInpainter(str(tmp_path / "x.pt")).inpaint([noise(20, 30)], [hole(20, 30)], [0])


def test_identity_is_the_files_content(lama: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere.pt"
    copy.write_bytes(lama.read_bytes())
    one = LamaInpainter(str(lama)).identity()
    assert LamaInpainter(str(copy), device="cpu", batch_size=1).identity() == one
    assert LamaInpainter(str(copy), feather=0).identity() != one
    copy.write_bytes(lama.read_bytes() + b" ")
    assert LamaInpainter(str(copy)).identity() != one
