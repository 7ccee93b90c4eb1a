"""Stage 7: measure every generated image, then decide which may be trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from aspire.classification.predictor import Probabilities
from aspire.data.image_table import ImageTable
from aspire.data.images import read_image, read_labels
from aspire.generation.base import Filter, GeneratedImage, Reference, speaks
from aspire.generation.class_nouns import Wording
from aspire.identity import Json
from aspire.pipeline.stage import ItemResult, SaveImage
from aspire.records import FilterDecision, Measurement, SyntheticImage


class MeasureStage:
    """SyntheticImage -> Measurement.

    Args:
        filters: what to measure.
        classifier: the one whose shortcuts are being removed.
        images: folder of the generate artifact.
        class_names: in index order; for filters that know classes by words.
        avoided: class -> phrases that its images may not show.
        train, test: the real images; their digest must be part of ``upstream``.
        wordings: how the classes are called in a sentence; empty for their names.
        usual: img_ids of those made in a usual scene, which may show what others avoid.
    """

    name: ClassVar[str] = "measure"
    version: ClassVar[int] = 1
    record = Measurement

    def __init__(
        self,
        filters: Sequence[Filter],
        classifier: Probabilities,
        images: Path,
        class_names: Sequence[str] = (),
        avoided: Mapping[int, Sequence[str]] = {},
        train: ImageTable | None = None,
        test: ImageTable | None = None,
        wordings: Sequence[Wording] = (),
        usual: frozenset[str] = frozenset(),
    ) -> None:
        self.usual = usual
        self.filters = filters
        self.images = images
        self.reference = Reference(
            classifier,
            tuple(class_names),
            {y: tuple(phrases) for y, phrases in avoided.items()},
            train,
            test,
            tuple(wordings),
        )

    def identity(self) -> Mapping[str, Json]:
        named: dict[str, Json] = {}
        if self.reference.class_names:
            named["class_names"] = self.reference.class_names
        if any(speaks(f) for f in self.filters):
            named["wordings"] = [[w.noun, *w.own] for w in self.reference.wordings]
        return {
            "filters": {f.name: f.measured() for f in self.filters},
            "classifier": self.reference.classifier.digest,
            **named,
        }

    def item_id(self, item: SyntheticImage) -> str:
        return item.img_id

    def run(
        self, items: Sequence[SyntheticImage], save: SaveImage
    ) -> Iterator[ItemResult[Measurement]]:
        images = [
            GeneratedImage(
                img_id=i.img_id,
                y=i.y,
                pixels=read_image(self.images / i.file),
                mask=read_labels(self.images / i.mask) > 0 if i.mask else None,
                usual=i.img_id in self.usual,
            )
            for i in items
        ]
        columns = {f.name: f.measure(images, self.reference) for f in self.filters}
        for row, item in enumerate(items):
            values = {name: column[row] for name, column in columns.items()}
            yield ItemResult(item.img_id, (Measurement(img_id=item.img_id, values=values),))


@dataclass(frozen=True)
class MeasuredSet:
    """All measurements: some filters compare images with each other."""

    measurements: tuple[Measurement, ...]


class FilterStage:
    """MeasuredSet -> one FilterDecision an image. The first filter to object is the reason."""

    name: ClassVar[str] = "filter"
    version: ClassVar[int] = 1
    record = FilterDecision

    def __init__(self, filters: Sequence[Filter]) -> None:
        self.filters = filters

    def identity(self) -> Mapping[str, Json]:
        return {"filters": [{f.name: f.thresholds()} for f in self.filters]}

    def item_id(self, item: MeasuredSet) -> str:
        return "all"

    def run(
        self, items: Sequence[MeasuredSet], save: SaveImage
    ) -> Iterator[ItemResult[FilterDecision]]:
        for item in items:
            ordered = sorted(item.measurements, key=lambda m: m.img_id)
            reason: dict[str, str] = {}
            for f in self.filters:
                # an image that is out already must not count as the first of its duplicates
                values = {m.img_id: m.values[f.name] for m in ordered if m.img_id not in reason}
                reason.update(dict.fromkeys(sorted(f.reject(values)), f.name))
            decisions = tuple(
                FilterDecision(
                    img_id=m.img_id,
                    kept=m.img_id not in reason,
                    reason=reason.get(m.img_id),
                    scores={k: v for k, v in m.values.items() if isinstance(v, float)},
                )
                for m in ordered
            )
            yield ItemResult("all", decisions)
