"""Waterpets rebuilt with few scenes, and what five donors say of what fifty do.

    python experiments/discovery/few_scenes.py WATERPETS FOLDER PLACES

pastes every animal of waterpets on one of PLACES photographs of its place in training, and on
others in val and test, into a dataset of the same layout at FOLDER. The study calls it.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from aspire.classification.predictor import Probabilities
from aspire.data.loaded import LoadedImage
from aspire.data.waterbirds import Waterbirds
from aspire.discovery.base import Candidate
from aspire.discovery.effect import cluster_means, interval
from aspire.editing.annotations import AnnotationSegmenter
from aspire.editing.base import Mask, Restyled, RestyleRequest
from aspire.editing.composition import CompositionRestyler
from aspire.editing.opencv_inpainter import OpenCVInpainter
from aspire.records import Effect, ImageRef

ANIMAL = re.compile(r"an? (tabby |)(cat|dog|bulldog)")
BATCH = 50
EDITS = 8  # of each donor


def rebuild(source: Path, folder: Path, places: int, seed: int = 0) -> Path:
    """Waterpets with so many photographs a place in training; found again where it is there.

    A photograph is shown as in waterpets, one crop for each of its images: the new animal covers
    the old one, and what is left of that is painted over.
    """
    if (folder / "metadata.csv").is_file():
        return folder
    table = Waterbirds(source, ("cat", "dog")).read().table
    rng = np.random.default_rng(seed)
    images = {row.img_id: image(source, row) for row in table.itertuples()}
    shown: dict[str, pd.DataFrame] = dict(iter(table.groupby("place_filename")))
    photographs: dict[tuple[int, bool], list[str]] = {}  # of a place, in training or not
    for place in (0, 1):
        names = sorted(table.loc[table["place"] == place, "place_filename"].unique())
        names = [names[i] for i in rng.permutation(len(names))]
        photographs[place, True], photographs[place, False] = names[:places], names[places:]
    requests, rows = [], []
    for n, row in enumerate(table.itertuples()):
        names = photographs[row.place, row.split == 0]
        name = names[n % len(names)]
        crops = [images[other] for other in shown[name]["img_id"]]
        requests.append(request(images[row.img_id], crops, seed=n))
        animal = ANIMAL.match(row.caption)
        scene = ANIMAL.sub("", shown[name]["caption"].iloc[n % len(shown[name])], count=1)
        rows.append((row.img_id, row.img_filename, row.y, row.split, row.place, name))
        rows[-1] += (f"{animal[0] if animal else 'an animal'}{scene}",)
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    kept = []
    for row, made in zip(rows, restyled(requests), strict=True):
        if made is None:
            continue
        kept.append(row)
        file = partial / row[1]
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(made.pixels).save(file, quality=95)
    shutil.copytree(source / "segmentations", partial / "segmentations")
    columns = ["img_id", "img_filename", "y", "split", "place", "place_filename", "caption"]
    frame = pd.DataFrame(kept, columns=columns)
    frame[["img_filename", "caption"]].to_csv(partial / "captions.csv", index=False)
    frame.drop(columns="caption").to_csv(partial / "metadata.csv", index=False)
    partial.rename(folder)
    return folder


def image(root: Path, row: object) -> LoadedImage:
    """One row of the table."""
    ref = ImageRef(
        img_id=row.img_id, file=row.img_filename, y=row.y, mask=row.mask_filename,
        photograph=row.place_filename,
    )  # fmt: skip
    return LoadedImage(ref, root)


def request(moved: LoadedImage, donors: Sequence[LoadedImage], seed: int) -> RestyleRequest:
    """To paste the animal of one image on the scene of another."""
    (keep,) = find([moved])
    return RestyleRequest(moved, keep, "", "", donors, find, seed)


def find(images: Sequence[LoadedImage]) -> list[Mask]:
    """Where the animals are; nowhere in a photograph without one."""
    found = AnnotationSegmenter().segment_class_object([i for i in images if i.ref.mask], ())
    masks = iter(found)
    return [next(masks).mask if i.ref.mask else np.zeros(i.pixels.shape[:2], bool) for i in images]


def restyled(requests: Sequence[RestyleRequest]) -> Iterator[Restyled | None]:
    """The composites, a batch at a time."""
    restyler = CompositionRestyler(OpenCVInpainter())
    for start in range(0, len(requests), BATCH):
        for made in restyler.restyle(requests[start : start + BATCH]):
            yield made if isinstance(made, Restyled) else None


def donor_means(
    classifier: Probabilities, folder: Path, source: Path, houses: Path, y: int, number: int
) -> NDArray[np.float64]:
    """(D,) mean net drop of each donor when images of class ``y`` leave the place they are on.

    Args:
        classifier: trained on ``folder``.
        folder: the rebuilt dataset; its training photographs are what controls show.
        source: waterpets, whose photographs of the other place are the first donors.
        houses: photographs without an animal: further donors, where those are too few.
        y: the class: 0 the cats on land, 1 the dogs on water.
        number: of donors that are wanted.
    """
    table = Waterbirds(folder, ("cat", "dog")).read().table
    table = table[table["split"] == 0]
    own = [image(folder, r) for r in table[table["place"] == y].itertuples()]
    images = [i for i in own if i.ref.y == y]
    right = [
        i
        for start in range(0, len(images), BATCH)
        for i, p in zip(
            images[start : start + BATCH],
            classifier([i.pixels for i in images[start : start + BATCH]]),
            strict=True,
        )
        if p.argmax() == y
    ]
    controls: dict[str, list[LoadedImage]] = defaultdict(list)
    for i in own:
        controls[i.ref.photograph or ""].append(i)
    donors: dict[str, list[LoadedImage]] = defaultdict(list)
    whole = Waterbirds(source, ("cat", "dog")).read().table
    for r in whole[whole["place"] != y].itertuples():
        donors[r.place_filename].append(image(source, r))
    for file in sorted(houses.glob("*.jpg"))[: max(0, number - len(donors))]:
        donors[file.name] = [LoadedImage(ImageRef(img_id=file.name, file=file.name, y=0), houses)]
    rng = np.random.default_rng(y)
    asked, names = [], []
    decks = [rng.permutation(len(right)) for _ in range(1 + len(donors) * EDITS // len(right))]
    order = np.concatenate(decks)
    for k, (name, crops) in enumerate(sorted(donors.items()) * EDITS):
        moved = right[order[k]]
        same = [i for i in list(controls.values())[k % len(controls)] if i is not moved]
        asked += [request(moved, crops, k), request(moved, same, len(order) + k)]
        names.append((name, moved))
    effects = []
    made = restyled(asked)
    for k, (name, moved) in enumerate(names):
        edit, control = next(made), next(made)
        if edit is None or control is None:
            continue
        after, kept = classifier([edit.pixels, control.pixels])
        effects.append(
            Effect(
                edit_id=str(k), img_id=moved.ref.img_id, y=y, kind="change_background", phrase="",
                replacement="", p_before=1.0, p_after=float(after[y]),
                predicted_after=int(after.argmax()), p_control=float(kept[y]),
                predicted_control=int(kept.argmax()), photograph=name,
            )
        )  # fmt: skip
    return cluster_means(Candidate(y, "change_background", "", tuple(effects), {}))


def coverage(means: NDArray[np.float64], donors: int, drawings: int) -> tuple[float, ...]:
    """What intervals from so many donors are worth, against the mean of all.

    Returns:
        Share of drawings whose interval covers it, share whose lower end is above it, median width.
    """
    rng = np.random.default_rng(0)
    drawn = (rng.choice(means, donors, replace=False) for _ in range(drawings))
    low, high = np.array([interval(d) for d in drawn]).T
    held = (low <= means.mean()) & (means.mean() <= high)
    return float(held.mean()), float((low > means.mean()).mean()), float(np.median(high - low))


if __name__ == "__main__":
    print(rebuild(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
