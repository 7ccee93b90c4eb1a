"""How the edits went, and what a discovery could not look at."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aspire.records import Edit, Effect, PhraseGroup, Rejected
from aspire.reporting.artifacts import Artifacts, Json
from aspire.reporting.discovery import SeedView
from aspire.reporting.labels import REASONS, joined, listed


@dataclass(frozen=True)
class Outcome:
    """How many attempted edits ended one way.

    Args:
        reason: "edited" or the reason of a rejection.
        words: the same for people.
        counts: by kind of edit.
        example: phrase and image of the first.
    """

    reason: str
    words: str
    counts: Mapping[str, int]
    example: str

    @property
    def total(self) -> int:
        """Over all kinds."""
        return sum(self.counts.values())


@dataclass(frozen=True)
class Gap:
    """Something that was not tested.

    Args:
        number: of images or phrases; 0 gaps are not made.
        what: what they are, after the number.
        text: why, and what that means or what to do.
    """

    number: int
    what: str
    text: str


def outcomes_of(result: Json, artifacts: Artifacts) -> list[Outcome]:
    """Every attempted edit by how it ended; those that were made come first."""
    folder = result["stages"]["edit"]["folder"]
    made: Counter[str] = Counter(e.kind for e in artifacts.lines(folder, Edit))
    found: dict[str, Counter[str]] = defaultdict(Counter)
    first: dict[str, str] = {}
    for rejected in artifacts.lines(folder, Rejected, "rejected.jsonl"):
        found[rejected.reason][rejected.kind or "remove_object"] += 1
        first.setdefault(rejected.reason, _example(rejected))
    rows = sorted(found.items(), key=lambda item: (-item[1].total(), item[0]))
    outcomes = [Outcome(r, REASONS.get(r, ""), n, first[r]) for r, n in rows]
    if made:
        outcomes.insert(0, Outcome("edited", "the picture without the phrase was made", made, ""))
    return outcomes


def _example(rejected: Rejected) -> str:
    if not rejected.phrase:
        return rejected.item_id
    detail = rejected.detail.removeprefix(rejected.phrase).lstrip(": ")
    return f"“{rejected.phrase}” in {rejected.img_id}{f': {detail}' if detail else ''}"


def gaps_of(result: Json, artifacts: Artifacts, view: SeedView) -> list[Gap]:
    """What this discovery says nothing about, and why."""
    stages = result["stages"]
    folder = stages["edit"]["folder"]
    edits = artifacts.lines(folder, Edit)
    rejected = artifacts.lines(folder, Rejected, "rejected.jsonl")
    name = _collapsed(stages, artifacts)
    gaps = [*_images(result, artifacts, edits, rejected), *_wrong(view)]
    gaps += _unedited(edits, rejected, name)
    effects = artifacts.lines(result["discovery"][view.seed]["score"]["folder"], Effect)
    gaps += _too_few(result, effects, name, view)
    return [g for g in gaps if g.number]


def _collapsed(stages: Json, artifacts: Artifacts) -> dict[str, str]:
    """Phrase -> the one it is counted under."""
    if "collapse" not in stages:
        return {}
    groups = artifacts.lines(stages["collapse"]["folder"], PhraseGroup)
    return {member: group.phrase for group in groups for member in group.members}


def _images(
    result: Json, artifacts: Artifacts, edits: Sequence[Edit], rejected: Sequence[Rejected]
) -> list[Gap]:
    stages = result["stages"]
    captions, extracted = stages.get("caption", {}), stages.get("extract", {})
    reasons = {k: n for k, n in extracted.get("rejected", {}).items() if k != "no_background"}
    said = "; ".join(f"{k} {n}: {REASONS.get(k, 'see rejected.jsonl')}" for k, n in reasons.items())
    asked = artifacts.manifest(stages["edit"]["folder"]).get("items", 0)
    limit = result["settings"].get("stage", {}).get("edit", {}).get("images_per_class")
    seen = {e.img_id for e in edits}
    seen |= {r.img_id for r in rejected if r.img_id}
    left = max(0, extracted.get("records", asked) - asked)
    looked = result.get("splits", [])  # a run keeps the other splits for its metrics
    images = result["dataset"].get("images", {}) if looked else {}
    others = {split: n for split, n in images.items() if split not in looked}
    return [
        Gap(
            sum(others.values()),
            f"images of other splits ({', '.join(others)})",
            f"Only {' and '.join(looked)} images are looked at; aspire discover split=all takes "
            "all of them.",
        ),
        Gap(
            sum(captions.get("rejected", {}).values()),
            "images without a caption",
            "What no caption names cannot be found. Give them captions, or take a captioner= that "
            "looks at the images.",
        ),
        Gap(sum(reasons.values()), "captions without phrases", said),
        Gap(
            left if asked else 0,
            "images beyond the limit",
            f"At most {limit} images of each class were edited; raise "
            "stage.edit.images_per_class for more, or null for all.",
        ),
        Gap(
            max(0, asked - len(seen)),
            "images with nothing to take away",
            "Their captions name neither a scene nor an object besides the class object.",
        ),
    ]


def _wrong(view: SeedView) -> list[Gap]:
    wrong = {c.name: (c.asked - c.right, c.asked) for c in view.classes if c.right < c.asked}
    counts = ", ".join(f"{name} {n} of {total}" for name, (n, total) in wrong.items())
    text = (
        f"{counts}. Only what changes a right answer is evidence, so images that the classifier "
        "gets wrong before any edit are left out."
    )
    never = [n for n, (missed, total) in wrong.items() if missed == total]
    if never:
        text += f" Nothing can be said about {listed(never)}: no image of it is classified rightly."
    number = sum(n for n, _ in wrong.values())
    return [Gap(number, "images that the classifier gets wrong", text)]


def _unedited(
    edits: Sequence[Edit], rejected: Sequence[Rejected], name: Mapping[str, str]
) -> list[Gap]:
    done = {(e.kind, name.get(e.phrase, e.phrase)) for e in edits}
    why: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for r in rejected:
        if r.kind and r.phrase:
            why[r.kind, name.get(r.phrase, r.phrase)][r.reason] += 1
    never = {k: n for k, n in why.items() if k not in done}
    order = sorted(never, key=lambda k: (-never[k].total(), k))
    reasons: Counter[str] = sum((never[k] for k in never), Counter())
    said = ", ".join(f"{REASONS.get(r, r)} ({n})" for r, n in reasons.most_common())
    text = f"{listed([p for _, p in order])}. Why: {said}."
    return [Gap(len(never), "phrases that no edit could take away", text)]


def _too_few(
    result: Json, effects: Sequence[Effect], name: Mapping[str, str], view: SeedView
) -> list[Gap]:
    score = result["settings"].get("score", {})
    if "min_support" not in score:
        return []
    images: dict[tuple[int, str, str], set[str]] = defaultdict(set)
    donors: dict[tuple[int, str, str], set[str]] = defaultdict(set)
    for e in effects:
        key = e.y, e.kind, name.get(e.phrase, e.phrase)
        images[key], donors[key]  # known, even without a control
        if not view.tested or e.p_control is not None:  # a test needs the control
            images[key].add(e.img_id)
            donors[key].add(e.cluster)
    few = {k: len(i) for k, i in images.items() if len(i) < score["min_support"]}
    shared = {
        k: len(d) for k, d in donors.items()
        if k not in few and len(d) < score.get("min_donors", 1)
    }  # fmt: skip
    names = result["dataset"]["class_names"]

    def those(found: Mapping[tuple[int, str, str], int]) -> str:
        order = sorted(found, key=lambda k: (-found[k], k))
        return joined([f"“{phrase}” ({names[y]})" for y, _, phrase in order])

    return [
        Gap(
            len(few),
            "phrases with too few edits",
            f"{those(few)}. They were edited in fewer than {score['min_support']} images "
            "(score.min_support), too few to tell from chance. More images, or captions in fewer "
            "words, would help.",
        ),
        Gap(
            len(shared),
            "phrases with too few donors",
            f"{those(shared)}. The new scenes of their edits are from fewer than "
            f"{score.get('min_donors')} photographs (score.min_donors), so whatever changes may be "
            "the doing of one of these. More photographs of other scenes would help, or a "
            "restyler= that draws them.",
        ),
    ]
