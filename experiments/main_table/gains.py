"""Mean gain of ASPIRE in worst-group accuracy, by dataset and over all pairs.

    python experiments/main_table/gains.py OUTPUTS

Each pair of a dataset and a baseline counts once: the mean over the seeds that have both arms.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev


def gains(outputs: Path) -> dict[tuple[str, str], list[float]]:
    """(dataset, baseline) -> points gained by each seed, in order of the seeds."""
    found: dict[tuple[str, str, int], dict[str, float]] = defaultdict(dict)
    for path in outputs.glob("train/*/*/*/*/result.json"):
        run = json.loads(path.read_bytes())
        key = run["dataset"], run["baseline"], run["seed"]
        found[key][run["augmentation"]] = 100 * run["metrics"]["test"]["worst_group_acc"]
    pairs = defaultdict(list)
    for (dataset, baseline, _), arms in sorted(found.items()):
        if {"none", "aspire"} <= set(arms):
            pairs[dataset, baseline].append(arms["aspire"] - arms["none"])
    return dict(pairs)


def line(name: str, pairs: dict[tuple[str, str], list[float]]) -> str:
    """One row: over how many pairs and seeds, mean, and how many pairs gained."""
    each = [mean(values) for values in pairs.values()]
    by_seed = [mean(column) for column in zip(*pairs.values(), strict=False)]
    spread = f"{stdev(by_seed):.1f}" if len(by_seed) > 1 else "-"
    raised = sum(value > 0 for value in each)
    return f"| {name} | {mean(each):+.1f} | {spread} | {raised} of {len(each)} | {len(by_seed)} |"


def main(outputs: Path) -> None:
    pairs = gains(outputs)
    print("| dataset | mean gain | std over seeds | pairs raised | seeds |")
    print("|---|---|---|---|---|")
    for dataset in sorted({d for d, _ in pairs}):
        print(line(dataset, {k: v for k, v in pairs.items() if k[0] == dataset}))
    print(line("all", pairs))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
