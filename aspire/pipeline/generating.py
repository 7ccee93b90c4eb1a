"""The generating half of the flow: from what a classifier leans on to images without it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from aspire.classification.predictor import Probabilities
from aspire.data.image_table import ImageTable
from aspire.data.table import Split
from aspire.discovery.rank import phrases_of
from aspire.errors import AspireError
from aspire.generation.base import ClassEvidence, GeneratedSet, GenerationRequest
from aspire.pipeline.parts import Discovery, Generation, NothingFoundError, collapsed_by
from aspire.pipeline.records import Concept, FilterDecision, ImageRef, SyntheticImage
from aspire.pipeline.stages.filter import FilterStage, MeasuredSet, MeasureStage
from aspire.pipeline.stages.generate import GenerateStage, PersonaliseStage
from aspire.pipeline.store import Artifact, digest_of
from aspire.rng import seed_for

if TYPE_CHECKING:
    from aspire.pipeline.flow import Pipeline


def generate(pipeline: Pipeline, classifier: Probabilities, seed: int) -> Generation:
    """See :meth:`aspire.pipeline.flow.Pipeline.generate`."""
    discovery = pipeline.discover(classifier)
    concepts = _concepts(pipeline, discovery)
    images = _images(pipeline, concepts, seed)
    dataset = pipeline.dataset
    measurements = pipeline.store.run(
        MeasureStage(
            pipeline.backends.filters,
            classifier,
            images.folder,
            class_names=dataset.class_names,
            avoided={c.y: c.avoided for c in concepts.records},
            train=ImageTable.of(dataset, Split.TRAIN),
            test=ImageTable.of(dataset, Split.TEST) if Split.TEST in dataset.splits else None,
        ),
        list(images.records),
        {
            "generate": images.digest,
            "personalise": concepts.digest,
            "dataset": pipeline.dataset_digest,
        },
        pipeline.engine,
    )
    decisions = pipeline.store.run(
        FilterStage(pipeline.backends.filters),
        [MeasuredSet(measurements.records)],
        {"measure": measurements.digest},
        pipeline.engine,
    )
    good = {d.img_id for d in decisions.records if d.kept}
    share = len(good) / max(1, len(images.records))
    if share < pipeline.settings.filter["min_kept"]:
        raise AspireError(
            f"The filters kept {len(good)} of {len(images.records)} generated images "
            f"({share:.0%}; stage.filter.min_kept={pipeline.settings.filter['min_kept']}). "
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


def _concepts(pipeline: Pipeline, discovery: Discovery) -> Artifact[Concept]:
    # Features are of collapsed phrases, so a personaliser is told everything in those.
    name = collapsed_by(pipeline.phrase_groups)
    phrases = {
        e.img_id: frozenset(name[p] for _, p in phrases_of(e)) for e in pipeline.extractions.records
    }
    scenes: dict[str, tuple[ImageRef, ...]] = defaultdict(tuple)
    for phrase, refs in sorted(pipeline.scenes.items()):
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
            objects=tuple(r for r in pipeline.refs.values() if r.y == y and r.mask is not None),
            scenes=dict(scenes),
            phrases=phrases,
            edited={
                e.edit_id: discovery.edits.folder / e.file
                for e in discovery.edits.records
                if e.y == y
            },
        )
        for y, class_name in enumerate(pipeline.dataset.class_names)
    ]
    concepts = pipeline.store.run(
        PersonaliseStage(pipeline.backends.personaliser),
        evidence,
        {
            "discover": discovery.features.digest,
            "score": discovery.effects.digest,
            "edit": discovery.edits.digest,
            "extract": pipeline.extractions.digest,
            "collapse": pipeline.phrase_groups.digest,
            "dataset": pipeline.dataset_digest,
        },
        pipeline.engine,
    )
    if not concepts.records:
        raise NothingFoundError(concepts.rejected)
    return concepts


def _images(pipeline: Pipeline, concepts: Artifact[Concept], seed: int) -> Artifact[SyntheticImage]:
    counts = [sum(r.y == y for r in pipeline.refs.values()) for y in range(pipeline.num_classes)]
    settings = pipeline.settings.generate
    number = {
        c.y: min(settings["max_per_class"], round(settings["per_real"] * counts[c.y]))
        for c in concepts.records
    }
    requests = [
        GenerationRequest(
            img_id=f"generated-{c.y:03d}-{index:05d}",
            concept=c,
            class_name=pipeline.dataset.class_names[c.y],
            seed=seed_for(seed, "generate", c.y, index),
        )
        for c in concepts.records
        for index in range(number[c.y])
    ]
    sampler = pipeline.backends.sampler(root=pipeline.dataset.root, refs=pipeline.refs)
    return pipeline.store.run(
        GenerateStage(sampler, seed, number),
        requests,
        {"personalise": concepts.digest, "dataset": pipeline.dataset_digest},
        pipeline.engine,
        max_rejected=0.5,
    )


def count_reasons(decisions: Sequence[FilterDecision]) -> str:
    """Rejections by filter, for one line of text."""
    counts: dict[str, int] = defaultdict(int)
    for decision in decisions:
        if decision.reason is not None:
            counts[decision.reason] += 1
    return ", ".join(f"{reason} {n}" for reason, n in sorted(counts.items())) or "none"
