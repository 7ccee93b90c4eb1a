"""What a discovery found, as plain values for a page: classes, their features, pictures of edits.

The same for ``aspire discover`` and ``aspire run``: their ``result.json`` describe it alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import msgspec

from aspire.errors import DamagedError
from aspire.records import (
    ConceptSpace,
    Edit,
    EditKind,
    Effect,
    Rejected,
    SpuriousFeature,
    VisualConcept,
)
from aspire.reporting.artifacts import Artifacts, Json
from aspire.reporting.decided import decisions_of
from aspire.reporting.examined import Examined, examined
from aspire.reporting.labels import SCORES, agreement_of, evidence_of, judged, passes, why
from aspire.reporting.pictures import Picture, Pictures
from aspire.stored.decisions import Decisions

T = TypeVar("T")

TOP = 8  # features listed per class
ILLUSTRATED = 3  # of them with pictures
EXAMPLES = 4  # strips per feature
KEPT = 3  # originals a feature that are kept beside the page for a review
STRIPS = 240  # strips on a page, which must stay below 20 MB


@dataclass(frozen=True)
class Panel:
    """One picture of a strip, and what the classifier says of it (nothing of a mask)."""

    label: str
    picture: Picture | None
    says: str = ""
    p: float | None = None  # probability of the true class
    flipped: bool = False


@dataclass(frozen=True)
class Strip:
    """One edit: before, mask, after, control."""

    edit: Edit
    done: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class FeatureView:
    """One feature with the reason for its verdict.

    Args:
        judged: whether there was enough evidence for one.
        seeds: classifiers for which it is a shortcut.
        net_drop: mean drop less that under the controls; None without controls.
        decided: "accepted" or "rejected" by a person, or "".
        strips: its edits with the largest drops.
        crops: of a visual concept, where it shows most clearly.
        seen: of a visual concept, how often it is seen.
    """

    feature: SpuriousFeature
    why: str
    judged: bool
    seeds: int
    net_drop: float | None
    decided: str = ""
    strips: list[Strip] = field(default_factory=list)
    crops: list[Picture] = field(default_factory=list)
    seen: str = ""


@dataclass(frozen=True)
class ClassView:
    """One class: its strongest features, and how many there are.

    Args:
        judged: features on enough edits to be called a shortcut or not.
        right, asked: images with edits that the classifier was asked about.
        note: why there is no shortcut; empty when there is one.
        evidence: the strongest shortcut in a sentence; empty without one.
        truth: agreement with the annotated shortcut, where there is one.
        agreement: the same in words; empty where no shortcut was found.
    """

    name: str
    features: tuple[FeatureView, ...]
    spurious: int
    phrases: int
    judged: int
    right: int
    asked: int
    note: str
    evidence: str
    truth: Json | None
    agreement: str

    @property
    def illustrated(self) -> list[FeatureView]:
        """Features with pictures."""
        return [f for f in self.features if f.strips or f.crops]


@dataclass(frozen=True)
class SeedView:
    """All classes of one classifier.

    Args:
        measure: what the score is, in words.
        tested: whether features have p- and q-values.
        donors: whether edits took scenes from other images.
        examined: how the classifier did on unedited images; None in results of old.
    """

    seed: str
    classes: tuple[ClassView, ...]
    score: str
    measure: str
    tested: bool
    donors: bool
    edits: int
    examined: Examined | None = None

    @property
    def spurious(self) -> int:
        """Shortcuts of all classes."""
        return sum(c.spurious for c in self.classes)

    @property
    def phrases(self) -> int:
        """Features of all classes."""
        return sum(c.phrases for c in self.classes)

    @property
    def judged(self) -> int:
        """Features of all classes that there was enough evidence for."""
        return sum(c.judged for c in self.classes)


def views_of(
    result: Json, artifacts: Artifacts, pictures: Pictures, examples: int = EXAMPLES
) -> list[SeedView]:
    """One view a classifier; the first with pictures.

    Args:
        result: content of a ``result.json``.
        artifacts: gives the records that it names.
        pictures: gives the images.
        examples: strips a feature, at most.
    """
    found = result["discovery"]
    decisions = decisions_of(result)
    edits = artifacts.lines(result["stages"]["edit"]["folder"], Edit)
    features = {
        seed: [_record(f, SpuriousFeature) for f in d["features"]] for seed, d in found.items()
    }
    seeds = Counter(
        (f.y, f.kind, f.phrase) for group in features.values() for f in group if f.spurious
    )
    views = [
        _view(result, seed, features[seed], seeds, edits, artifacts, decisions) for seed in found
    ]
    if views:
        _illustrate(views[0], result, edits, artifacts, pictures, examples)
        if "concept" in result["stages"]:
            spaces = artifacts.lines(result["stages"]["concept"]["folder"], ConceptSpace)
            views[0] = _with_concepts(views[0], [c for s in spaces for c in s.concepts], pictures)
    return views


def _record(content: Json, kind: type[T]) -> T:
    try:
        return msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        raise DamagedError(
            f"result.json holds a {kind.__name__} that this version cannot read: {error}."
        ) from None


def score_name(settings: Mapping[str, Any]) -> str:
    """Of the score that a node of conf/score/ describes: the last word of its class's path."""
    return str(settings.get("_target_", "")).rpartition(".")[2].lower()


def _view(
    result: Json,
    seed: str,
    features: Sequence[SpuriousFeature],
    seeds: Mapping[tuple[int, EditKind, str], int],
    edits: Sequence[Edit],
    artifacts: Artifacts,
    decisions: Decisions | None,
) -> SeedView:
    discovery = result["discovery"][seed]
    score = result["settings"].get("score", {})
    folder = discovery["score"]["folder"]
    effects = artifacts.lines(folder, Effect)
    rejected = artifacts.lines(folder, Rejected, "rejected.jsonl")
    y_of = {e.img_id: e.y for e in edits}
    right = Counter({e.img_id: e.y for e in effects}.values())
    wrong = Counter(y_of.get(r.item_id) for r in rejected if r.reason == "misclassified")
    gone = [_record(r, Rejected) for r in discovery["without"]]
    without = {r.item_id: r.detail for r in gone}
    truth = {t["y"]: t for t in discovery.get("truth", ())}
    classes = []
    for y, name in enumerate(result["dataset"]["class_names"]):
        mine = sorted((f for f in features if f.y == y), key=lambda f: f.rank)
        strong = [called(f, decisions) for f in mine if f.spurious]
        note = without.get(f"{y:03d}", "no edit of a correctly classified image")
        classes.append(
            ClassView(
                name=name,
                features=tuple(
                    feature_view(f, score, seeds[f.y, f.kind, f.phrase], decisions)
                    for f in mine[:TOP]
                ),
                spurious=len(strong),
                phrases=len(mine),
                judged=sum(judged(f, score) for f in mine),
                right=right[y],
                asked=right[y] + wrong[y],
                note="" if strong else note,
                evidence=evidence_of(strong[0], name) if strong else "",
                truth=truth.get(y),
                agreement=agreement_of(truth[y]) if strong and y in truth else "",
            )
        )
    name = score_name(score)
    return SeedView(
        seed=seed,
        classes=tuple(classes),
        score=name,
        measure=SCORES.get(name, f"the value of {name or 'the score'}"),
        tested=any(f.q_value is not None for f in features),
        donors=any(f.donors is not None for f in features),
        edits=len(effects),
        examined=examined(discovery.get("examination"), result["dataset"]["class_names"]),
    )


def feature_view(
    feature: SpuriousFeature,
    score: Mapping[str, Any],
    seeds: int,
    decisions: Decisions | None = None,
) -> FeatureView:
    """One feature under the name that a person gave it.

    Args:
        feature: with its evidence.
        score: settings of the score.
        seeds: classifiers for which it is a shortcut.
        decisions: that were obeyed; None where nobody decided.
    """
    word = ""
    if decisions is not None:
        verdicts = {True: "accepted", False: "rejected", None: ""}
        word = verdicts[decisions.judged.get((feature.y, feature.kind, feature.phrase))]
    reason = why(feature, score)
    if word:
        alone = msgspec.structs.replace(feature, spurious=passes(feature, score))
        reason = f"{word} by a person; by its numbers: {why(alone, score)}"
    return FeatureView(
        feature=called(feature, decisions),
        why=reason,
        judged=judged(feature, score),
        seeds=seeds,
        net_drop=net_drop(feature),
        decided=word,
    )


def called(feature: SpuriousFeature, decisions: Decisions | None) -> SpuriousFeature:
    """The same under the name that a person gave it."""
    if decisions is None:
        return feature
    return msgspec.structs.replace(feature, phrase=decisions.called(feature.phrase))


def net_drop(feature: SpuriousFeature) -> float | None:
    """Mean drop less the mean drop under the controls."""
    return None if feature.control_drop is None else feature.mean_drop - feature.control_drop


def _illustrate(
    view: SeedView,
    result: Json,
    edits: Sequence[Edit],
    artifacts: Artifacts,
    pictures: Pictures,
    examples: int,
) -> None:
    """Strips for the shortcuts of each class, or for its strongest phrase where it has none."""
    share = max(1, min(examples, STRIPS // (ILLUSTRATED * len(view.classes))))
    chosen: list[tuple[FeatureView, str]] = []
    for c in view.classes:
        shown = [f for f in c.features if f.feature.spurious][:ILLUSTRATED] or c.features[:1]
        chosen += [(f, e) for f in shown for e in f.feature.examples[:share]]
    chosen = chosen[:STRIPS]
    wanted = {e for _, e in chosen}
    edit_of = {e.edit_id: e for e in edits if e.edit_id in wanted}
    folder = result["discovery"][view.seed]["score"]["folder"]
    effect_of = {e.edit_id: e for e in artifacts.lines(folder, Effect) if e.edit_id in wanted}
    for feature, edit_id in chosen:
        if edit_id in edit_of and edit_id in effect_of:
            strip = strip_of(edit_of[edit_id], effect_of[edit_id], result, artifacts, pictures)
            feature.strips.append(strip)
    # for aspire review, which shows all of them and may come when the dataset is not at hand
    listed = [e for c in view.classes for f in c.features for e in f.feature.examples[:KEPT]]
    images = {e.edit_id: e.img_id for e in edits}
    for edit_id in listed[:STRIPS]:
        if edit_id in images:
            pictures.original(images[edit_id], "before")


def _with_concepts(
    view: SeedView, concepts: Sequence[VisualConcept], pictures: Pictures
) -> SeedView:
    """The view with crops of the features that are visual concepts, and how often each is seen."""
    known = {(c.y, c.name): c for c in concepts}

    def told(feature: FeatureView, name: str) -> FeatureView:
        concept = known.get((feature.feature.y, feature.feature.phrase))
        if concept is None:
            return feature
        alt = f"part of an image that shows “{concept.name}”"
        crops = [pictures.part(c.img_id, c.box, alt) for c in concept.crops]
        seen = (
            f"in {100 * concept.own:.0f} % of the images of {name} and "
            f"{100 * concept.others:.0f} % of the others"
        )
        return replace(feature, crops=[c for c in crops if c is not None], seen=seen)

    classes = tuple(
        replace(c, features=tuple(told(f, c.name) for f in c.features)) for c in view.classes
    )
    return replace(view, classes=classes)


def strip_of(
    edit: Edit, effect: Effect, result: Json, artifacts: Artifacts, pictures: Pictures
) -> Strip:
    """The pictures of one edit, and what the classifier says of each."""
    names = result["dataset"]["class_names"]
    name, y = names[edit.y], edit.y
    folder = artifacts.outputs / result["stages"]["edit"]["folder"]
    done = f"replaced by “{edit.replacement}”" if edit.replacement else "removed"
    share = f"{100 * edit.edited_share:.0f} % of the image"

    def made(file: str, alt: str) -> Picture | None:
        return pictures.made(folder / file, alt)

    after = names[effect.predicted_after]
    panels = [
        Panel(
            "before",
            pictures.original(
                edit.img_id, f"{name} with “{edit.phrase}”, before; the answer is {name}"
            ),
            name,
            effect.p_before,
        ),
        Panel("mask", made(edit.mask, f"mask: {share}, in white, may change")),
        Panel(
            "after",
            made(edit.file, f"{name}, “{edit.phrase}” {done}; the answer is {after}"),
            after,
            effect.p_after,
            effect.predicted_after != y,
        ),
    ]
    if edit.control is not None and effect.predicted_control is not None:
        control = names[effect.predicted_control]
        alt = f"{name}, control edit that leaves “{edit.phrase}”; the answer is {control}"
        panels.append(
            Panel(
                "control",
                made(edit.control, alt),
                control,
                effect.p_control,
                effect.predicted_control != y,
            )
        )
    return Strip(edit, f"{done}; {share} may change", tuple(panels))
