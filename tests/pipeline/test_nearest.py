"""The real image that a generated one looks most like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aspire.data.images import png_bytes, read_image
from aspire.generation import thumbnails as tiny_views
from aspire.pipeline.stage import LocalEngine
from aspire.pipeline.stages.nearest import NearestStage
from aspire.pipeline.store import ArtifactStore
from aspire.records import ImageRef, SyntheticImage


def write(folder: Path, **pictures: Any) -> None:
    folder.mkdir(exist_ok=True)
    for name, pixels in pictures.items():
        (folder / f"{name}.png").write_bytes(png_bytes(pixels))


def grey(value: int, height: int = 32, width: int = 32) -> Any:
    return np.full((height, width, 3), value, np.uint8)


def found(tmp_path: Path, made: dict[str, Any], real: dict[str, Any]) -> Any:
    write(tmp_path / "made", **made)
    write(tmp_path / "real", **real)
    stage = NearestStage(
        tmp_path / "made",
        [ImageRef(img_id=f"r-{n}", file=f"{n}.png", y=0) for n in real],
        tmp_path / "real",
    )
    items = [
        SyntheticImage(img_id=n, y=0, seed=0, prompt="", parents=("",), file=f"{n}.png", mask=None)
        for n in made
    ]
    return ArtifactStore(tmp_path / "store").run(stage, items, {}, LocalEngine(2))


def test_the_difference_is_the_root_mean_square_of_the_values(tmp_path: Path) -> None:
    red = grey(51)
    red[..., 0] = 102  # 51 from grey in one of three values: 0.2 / sqrt(3)
    artifact = found(
        tmp_path, {"a": grey(51), "b": red, "c": grey(250)}, {"x": grey(0), "y": grey(255)}
    )
    seen = {n.img_id: (n.real_id, n.distance) for n in artifact.records}
    assert seen["a"] == ("r-x", pytest.approx(0.2, abs=1e-5))
    # (0.4^2 + 0.2^2 + 0.2^2) / 3 = 0.08
    assert seen["b"] == ("r-x", pytest.approx(0.08**0.5, abs=1e-5))
    assert seen["c"] == ("r-y", pytest.approx(5 / 255, abs=1e-5))


def test_a_copy_is_found_in_another_size_and_mirrored(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    real = {f"p{i}": np.kron(rng.integers(0, 256, (16, 16, 3)), np.ones((2, 2, 1))) for i in "012"}
    real = {name: pixels.astype(np.uint8) for name, pixels in real.items()}
    twice = np.kron(real["p1"], np.ones((2, 2, 1), np.uint8))
    artifact = found(tmp_path, {"a": twice, "b": real["p2"][:, ::-1]}, real)
    assert [(n.real_id, n.distance) for n in artifact.records] == [("r-p1", 0.0), ("r-p2", 0.0)]
    assert (read_image(artifact.path(artifact.records[0].file)) == real["p1"]).all()


def test_what_is_kept_to_be_looked_at_is_small(tmp_path: Path) -> None:
    artifact = found(tmp_path, {"a": grey(9)}, {"x": grey(9, 600, 300)})
    kept = read_image(artifact.path(artifact.records[0].file))
    assert kept.shape == (192, 96, 3)


def test_of_many_real_images_an_even_share_is_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny_views, "AMONG", 3)
    real = [ImageRef(img_id=str(i), file="", y=0) for i in range(10)]
    assert [r.img_id for r in NearestStage(tmp_path, real, tmp_path).real] == ["0", "3", "6"]
