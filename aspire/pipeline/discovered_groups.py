"""Which groups a training run receives: the annotated ones, or those that discovery found.

``groups=discovered`` needs no annotation. The spurious features of a classifier give every training
and val image an attribute:

* *with* the shortcut: its caption names a spurious feature of its own class;
* *without*: it does not, and enough is known of it to say so;
* unknown: everything else. Where the class has a spurious scene, an image without it is known only
  by its own scene: a shortcut of another class, or one that was judged and does not help at all.
  "Not significant" is not enough, for a weak shortcut is one too.

A scene that could not be judged, often because training does not show it, is known by its kind in
the lexicon of scenes: as a "forest" where "woods" are the shortcut, if no other class leans on a
scene of that kind.

Unknown images are left out, and counted: an image *with* the shortcut that were called *without*
would weigh heavily, since that group is small. Test images are never relabelled: results are
measured on annotated groups, where there are any.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aspire.classification.predictor import Probabilities
from aspire.data.groups import Grouper
from aspire.data.image_table import ImageTable
from aspire.data.table import Dataset, Split
from aspire.discovery.rank import phrases_of
from aspire.errors import ConfigError
from aspire.generation.base import GeneratedSet
from aspire.identity import digest_of
from aspire.language.scenes import scene_kind
from aspire.pipeline.flow import Pipeline
from aspire.pipeline.parts import collapsed_by
from aspire.records import Extraction, SpuriousFeature
from aspire.values import Count, Fraction

ATTRIBUTES = ("without shortcut", "with shortcut")
WITHOUT, WITH, UNKNOWN = 0, 1, -1


@dataclass(frozen=True)
class PseudoGroups:
    """An attribute for every image that training may look at.

    Args:
        attributes: img_id of a train or val image -> ``WITHOUT``, ``WITH`` or ``UNKNOWN``.
        scenes: img_id of a training image -> the scene its caption names, collapsed.
        shortcuts: class -> its spurious phrases.
        digest: of all that.
    """

    attributes: Mapping[str, int]
    scenes: Mapping[str, str]
    shortcuts: Mapping[int, frozenset[str]]
    digest: str

    def label(
        self, dataset: Dataset, table: ImageTable, generated: GeneratedSet | None = None
    ) -> ImageTable:
        """The table with discovered groups: ``y * 2 + attribute``, -1 where unknown.

        A generated image is judged by the scene it was placed in.
        """
        rows = dataset.table
        ids = zip(rows["img_filename"], rows["img_id"], strict=True)
        attribute: dict[Path, int] = {
            dataset.path(name): self.attributes.get(img_id, UNKNOWN) for name, img_id in ids
        }
        if generated is not None:
            made = zip(generated.files, generated.y, generated.scene_parents, strict=True)
            for file, y, parent in made:
                scene = self.scenes.get(parent)
                attribute[generated.root / file] = (
                    UNKNOWN if scene is None else int(scene in self.shortcuts[y])
                )
        a = np.array([attribute[p] for p in table.paths], dtype=np.int64)
        return replace(table, group=self.grouper(dataset).ids(table.y, a))

    def grouper(self, dataset: Dataset) -> Grouper:
        """Names of the discovered groups."""
        return Grouper(dataset.class_names, ATTRIBUTES)


class GroupSource(Protocol):
    """A choice of conf/groups/."""

    label: str  # for tables and folders; "" for the annotated groups

    def find(
        self, pipeline: Callable[[], Pipeline], classifier: Callable[[], Probabilities]
    ) -> PseudoGroups | None:
        """The groups to train with in place of the annotated ones, if any."""
        ...


class Annotated:
    """The dataset's own groups."""

    label = ""

    def find(
        self, pipeline: Callable[[], Pipeline], classifier: Callable[[], Probabilities]
    ) -> None:
        return None


class Discovered:
    """Groups from the spurious features of a classifier.

    Args:
        min_support: edits of a scene in a class after which it is known by them, not by its kind.
        max_unknown: largest accepted share of unknown images in train and in val, in [0, 1].
    """

    label = "discovered"

    def __init__(self, min_support: Count = 5, max_unknown: Fraction = 0.5) -> None:
        self.min_support = min_support
        self.max_unknown = max_unknown

    def find(
        self, pipeline: Callable[[], Pipeline], classifier: Callable[[], Probabilities]
    ) -> PseudoGroups:
        """See :class:`GroupSource`.

        Raises:
            ConfigError: when no class has a spurious feature, or too many images are unknown.
        """
        train = pipeline()
        discovery = train.discover(classifier())
        features = discovery.features.records
        if not any(f.spurious for f in features):
            reasons = "; ".join(
                f"{train.dataset.class_names[int(r.item_id)]}: {r.detail}"
                for r in discovery.features.rejected
            )
            raise ConfigError(
                f"groups=discovered: no class has a spurious feature, so there are no groups to "
                f"train with. {reasons}. Try more images (stage.edit.images_per_class=null takes "
                "all of a class) or score.min_support=3, or groups=annotated."
            )
        val = train.on(Split.VAL)
        val_groups = val.phrase_groups_with(train.phrase_groups)
        attributes: dict[str, int] = {}
        for part, names in (
            (train, collapsed_by(train.phrase_groups)),
            (val, collapsed_by(val_groups)),
        ):
            known = {e.img_id: e for e in part.extractions.records}
            labels = {
                i: self.attribute(ref.y, known.get(i), names, features)
                for i, ref in part.refs.items()
            }
            self._check(part.splits[0], Counter(labels.values()))
            attributes |= labels
        name = collapsed_by(train.phrase_groups)
        scenes = {e.img_id: name[e.background] for e in train.extractions.records if e.background}
        classes = range(train.num_classes)
        return PseudoGroups(
            attributes,
            scenes,
            {y: frozenset(f.phrase for f in features if f.spurious and f.y == y) for y in classes},
            digest_of({"attributes": attributes, "features": discovery.features.digest}),
        )

    def attribute(
        self,
        y: int,
        extraction: Extraction | None,
        names: Mapping[str, str],
        features: tuple[SpuriousFeature, ...],
    ) -> int:
        """Whether an image of class ``y`` with these phrases shows a shortcut of its class.

        Args:
            y: the class.
            extraction: None where the image has no caption.
            names: phrase -> the phrase it is counted under.
            features: of all classes.
        """
        if extraction is None:
            return UNKNOWN
        phrases = {names[p] for _, p in phrases_of(extraction)}
        if phrases & {f.phrase for f in features if f.spurious and f.y == y}:
            return WITH
        if not any(f.spurious and f.y == y and f.kind == "change_background" for f in features):
            return WITHOUT
        if extraction.background is None:
            return UNKNOWN
        scene = names[extraction.background]
        scenes = [f for f in features if f.kind == "change_background"]
        others = {f.phrase for f in scenes if f.spurious and f.y != y}
        judged = {f.phrase: f for f in scenes if f.y == y and f.support >= self.min_support}
        if scene in others:
            return WITHOUT
        if scene in judged:
            feature = judged[scene]
            helps = feature.mean_drop - (feature.control_drop or 0.0) > 0
            return UNKNOWN if helps else WITHOUT
        kind = scene_kind(scene)
        own_kinds = {scene_kind(f.phrase) for f in scenes if f.spurious and f.y == y}
        other_kinds = {scene_kind(phrase) for phrase in others}
        if kind is None or (kind in own_kinds) == (kind in other_kinds):
            return UNKNOWN
        return WITH if kind in own_kinds else WITHOUT

    def _check(self, split: Split, counts: Counter[int]) -> None:
        share = counts[UNKNOWN] / max(1, counts.total())
        if share > self.max_unknown:
            raise ConfigError(
                f"groups=discovered: {counts[UNKNOWN]} of {counts.total()} {split.name.lower()} "
                f"images ({share:.0%}; groups.max_unknown={self.max_unknown}) have no caption that "
                "tells whether they show a shortcut. Try another captioner, or raise "
                "groups.max_unknown."
            )


def known_rows(table: ImageTable) -> NDArray[np.int64]:
    """Rows whose group is known."""
    return np.flatnonzero(table.group >= 0)
