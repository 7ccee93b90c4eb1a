"""A page as the tests read it, and an outputs folder drawn by hand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from aspire import records as rec
from aspire.data.images import png_bytes

VOID = {"meta", "link", "img", "br", "input", "rect", "line", "circle"}

EFFECT = {"_target_": "aspire.discovery.effect.Effect"}
LOW_CONFIDENCE = {"_target_": "aspire.generation.filters.LowConfidence", "min_probability": 0.02}


class Page(HTMLParser):
    """What the tests look at; fails on tags that are not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.words: list[str] = []
        self.feed(html)
        assert self.open == []
        self.images = [attrs for tag, attrs in self.tags if tag == "img"]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    handle_startendtag = handle_starttag

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.words.append(data)
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    def check_self_contained(self) -> None:
        """No script, nothing loaded, links within the page, a text for every picture."""
        assert not {"script", "iframe", "object"} & {tag for tag, _ in self.tags}
        links = [a[k] or "" for _, a in self.tags for k in ("src", "href", "srcset") if k in a]
        assert all(link.startswith(("data:", "#")) for link in links)
        assert not {w for w in ("url(", "@import") if w in self.html}
        assert all(i["alt"] for i in self.images)
        assert all(a.get("aria-label") for tag, a in self.tags if tag == "svg")
        targets = {a["id"] for _, a in self.tags if "id" in a}
        assert {a["href"][1:] for t, a in self.tags if t == "a" and a["href"]} <= targets

    def check_headings(self) -> None:
        """One h1, first; below it no level is skipped."""
        levels = [int(tag[1]) for tag, _ in self.tags if tag in ("h1", "h2", "h3", "h4")]
        assert (levels[0], levels.count(1)) == (1, 1)
        assert all(b <= a + 1 for a, b in pairwise(levels))

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def row(self, first: str) -> list[str]:
        return next(r for r in self.rows if r and r[0] == first)


class Outputs:
    """An outputs folder as aspire run leaves it, drawn by hand."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "run" / "birds-12345678"
        self.rng = np.random.default_rng(0)

    def image(self, path: Path, mask: bool = False, size: int = 8) -> None:
        pixels = self.rng.integers(0, 256, (size, size) if mask else (size, size, 3))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(
            png_bytes((np.where(pixels > 127, 255, 0) if mask else pixels).astype("u1"))
        )

    def artifact(
        self, stage: str, records: Sequence[rec.Record], *rejected: rec.Rejected, **identity: Any
    ) -> dict[str, Any]:
        folder = self.root / "artifacts" / stage / "0"
        folder.mkdir(parents=True, exist_ok=True)
        for name, lines in (("records", records), ("rejected", rejected)):
            data = b"".join(msgspec.json.encode(r) + b"\n" for r in lines)
            (folder / f"{name}.jsonl").write_bytes(data)
        commit(folder, {}, identity)
        reasons = {r.reason: sum(o.reason == r.reason for o in rejected) for r in rejected}
        counts = {"records": len(records), "rejected": reasons}
        return {"folder": f"artifacts/{stage}/0", "digest": f"digest-of-{stage}"} | counts

    def write(self, result: dict[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "result.json").write_text(json.dumps(result))


def commit(folder: Path, upstream: Mapping[str, str], identity: Mapping[str, Any]) -> str:
    """Write the manifest of an artifact whose records lie there; its digest."""
    lines = [(folder / f"{name}.jsonl").read_bytes() for name in ("records", "rejected")]
    digest = hashlib.sha256(b"".join(hashlib.sha256(data).digest() for data in lines)).hexdigest()
    manifest = {"stage": folder.parent.name, "version": 1, "digest": digest, "records": 1}
    manifest |= {"rejected": {}, "identity": dict(identity), "upstream": dict(upstream)}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return digest


EVIL = '<script>alert("x")</script> & sea'
GROUPS = ("landbird/land", "landbird/water", "waterbird/land", "waterbird/water")


def arm(augmentation: str, worst: Sequence[float], acc: Sequence[float]) -> dict[str, Any]:
    runs = []
    for seed, (w, a) in enumerate(zip(worst, acc, strict=True)):
        groups = {g: {"acc": w if g == GROUPS[1] else 0.9, "n": 50} for g in GROUPS}
        test = {"worst_group_acc": w, "worst_group": GROUPS[1], "acc": a, "acc_adjusted": 0.9}
        test |= {"worst_class_acc": w, "groups": groups}
        folder = f"train/birds/erm/{augmentation}/s{seed}"
        run = {"seed": seed, "folder": folder, "train_images": 10, "selected_step": 5}
        runs.append(run | {"metrics": {"test": test}})
    name = "erm" if augmentation == "none" else f"erm + {augmentation}"
    settings = {"needs": "none", "selection": "val_acc", "steps": 10}
    return {"arm": name, "baseline": "erm", "augmentation": augmentation, "runs": runs} | settings


# fmt: off
def result_of(made: Outputs) -> dict[str, Any]:
    """Two classes; the first leans on EVIL, the second on nothing."""
    edit_id = f"a/change_background/{EVIL}"
    edit = rec.Edit(
        edit_id=edit_id, img_id="a/1", y=0, kind="change_background", phrase=EVIL,
        replacement="desert", donor="b", file="files/e.png", mask="files/m.png", edited_share=0.5,
        control="files/c.png",
    )
    effect = rec.Effect(
        edit_id=edit_id, img_id="a/1", y=0, kind="change_background", phrase=EVIL,
        replacement="desert", p_before=0.98, p_after=0.03, predicted_after=1, p_control=0.91,
        predicted_control=0,
    )
    feature = rec.SpuriousFeature(
        feature_id="000/0001", y=0, rank=1, kind="change_background", phrase=EVIL, support=20,
        flips=10, flip_rate=0.5, score=0.52, mean_drop=0.61, spurious=True, examples=(edit_id,),
        members=("ocean", EVIL), interval=(0.299, 0.701), controls=20, control_rate=0.05,
        control_drop=0.09, p_value=0.0004, q_value=0.0012,
    )
    context = rec.Context(phrase="desert", weight=1.0, donors=("b",))
    concept = rec.Concept(
        concept_id="000", y=0, objects=("a/1",), avoided=(EVIL,), contexts=(context,), effect=0.0314
    )
    reasons = (None, None, None, "duplicate", "low_confidence")
    images, decisions = [], []
    for i, reason in enumerate(reasons):
        images.append(rec.SyntheticImage(
            img_id=f"g{i}", y=0, seed=i, prompt=f"a landbird, scene {i}", parents=("a/1", "b"),
            file=f"files/{i}.png", mask=None,
        ))
        scores = {"low_confidence": 0.001 if reason == "low_confidence" else 0.5}
        decisions.append(
            rec.FilterDecision(img_id=f"g{i}", kept=reason is None, reason=reason, scores=scores)
        )
        made.image(made.root / f"artifacts/generate/0/files/{i}.png")
    neighbours = [
        rec.Neighbour(img_id=f"g{i}", real_id="b", distance=d, file=f"files/r{i}.png")
        for i, d in ((0, 0.25), (2, 0.125))
    ]
    for neighbour in neighbours:
        made.image(made.root / f"artifacts/nearest/0/{neighbour.file}")
    made.image(made.root / "artifacts/edit/0/files/e.png")
    made.image(made.root / "artifacts/edit/0/files/m.png", mask=True)
    made.image(made.root / "artifacts/edit/0/files/c.png")
    no_box = rec.Rejected(
        item_id="c/remove_object/tree", reason="no_box",
        img_id="c", kind="remove_object", phrase="tree",
    )  # fmt: skip
    weak = "the strongest is weak"
    without = rec.Rejected(item_id="001", reason="no_spurious_feature", detail=weak)
    return {
        "schema": 1, "aspire": "0.1.0", "seeds": [0, 1],
        "dataset": {
            "name": "birds", "digest": "digest-of-birds", "spurious_attribute": "background",
            "class_names": ["landbird", "waterbird"], "attribute_names": ["land", "water"],
            "group_counts": {s: dict.fromkeys(GROUPS, 50) for s in ("train", "val", "test")},
        },
        "settings": {
            "fit": {"steps": 10, "selection": "val_acc"}, "stage": {"edit": {"dilate": 3}},
            "score": EFFECT | {"min_support": 5, "max_q": 0.05},
            "filter": {"low_confidence": LOW_CONFIDENCE},
        },
        "arms": [arm("none", (0.1, 0.3), (0.5, 0.7)), arm("aspire", (0.6, 0.8), (0.8, 0.8))],
        "missing": [],
        "stages": {
            "caption": made.artifact("caption", []),
            "edit": made.artifact("edit", [edit], no_box),
        },
        "discovery": {"0": {
            "score": made.artifact("score", [effect]),
            "discover": made.artifact("discover", [feature], without),
            "features": [msgspec.to_builtins(feature)],
            "without": [msgspec.to_builtins(without)],
        }},
        "generation": {"0": {
            "personalise": made.artifact("personalise", [concept]),
            "generate": made.artifact("generate", images, per_class={"0": 6}),
            "filter": made.artifact("filter", decisions),
            "nearest": made.artifact("nearest", neighbours),
            "kept": 3, "reasons": {"duplicate": 1, "low_confidence": 1},
        }},
    }
# fmt: on
