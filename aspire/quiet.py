"""What libraries show on the way and nobody needs to see."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Hide what transformers and diffusers count while they load; downloads keep their bars."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, enable_progress_bars

    found = [f"{name}.utils.logging" for name in ("transformers", "diffusers")]
    modules = [importlib.import_module(m) for m in found if m.partition(".")[0] in sys.modules]
    shown = [m for m in modules if m.is_progress_bar_enabled()]
    downloads = not are_progress_bars_disabled()
    for module in shown:
        module.disable_progress_bar()
    if downloads:  # transformers switches them off with its own
        enable_progress_bars()
    try:
        yield
    finally:
        for module in shown:
            module.enable_progress_bar()
