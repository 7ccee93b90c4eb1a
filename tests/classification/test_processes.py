"""Two processes train to what one would: losses, group weights, per-sample state and counts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

SCRIPT = Path(__file__).with_name("two_processes.py")


def trained_by_two(data: Path, out: Path) -> list[dict[str, Any]]:
    """What each process saw, by baseline."""
    out.mkdir()
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [sys.executable, *torchrun, str(SCRIPT), str(data), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=550)
    assert done.returncode == 0, done.stderr
    return [torch.load(path, weights_only=False) for path in sorted(out.glob("*.pt"))]


@pytest.mark.slow
def test_two_processes_give_what_one_gives(
    waterbirds_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    from two_processes import train

    alone = train(waterbirds_folder, tmp_path / "one", 1)
    both = trained_by_two(waterbirds_folder, tmp_path / "two")
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
