"""A page as the tests read it, and an outputs folder drawn by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from aspire.data.images import png_bytes
from aspire.pipeline import records as rec

VOID = {"meta", "link", "img", "br", "rect", "line", "circle"}


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
        (folder / "manifest.json").write_text(json.dumps({"identity": identity}))
        reasons = {r.reason: sum(o.reason == r.reason for o in rejected) for r in rejected}
        counts = {"records": len(records), "rejected": reasons}
        return {"folder": f"artifacts/{stage}/0", "digest": f"digest-of-{stage}"} | counts

    def write(self, result: dict[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "result.json").write_text(json.dumps(result))
