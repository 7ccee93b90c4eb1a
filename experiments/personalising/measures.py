"""How near generated images are to real ones, arm by arm, and what ERM makes of them.

    python -m experiments.personalising.measures

reads the runs of ``experiment=personalising`` below $ASPIRE_OUTPUTS (default outputs), prints worst
groups and three measures on features of EfficientNet-Lite0, and writes a sheet of each dataset
beside this file, 40 real images and 40 of each arm:

* told apart: balanced accuracy of a logistic regression that is to tell real test images from
  generated ones, 5-fold cross-validated; 50 % where it cannot;
* precision, the share of generated images that lie among the real ones, and recall, the share of
  real ones among the generated (Kynkaanniemi et al. 2019, arXiv 1904.06991, k = 3).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from aspire.data.images import Pixels, read_image
from aspire.data.table import Split
from aspire.eye import Eye
from aspire.identity import digest_of
from aspire.records import FilterDecision, SyntheticImage
from aspire.reporting.table import find_runs
from aspire.stored.artifacts import lines, read_manifest
from experiments.miniatures.sheets import READERS

ARMS = (
    "none",
    "unlearnt",
    "word",
    "words",
    "lora",
    "dreambooth",
    "domain",
    "edits_again",
    "domain_edits",
)
STYLE, NUMBER, NEAREST, SIDE, SHOWN = "infrared", 200, 3, 128, 40
Features = NDArray[np.float32]  # (N, D)


def distances(a: Features, b: Features) -> Features:
    """(N, M) Euclidean distances."""
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return np.sqrt(np.maximum(squares, 0))


def within(points: Features, others: Features) -> float:
    """Share of the others that lie nearer to some point than its third nearest fellow does."""
    radii = np.sort(distances(points, points), 1)[:, NEAREST]
    return float((distances(points, others) <= radii[:, None]).any(0).mean())


def told_apart(real: Features, made: Features) -> float:
    """Cross-validated accuracy of telling them apart."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    judge = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    labels = np.repeat([0, 1], [len(real), len(made)])
    both = np.concatenate([real, made])
    return float(cross_val_score(judge, both, labels, cv=folds, scoring="balanced_accuracy").mean())


def spread(items: Sequence[Any], number: int) -> list[Any]:
    """So many, evenly over all."""
    return [items[i * len(items) // number] for i in range(min(number, len(items)))]


def generated(artifacts: Path) -> dict[str, list[Path]]:
    """Digest of a generated set, as runs name it -> its kept images."""
    stages = {
        stage: {read_manifest(f)["digest"]: f for f in (artifacts / stage).glob("[!.]*[!l]")}
        for stage in ("generate", "measure", "filter")
    }
    found = {}
    for digest, decided in stages["filter"].items():
        measured = stages["measure"][read_manifest(decided)["upstream"]["measure"]]
        images = read_manifest(measured)["upstream"]["generate"]
        kept = {d.img_id for d in lines(decided, FilterDecision) if d.kept}
        folder = stages["generate"][images]
        found[digest_of([images, digest])] = [
            folder / image.file for image in lines(folder, SyntheticImage) if image.img_id in kept
        ]
    return found


def runs(outputs: Path) -> pd.DataFrame:
    """Dataset, arm, seed, worst group in % and the images of every run of the study."""
    sets = generated(outputs / "artifacts")
    rows = []
    for folder, result in find_runs(outputs / "train"):
        config = (folder / "config.yaml").read_text("utf-8")
        if result["augmentation"] in ARMS and f"style: {STYLE}" in config:
            names = ("dataset", "augmentation", "seed")
            worst = 100 * result["metrics"]["test"]["worst_group_acc"]
            images = sets.get(result.get("generated_digest") or "", [])
            rows.append([*(result[n] for n in names), worst, images])
    return pd.DataFrame(rows, columns=["dataset", "arm", "seed", "worst", "images"])


def real_images(dataset: str, data: Path) -> list[Pixels]:
    """Test images, as many of each group as there are of the others."""
    reader = next(r for r in READERS if r.name == dataset)
    drawn = reader(data / dataset, style=STYLE).read()
    rows = drawn.split(Split.TEST)
    rows = rows.assign(turn=rows.groupby(["y", "place"]).cumcount()).sort_values(["turn", "y"])
    return [read_image(drawn.path(name)) for name in rows["img_filename"][:NUMBER]]


def sheet(rows: Sequence[Sequence[Pixels]]) -> Image.Image:
    """40 images each, in two lines, a white line between."""
    bands = []
    for images in rows:
        tiles = [*images, *[np.full_like(images[0], 255)] * SHOWN][:SHOWN]
        half = SHOWN // 2
        bands += [np.concatenate(tiles[:half], 1), np.concatenate(tiles[half:], 1)]
        bands.append(np.full((6, *bands[-1].shape[1:]), 255, np.uint8))
    return Image.fromarray(np.concatenate(bands[:-1])).quantize(224)


def main() -> None:
    outputs = Path(os.environ.get("ASPIRE_OUTPUTS", "outputs"))
    data = Path(os.environ.get("ASPIRE_DATA", outputs / "data"))
    table = runs(outputs)
    # of several trainings on the same images their mean
    worst = table.groupby(["arm", "dataset", "seed"])["worst"].agg(["mean", "count"])
    print(worst.round(1).to_string())
    eye = Eye((SIDE,))
    for dataset, of_dataset in table.groupby("dataset"):
        real = real_images(str(dataset), data)
        seen = np.stack([s.pooled() for s in eye.look(real)])
        shown = [spread(real, SHOWN)]
        print(f"\n| {dataset} | told apart | precision | recall | images |\n|---|---|---|---|---|")
        for arm in (a for a in ARMS if a in set(of_dataset["arm"])):
            sets = of_dataset[of_dataset["arm"] == arm].drop_duplicates("seed")["images"]
            files = spread([f for files in sets for f in files], NUMBER)
            if not files:
                continue
            made = [read_image(f) for f in files]
            features = np.stack([s.pooled() for s in eye.look(made)])
            cells = (told_apart(seen, features), within(seen, features), within(features, seen))
            print(f"| {arm} |", " | ".join(f"{100 * c:.0f}" for c in cells), f"| {len(made)} |")
            shown.append(spread(made, SHOWN))
        sheet(shown).save(Path(__file__).parent / f"{dataset}.png", optimize=True)


if __name__ == "__main__":
    main()
