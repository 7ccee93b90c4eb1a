"""What the tests of this folder would each find out again: made once, for all workers."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from filelock import FileLock

from aspire.cli import main

# As in the tests: what is told here decides whether they find its work.
WORDS = ["dataset.scale=0.02", "fit.batch_size=16", "fit.steps=8", "fit.evaluations=2"]
WORDS += ["score.min_support=2", "score.min_donors=2", "score.max_q=1"]
WORDS += ["trainer.threads=1", "logger=none"]


@pytest.fixture(scope="session")
def _discovered(session_folder: Path, tiny_data: Path) -> Path:
    """An outputs folder with an ERM of 8 steps and what it leans on."""
    folder = session_folder / "discovered"
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            making = folder.with_suffix(".partial")
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("ASPIRE_OUTPUTS", str(making))
                patch.setenv("ASPIRE_DATA", str(tiny_data))
                assert main(["discover", *WORDS]) == 0
            making.rename(folder)
    return folder


@pytest.fixture
def discovered(_discovered: Path, tmp_path: Path) -> Path:
    """A copy of it as the test's own outputs folder."""
    for part in ("artifacts", "train"):
        shutil.copytree(_discovered / part, tmp_path / part)
    return tmp_path
