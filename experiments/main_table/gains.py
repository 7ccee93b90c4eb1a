"""What ASPIRE gains in worst-group accuracy: of each baseline, and each arm of it on ERM.

    python experiments/main_table/gains.py OUTPUTS

Each pair of a dataset and a baseline counts once: the mean over the seeds that have both arms. The
arms' last column is the mean over the datasets of each seed that all of them have.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev

ARMS = {  # name -> baseline and augmentation; the further down, the more of ASPIRE
    "none": ("erm", "none"),
    "duplicates": ("erm", "duplicates"),
    "fixed_views": ("erm", "fixed_views"),
    "randaugment": ("erm", "randaugment"),
    "mixup": ("mixup", "none"),
    "cutmix": ("cutmix", "none"),
    "undiscovered": ("erm", "undiscovered"),
    "anywhere": ("erm", "anywhere"),
    "edits": ("erm", "edits"),
    "unpersonalised": ("erm", "unpersonalised"),
    "replace": ("erm", "replace"),
    "aspire": ("erm", "aspire"),
}
Accuracies = dict[tuple[str, str, str, int], float]


def read(outputs: Path) -> Accuracies:
    """(dataset, baseline, augmentation, seed) -> worst-group accuracy in percent.

    Raises:
        SystemExit: when one of them was run in two settings.
    """
    found: Accuracies = {}
    for path in sorted(outputs.glob("train/*/*/*/*/result.json")):
        run = json.loads(path.read_bytes())
        key = run["dataset"], run["baseline"], run["augmentation"], run["seed"]
        if key in found:
            sys.exit(f"{path.parent} is a second run of {key}; expected outputs with one.")
        found[key] = 100 * run["metrics"]["test"]["worst_group_acc"]
    return found


def gains(found: Accuracies) -> dict[tuple[str, str], list[float]]:
    """(dataset, baseline) -> points gained by each seed, in order of the seeds."""
    pairs = defaultdict(list)
    for (dataset, baseline, augmentation, seed), value in sorted(found.items()):
        before = found.get((dataset, baseline, "none", seed))
        if augmentation == "aspire" and before is not None:
            pairs[dataset, baseline].append(value - before)
    return dict(pairs)


def line(name: str, pairs: dict[tuple[str, str], list[float]]) -> str:
    """One row: over how many pairs and seeds, mean, and how many pairs gained."""
    each = [mean(values) for values in pairs.values()]
    by_seed = [mean(column) for column in zip(*pairs.values(), strict=False)]
    spread = f"{stdev(by_seed):.1f}" if len(by_seed) > 1 else "-"
    raised = sum(value > 0 for value in each)
    return f"| {name} | {mean(each):+.1f} | {spread} | {raised} of {len(each)} | {len(by_seed)} |"


def arm(found: Accuracies, baseline: str, augmentation: str) -> dict[str, list[float]]:
    """Dataset -> worst-group accuracy of each seed; "mean": over the datasets, by seed."""
    columns: dict[str, dict[int, float]] = defaultdict(dict)
    for (dataset, *rest, seed), value in sorted(found.items()):
        if rest == [baseline, augmentation]:
            columns[dataset][seed] = value
    common = set.intersection(*map(set, columns.values())) if columns else set()
    average = [mean(values[seed] for values in columns.values()) for seed in sorted(common)]
    return {name: list(values.values()) for name, values in columns.items()} | {"mean": average}


def cell(values: list[float]) -> str:
    """Mean ± sample standard deviation."""
    spread = f"{stdev(values):.1f}" if len(values) > 1 else "-"
    return f"{mean(values):.1f} ± {spread}" if values else "-"


def main(outputs: Path) -> None:
    found = read(outputs)
    pairs = gains(found)
    if not pairs:
        sys.exit(f"{outputs}: no baseline has runs both without and with ASPIRE; see the README.")
    print("| dataset | mean gain | std over seeds | pairs raised | seeds |")
    print("|---|---|---|---|---|")
    for dataset in sorted({d for d, _ in pairs}):
        print(line(dataset, {k: v for k, v in pairs.items() if k[0] == dataset}))
    print(line("all", pairs))
    datasets = sorted({dataset for dataset, *_ in found})
    print("\n| arm on ERM |", " | ".join([*datasets, "mean"]), "|")
    print("|---|" + "---|" * (len(datasets) + 1))
    for name, which in ARMS.items():
        columns = arm(found, *which)
        print(f"| {name} |", " | ".join(cell(columns.get(d, [])) for d in [*datasets, "mean"]), "|")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
