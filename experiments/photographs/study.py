"""What is found in photographs alone, without captions, masks and network.

    python experiments/photographs/study.py
    python experiments/photographs/study.py masks  # or shortcuts, balanced, folders, memory

Reads ../shared/data or $ASPIRE_SHARED_DATA; waterpets' captions and masks are hidden from what is
judged, and its masks judge. Sheets of 40 masks and of 40 edits go to outputs/photographs.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from aspire.data.images import Pixels, read_image
from aspire.data.loaded import LoadedImage
from aspire.editing.activation import ActivationSegmenter
from aspire.editing.base import Mask, Segmenter
from aspire.editing.boxes import CentredBox
from aspire.editing.grabcut import GrabCut
from aspire.editing.grounded_segmenter import GroundedSegmenter
from aspire.editing.pixels import resize
from aspire.language.imagenet_captioner import ImagenetCaptioner
from aspire.records import ImageRef
from aspire.stored.results import read_any

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("ASPIRE_SHARED_DATA") or ROOT.parent / "shared" / "data")
PETS = SHARED / "waterpets"
OUT = ROOT / "outputs" / "photographs"
CLASSES, PLACES, SPLITS = ("cat", "dog"), ("land", "water"), ("train", "val", "test")
WORDS = (("cat",), ("dog", "bulldog"))
WATER = {"sea", "lake", "beach", "harbour", "river", "rocky coast"}
FIT = ["model=efficientnet_lite0", "fit.steps=120", "fit.evaluations=4", "logger=none"]
FIT += ["fit.selection=val_worst_group", f"paths.outputs={OUT / 'runs'}"]


def main() -> None:
    parts = {
        "masks": masks, "shortcuts": shortcuts, "balanced": balanced, "folders": folders,
        "memory": memory,
    }  # fmt: skip
    OUT.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or parts:
        start = time.perf_counter()
        parts[name]()
        print(f"{name}: {time.perf_counter() - start:.0f} s")


def masks() -> None:
    """Overlap of the class object's mask with the true one, over the 300 test photographs."""
    table = pd.read_csv(PETS / "metadata.csv").query("split == 2")
    ours, guess = ActivationSegmenter(), GroundedSegmenter(CentredBox(), GrabCut())
    found: dict[str, list[float]] = {"activation": [], "grabcut_centre": []}
    sheet = []
    for row in table.itertuples():
        ref = ImageRef(img_id=str(row.img_id), file=str(row.img_filename), y=int(row.y))
        image = LoadedImage(ref, PETS)
        path = PETS / "segmentations" / Path(ref.file).with_suffix(".png")
        true = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 0
        mask = _mask(ours, image)
        found["activation"].append(_overlap(mask, true))
        found["grabcut_centre"].append(_overlap(_mask(guess, image), true))
        sheet.append(np.where(mask[..., None], image.pixels, image.pixels // 4))
    for name, values in found.items():
        low = np.quantile(values, 0.1)
        print(f"{name}: mean IoU {np.mean(values):.3f}, a tenth below {low:.2f}, n {len(values)}")
    _save("masks.png", sheet[:: len(sheet) // 40][:40])


def shortcuts() -> None:
    """Features of each class and the gain of `aspire run`, without captions and masks."""
    _run(["run", *_hidden("shortcuts", {0: 0, 1: 1, 2: 2}), "arms=[none,aspire]", *FIT])
    newest = max((OUT / "runs" / "run").glob("*/result.json"), key=lambda p: p.stat().st_mtime)
    found = json.loads(newest.read_text())["discovery"]
    right = 0
    for seed, discovery in found.items():
        for y, name in enumerate(CLASSES):
            features = [f for f in discovery["features"] if f["y"] == y]
            first = features[0]["phrase"] if features else ""
            right += (first in WATER) == (name == "dog") and bool(first)
            listed = ", ".join(f"{f['phrase']}{'*' * f['spurious']}" for f in features[:4])
            print(f"seed {seed} {name}: {listed}")
    print(f"right kind of place first: {right} of {len(found) * len(CLASSES)}")
    edits = max((OUT / "runs" / "artifacts" / "edit").glob("*/records.jsonl"), key=os.path.getsize)
    records = [json.loads(line) for line in edits.read_text().splitlines()]
    chosen = records[:: max(1, len(records) // 40)][:40]
    _save("edits.png", [read_image(edits.parent / r["file"]) for r in chosen])


def balanced() -> None:
    """False findings on a classifier that was trained with places balanced: none is a shortcut."""
    false = tested = 0
    for seed in range(3):
        words = _hidden("balanced", {2: 0, 1: 1, 0: 2})  # trained on the balanced test split
        _run(["discover", *words, f"seed={seed}", *FIT])
        newest = max(
            (OUT / "runs" / "discover").glob("*/result.json"), key=lambda p: p.stat().st_mtime
        )
        features = [f for d in read_any(newest.parent)["discovery"].values() for f in d["features"]]
        false += sum(f["spurious"] for f in features)
        tested += len(features)
    print(f"false features: {false} of {tested}")


def folders() -> None:
    """Six plain folders: what is found, to be looked at."""
    words = [
        "dataset=folder",
        f"dataset.root={SHARED / 'photos6'}",
        "stage.edit.images_per_class=60",
    ]
    _run(["discover", *words, *(w for w in FIT if "selection" not in w)])


def memory() -> None:
    """Captions of 5,000 different photographs, and every fifth one's mask: memory on the way."""
    import psutil

    files = sorted((SHARED / "photos6").glob("*/*"))
    captioner, segmenter = ImagenetCaptioner(), ActivationSegmenter()
    for number in range(5000):
        turn, which = divmod(number, len(files))
        image = LoadedImage(ImageRef(img_id=str(number), file=files[which].name, y=0), PETS)
        pixels = np.roll(read_image(files[which]), 16 * turn, axis=1)  # another image each time
        vars(image)["pixels"] = pixels
        captioner.caption([image])
        if number % 5 == 0:
            segmenter.segment_class_object([image], [(files[which].parent.name,)])
        if number in (200, 500, 1000, 2000, 3000, 4000, 4999):
            print(f"{number}: {psutil.Process().memory_info().rss / 2**20:.0f} MB", flush=True)


def _hidden(name: str, splits: dict[int, int]) -> list[str]:
    """The words for waterpets with nothing but photographs, classes and places to measure by.

    Args:
        splits: split of waterpets -> split it plays.
    """
    folder = OUT / name
    table = pd.read_csv(PETS / "metadata.csv")
    for file in table["img_filename"]:
        if not (folder / file).exists():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PETS / file, folder / file)
    table["y"] = [CLASSES[y] for y in table["y"]]
    table["place"] = [PLACES[p] for p in table["place"]]
    table["split"] = [SPLITS[splits[s]] for s in table["split"]]
    path = folder / "photographs.csv"
    table[["img_filename", "y", "split", "place"]].to_csv(path, index=False)
    return [
        "dataset=csv", f"dataset.metadata={path}", f"dataset.name={name}",
        "dataset.class_words=[[cat],[dog,bulldog]]",
    ]  # fmt: skip


def _run(words: Sequence[str]) -> None:
    print("aspire", *words, flush=True)
    subprocess.run([sys.executable, "-m", "aspire", *words], check=True)


def _mask(segmenter: Segmenter, image: LoadedImage) -> Mask:
    answer = segmenter.segment_class_object([image], [WORDS[image.ref.y]])[0]
    return np.zeros(image.pixels.shape[:2], bool) if answer.mask is None else answer.mask


def _overlap(mask: Mask, true: Mask) -> float:
    return float((mask & true).sum() / max(1, (mask | true).sum()))


def _save(name: str, pictures: Iterable[Pixels]) -> None:
    """Eight in a row."""
    small = [resize(p, 160, 160) for p in pictures]
    rows = [np.concatenate(small[i : i + 8], axis=1) for i in range(0, len(small) - 7, 8)]
    cv2.imwrite(str(OUT / name), np.concatenate(rows)[..., ::-1])


if __name__ == "__main__":
    main()
