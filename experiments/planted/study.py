"""Is a planted shortcut found without a word, and trained away? Four marks, three seeds.

    python -m experiments.planted.study PHOTOS FOLDER [CASE ...]

PHOTOS holds a folder for each class (here ``../shared/data/photos6``); everything is kept in FOLDER
and continued there. A case is ``sticker-0``; without any, all twelve. ``--gain`` also trains
the arms named by ``--arms``. Prints a row for each case.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from aspire.language.concepts import cells_of
from aspire.records import ConceptSpace, Extraction
from aspire.stored.artifacts import verified_lines
from experiments.planted.plant import MARKS, plant

SETTINGS = [
    *("model=efficientnet_lite0", "model.image_size=128", "fit.augment=false"),
    *("fit.steps=80", "fit.evaluations=2", "logger=none"),
    *("extractor=concepts", "segmenter=activation", "segmenter.iterations=1"),
    *("stage.edit.images_per_class=30", "stage.generate.per_real=4"),
]


def aspire(verb: str, folder: Path, outputs: Path, *words: str) -> Path:
    """Run a verb on a planted folder; the folder of its result."""
    data = [f"dataset.metadata={folder / 'metadata.csv'}", f"dataset.name={folder.name}"]
    command = [sys.executable, "-m", "aspire", verb, "dataset=csv", *data, *SETTINGS]
    subprocess.run([*command, f"paths.outputs={outputs}", *words], check=True)
    results = (outputs / verb).glob(f"{folder.name}-*/result.json")
    return max(results, key=lambda file: file.stat().st_mtime)


def overlap(folder: Path, outputs: Path, stages: dict[str, Any], name: str) -> tuple[float, float]:
    """Share of the marked images where a concept meets the mark, and of the mark it covers."""
    (space,) = verified_lines(outputs / stages["concept"]["folder"], ConceptSpace)
    (concept,) = (c for c in space.concepts if c.name == name)
    table = pd.read_csv(folder / "metadata.csv")
    meets, covers = [], []
    for record in verified_lines(outputs / stages["extract"]["folder"], Extraction):
        row = table.iloc[int(record.img_id)]
        if row.place != "marked" or row.y != sorted(table.y.unique())[concept.y]:
            continue
        stem = Path(row.img_filename).stem.rpartition("-")[0]
        mark = cv2.imread(str(folder / "marks" / f"{stem}.png"), cv2.IMREAD_GRAYSCALE) > 0
        region = (record.regions or {}).get(name)
        cells = np.zeros((14, 14), bool) if region is None else cells_of(region)
        rows, columns = (np.arange(n) * len(cells) // n for n in mark.shape)
        covered = cells[rows[:, None], columns[None]][mark].mean()
        meets.append(covered > 0)
        covers.append(covered)
    return float(np.mean(meets)), float(np.mean(covers))


def row_of(folder: Path, outputs: Path, result: Path, target: str) -> str:
    """What was found for the class with the mark."""
    content = json.loads(result.read_text())
    y = content["dataset"]["class_names"].index(target)
    features = [f for d in content["discovery"].values() for f in d["features"] if f["y"] == y]
    said = []
    for f in sorted(features, key=lambda f: f["rank"])[:3]:
        meets, covers = overlap(folder, outputs, content["stages"], f["phrase"])
        net = f["mean_drop"] - (f["control_drop"] or 0)
        said.append(f"{f['phrase']} net {net:.2f}, on the mark {meets:.0%}, of it {covers:.0%}")
    return f"| {folder.name} | {target} | " + " | ".join(said) + " |"


def groups_of(outputs: Path) -> str:
    """Worst group and average of each arm."""
    found = []
    for file in sorted(outputs.glob("train/*/*/*/*/result.json")):
        test = json.loads(file.read_text())["metrics"]["test"]
        arm = file.parts[-3]
        worst = 100 * test["worst_group_acc"]
        found.append(f"{arm}: {worst:.0f} ({test['worst_group']}), average {100 * test['acc']:.0f}")
    return "; ".join(found)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("photos", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("cases", nargs="*", default=[f"{m}-{s}" for s in range(3) for m in MARKS])
    parser.add_argument("--gain", action="store_true")
    parser.add_argument("--arms", default="none,swaps")
    given = parser.parse_args()
    for case in given.cases:
        kind, _, seed = case.rpartition("-")
        folder, outputs = given.folder / case, given.folder / "outputs" / case
        if not (folder / "metadata.csv").is_file():
            plant(given.photos, folder, kind, int(seed))
        table = pd.read_csv(folder / "metadata.csv")
        marked = table[(table.split == "train") & (table.place == "marked")]
        target = str(marked.y.value_counts().idxmax())
        if given.gain:
            arms = [f"arms=[{given.arms}]", "seeds=[0]"]
            arms += ["personaliser=regions", "generator=regions"]  # whose number duplicates has
            result = aspire("run", folder, outputs, *arms)
            print(row_of(folder, outputs, result, target), groups_of(outputs), flush=True)
        else:
            result = aspire("discover", folder, outputs)
            print(row_of(folder, outputs, result, target), flush=True)


if __name__ == "__main__":
    main()
