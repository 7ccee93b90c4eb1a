"""Stage 4: what the edits do to a trained classifier, and which features that gives away.

Three steps: :class:`CollapseStage` says which phrases are counted together, :class:`ScoreStage`
runs the classifier over originals, edits and control edits, :class:`RankStage` judges. Changing a
threshold repeats only the last.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from aspire.classification.predictor import Probabilities
from aspire.data.images import read_image
from aspire.discovery.base import Evidence, Score
from aspire.discovery.collapse import Apart, Collapser
from aspire.discovery.rank import rank_features
from aspire.identity import Json
from aspire.pipeline.stage import ItemResult, SaveImage
from aspire.records import (
    Edit,
    Effect,
    ImageRef,
    PhraseGroup,
    Rejected,
    SpuriousFeature,
)


@dataclass(frozen=True)
class Vocabulary:
    """The phrases of a corpus.

    Args:
        counts: phrase -> images whose caption names it.
        known: phrase -> name of the group it is in already; groups that new phrases may join.
    """

    counts: Mapping[str, int]
    known: Mapping[str, str] = field(default_factory=dict)


class CollapseStage:
    """Vocabulary -> PhraseGroups."""

    name: ClassVar[str] = "collapse"
    version: ClassVar[int] = 1
    record = PhraseGroup

    def __init__(self, collapser: Collapser | Apart) -> None:
        self.collapser = collapser

    def identity(self) -> Mapping[str, Json]:
        return self.collapser.identity()

    def item_id(self, item: Vocabulary) -> str:
        return "all"

    def run(
        self, items: Sequence[Vocabulary], save: SaveImage
    ) -> Iterator[ItemResult[PhraseGroup]]:
        for item in items:
            members: dict[str, list[str]] = {}
            for phrase, name in self.collapser.collapse(item.counts, item.known).items():
                members.setdefault(name, []).append(phrase)
            groups = (PhraseGroup(phrase=n, members=tuple(sorted(m))) for n, m in members.items())
            yield ItemResult("all", tuple(sorted(groups, key=lambda g: g.phrase)))


@dataclass(frozen=True)
class EditedImage:
    """An original and all its edits."""

    ref: ImageRef
    edits: tuple[Edit, ...]


class ScoreStage:
    """EditedImage -> Effects. Images the classifier gets wrong are rejected as ``misclassified``.

    Args:
        classifier: gives the probabilities.
        images: root of the originals.
        edits: folder of the edit artifact.
    """

    name: ClassVar[str] = "score"
    version: ClassVar[int] = 3
    record = Effect

    def __init__(self, classifier: Probabilities, images: Path, edits: Path) -> None:
        self.classifier = classifier
        self.images = images
        self.edits = edits

    def identity(self) -> Mapping[str, Json]:
        return {"classifier": self.classifier.digest}

    def item_id(self, item: EditedImage) -> str:
        return item.ref.img_id

    def run(self, items: Sequence[EditedImage], save: SaveImage) -> Iterator[ItemResult[Effect]]:
        before = self.classifier([read_image(self.images / i.ref.file) for i in items])
        right = [int(p.argmax()) == i.ref.y for i, p in zip(items, before, strict=True)]
        asked = [e for i, ok in zip(items, right, strict=True) if ok for e in i.edits]
        # edits and controls of equal pixels are one file, and one question
        files = list(dict.fromkeys(f for e in asked for f in (e.file, e.control) if f is not None))
        answers = self.classifier([read_image(self.edits / f) for f in files])
        after = dict(zip(files, answers, strict=True))
        for item, p, ok in zip(items, before, right, strict=True):
            if not ok:
                detail = f"predicted class {int(p.argmax())}, labelled {item.ref.y}"
                reject = Rejected(item_id=item.ref.img_id, reason="misclassified", detail=detail)
                yield ItemResult(item.ref.img_id, rejected=(reject,))
                continue
            effects = []
            for e in item.edits:
                edited = after[e.file]
                control = None if e.control is None else after[e.control]
                effects.append(
                    Effect(
                        edit_id=e.edit_id,
                        img_id=e.img_id,
                        y=e.y,
                        kind=e.kind,
                        phrase=e.phrase,
                        replacement=e.replacement,
                        # five digits: what is left is the arithmetic's order, not the classifier
                        p_before=round(float(p[e.y]), 5),
                        p_after=round(float(edited[e.y]), 5),
                        predicted_after=int(edited.argmax()),
                        p_control=None if control is None else round(float(control[e.y]), 5),
                        predicted_control=None if control is None else int(control.argmax()),
                        photograph=e.photograph,
                    )
                )
            yield ItemResult(item.ref.img_id, tuple(effects))


class RankStage:
    """Evidence -> SpuriousFeatures, strongest first. See :func:`rank_features`.

    A class without a spurious feature is rejected as such, with what came nearest.

    Args:
        score: tells how strong a feature is, and whether it is spurious.
        num_classes: number of classes.
    """

    name: ClassVar[str] = "discover"
    version: ClassVar[int] = 3
    record = SpuriousFeature

    def __init__(self, score: Score, num_classes: int) -> None:
        self.score = score
        self.num_classes = num_classes

    def identity(self) -> Mapping[str, Json]:
        return self.score.identity()

    def item_id(self, item: Evidence) -> str:
        return "all"

    def run(
        self, items: Sequence[Evidence], save: SaveImage
    ) -> Iterator[ItemResult[SpuriousFeature]]:
        for item in items:
            features = rank_features(item, self.score)
            found = {f.y for f in features if f.spurious}
            yield ItemResult(
                "all",
                tuple(features),
                tuple(
                    Rejected(
                        item_id=f"{y:03d}",
                        reason="no_spurious_feature",
                        detail=_nearest([f for f in features if f.y == y], item, y),
                    )
                    for y in range(self.num_classes)
                    if y not in found
                ),
            )


def _nearest(features: Sequence[SpuriousFeature], evidence: Evidence, y: int) -> str:
    """Why a class has no spurious feature."""
    if features:
        best = features[0]
        tested = "" if best.q_value is None else f" (q = {best.q_value:.2g})"
        shared = "" if best.donors is None else f" from {best.donors} donors"
        return (
            f"the strongest is '{best.phrase}' with {best.flips} flips in {best.support}"
            f"{shared}{tested}"
        )
    effects = [e for c in evidence.candidates if c.y == y for e in c.effects]
    if not effects:
        return "no edit of a correctly classified image"
    if all(e.p_control is None for e in effects):
        return (
            f"{len(effects)} edits and no control edit to compare them with: set "
            "stage.edit.controls=true, or take score=wilson"
        )
    return f"{len(effects)} edits, too few of any one phrase"
