"""Two processes train to what one would: losses, group weights, per-sample state and counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import torchrun


def trained_by_two(train: Any, data: Path, out: Path) -> list[dict[str, Any]]:
    """What each process saw, by baseline."""
    out.mkdir()
    torchrun(train, data, out)
    return [torch.load(path, weights_only=False) for path in sorted(out.glob("*.pt"))]


@pytest.mark.slow
def test_two_processes_give_what_one_gives(
    waterbirds_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    from two_processes import train, train_and_save

    alone = train(waterbirds_folder, tmp_path / "one", 1)
    both = trained_by_two(train_and_save, waterbirds_folder, tmp_path / "two")
    assert len(both) == 2
    for seen in both:
        for name, one in alone.items():
            two = seen[name]
            for part in ("weights", "state"):
                assert one[part].keys() == two[part].keys()
                for key, value in one[part].items():
                    np.testing.assert_allclose(
                        two[part][key], value, rtol=1e-4, atol=1e-5, err_msg=f"{name} {key}"
                    )
            np.testing.assert_array_equal(two["predicted"], one["predicted"])
            assert len(two["predicted"]) == 16
            for phase, rows in one["history"].items():
                for a, b in zip(rows, two["history"][phase], strict=True):
                    assert b == pytest.approx(a, rel=1e-4, abs=1e-5), name
                    assert b["val/group/landbird/land/n"] == 4
    assert alone["groupdro"]["state"]["q"].max() > 0.26
    assert len(alone["lff"]["state"]) > 4
