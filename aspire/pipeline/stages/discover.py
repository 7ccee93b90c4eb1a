"""Stage 4: what the edits do to a trained classifier, and which features that gives away.

Two steps: :class:`ScoreStage` runs the classifier over originals and edits, :class:`RankStage`
counts. Changing a threshold repeats only the second.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from aspire.classification.predictor import Probabilities
from aspire.data.images import read_image
from aspire.discovery.rank import rank_features
from aspire.pipeline.records import Edit, Effect, ImageRef, Rejected, SpuriousFeature
from aspire.pipeline.stage import ItemResult, Json, SaveImage


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
    version: ClassVar[int] = 1
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
        after = dict(
            zip(
                (e.edit_id for e in asked),
                self.classifier([read_image(self.edits / e.file) for e in asked]),
                strict=True,
            )
        )
        for item, p, ok in zip(items, before, right, strict=True):
            if not ok:
                detail = f"predicted class {int(p.argmax())}, labelled {item.ref.y}"
                reject = Rejected(item_id=item.ref.img_id, reason="misclassified", detail=detail)
                yield ItemResult(item.ref.img_id, rejected=(reject,))
                continue
            effects = tuple(
                Effect(
                    edit_id=e.edit_id,
                    img_id=e.img_id,
                    y=e.y,
                    kind=e.kind,
                    phrase=e.phrase,
                    replacement=e.replacement,
                    # five digits: what is left is the arithmetic's order, not the classifier
                    p_before=round(float(p[e.y]), 5),
                    p_after=round(float(after[e.edit_id][e.y]), 5),
                    predicted_after=int(after[e.edit_id].argmax()),
                )
                for e in item.edits
            )
            yield ItemResult(item.ref.img_id, effects)


@dataclass(frozen=True)
class ClassEffects:
    """All effects on one class."""

    y: int
    effects: tuple[Effect, ...]


class RankStage:
    """ClassEffects -> SpuriousFeatures, strongest first. See :func:`rank_features`.

    Args:
        min_support, min_flip_rate: what a phrase needs to be called spurious.
    """

    name: ClassVar[str] = "discover"
    version: ClassVar[int] = 1
    record = SpuriousFeature

    def __init__(self, min_support: int = 5, min_flip_rate: float = 0.1) -> None:
        self.min_support = min_support
        self.min_flip_rate = min_flip_rate

    def identity(self) -> Mapping[str, Json]:
        return {"min_support": self.min_support, "min_flip_rate": self.min_flip_rate}

    def item_id(self, item: ClassEffects) -> str:
        return f"{item.y:03d}"

    def run(
        self, items: Sequence[ClassEffects], save: SaveImage
    ) -> Iterator[ItemResult[SpuriousFeature]]:
        for item in items:
            features = rank_features(item.y, item.effects, self.min_support, self.min_flip_rate)
            rejected: tuple[Rejected, ...] = ()
            if not any(f.spurious for f in features):
                best = features[0] if features else None
                detail = (
                    f"the strongest is '{best.phrase}' with {best.flips} flips in {best.support}"
                    if best
                    else "no edit of a correctly classified image"
                )
                rejected = (
                    Rejected(
                        item_id=self.item_id(item), reason="no_spurious_feature", detail=detail
                    ),
                )
            yield ItemResult(self.item_id(item), tuple(features), rejected)
