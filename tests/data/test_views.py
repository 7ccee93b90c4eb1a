"""What is seen of an image: the views that others have published, beside their own transforms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torchvision import transforms

from aspire.data.pixels import PixelSource
from aspire.data.transforms import Preprocessing, View

# As in group_DRO, JTT, DFR, AFR, SubpopBench, MaskTune, LISA, CnC and DivDis on Waterbirds, and in
# group_DRO, BalancingGroups, SubpopBench and MaskTune on CelebA.
SQUASH = transforms.Compose([transforms.Resize((256, 256)), transforms.CenterCrop(224)])
CELEBA = transforms.Compose([transforms.CenterCrop(178), transforms.Resize((224, 224))])


@pytest.fixture
def photograph(tmp_path: Path) -> Any:
    """A file of (height, width) with edges, gradients and noise."""

    def write(height: int, width: int) -> Path:
        rng = np.random.default_rng(height * width)
        y, x = np.mgrid[:height, :width]
        pixels = np.stack([255 * y / height, 255 * x / width, 128 + 90 * np.sin(x / 9 + y / 17)], 2)
        pixels[height // 3 : height // 2, width // 4 : width // 2] = rng.integers(0, 256, 3)
        pixels += rng.normal(scale=25, size=pixels.shape)
        path = tmp_path / f"{height}x{width}.png"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
        return path

    return write


@pytest.mark.parametrize(
    ("view", "published", "sizes"),
    [
        ("squash", SQUASH, [(375, 500), (500, 331), (256, 256), (120, 160), (200, 700)]),
        (178, CELEBA, [(218, 178), (400, 301)]),
    ],
)
def test_a_published_view_is_that_of_its_authors(
    photograph: Any, view: View, published: Any, sizes: list[tuple[int, int]]
) -> None:
    ours = Preprocessing(size=224, view=view)
    for height, width in sizes:
        path = photograph(height, width)
        seen = ours.evaluation(PixelSource(ours.stored_side)(path)).permute(1, 2, 0).numpy()
        with Image.open(path) as image:
            theirs = np.asarray(published(image))
        assert seen.shape == theirs.shape == (224, 224, 3)
        assert np.abs(seen.astype(int) - theirs).max() <= 1, (height, width)


def test_how_much_of_a_photograph_is_seen() -> None:
    """Of 375 x 500: 57 % with its ratio kept, 77 % squeezed; of CelebA's 178 x 218: 63 and 82 %."""

    def share(height: int, width: int, view: View | None) -> float:
        how = Preprocessing(size=224, view=view)
        (rows, columns), (h, w), _ = how.placed(height, width)
        seen = (rows.stop - rows.start) * (columns.stop - columns.start) / (height * width)
        return seen * (224 / h) * (224 / w)

    shares = [share(375, 500, None), share(375, 500, "squash")]
    shares += [share(218, 178, None), share(218, 178, 178)]
    assert shares == pytest.approx([0.574, 0.766, 0.625, 0.817], abs=0.001)


def test_without_a_view_nothing_is_known_by_another_name() -> None:
    assert "view" not in Preprocessing(size=224).to_dict()
    assert Preprocessing(size=224, view="squash").to_dict()["view"] == "squash"
    assert Preprocessing(size=224).stored_side == 256
