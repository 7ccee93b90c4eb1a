"""The two pages of a review: the features of every class, and the generated images."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import msgspec
from markupsafe import Markup, escape

from aspire.reporting.artifacts import Json
from aspire.reporting.decided import sentences
from aspire.reporting.discovery import Strip
from aspire.reporting.labels import KINDS, REASONS, evidence_of
from aspire.reporting.page import rendered
from aspire.reporting.pictures import Picture, Pictures
from aspire.reporting.review import Evidence, Made, Review, in_words
from aspire.stored.decisions import Decisions, Judge, Merge, Rename, Sort, Step
from aspire.version import __version__

LISTED = 8  # features of a class that no score and nobody calls a shortcut
CLASSES = 12  # of a page
ILLUSTRATED = 40  # features of a class with pictures, where all of them are listed
OTHERS = 50  # phrases that one may be counted together with, the strongest ones
TILES = 48  # images of a page
SHOWS = {"kept": "kept", "rejected": "not kept", "decided": "decided by you", "all": "all"}
JUDGED = {"accept": True, "reject": False}


class Served(Pictures):
    """Pictures that a page asks for by the hash of what they hold, and nothing else.

    Args:
        kept: folder of the originals beside the report.
        files: SHA-256 -> file of a generated image.
    """

    def __init__(self, kept: Path, files: Mapping[str, Path]) -> None:
        super().__init__(kept, None, {})
        self.generated = files
        self._held: dict[str, tuple[str, bytes]] = {}
        self._seen: dict[tuple[Path | str, str], Picture | None] = {}

    def made(self, path: Path, alt: str) -> Picture | None:
        if (path, alt) not in self._seen:
            self._seen[path, alt] = self._hold(super().made(path, alt))
        return self._seen[path, alt]

    def original(self, img_id: str, alt: str) -> Picture | None:
        if (img_id, alt) not in self._seen:
            self._seen[img_id, alt] = self._hold(super().original(img_id, alt))
        return self._seen[img_id, alt]

    def _hold(self, picture: Picture | None) -> Picture | None:
        if picture is None:
            return None
        data = base64.b64decode(picture.uri.partition(",")[2])
        name = hashlib.sha256(data).hexdigest()
        self._held[name] = picture.kind, data
        return replace(picture, uri=f"picture/{name}")

    def get(self, name: str) -> tuple[str, bytes] | None:
        """Kind and bytes of a picture; None where no page shows one of that name."""
        if name in self._held:
            return self._held[name]
        return _shrunken(self.generated[name]) if name in self.generated else None


@lru_cache(maxsize=2048)
def _shrunken(path: Path) -> tuple[str, bytes] | None:
    picture = Pictures(path.parent, None, {}).made(path, "")
    if picture is None:
        return None
    return picture.kind, base64.b64decode(picture.uri.partition(",")[2])


@dataclass(frozen=True)
class Row:
    """A feature as the page shows it, with the phrases that are counted under it.

    Args:
        parts: evidence for each of its phrases, its own first.
        name: what it is called.
        verdict: a person's "accept" or "reject", or "" where the score's word holds.
        renamed: whether a person gave it its name.
        others: phrases that it may be counted together with, and their names.
    """

    id: str
    parts: tuple[Evidence, ...]
    name: str
    verdict: str
    renamed: bool
    others: tuple[tuple[str, str], ...]
    strips: tuple[Strip, ...]
    sentence: str
    kind: str

    @property
    def own(self) -> Evidence:
        """Of the phrase that the others are counted under."""
        return self.parts[0]

    @property
    def phrase(self) -> str:
        """That phrase."""
        return self.own.key[2]

    @property
    def found(self) -> bool:
        """Whether a score calls any of them a shortcut."""
        return any(p.spurious for p in self.parts)

    @property
    def shortcut(self) -> bool:
        """Whether it is generated against."""
        return JUDGED.get(self.verdict, self.found)

    @property
    def words(self) -> list[str]:
        """Every word that is counted under it."""
        return sorted({w for p in self.parts for w in (p.key[2], *p.view.feature.members)})

    def judge(self, verdict: str) -> Markup:
        """The step of a button: pressed once more it leaves the verdict to the score."""
        y, kind, phrase = self.own.key
        wanted = "open" if verdict == self.verdict else verdict
        found = bool(self.own.spurious)
        return _json(Judge(y=y, kind=kind, phrase=phrase, found=found, verdict=wanted))  # type: ignore[arg-type]  # one of the three

    def rename(self) -> Markup:
        """The step of its form, without the name."""
        return _json(Rename(phrase=self.phrase, name=""))

    def merges(self) -> list[tuple[Markup, str]]:
        """The step for each phrase that it may be counted together with, and the name of that."""
        return [(_json(Merge(phrase=self.phrase, into=p)), name) for p, name in self.others]

    def separate(self, part: Evidence) -> Markup:
        """The step that counts one of its phrases by itself again."""
        return _json(Merge(phrase=part.key[2], into=None))


@dataclass(frozen=True)
class Tile:
    """A generated image as the page shows it.

    Args:
        kept: whether it is trained on.
        decided: whether a person says so.
        why: the filter that rejected it, in words.
    """

    made: Made
    kept: bool
    decided: bool
    why: str


class Pages:
    """Renders what a browser asks for.

    Args:
        review: what is decided on.
        note: said on every page, such as that nothing can be written.
    """

    def __init__(self, review: Review, note: str = "") -> None:
        self.review = review
        self.note = note
        files = {sha: m.file for found in review.images.values() for sha, m in found.items()}
        self.pictures = Served(review.folder / "report_images", files)

    def features(self, only: int | None = None, number: int = 1) -> bytes:
        """A page of the features.

        Args:
            only: index of a class whose features are listed one and all; None for the first ones
                of every class.
            number: of the page of classes, from 1.
        """
        review, now = self.review, self.review.decisions()
        every = range(len(review.class_names))
        pages = -(-len(every) // CLASSES)
        number = min(max(1, number), pages)
        first = (number - 1) * CLASSES
        classes = []
        for y in every[first : first + CLASSES] if only is None else [only]:
            rows = self._rows(y, now)
            chosen = [
                r for n, r in enumerate(rows)
                if only is not None or n < LISTED or r.found or r.verdict
            ]  # fmt: skip
            rows_shown = tuple(
                self._described(r, pictures=n < ILLUSTRATED or r.found or bool(r.verdict))
                for n, r in enumerate(chosen)
            )
            classes.append(
                {"y": y, "name": review.class_names[y], "rows": rows_shown, "all": len(rows)}
            )
        about = {"classes": classes, "only": only, "number": number, "pages": pages}
        return self._page("review.html.j2", now, page="features", **about)

    def _rows(self, y: int, now: Decisions) -> list[Row]:
        mine = [e for key, e in self.review.features.items() if key[0] == y]
        rows = []
        roots = [e for e in mine if e.key[2] not in now.merged]
        for own in roots:
            _, kind, phrase = own.key
            under = [e for e in mine if now.merged.get(e.key[2]) == phrase and e.key[1] == kind]
            verdict = {True: "accept", False: "reject", None: ""}[now.judged.get(own.key)]
            alike = [e.key[2] for e in roots if e.key[1] == kind and e is not own][:OTHERS]
            others = sorted(((p, now.called(p)) for p in alike), key=lambda o: o[1])
            rows.append(
                Row(
                    id=f"f-{y}-{mine.index(own)}",
                    parts=(own, *under),
                    name=now.called(phrase),
                    verdict=verdict,
                    renamed=phrase in now.names,
                    others=tuple(others),
                    strips=(),
                    sentence="",
                    kind=KINDS.get(kind, kind),
                )
            )
        return rows

    def _described(self, row: Row, pictures: bool) -> Row:
        parts = row.parts if pictures else ()
        strips = tuple(s for p in parts for s in self.review.strips(p, self.pictures))
        feature = msgspec.structs.replace(row.own.view.feature, phrase=row.name)
        sentence = evidence_of(feature, self.review.class_names[feature.y])
        return replace(row, strips=strips, sentence=sentence[0].upper() + sentence[1:])

    def images(self, seed: int, y: int, show: str, number: int) -> bytes:
        """A page of the generated images.

        Args:
            seed, y: whose.
            show: one of ``SHOWS``.
            number: of the page, from 1.
        """
        review, now = self.review, self.review.decisions()
        by_hand = now.images.get(seed, {})
        tiles = [
            Tile(
                made=m,
                kept=by_hand.get(sha, m.verdict.kept),
                decided=sha in by_hand,
                why=_why(m),
            )
            for sha, m in review.images[seed].items()
            if m.record.y == y
        ]
        groups = {
            "kept": [t for t in tiles if t.made.verdict.kept],
            "rejected": [t for t in tiles if not t.made.verdict.kept],
            "decided": [t for t in tiles if t.decided],
            "all": tiles,
        }
        chosen = groups[show]
        pages = max(1, -(-len(chosen) // TILES))
        number = min(max(1, number), pages)
        part = chosen[(number - 1) * TILES : number * TILES]
        return self._page(
            "review_images.html.j2",
            now,
            page="images",
            seed=seed,
            y=y,
            show=show,
            shows=[(k, words, len(groups[k])) for k, words in SHOWS.items()],
            tiles=part,
            number=number,
            pages=pages,
            total=len(chosen),
            kept=sum(t.kept for t in tiles),
            made=len(tiles),
            toggle=lambda t: _json(_toggle(seed, t)),
            together=lambda verdict: _json(
                Sort(seed=seed, images=tuple(t.made.sha for t in part), verdict=verdict)
            ),
        )

    def _page(self, template: str, now: Decisions, **values: object) -> bytes:
        review, history = self.review, self.review.history()
        lines = sentences(now)
        first = next(iter(review.images), None)
        made_of: Json = {
            "aspire": __version__,
            "dataset": review.result["dataset"]["name"],
            "class_names": review.class_names,
            "file": review.file,
            "lines": lines,
            "much": in_words(lines),
            "undo": len(history.steps) > history.on.given,
            "redo": bool(history.undone),
            "given": history.on.given,
            "remade": now.remade,
            "seeds": list(review.images),
            "first_seed": first,
            "note": self.note,
            "absent": sorted(review.artifacts.absent),
        }
        return rendered(template, **made_of, **values)


def _why(made: Made) -> str:
    reason = made.verdict.reason
    if reason is None:
        return ""
    score = made.verdict.scores.get(reason)
    measured = "" if score is None else f" ({score:.2g})"
    return f"{reason}{measured}: {REASONS.get(reason, 'see the report')}"


def _toggle(seed: int, tile: Tile) -> Sort:
    wanted = not tile.kept
    same = wanted == tile.made.verdict.kept
    verdict = "open" if same else "keep" if wanted else "drop"
    return Sort(seed=seed, images=(tile.made.sha,), verdict=verdict)  # type: ignore[arg-type]  # one of the three


def _json(step: Step) -> Markup:
    """A step for an attribute; as markup, since a text would have its characters made visible."""
    return escape(msgspec.json.encode(step).decode())


def known(value: str | None, choices: Sequence[str], default: str) -> str:
    """A word of an address, or the default where it is none of the choices."""
    return value if value is not None and value in choices else default
