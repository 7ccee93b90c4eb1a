"""Tune every method's own settings on mini_waterbirds: up to six candidates each.

    python experiments/baselines/tune.py [METHOD ...]

By val worst group, with one seed (100) that no reported number uses. What is finished is not run
again. Prints the candidates, the best first; what won stands in conf/hparams/mini/METHOD.yaml.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from aspire.cli import main

OUTPUTS = Path("outputs/tuning")
# A method's own settings as a Hydra sweep; methods without settings have nothing to tune.
GRIDS: dict[str, list[str]] = {
    "afr": ["gammas=[1,2,4],[4,8,12,16,20]", "strengths=[0,0.1,0.2,0.3],[0,1,10],[0,0.001,0.01]"],
    "cnc": ["reference=0.2,1.0", "positives=2,4,8", "negatives=${baseline.positives}"],
    "cvardro": ["alpha=0.1,0.2,0.5,0.8,0.95,0.99"],
    "dfr": ["source=val,train", "refits=5,20,80"],
    "divdis": ["diversity=0.1,1.0,10.0", "consistency=0.1,1.0"],
    "eiil": ["reference=0.05,0.2,0.5", "eta=0.01,0.1"],
    "erm": [],
    "groupdro": ["eta=0.001,0.01,0.1", "adjustment=0.0,1.0"],
    "jtt": ["identify=0.1,0.2,0.5", "upweight=20.0,50.0"],
    "lff": ["q=0.5,0.7,0.9", "ema=0.7,0.9"],
    "lisa": ["mix_alpha=0.5,1.0,2.0", "intra_label=0.5,0.0"],
    "masktune": ["deviations=0.5,1.0,1.5", "passes=1.0,3.0"],
    "mixup": ["alpha=0.1,0.2,0.4,1.0,2.0,4.0"],
    "rwg": [],
    "ssa": ["infer=0.25,0.5,1.0", "eta=0.01,0.1"],
    "subg": [],
}


def tune(method: str) -> list[tuple[float, float, str]]:
    """(val worst group, val average, settings) of each candidate in %, best first."""
    words = [f"baseline.{setting}" for setting in GRIDS[method]]
    words += [f"baseline={method}", "seed=100", "hparams=mini", "logger=none"]
    main(["train", "-m", *words, f"paths.outputs={OUTPUTS.resolve()}"])
    tuned = [setting.split("=")[0] for setting in GRIDS[method]]
    rows = []
    for path in OUTPUTS.glob(f"train/mini_waterbirds/{method}/*/*/result.json"):
        result = json.loads(path.read_text())
        chosen = ", ".join(f"{k}={result['identity']['baseline'][k]}" for k in tuned)
        val = result["metrics"]["val"]
        rows.append((100 * val["worst_group_acc"], 100 * val["acc"], chosen or "nothing to tune"))
    return sorted(rows, reverse=True)


if __name__ == "__main__":
    found = {method: tune(method) for method in sys.argv[1:] or GRIDS}
    print("\n| method | settings | val worst group | val average |\n|---|---|---|---|")
    for method, rows in found.items():
        for worst, average, chosen in rows:
            print(f"| {method} | {chosen} | {worst:.1f} | {average:.1f} |")
