"""Mean and scatter of the trainings with ASPIRE below a folder of outputs.

python experiments/quickstart/scatter.py OUTPUTS [OUTPUTS ...]
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from aspire.reporting.table import find_results


def main(outputs: Path) -> None:
    by_seed: dict[int, list[float]] = defaultdict(list)
    for result in find_results(outputs / "train"):
        if result["augmentation"] == "aspire":
            by_seed[result["seed"]].append(100 * result["metrics"]["test"]["worst_group_acc"])
    every = np.concatenate(list(by_seed.values()))
    print(f"{outputs}: {every.mean():.1f} ± {every.std(ddof=1):.1f} ({len(every)} trainings)")
    for seed, found in sorted(by_seed.items()):
        print(f"  seed {seed}: {', '.join(f'{value:.1f}' for value in sorted(found))}")


if __name__ == "__main__":
    for folder in sys.argv[1:]:
        main(Path(folder))
