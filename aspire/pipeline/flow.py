"""The stages wired together for one dataset: what feeds what, and which digests travel along."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from inspect import signature
from typing import Any

import msgspec
import numpy as np

from aspire.classification.examination import Examination, examined
from aspire.classification.predictor import Probabilities
from aspire.data.table import PHOTOGRAPH, Dataset, Split
from aspire.discovery.base import Evidence
from aspire.discovery.collapse import Apart, Collapser
from aspire.discovery.rank import gather, phrases_of
from aspire.editing.donors import Hand, deal
from aspire.generation.base import Sampler
from aspire.identity import digest_of
from aspire.language.base import Looking, Priced
from aspire.pipeline.deciding import check_dataset, check_found, check_phrases, say_unfound
from aspire.pipeline.parts import (
    Backends,
    Discovery,
    StageSettings,
    class_words,
    collapsed_by,
)
from aspire.pipeline.stage import Engine
from aspire.pipeline.stages.caption import CaptionStage
from aspire.pipeline.stages.decide import Found, JudgeFeatures, MergePhrases
from aspire.pipeline.stages.discover import (
    CollapseStage,
    EditedImage,
    RankStage,
    ScoreStage,
    Vocabulary,
)
from aspire.pipeline.stages.edit import EditRequest, EditStage
from aspire.pipeline.stages.examine import SAMPLE, ExamineStage
from aspire.pipeline.stages.extract import ExtractStage, with_alternatives
from aspire.pipeline.stages.look import ConceptStage, LookStage, Sample
from aspire.pipeline.store import Artifact, ArtifactStore
from aspire.records import (
    Caption,
    ConceptSpace,
    Edit,
    Effect,
    Extraction,
    ImageRef,
    PhraseGroup,
    SpuriousFeature,
)
from aspire.rng import seed_for
from aspire.stored.decisions import Decisions

MOST_SEEN = 2000  # images of all classes that concepts are learnt from: 240 MB of features
LEAST_SEEN = 20  # of each class all the same


class Pipeline:
    """All stages of ASPIRE for one dataset. Every method returns from the store what is there.

    Args:
        dataset, dataset_digest: what to look at.
        backends, settings: who does it and how.
        store, engine: where it is kept and how it is processed.
        splits: whose images are looked at.
        decisions: of a person, which are obeyed; None for none.
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
        decisions: Decisions | None = None,
    ) -> None:
        if decisions is not None:
            check_dataset(decisions, dataset, dataset_digest)
        self.dataset = dataset
        self.decisions = decisions
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
        self._found: dict[str, Discovery] = {}  # digest of a classifier -> of it
        self._learnt: Pipeline | None = None  # whose visual concepts are looked for

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
                photograph=str(row.get(PHOTOGRAPH) or "") or None,
            )
            for row in rows
        }

    @cached_property
    def captions(self) -> Artifact[Caption]:
        """Captions of all training images."""
        return self.store.run(
            CaptionStage(self.backends.captioner, self.dataset.root, self._object_words),
            list(self.refs.values()),
            {"dataset": self.dataset_digest},
            self.engine,
            self.settings.caption["max_rejected"],
        )

    @cached_property
    def concepts(self) -> Artifact[ConceptSpace]:
        """Visual concepts of the training images, where the extractor looks for such."""
        if self._learnt is not None:
            return self._learnt.concepts
        extractor = self.backends.extractor
        assert isinstance(extractor, Looking)
        by_class: dict[int, list[ImageRef]] = defaultdict(list)
        for ref in self.refs.values():
            by_class[ref.y].append(ref)
        chosen: list[ImageRef] = []
        for y, refs in sorted(by_class.items()):
            rng = np.random.default_rng(seed_for(0, "concept", y))
            most = max(LEAST_SEEN, MOST_SEEN // self.num_classes)
            number = min(len(refs), extractor.images_per_class, most)
            chosen += [refs[i] for i in sorted(rng.choice(len(refs), number, replace=False))]
        words = [class_words(self.dataset, y) for y in range(self.num_classes)]
        return self.store.run(
            ConceptStage(extractor, words, self.dataset.root),
            [Sample(tuple(chosen))],
            {"dataset": self.dataset_digest},
            self.engine,
        )

    @cached_property
    def extractions(self) -> Artifact[Extraction]:
        """Phrases of all captions, or visual concepts of all images."""
        extractor = self.backends.extractor
        if isinstance(extractor, Looking):
            return self.store.run(
                LookStage(extractor, self.concepts.records[0], self.dataset.root),
                list(self.refs.values()),
                {"concept": self.concepts.digest, "dataset": self.dataset_digest},
                self.engine,
            )
        stage = self._extract_stage()
        stage.quote(self.captions.records)
        return self.store.run(
            stage,
            list(self.captions.records),
            {"caption": self.captions.digest, "dataset": self.dataset_digest},
            self.engine,
            self.settings.extract["max_rejected"],
        )

    @cached_property
    def _object_words(self) -> list[tuple[str, ...]]:
        """For each class the phrases that name its object, its name first."""
        further = self.dataset.class_words or [()] * self.num_classes
        return [
            tuple(dict.fromkeys(w.lower().replace("_", " ") for w in (name, *words)))
            for name, words in zip(self.dataset.class_names, further, strict=True)
        ]

    def quote(self) -> None:
        """Let an extractor that costs money say its price before any other costly work.

        Raises:
            DryRun, ConfigError: see :class:`aspire.language.base.Priced`.
        """
        if isinstance(self.backends.extractor, Priced):
            self._extract_stage().quote(self.captions.records)

    def _extract_stage(self) -> ExtractStage:
        words = [class_words(self.dataset, y) for y in range(self.num_classes)]
        extractor = self.backends.extractor
        assert not isinstance(extractor, Looking)
        return ExtractStage(extractor, {i: words[r.y] for i, r in self.refs.items()})

    @cached_property
    def phrases(self) -> dict[str, frozenset[str]]:
        """img_id -> every phrase of that image, as it is counted."""
        name = collapsed_by(self.phrase_groups)
        return {
            e.img_id: frozenset(name[p] for _, p in phrases_of(e)) for e in self.extractions.records
        }

    @cached_property
    def places(self) -> dict[str, int]:
        """img_id -> annotated attribute of an image that is looked at, -1 where unknown."""
        table = self.dataset.table
        known = dict(zip(table["img_id"].astype(str), table["place"].astype(int), strict=True))
        return {img_id: known[img_id] for img_id in self.refs}

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
        needs_donors = self.backends.restyler.needs_donors
        classes = {img_id: ref.y for img_id, ref in self.refs.items()}
        for extraction in with_alternatives(self.extractions.records, seed, needs_donors, classes):
            by_class[classes[extraction.img_id]].append(extraction)
        chosen: list[Extraction] = []
        for y, group in sorted(by_class.items()):
            if limit is not None and len(group) > limit:
                rng = np.random.default_rng(seed_for(seed, "edit", y))
                picked = rng.choice(len(group), limit, replace=False)
                group = [group[i] for i in sorted(picked)]
            chosen += group

        hands = deal(chosen, self.refs, self.scenes, seed)
        requests = [
            EditRequest(
                ref=self.refs[e.img_id],
                extraction=e,
                donors=hands.get(e.img_id, Hand()).donors,
                control_donors=hands.get(e.img_id, Hand()).controls,
                spare=self.scenes.get(e.alternative or "", ()),
                control_spare=self.scenes.get(e.background or "", ()),
            )
            for e in chosen
        ]
        stage = EditStage(
            root=self.dataset.root,
            segmenter=self.backends.segmenter,
            inpainter=self.backends.inpainter,
            restyler=self.backends.restyler,
            class_words=self._object_words,
            **settings,
        )
        upstream = {"extract": self.extractions.digest, "dataset": self.dataset_digest}
        shown = {i: r.photograph for i, r in self.refs.items() if r.photograph}
        if shown:  # which the dataset's digest knows nothing of
            upstream["photographs"] = digest_of(dict(shown))
        return self.store.run(stage, requests, upstream, self.engine)

    def on(self, split: Split) -> Pipeline:
        """The same stages for the images of another split; classes, names and store are shared."""
        other = Pipeline(
            self.dataset,
            self._digest,
            self.backends,
            self.settings,
            self.store,
            self.engine,
            (split,),
        )
        other._learnt = self._learnt or self
        return other

    @cached_property
    def phrase_groups(self) -> Artifact[PhraseGroup]:
        """Which phrases of the captions are counted together, by their words or by a person."""
        groups = self._found_groups
        if self.decisions is None or not self.decisions.merged:
            return groups
        return self.store.run(
            MergePhrases(self.decisions.merged),
            [Found(groups=groups.records)],
            {"collapse": groups.digest},
            self.engine,
        )

    @cached_property
    def _found_groups(self) -> Artifact[PhraseGroup]:
        groups = self._collapse(Vocabulary(self._counts()), {"extract": self.extractions.digest})
        if self.decisions is not None:
            check_phrases(self.decisions, groups.records)
        return groups

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
        looked = isinstance(self.backends.extractor, Looking)
        stage = CollapseStage(
            Apart() if looked else Collapser(**self.settings.discover["collapse"])
        )
        return self.store.run(stage, [words], upstream, self.engine)

    def check(self) -> None:
        """Refuse models that are missing or of another kind before any work is done.

        Raises:
            AspireError: see :meth:`aspire.pretrained.Checkpoint.identity`.
        """
        b = self.backends
        for backend in (b.captioner, b.extractor, b.segmenter, b.inpainter, b.restyler, b.score):
            backend.identity()

    def check_making(self) -> None:
        """The same for what generates, which is needed last."""
        self.backends.personaliser.identity()
        self.sampler().identity()
        for judge in self.backends.filters:
            judge.measured()

    def sampler(self) -> Sampler:
        """What generates; told what class objects are called where it looks for them."""
        told: dict[str, Any] = {"root": self.dataset.root, "refs": self.refs}
        if "class_words" in signature(self.backends.sampler).parameters:
            told["class_words"] = self._object_words
        return self.backends.sampler(**told)

    def examine(self, classifier: Probabilities) -> Examination:
        """How the classifier does on the images that are looked at, or on a sample of many.

        Raises:
            AspireError: when it cannot answer.
        """
        refs = list(self.refs.values())
        if len(refs) > SAMPLE:
            picked = np.random.default_rng(seed_for(0, "examine")).choice(len(refs), SAMPLE, False)
            refs = [refs[i] for i in sorted(picked)]
        answers = self.store.run(
            ExamineStage(classifier, self.dataset.root),
            refs,
            {"dataset": self.dataset_digest},
            self.engine,
        ).records
        return examined(
            self.dataset.class_names,
            [a.y for a in answers],
            [a.predicted for a in answers],
            of=len(self.refs),
            splits=[s.name.lower() for s in self.splits],
        )

    def discover(self, classifier: Probabilities) -> Discovery:
        """Which features the classifier leans on."""
        if classifier.digest not in self._found:
            self._found[classifier.digest] = self._discover(classifier)
        return self._found[classifier.digest]

    def _discover(self, classifier: Probabilities) -> Discovery:
        by_image: dict[str, list[Edit]] = defaultdict(list)
        for edit in self.edits.records:
            by_image[edit.img_id].append(edit)
        effects = self.store.run(
            ScoreStage(classifier, self.dataset.root, self.edits.folder),
            [EditedImage(self.refs[i], tuple(e)) for i, e in sorted(by_image.items())],
            {"edit": self.edits.digest, "dataset": self.dataset_digest},
            self.engine,
        )
        if self.decisions is None:
            return Discovery(self.edits, effects, self._ranked(effects, self.phrase_groups))
        found = self._ranked(effects, self._found_groups)
        check_found(self.decisions, found.digest)
        features = self._judged(self._ranked(effects, self.phrase_groups))
        return Discovery(self.edits, effects, features, found)

    def _ranked(
        self, effects: Artifact[Effect], groups: Artifact[PhraseGroup]
    ) -> Artifact[SpuriousFeature]:
        return self.store.run(
            RankStage(self.backends.score, self.num_classes),
            [self.evidence(effects, groups)],
            {
                "score": effects.digest,
                "extract": self.extractions.digest,
                "collapse": groups.digest,
                "dataset": self.dataset_digest,
            },
            self.engine,
        )

    def _judged(self, features: Artifact[SpuriousFeature]) -> Artifact[SpuriousFeature]:
        """The features as a person judged them."""
        assert self.decisions is not None
        if not self.decisions.judged:
            return features
        say_unfound(self.decisions, features.records)
        return self.store.run(
            JudgeFeatures(self.decisions.judged, self.dataset.class_names),
            [Found(features=features.records, without=features.rejected)],
            {"discover": features.digest},
            self.engine,
        )

    def evidence(self, effects: Artifact[Effect], groups: Artifact[PhraseGroup]) -> Evidence:
        """What a score judges: the effects by collapsed phrase, and the images that were asked."""
        extractions = {e.img_id: e for e in self.extractions.records}
        right = sorted({e.img_id for e in effects.records})
        wrong = sorted(r.item_id for r in effects.rejected if r.reason == "misclassified")
        return Evidence(
            gather(
                effects.records,
                [(self.refs[i].y, extractions[i]) for i in right],
                [(self.refs[i].y, extractions[i]) for i in wrong],
                collapsed_by(groups),
            ),
            tuple(self.refs[i] for i in right),
            tuple(self.refs[i] for i in wrong),
            self.dataset.root,
        )

    def with_parts(self, settings: StageSettings, **parts: Any) -> Pipeline:
        """The same stages up to the edits, with other parts and settings for those after them.

        Args:
            settings: of ``generate`` and ``filter``; the others stay.
            **parts: some of ``score``, ``personaliser``, ``sampler``, ``filters``.
        """
        other = copy(self)  # shares what is known already
        other._found = {}
        other.backends = replace(self.backends, **parts)
        other.settings = replace(self.settings, generate=settings.generate, filter=settings.filter)
        if other.backends.score.identity() != self.backends.score.identity():
            other.decisions = None  # which are on other findings
            other.__dict__.pop("phrase_groups", None)
            other.__dict__.pop("phrases", None)
        elif self.decisions is not None:  # and on other images
            other.decisions = replace(self.decisions, images={})
        return other

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.dataset.class_names)
