"""Wall time of a sweep over all methods with shared first stages and cached features, and without.

Both sweeps run in fresh folders, one after the other, on images that are drawn and decoded before.
What a sweep takes beyond the training of its methods (composing, checking) is in both.

    python experiments/benchmarks/sharing.py
    python experiments/benchmarks/sharing.py 'baseline=erm,jtt,dfr' fit.steps=100
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from aspire.cli import main

SWITCHES = {
    "shared, cached": [],
    "separate": ["trainer.share_stages=false", "trainer.feature_cache=false"],
}


def sweep(words: list[str], outputs: Path) -> tuple[float, dict[str, int]]:
    """Seconds of a sweep, and the optimiser steps each method reports."""
    start = time.perf_counter()
    if main(["train", "-m", *words, f"paths.outputs={outputs}"]) != 0:
        raise SystemExit("the sweep failed")
    seconds = time.perf_counter() - start
    results = [json.loads(p.read_text()) for p in outputs.glob("train/*/*/*/*/result.json")]
    return seconds, {r["baseline"]: r["steps"] for r in results}


if __name__ == "__main__":
    words = ["baseline=glob(*)", "hparams=mini", "logger=none", *sys.argv[1:]]
    with tempfile.TemporaryDirectory() as folder:
        words.append(f"paths.data={folder}/data")
        sweep([*words, "baseline=erm", "fit.steps=10"], Path(folder) / "warm-up")
        found = {n: sweep([*words, *s], Path(folder) / n[0]) for n, s in SWITCHES.items()}
    (shared, steps), (separate, _) = found.values()
    print("\nsteps each method reports: " + ", ".join(f"{b} {n}" for b, n in sorted(steps.items())))
    for name, (seconds, _) in found.items():
        print(f"  {name:<16}{seconds:8.1f} s   {seconds / separate:.2f} of separate")
