"""The site builds without a warning."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_site_builds_without_a_warning(tmp_path):
    """Dead links between pages, missing pictures and headings are warnings of Sphinx."""
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "-q", str(ROOT / "docs"), str(tmp_path / "site")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site/made/choices/baseline.html").read_text("utf-8")
    assert all(path.stem in page for path in (ROOT / "conf/baseline").glob("*.yaml"))
