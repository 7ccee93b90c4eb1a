"""What a command imports, seen from a fresh process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

# What trains, generates, reads text, draws and uploads: seconds of imports each.
HEAVY = {
    "torch", "torchvision", "transformers", "diffusers", "peft", "spacy", "wandb", "matplotlib",
    "scipy", "sklearn", "cv2", "pytorch_lightning", "torchmetrics", "jinja2", "safetensors",
}  # fmt: skip


def heavy_imports_of(words: Sequence[str]) -> tuple[str, set[str]]:
    """Output of ``aspire WORDS``, and what of ``HEAVY`` it has imported."""
    code = (
        f"import sys; from aspire.cli import main; main({list(words)!r}); "
        "print(*{m.split('.')[0] for m in sys.modules})"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *said, modules = out.stdout.splitlines()
    return "\n".join(said), HEAVY & set(modules.split())
