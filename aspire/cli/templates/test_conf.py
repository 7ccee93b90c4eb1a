"""Every file of conf/ composes."""

from __future__ import annotations

from pathlib import Path

import pytest

from aspire.cli import main

CONF = Path(__file__).parents[1] / "conf"


@pytest.mark.parametrize("path", sorted(CONF.glob("*/*.yaml")), ids=lambda path: path.stem)
def test_it_composes(path: Path) -> None:
    choice = f"{path.parent.name}={path.stem}"
    assert main(["train", "--config-dir", str(CONF), choice, "--cfg", "job"]) == 0
