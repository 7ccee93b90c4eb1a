"""From a run's numbers to what the report says and draws: a verdict, SVG bars, small pictures.

The SVGs have no fixed width and no text: positions are percentages, so a bar is as wide as its
place on the page, and words stand beside it at the reader's own font size. Colours come from the
page's CSS classes, which know light, dark and print. Equal numbers give equal bytes.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image, UnidentifiedImageError

from aspire.pipeline.store import write_atomic
from aspire.reporting.table import Cell, arm_name

Json = dict[str, Any]

METRICS = ("worst_group_acc", "acc", "acc_adjusted")
LARGEST = 192  # longer side of an embedded picture, in pixels
LOSSLESS = 96  # up to this size pictures stay PNG: they are small, and JPEG would smear them


# --- what is compared ---------------------------------------------------------------------------


def summary_of(result: Json) -> Json:
    """The verdict in words, and the numbers it rests on.

    Compares the arm with ASPIRE to the same baseline without, over the seeds that both have.
    """
    leans = _leans_on(result)
    head = f"ERM leans on {leans}" if leans else "No shortcut was found that the captions name"
    main = main_baseline(result)
    runs = {a["arm"]: {r["seed"]: r["metrics"]["test"] for r in a["runs"]} for a in result["arms"]}
    before, after = runs.get(main, {}), runs.get(arm_name(main, "aspire"), {})
    seeds = sorted(set(before) & set(after))
    if not seeds:
        reasons = sorted({m["reason"] for m in result["missing"] if m["arm"] != main})
        arm = "arm with ASPIRE" if before else f"plain {_spoken(main)} arm"
        why = f"was not run: {', '.join(reasons)}" if reasons else "is not part of this run"
        return {"text": f"{head}. There is nothing to compare, since the {arm} {why}.", "pairs": []}
    known = all(m[s]["worst_group_acc"] is not None for m in (before, after) for s in seeds)
    metric = "worst_group_acc" if known else "worst_class_acc"
    label = "worst group" if known else "worst class"
    pairs = [
        (
            text,
            Cell(tuple(before[s][key] for s in seeds)),
            Cell(tuple(after[s][key] for s in seeds)),
        )
        for key, text in ((metric, label), ("acc", "average"))
    ]
    worst, average = (f"{percent(b)}\u00a0% →\u00a0{percent(a)}\u00a0%" for _, b, a in pairs)
    gain = (pairs[0][2].mean or 0.0) - (pairs[0][1].mean or 0.0)
    if gain <= 0:
        head += f", {'but' if leans else 'and'} ASPIRE does not help here"
    of = "" if main == "erm" else f" of {_spoken(main)}"
    count = "one seed" if len(seeds) == 1 else f"mean of {len(seeds)} seeds"
    if len(seeds) < max(len(before), len(after)):
        count += " that both arms have"
    text = f"{head}: {label}{of} {worst} with ASPIRE, average {average} (test set, {count})."
    better = sum(after[s][metric] > before[s][metric] for s in seeds)
    notes = []
    if len(seeds) == 1:
        notes.append("One seed cannot tell a gain from chance.")
    elif gain > 0:
        share = "every seed" if better == len(seeds) else f"{better} of {len(seeds)} seeds"
        notes.append(f"The {label} is better with {share}.")
    for key, name in (("acc", "average"), ("acc_adjusted", "average weighted as in training")):
        old, new = (
            Cell(tuple(m[s][key] for s in seeds if m[s][key] is not None)) for m in (before, after)
        )
        if new.mean is not None and old.mean is not None and new.mean < old.mean:
            notes.append(f"The {name} falls: {percent(old)}\u00a0% →\u00a0{percent(new)}\u00a0%.")
    control = runs.get(arm_name(main, "duplicates"), {})
    if (same := Cell(tuple(control[s][metric] for s in seeds if s in control))).mean is not None:
        notes.append(f"Real images repeated instead: {label} {percent(same)}\u00a0%.")
    return {"text": text, "pairs": pairs, "caveat": " ".join(notes)}


def _leans_on(result: Json) -> str:
    features = [f for d in result["discovery"].values() for f in d["features"] if f["spurious"]]
    words = {"change_background": "the background", "remove_object": "other objects in the picture"}
    return " and ".join(w for kind, w in words.items() if kind in {f["kind"] for f in features})


def main_baseline(result: Json) -> str:
    """The baseline that every arm but the references has."""
    names = [a["baseline"] for a in result["arms"] if a["augmentation"] != "none"]
    names += [m["arm"].split(" + ")[0] for m in result["missing"]]
    names += [a["baseline"] for a in result["arms"]]
    return str(names[0]) if names else "erm"


def _spoken(baseline: str) -> str:
    return {"erm": "ERM", "groupdro": "GroupDRO"}.get(baseline, baseline)


def percent(cell: Cell) -> str:
    """The mean in percent with one digit."""
    return "-" if cell.mean is None else f"{100 * cell.mean:.1f}"


def arms_of(result: Json) -> list[Json]:
    """One row per arm that has results: what it is, its metrics over seeds, and its colour."""
    tones = {"none": 0, "aspire": 1, "duplicates": 2}
    main = main_baseline(result)
    rows = []
    for arm in result["arms"]:
        tests = [r["metrics"]["test"] for r in arm["runs"]]
        reference = arm["augmentation"] == "none" and arm["baseline"] != main
        row = {k: arm[k] for k in ("arm", "needs", "selection", "steps", "runs")}
        row["cells"] = {m: _cell(t[m] for t in tests) for m in METRICS}
        row["tone"] = 3 if reference else tones.get(arm["augmentation"], 4)
        rows.append(row)
    return rows


def _cell(values: Iterable[float | None]) -> Cell:
    return Cell(tuple(v for v in values if v is not None))


def groups_of(result: Json) -> list[Json]:
    """Per-group accuracies of every arm, and the mean gain with ASPIRE over shared seeds."""
    counts, arms = result["dataset"]["group_counts"], arms_of(result)
    main = main_baseline(result)
    groups = []
    for name, number in counts["test"].items():
        by_seed = {
            a["arm"]: {r["seed"]: r["metrics"]["test"]["groups"][name]["acc"] for r in a["runs"]}
            for a in arms
        }
        cells = {k: _cell(v.values()) for k, v in by_seed.items()}
        before, after = by_seed.get(main, {}), by_seed.get(arm_name(main, "aspire"), {})
        pairs = [(before[s], after[s]) for s in before if s in after]
        gain = _cell(None if None in p else p[1] - p[0] for p in pairs).mean
        bars = [(a["arm"], a["tone"], cells[a["arm"]]) for a in arms]
        groups.append(
            {"name": name, "n": number, "train": counts["train"].get(name), "gain": gain}
            | {"bars": bars}
        )
    return groups


# --- bars ---------------------------------------------------------------------------------------


def accuracy_bar(values: Sequence[float], mean: float, std: float | None, tone: int) -> str:
    """A bar from 0 to the mean, a whisker of one standard deviation, and a dot for each seed.

    Args:
        values: one per seed, fractions in [0, 1].
        mean, std: of them; ``std`` None below two seeds.
        tone: which of the page's colours, see ``.tone-N`` in report.css.
    """
    dots = "".join(f'<circle class="dot" cx="{_at(v)}" cy="50%" r="2.5"/>' for v in values)
    whisker = ""
    if std is not None:
        low, high = _at(max(0.0, mean - std)), _at(min(1.0, mean + std))
        ends = "".join(f'<line x1="{x}" x2="{x}" y1="28%" y2="72%"/>' for x in (low, high))
        whisker = f'<g class="whisker"><line x1="{low}" x2="{high}" y1="50%" y2="50%"/>{ends}</g>'
    bar = f'<rect class="fill" x="0" y="15%" width="{_at(mean)}" height="70%" rx="3"/>'
    spread = "" if std is None else f", standard deviation {100 * std:.1f}"
    return _svg(
        f"bar tone-{tone}", f"{100 * mean:.1f} percent{spread}", _grid() + bar + whisker + dots
    )


def rate_bar(rate: float, lower: float) -> str:
    """A flip rate as a bar, with a mark at the lower end of its confidence interval."""
    bar = f'<rect class="fill" x="0" y="20%" width="{_at(rate)}" height="60%" rx="3"/>'
    mark = f'<line class="mark" x1="{_at(lower)}" x2="{_at(lower)}" y1="0" y2="100%"/>'
    label = f"flip rate {100 * rate:.0f} percent, at least {100 * lower:.0f} percent"
    return _svg("bar rate", label, _track() + bar + mark)


def change_line(before: float, after: float) -> str:
    """Where a probability was (ring) and where it is now (disc), on a track from 0 to 1."""
    moved = f'<line class="moved" x1="{_at(before)}" x2="{_at(after)}" y1="50%" y2="50%"/>'
    ring = f'<circle class="ring" cx="{_at(before)}" cy="50%" r="4"/>'
    disc = f'<circle class="disc" cx="{_at(after)}" cy="50%" r="4"/>'
    label = f"probability {before:.2f} before, {after:.2f} after"
    return _svg("bar change", label, _track() + moved + ring + disc)


def _svg(name: str, label: str, content: str) -> str:
    return f'<svg class="{name}" role="img" aria-label="{escape(label)}">{content}</svg>'


def _track() -> str:
    return '<line class="track" x1="0" x2="100%" y1="50%" y2="50%"/>'


def _grid() -> str:
    return "".join(
        f'<line class="grid" x1="{x}%" x2="{x}%" y1="0" y2="100%"/>' for x in (0, 25, 50, 75, 100)
    )


def _at(fraction: float) -> str:
    return f"{100 * fraction:.2f}%"


# --- pictures -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Picture:
    """An image ready for an ``<img>``."""

    uri: str
    width: int
    height: int
    alt: str
    kind: str  # "png" or "jpeg"


class Pictures:
    """Turns image files into embedded pictures, small enough for one page.

    Originals belong to the dataset, which a report must outlive: those that are shown are kept,
    already small, in a folder beside the report.

    Args:
        kept: that folder.
        root: of the dataset, or None when it is not at hand.
        files: img_id -> file relative to ``root``.
    """

    def __init__(self, kept: Path, root: Path | None, files: Mapping[str, str]) -> None:
        self.kept = kept
        self.root = root
        self.files = files

    def made(self, path: Path, alt: str) -> Picture | None:
        """A file of an artifact; None when it is missing or unreadable."""
        data = _shrunk(path)
        return None if data is None else _embedded(data, alt)

    def original(self, img_id: str, alt: str) -> Picture | None:
        """An image of the dataset, from the kept copies or from the dataset; else None."""
        name = quote(img_id, safe="")
        for copy in (self.kept / f"{name}.png", self.kept / f"{name}.jpeg"):
            if copy.is_file():
                return _embedded(copy.read_bytes(), alt)
        if self.root is None or img_id not in self.files:
            return None
        data = _shrunk(self.root / self.files[img_id])
        picture = None if data is None else _embedded(data, alt)
        if data is not None and picture is not None:
            write_atomic(self.kept / f"{name}.{picture.kind}", data)
        return picture


def _shrunk(path: Path) -> bytes | None:
    """PNG for small images and masks, JPEG for the rest; None when it cannot be read."""
    try:
        with Image.open(path) as image:
            image.load()
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError):
        return None
    flat = image if image.mode in ("L", "RGB") else image.convert("RGB")
    mask = flat.mode == "L" and len(flat.getcolors() or range(9)) <= 2
    if max(flat.size) > LARGEST:
        method = Image.Resampling.NEAREST if mask else Image.Resampling.LANCZOS
        flat.thumbnail((LARGEST, LARGEST), method)
    buffer = io.BytesIO()
    if mask:
        flat.convert("1", dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    elif max(flat.size) <= LOSSLESS:
        flat.save(buffer, "PNG", optimize=True)
    else:
        flat.save(buffer, "JPEG", quality=85, optimize=True)
    return buffer.getvalue()


def _embedded(data: bytes, alt: str) -> Picture | None:
    try:
        with Image.open(io.BytesIO(data)) as image:
            width, height, kind = *image.size, (image.format or "png").lower()
    except (OSError, UnidentifiedImageError):
        return None
    uri = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return Picture(uri, width, height, alt, kind)
