"""The stages wired together for one dataset: what feeds what, and which digests travel along."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec
import numpy as np

from aspire.classification.predictor import Probabilities
from aspire.data.table import Dataset, Split
from aspire.discovery.base import Evidence, Score
from aspire.discovery.collapse import Collapser
from aspire.discovery.rank import gather, phrases_of
from aspire.editing.base import Inpainter, Restyler, Segmenter
from aspire.errors import AspireError
from aspire.generation.base import ClassEvidence, Filter, GeneratedSet, Personaliser, Sampler
from aspire.language.base import Captioner, Extractor
from aspire.pipeline.records import (
    Caption,
    Concept,
    Edit,
    Effect,
    Extraction,
    FilterDecision,
    ImageRef,
    Measurement,
    PhraseGroup,
    Rejected,
    SpuriousFeature,
    SyntheticImage,
)
from aspire.pipeline.stage import Engine
from aspire.pipeline.stages.caption import CaptionStage
from aspire.pipeline.stages.discover import (
    CollapseStage,
    EditedImage,
    RankStage,
    ScoreStage,
    Vocabulary,
)
from aspire.pipeline.stages.edit import EditRequest, EditStage
from aspire.pipeline.stages.extract import ExtractStage, with_alternatives
from aspire.pipeline.stages.filter import FilterStage, MeasuredSet, MeasureStage
from aspire.pipeline.stages.generate import GenerateStage, GenerationRequest, PersonaliseStage
from aspire.pipeline.store import Artifact, ArtifactStore, digest_of
from aspire.rng import seed_for


class NothingFoundError(AspireError):
    """No class can be personalised, so there is nothing to generate.

    Args:
        rejected: one reason for each class.
    """

    def __init__(self, rejected: Sequence[Rejected]) -> None:
        kinds = sorted({r.reason for r in rejected})
        # For tables: a feature that was found but has no scene without it is another matter.
        self.reason = ", ".join(
            "no spurious feature found" if kind == "no_spurious_feature" else kind for kind in kinds
        )
        listed = "\n  ".join(f"{r.reason}: {r.detail}" for r in rejected)
        super().__init__(
            f"Nothing to generate against: no class can be personalised.\n  {listed}\n"
            "Either this classifier takes no shortcut that the captions name, or the "
            "thresholds are too strict: try score.min_support=3, or another score "
            "(score=wilson)."
        )


@dataclass(frozen=True)
class Backends:
    """Who does the work; see the protocols for what each promises.

    ``sampler`` is a factory since it needs the dataset's root and images.
    """

    captioner: Captioner
    extractor: Extractor
    segmenter: Segmenter
    inpainter: Inpainter
    restyler: Restyler
    score: Score
    personaliser: Personaliser
    sampler: Callable[..., Sampler]
    filters: tuple[Filter, ...]


@dataclass(frozen=True)
class StageSettings:
    """The knobs of conf/base.yaml's ``stage`` node, as nested plain values."""

    caption: dict[str, Any]
    extract: dict[str, Any]
    edit: dict[str, Any]
    discover: dict[str, Any]
    generate: dict[str, Any]
    filter: dict[str, Any]


@dataclass(frozen=True)
class Discovery:
    """What a classifier leans on, with the evidence."""

    edits: Artifact[Edit]
    effects: Artifact[Effect]
    features: Artifact[SpuriousFeature]


@dataclass(frozen=True)
class Generation:
    """The generated images and the verdicts on them."""

    concepts: Artifact[Concept]
    images: Artifact[SyntheticImage]
    measurements: Artifact[Measurement]
    decisions: Artifact[FilterDecision]
    kept: GeneratedSet


class Pipeline:
    """All stages of ASPIRE for one dataset. Every method returns from the store what is there.

    Args:
        dataset, dataset_digest: what to look at.
        backends, settings: who does it and how.
        store, engine: where it is kept and how it is worked off.
        splits: whose images are looked at.
    """

    def __init__(
        self,
        dataset: Dataset,
        dataset_digest: str,
        backends: Backends,
        settings: StageSettings,
        store: ArtifactStore,
        engine: Engine,
        splits: Sequence[Split] = (Split.TRAIN,),
    ) -> None:
        self.dataset = dataset
        self.splits = tuple(sorted(splits))
        self._digest = dataset_digest
        names = [s.name for s in self.splits]
        # Part of every stage's upstream, so the images of other splits are other work.
        self.dataset_digest = (
            dataset_digest if names == ["TRAIN"] else digest_of([dataset_digest, names])
        )
        self.backends = backends
        self.settings = settings
        self.store = store
        self.engine = engine

    @cached_property
    def refs(self) -> dict[str, ImageRef]:
        """img_id -> image that is looked at."""
        rows = [r for s in self.splits for r in self.dataset.split(s).to_dict("records")]
        return {
            str(row["img_id"]): ImageRef(
                img_id=str(row["img_id"]),
                file=str(row["img_filename"]),
                y=int(row["y"]),
                caption=str(row.get("caption") or "") or None,
                mask=str(row.get("mask_filename") or "") or None,
                objects=msgspec.json.decode(str(row.get("objects") or "{}"), type=dict[str, int]),
            )
            for row in rows
        }

    @cached_property
    def captions(self) -> Artifact[Caption]:
        """Captions of all training images."""
        return self.store.run(
            CaptionStage(self.backends.captioner, self.dataset.root),
            list(self.refs.values()),
            {"dataset": self.dataset_digest},
            self.engine,
            self.settings.caption["max_rejected"],
        )

    @cached_property
    def extractions(self) -> Artifact[Extraction]:
        """Phrases of all captions."""
        words = [class_words(self.dataset, y) for y in range(self.num_classes)]
        stage = ExtractStage(self.backends.extractor, {i: words[r.y] for i, r in self.refs.items()})
        stage.quote(self.captions.records)
        return self.store.run(
            stage,
            list(self.captions.records),
            {"caption": self.captions.digest, "dataset": self.dataset_digest},
            self.engine,
            self.settings.extract["max_rejected"],
        )

    @cached_property
    def scenes(self) -> dict[str, tuple[ImageRef, ...]]:
        """Background phrase -> training images that show it."""
        found: dict[str, list[ImageRef]] = defaultdict(list)
        for extraction in self.extractions.records:
            if extraction.background is not None:
                found[extraction.background].append(self.refs[extraction.img_id])
        return {phrase: tuple(refs) for phrase, refs in found.items()}

    @cached_property
    def edits(self) -> Artifact[Edit]:
        """Edits of up to ``images_per_class`` training images of each class."""
        settings = self.settings.edit
        seed, limit = settings["seed"], settings["images_per_class"]
        by_class: dict[int, list[Extraction]] = defaultdict(list)
        for extraction in with_alternatives(self.extractions.records, seed):
            by_class[self.refs[extraction.img_id].y].append(extraction)
        chosen: list[Extraction] = []
        for y, group in sorted(by_class.items()):
            if limit is not None and len(group) > limit:
                rng = np.random.default_rng(seed_for(seed, "edit", y))
                picked = rng.choice(len(group), limit, replace=False)
                group = [group[i] for i in sorted(picked)]
            chosen += group

        def showing(scene: str | None, img_id: str) -> tuple[ImageRef, ...]:
            return tuple(r for r in self.scenes.get(scene or "", ()) if r.img_id != img_id)

        requests = [
            EditRequest(
                ref=self.refs[e.img_id],
                extraction=e,
                donors=showing(e.alternative, e.img_id),
                control_donors=showing(e.background, e.img_id),
            )
            for e in chosen
        ]
        further = self.dataset.class_words or [()] * self.num_classes
        stage = EditStage(
            root=self.dataset.root,
            segmenter=self.backends.segmenter,
            inpainter=self.backends.inpainter,
            restyler=self.backends.restyler,
            class_words=[
                tuple(dict.fromkeys(w.lower().replace("_", " ") for w in (name, *words)))
                for name, words in zip(self.dataset.class_names, further, strict=True)
            ],
            **settings,
        )
        upstream = {"extract": self.extractions.digest, "dataset": self.dataset_digest}
        return self.store.run(stage, requests, upstream, self.engine)

    def on(self, split: Split) -> Pipeline:
        """The same stages for the images of another split; classes, names and store are shared."""
        return Pipeline(
            self.dataset,
            self._digest,
            self.backends,
            self.settings,
            self.store,
            self.engine,
            (split,),
        )

    @cached_property
    def phrase_groups(self) -> Artifact[PhraseGroup]:
        """Which phrases of the captions are counted together."""
        return self._collapse(Vocabulary(self._counts()), {"extract": self.extractions.digest})

    def phrase_groups_with(self, known: Artifact[PhraseGroup]) -> Artifact[PhraseGroup]:
        """The same, where the groups of other captions come first and keep their names."""
        upstream = {"extract": self.extractions.digest, "collapse": known.digest}
        return self._collapse(Vocabulary(self._counts(), collapsed_by(known)), upstream)

    def _counts(self) -> dict[str, int]:
        counts: Counter[str] = Counter()
        for extraction in self.extractions.records:
            counts.update({phrase for _, phrase in phrases_of(extraction)})
        return dict(counts)

    def _collapse(self, words: Vocabulary, upstream: dict[str, str]) -> Artifact[PhraseGroup]:
        stage = CollapseStage(Collapser(**self.settings.discover["collapse"]))
        return self.store.run(stage, [words], upstream, self.engine)

    def discover(self, classifier: Probabilities) -> Discovery:
        """Which features the classifier leans on."""
        by_image: dict[str, list[Edit]] = defaultdict(list)
        for edit in self.edits.records:
            by_image[edit.img_id].append(edit)
        effects = self.store.run(
            ScoreStage(classifier, self.dataset.root, self.edits.folder),
            [EditedImage(self.refs[i], tuple(e)) for i, e in sorted(by_image.items())],
            {"edit": self.edits.digest, "dataset": self.dataset_digest},
            self.engine,
        )
        features = self.store.run(
            RankStage(self.backends.score, self.num_classes),
            [self.evidence(effects)],
            {
                "score": effects.digest,
                "extract": self.extractions.digest,
                "collapse": self.phrase_groups.digest,
                "dataset": self.dataset_digest,
            },
            self.engine,
        )
        return Discovery(self.edits, effects, features)

    def evidence(self, effects: Artifact[Effect]) -> Evidence:
        """What a score judges: the effects by collapsed phrase, and the images that were asked."""
        extractions = {e.img_id: e for e in self.extractions.records}
        right = sorted({e.img_id for e in effects.records})
        wrong = sorted(r.item_id for r in effects.rejected if r.reason == "misclassified")
        return Evidence(
            gather(
                effects.records,
                [(self.refs[i].y, extractions[i]) for i in right],
                [(self.refs[i].y, extractions[i]) for i in wrong],
                collapsed_by(self.phrase_groups),
            ),
            tuple(self.refs[i] for i in right),
            tuple(self.refs[i] for i in wrong),
            self.dataset.root,
        )

    def generate(self, classifier: Probabilities, seed: int) -> Generation:
        """Images without the features that the classifier leans on.

        Raises:
            NothingFoundError: when no class has a spurious feature.
            AspireError: when the filters keep less than ``stage.filter.min_kept``.
        """
        discovery = self.discover(classifier)
        concepts = self._concepts(discovery)
        images = self._images(concepts, seed)
        measurements = self.store.run(
            MeasureStage(self.backends.filters, classifier, images.folder),
            list(images.records),
            {"generate": images.digest},
            self.engine,
        )
        decisions = self.store.run(
            FilterStage(self.backends.filters),
            [MeasuredSet(measurements.records)],
            {"measure": measurements.digest},
            self.engine,
        )
        good = {d.img_id for d in decisions.records if d.kept}
        share = len(good) / max(1, len(images.records))
        if share < self.settings.filter["min_kept"]:
            raise AspireError(
                f"The filters kept {len(good)} of {len(images.records)} generated images "
                f"({share:.0%}; stage.filter.min_kept={self.settings.filter['min_kept']}). "
                f"Reasons: {count_reasons(decisions.records)}. Look at {images.folder}, then "
                "change a filter's threshold (filter.NAME...=...) or lower "
                "stage.filter.min_kept."
            )
        kept = [i for i in images.records if i.img_id in good]
        return Generation(
            concepts,
            images,
            measurements,
            decisions,
            GeneratedSet(
                root=images.folder,
                files=tuple(i.file for i in kept),
                y=tuple(i.y for i in kept),
                scene_parents=tuple(i.parents[-1] for i in kept),
                digest=digest_of([images.digest, decisions.digest]),
            ),
        )

    def _concepts(self, discovery: Discovery) -> Artifact[Concept]:
        # Features are of collapsed phrases, so a personaliser is told everything in those.
        name = collapsed_by(self.phrase_groups)
        phrases = {
            e.img_id: frozenset(name[p] for _, p in phrases_of(e)) for e in self.extractions.records
        }
        scenes: dict[str, tuple[ImageRef, ...]] = defaultdict(tuple)
        for phrase, refs in sorted(self.scenes.items()):
            scenes[name[phrase]] += refs
        effects = [
            msgspec.structs.replace(
                e, phrase=name[e.phrase], replacement=name.get(e.replacement or "", e.replacement)
            )
            for e in discovery.effects.records
        ]
        evidence = [
            ClassEvidence(
                y=y,
                name=class_name,
                features=tuple(f for f in discovery.features.records if f.y == y),
                effects=tuple(e for e in effects if e.y == y),
                objects=tuple(r for r in self.refs.values() if r.y == y and r.mask is not None),
                scenes=dict(scenes),
                phrases=phrases,
            )
            for y, class_name in enumerate(self.dataset.class_names)
        ]
        concepts = self.store.run(
            PersonaliseStage(self.backends.personaliser),
            evidence,
            {
                "discover": discovery.features.digest,
                "score": discovery.effects.digest,
                "extract": self.extractions.digest,
                "collapse": self.phrase_groups.digest,
                "dataset": self.dataset_digest,
            },
            self.engine,
        )
        if not concepts.records:
            raise NothingFoundError(concepts.rejected)
        return concepts

    def _images(self, concepts: Artifact[Concept], seed: int) -> Artifact[SyntheticImage]:
        counts = [sum(r.y == y for r in self.refs.values()) for y in range(self.num_classes)]
        settings = self.settings.generate
        number = {
            c.y: min(settings["max_per_class"], round(settings["per_real"] * counts[c.y]))
            for c in concepts.records
        }
        requests = [
            GenerationRequest(
                img_id=f"generated-{c.y:03d}-{index:05d}",
                concept=c,
                class_name=self.dataset.class_names[c.y],
                seed=seed_for(seed, "generate", c.y, index),
            )
            for c in concepts.records
            for index in range(number[c.y])
        ]
        sampler = self.backends.sampler(root=self.dataset.root, refs=self.refs)
        return self.store.run(
            GenerateStage(sampler, seed, number),
            requests,
            {"personalise": concepts.digest, "dataset": self.dataset_digest},
            self.engine,
            max_rejected=0.5,
        )

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.dataset.class_names)


def collapsed_by(groups: Artifact[PhraseGroup]) -> dict[str, str]:
    """Phrase -> the phrase it is counted under."""
    return {member: group.phrase for group in groups.records for member in group.members}


def class_words(dataset: Dataset, y: int) -> list[str]:
    """Lower-case words for the object of a class: its name's and the dataset's further ones."""
    further = dataset.class_words[y] if dataset.class_words else ()
    return sorted({w.lower() for w in (*further, *dataset.class_names[y].split())})


def count_reasons(decisions: Sequence[FilterDecision]) -> str:
    """Rejections by filter, for one line of text."""
    counts: dict[str, int] = defaultdict(int)
    for decision in decisions:
        if decision.reason is not None:
            counts[decision.reason] += 1
    return ", ".join(f"{reason} {n}" for reason, n in sorted(counts.items())) or "none"
