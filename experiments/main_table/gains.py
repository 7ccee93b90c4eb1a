"""What ASPIRE gains in worst-group accuracy: of each baseline, and each arm of it on ERM.

    python experiments/main_table/gains.py OUTPUTS

Each pair of a dataset and a baseline counts once: the mean over the seeds that have both arms.
Intervals are those of Student's t over the seeds, and a pair is surely raised or lowered where its
own leaves out zero. The arms' last column is the mean over the datasets of each seed that all of
them have.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pandas as pd
from scipy.special import stdtrit

from aspire.errors import AspireError
from aspire.reporting.table import find_results

ARMS = (  # the further on, the more of ASPIRE
    "none", "duplicates", "fixed_views", "randaugment", "mixup", "cutmix", "undiscovered",
    "anywhere", "edits", "unpersonalised", "replace", "aspire",
)  # fmt: skip
METHODS = ("mixup", "cutmix")  # arms that are baselines
ARM = ["dataset", "baseline", "augmentation", "seed"]


def read(outputs: Path) -> pd.DataFrame:
    """The columns ``ARM`` and ``percent``, the worst-group accuracy on the test split.

    Raises:
        SystemExit: where there are none, or an arm was run in two settings.
    """
    try:
        found = find_results(outputs / "train")
    except AspireError as error:
        sys.exit(str(error))
    runs = pd.DataFrame([{key: result[key] for key in ARM} for result in found])
    runs["percent"] = [100 * result["metrics"]["test"]["worst_group_acc"] for result in found]
    twice = runs[runs.duplicated(ARM, keep=False)]
    if len(twice):
        sys.exit(f"{outputs}: expected one run of each arm and seed.\n{twice.head().to_string()}")
    return runs


def line(name: str, gains: pd.Series) -> str:
    """One row, of gains by dataset, baseline and seed."""
    pairs, seeds = (gains.groupby(level).mean() for level in (["dataset", "baseline"], "seed"))
    raised = f"{(pairs > 0).sum()} of {len(pairs)}"
    sure = [interval(of_pair) for _, of_pair in gains.groupby(["dataset", "baseline"])]
    above, below = sum(low > 0 for low, _ in sure), sum(high < 0 for _, high in sure)
    low, high = interval(seeds)
    bounds = f" [{low:.1f}, {high:.1f}]" if len(seeds) > 1 else ""
    cells = [f"{pairs.mean():+.1f}{bounds}", raised, above, below, len(seeds)]
    return "| " + " | ".join(map(str, [name, *cells])) + " |"


def interval(values: pd.Series) -> tuple[float, float]:
    """The 95 % interval of the mean by Student's t; boundless with fewer than two values."""
    if len(values) < 2:
        return -math.inf, math.inf
    half = stdtrit(len(values) - 1, 0.975) * values.std() / math.sqrt(len(values))
    return values.mean() - half, values.mean() + half


def main(outputs: Path) -> None:
    runs = read(outputs)
    both = runs.set_index(ARM)["percent"].unstack("augmentation").reindex(columns=ARMS)
    gains = (both["aspire"] - both["none"]).dropna()
    print("| dataset | mean gain [95 %] | pairs raised | surely | surely lowered | seeds |")
    print("|---|---|---|---|---|---|")
    for dataset, of_dataset in gains.groupby("dataset"):
        print(line(str(dataset), of_dataset))
    print(line("all", gains))

    plain = runs["baseline"].isin(METHODS) & (runs["augmentation"] == "none")
    runs["arm"] = runs["augmentation"].where(~plain, runs["baseline"])
    table = runs[plain | (runs["baseline"] == "erm")].pivot(
        index=["arm", "seed"], columns="dataset", values="percent"
    )
    table["mean"] = table.mean(axis=1, skipna=False)
    print("\n| arm on ERM |", " | ".join(table.columns), "|")
    print("|---|" + "---|" * len(table.columns))
    for arm in (a for a in ARMS if a in table.index):
        seeds = table.loc[arm]
        cells = [f"{seeds[c].mean():.1f} ± {seeds[c].std():.1f}" for c in table.columns]
        print(f"| {arm} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
