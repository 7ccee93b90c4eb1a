"""Where ``conf/`` is: the one place that knows.

It is inside the package in a wheel, and beside it in a checkout or an editable install.
"""

from __future__ import annotations

import os
from pathlib import Path

from aspire.errors import ConfigError


def conf_dir() -> Path:
    """The folder of the yaml files.

    ``$ASPIRE_CONF_DIR`` wins, then a wheel's copy, then a checkout's ``conf/``. A candidate
    counts only if it holds ``train.yaml``: ``site-packages/conf`` may belong to somebody else.

    Raises:
        ConfigError: listing every path tried.
    """
    package = Path(__file__).resolve().parent
    candidates = [package / "conf", package.parent / "conf"]
    if chosen := os.environ.get("ASPIRE_CONF_DIR"):
        candidates.insert(0, Path(chosen))
    for candidate in candidates:
        if (candidate / "train.yaml").is_file():
            return candidate
    tried = "\n  ".join(map(str, candidates))
    raise ConfigError(
        f"No conf/ folder with a train.yaml was found. Tried:\n  {tried}\n"
        "Install again (pip install -e .) or set ASPIRE_CONF_DIR."
    )
