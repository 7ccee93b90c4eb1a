"""Resident memory of discovery over many images: drawn ones, with cheap backends.

    python experiments/benchmarks/discovery_memory.py 20000

Each image has two edits and a control of each; what is told is what the stages keep, not how large
a model is.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from aspire.data.table import Dataset
from aspire.discovery.wilson import Wilson
from aspire.editing.annotations import AnnotationSegmenter
from aspire.editing.composition import CompositionRestyler
from aspire.editing.opencv_inpainter import OpenCVInpainter
from aspire.language.base import Phrases
from aspire.language.dataset_captioner import DatasetCaptioner
from aspire.memory import keep_freed_memory
from aspire.pipeline.flow import Pipeline
from aspire.pipeline.parts import Backends, StageSettings
from aspire.pipeline.stage import LocalEngine
from aspire.pipeline.store import ArtifactStore

SCENES = ("lake", "forest", "field", "beach", "street", "kitchen", "desert", "mountain")
TOLD = (1000, 5000, 10000, 20000, 50000)


def memory():
    """Resident memory of this process in MiB: now, and at most so far."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f"{pages * os.sysconf('SC_PAGE_SIZE') / 2**20:.0f} MiB, at most {peak / 2**10:.0f}"


class Watched(LocalEngine):
    """Prints memory while a stage works."""

    def map(self, stage, items, save):
        for index, result in enumerate(super().map(stage, items, save), 1):
            if index in TOLD or index == len(items) > 1:
                print(f"  {stage.name:<10}{index:>7} of {len(items)}: {memory()}", flush=True)
            yield result


class Scripted:
    """Every caption is "a cat and a ball on the SCENE"."""

    def identity(self):
        return {"extractor": "scripted"}

    def extract(self, captions, class_words):
        return [Phrases(("ball",), caption.split(" on the ")[1]) for caption in captions]


class Brightness:
    """A classifier: how bright an image is, bright ones being class 1."""

    digest = "brightness"

    def __call__(self, images):
        bright = np.array([image.mean() / 255 for image in images], np.float32)
        return np.stack([1 - bright, bright], axis=1)


def drawn(root, number, side):
    """A dataset of noise with a square (the class object) and a ball, on one of ten scenes."""
    rng = np.random.default_rng(0)
    rows = []
    labels = np.zeros((side, side), np.uint8)
    labels[side // 2 :, side // 2 :], labels[2 : side // 4, 2 : side // 4] = 1, 2
    Image.fromarray(labels).save(root / "mask.png")
    for index in range(number + 2):
        y, split = index % 2, max(0, index - number + 1)
        pixels = rng.integers(0, 256, (side, side, 3)) // 2 + 100 * y
        Image.fromarray(pixels.astype(np.uint8)).save(root / f"{index:06d}.bmp")
        caption = f"a cat and a ball on the {SCENES[index % len(SCENES)]}"
        rows.append((f"{index:06d}", f"{index:06d}.bmp", y, split, caption))
    table = pd.DataFrame(rows, columns=["img_id", "img_filename", "y", "split", "caption"])
    table = table.assign(place=0, mask_filename="mask.png", objects='{"ball": 2}')
    return Dataset("drawn", root, table, ("dark", "bright"), ("none",))


def main(number, side=64):
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        (root / "images").mkdir()
        inpainter = OpenCVInpainter()
        backends = Backends(
            captioner=DatasetCaptioner(),
            extractor=Scripted(),
            segmenter=AnnotationSegmenter(),
            inpainter=inpainter,
            restyler=CompositionRestyler(inpainter, donor_candidates=2),
            score=Wilson(),
            personaliser=None,
            sampler=None,
            filters=(),
        )
        settings = StageSettings(
            caption={"max_rejected": 0.5},
            extract={"max_rejected": 0.5},
            edit={"images_per_class": None, "dilate": 2, "max_mask": 0.5, "seed": 0},
            discover={"collapse": {}},
            generate={},
            filter={},
        )
        dataset = drawn(root / "images", number, side)
        print(f"{number} images of {side} px; before the first stage {memory()}", flush=True)
        store = ArtifactStore(root / "store")
        pipeline = Pipeline(dataset, "drawn", backends, settings, store, Watched())
        found = pipeline.discover(Brightness())
        print(
            f"  {len(found.edits.records)} edits, {len(found.effects.records)} effects: "
            f"at the end {memory()}"
        )


if __name__ == "__main__":
    keep_freed_memory()  # as every verb does
    main(int(sys.argv[1]))
