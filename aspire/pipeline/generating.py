"""The generating half of the flow: from what a classifier leans on to images without it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import msgspec

from aspire.classification.predictor import Probabilities
from aspire.data.image_table import ImageTable
from aspire.data.table import Split
from aspire.errors import AspireError, ConfigError
from aspire.generation.base import (
    Captioned,
    ClassEvidence,
    GeneratedSet,
    GenerationRequest,
    ShowsUsual,
    speaks,
)
from aspire.generation.class_nouns import Wording, wordings
from aspire.generation.contexts import in_usual_scenes
from aspire.generation.quota import Limited, images_wanted
from aspire.generation.scene_labels import scene_parents
from aspire.identity import digest_of
from aspire.language.base import Looking
from aspire.pipeline.deciding import sorted_images
from aspire.pipeline.flow import Pipeline
from aspire.pipeline.parts import Discovery, Generation, NothingFoundError, collapsed_by
from aspire.pipeline.stages.decide import Found, SortImages
from aspire.pipeline.stages.filter import FilterStage, MeasuredSet, MeasureStage
from aspire.pipeline.stages.generate import GenerateStage, PersonaliseStage
from aspire.pipeline.stages.nearest import NearestStage
from aspire.pipeline.store import Artifact
from aspire.records import (
    Concept,
    FilterDecision,
    ImageRef,
    Measurement,
    Neighbour,
    Rejected,
    SyntheticImage,
)
from aspire.rng import seed_for

NEIGHBOURS = 8  # kept images of a class that are held against the real ones


def generate(pipeline: Pipeline, classifier: Probabilities, seed: int) -> Generation:
    """Images without the features that the classifier leans on.

    Raises:
        NothingFoundError: when no class has a spurious feature.
        ConfigError: when the generator can make nothing of what the personaliser hands on.
        AspireError: when the filters keep less than ``stage.filter.min_kept``.
    """
    discovery = pipeline.discover(classifier)
    evidence = _evidence(pipeline, discovery)
    concepts = _concepts(pipeline, discovery, evidence)
    asked = _asked(pipeline, concepts, evidence)
    _check_pair(pipeline, concepts.records)
    requests = _requests(pipeline, asked, seed)
    images = _images(pipeline, concepts, asked, requests, seed)
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
            wordings=wordings_of(pipeline),
            usual=frozenset(r.img_id for r in requests if not r.concept.avoided),
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
    filtered, decisions = decisions, _sorted(pipeline, images, measurements, decisions, seed)
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
        _nearest(pipeline, images, decisions, kept),
        GeneratedSet(
            root=images.folder,
            files=tuple(i.file for i in kept),
            y=tuple(i.y for i in kept),
            scene_parents=scene_parents(
                kept,
                asked,
                {p: [r.img_id for r in refs] for p, refs in _scenes(pipeline).items()},
                pipeline.phrases,
                pipeline.places,
                {r.img_id: r.y for r in pipeline.refs.values()},
            ),
            digest=digest_of([images.digest, decisions.digest]),
            parents=tuple(i.parents[0] for i in kept),
        ),
        filtered if filtered is not decisions else None,
    )


def _sorted(
    pipeline: Pipeline,
    images: Artifact[SyntheticImage],
    measurements: Artifact[Measurement],
    decisions: Artifact[FilterDecision],
    seed: int,
) -> Artifact[FilterDecision]:
    """The verdicts of the filters, but for the images that a person has sorted."""
    if pipeline.decisions is None:
        return decisions
    by_hand = sorted_images(pipeline.decisions, seed, images.records)
    if not by_hand:
        return decisions
    return pipeline.store.run(
        SortImages(by_hand),
        [Found(verdicts=decisions.records)],
        {"filter": decisions.digest, "measure": measurements.digest},
        pipeline.engine,
    )


def _evidence(pipeline: Pipeline, discovery: Discovery) -> list[ClassEvidence]:
    """What is known of each class; in collapsed phrases, as features are of those."""
    name = collapsed_by(pipeline.phrase_groups)
    scenes = _scenes(pipeline)
    effects = [
        msgspec.structs.replace(
            e, phrase=name[e.phrase], replacement=name.get(e.replacement or "", e.replacement)
        )
        for e in discovery.effects.records
    ]
    said = wordings_of(pipeline)
    known = _with_objects(pipeline)
    shown = {e.img_id: e.background or "" for e in pipeline.extractions.records}
    looked = isinstance(pipeline.backends.extractor, Looking)  # then nobody is asked for captions
    captioned = tuple(
        Captioned(
            pipeline.dataset.root / pipeline.refs[c.img_id].file,
            pipeline.refs[c.img_id].y,
            c.text,
            shown.get(c.img_id, ""),
        )
        for c in (() if looked else pipeline.captions.records)
    )
    edits, folder = discovery.edits.records, discovery.edits.folder
    found = {(f.y, f.phrase) for f in discovery.features.records if f.spurious}
    objects = [e for e in effects if e.kind == "remove_object" and (e.y, e.phrase) in found]
    masks = {e.edit_id: folder / e.mask for e in edits}
    return [
        ClassEvidence(
            y=y,
            name=class_name,
            features=tuple(f for f in discovery.features.records if f.y == y),
            effects=tuple(e for e in effects if e.y == y),
            objects=tuple(r for r in known if r.y == y),
            scenes=scenes,
            phrases=pipeline.phrases,
            edited={e.edit_id: folder / e.file for e in edits if e.y == y},
            wording=said[y],
            captioned=captioned,
            controls={e.edit_id: folder / e.control for e in edits if e.y == y and e.control},
            foreign=tuple(e for e in objects if e.y != y),
            masks=masks,
        )
        for y, class_name in enumerate(pipeline.dataset.class_names)
    ]


def _concepts(
    pipeline: Pipeline, discovery: Discovery, evidence: Sequence[ClassEvidence]
) -> Artifact[Concept]:
    concepts = pipeline.store.run(
        PersonaliseStage(pipeline.backends.personaliser),
        list(evidence),
        {
            "discover": discovery.features.digest,
            "score": discovery.effects.digest,
            "edit": discovery.edits.digest,
            "extract": pipeline.extractions.digest,
            "collapse": pipeline.phrase_groups.digest,
            "dataset": pipeline.dataset_digest,
            **_wording(pipeline.backends.personaliser, wordings_of(pipeline)),
        },
        pipeline.engine,
    )
    if not concepts.records:
        raise NothingFoundError(concepts.rejected)
    return concepts


def _check_pair(pipeline: Pipeline, concepts: Sequence[Concept]) -> None:
    """Edited images and regions are made images of by their own generator, and by it alone.

    Raises:
        ConfigError: otherwise.
    """
    sampler, personaliser = pipeline.sampler(), pipeline.backends.personaliser
    if isinstance(sampler, Limited):
        fits = any(sampler.available(c) for c in concepts)
    else:
        # what new images can be made of: an object to place, a word to say, weights to draw with
        fits = all(c.objects or c.tokens or c.weights for c in concepts)
    if not fits:
        maker, learner = type(sampler).__name__, type(personaliser).__name__
        raise ConfigError(
            f"The generator ({maker}) can make nothing of what the personaliser ({learner}) hands "
            "on. Expected personaliser=edits with generator=edits, personaliser=regions with "
            "generator=regions, or neither: augmentation=edits and augmentation=swaps choose both."
        )


def _scenes(pipeline: Pipeline) -> dict[str, tuple[ImageRef, ...]]:
    """Collapsed background phrase -> training images that show it."""
    name = collapsed_by(pipeline.phrase_groups)
    scenes: dict[str, tuple[ImageRef, ...]] = defaultdict(tuple)
    for phrase, refs in sorted(pipeline.scenes.items()):
        scenes[name[phrase]] += refs
    return dict(scenes)


def _asked(
    pipeline: Pipeline, concepts: Artifact[Concept], evidence: Sequence[ClassEvidence]
) -> list[Concept]:
    """What images are made of: the concepts and, with usual images, the classes without a feature.

    A class of which nothing was found is made in any scene. It is left out where every class has
    learnt weights of its own: its images would look unlike the others.
    """
    asked = list(concepts.records)
    learnt = {(c.weights, c.weights_sha256) for c in asked}
    if not pipeline.settings.generate.get("usual", 0.0) or len(learnt) > 1:
        return asked
    ((weights, sha256),) = learnt
    personaliser = pipeline.backends.personaliser
    for y in (int(r.item_id) for r in concepts.rejected if r.reason == "no_spurious_feature"):
        if isinstance(personaliser, ShowsUsual):
            usual = personaliser.usual(evidence[y])
        else:
            unfound = Concept(
                concept_id=f"{y:03d}",
                y=y,
                objects=tuple(sorted(r.img_id for r in evidence[y].objects)),
                contexts=(),
                avoided=(),
                weights=weights,
                weights_sha256=sha256,
            )
            usual = _as_usual(pipeline, unfound) if unfound.objects else None
        asked += [] if usual is None else [usual]
    return sorted(asked, key=lambda c: c.y)


def _as_usual(pipeline: Pipeline, concept: Concept) -> Concept | None:
    scenes = {p: [r.img_id for r in refs] for p, refs in _scenes(pipeline).items()}
    return in_usual_scenes(concept, scenes)


def _with_objects(pipeline: Pipeline) -> list[ImageRef]:
    """Training images; those without a mask are left out where others have one."""
    refs = list(pipeline.refs.values())
    return [r for r in refs if r.mask is not None] or refs


def _requests(pipeline: Pipeline, asked: Sequence[Concept], seed: int) -> list[GenerationRequest]:
    """Every image to be made, the usual ones spread evenly among those of a class."""
    sampler = pipeline.sampler()
    phrases: dict[int, list[frozenset[str]]] = defaultdict(list)
    for img_id, shown in pipeline.phrases.items():
        phrases[pipeline.refs[img_id].y].append(shown)
    counts = [sum(r.y == y for r in pipeline.refs.values()) for y in range(pipeline.num_classes)]
    number = images_wanted(pipeline.settings.generate, asked, phrases, counts, sampler)
    found = [c for c in asked if c.avoided] or list(asked)  # or classes that get objects of others
    if not any(number[c.y] for c in found):
        why = "no image is wanted: captions name no found feature more often than not"
        raise NothingFoundError(
            [Rejected(item_id=c.concept_id, reason="balanced", detail=why) for c in found]
        )
    said = wordings_of(pipeline)
    share = float(pipeline.settings.generate.get("usual", 0.0))
    return [
        GenerationRequest(
            img_id=f"generated-{c.y:03d}-{index:05d}",
            concept=usual if int((index + 1) * share) > int(index * share) else c,
            class_name=pipeline.dataset.class_names[c.y],
            seed=seed_for(seed, "generate", c.y, index),
            wording=said[c.y],
        )
        for c in asked
        for usual in ((_as_usual(pipeline, c) if share and c.avoided else None) or c,)
        for index in range(number[c.y])
    ]


def _images(
    pipeline: Pipeline,
    concepts: Artifact[Concept],
    asked: Sequence[Concept],
    requests: Sequence[GenerationRequest],
    seed: int,
) -> Artifact[SyntheticImage]:
    sampler = pipeline.sampler()
    said = wordings_of(pipeline)
    number = Counter(r.concept.y for r in requests)
    usual = float(pipeline.settings.generate.get("usual", 0.0))
    unfound = [msgspec.to_builtins(c) for c in asked if not c.avoided]
    return pipeline.store.run(
        GenerateStage(sampler, seed, {c.y: number[c.y] for c in asked}, usual),
        requests,
        {
            "personalise": concepts.digest,
            "dataset": pipeline.dataset_digest,
            **({"unfound": digest_of(unfound)} if unfound else {}),
            **_wording(sampler, said),
        },
        pipeline.engine,
        max_rejected=float(pipeline.settings.generate.get("max_rejected", 0.5)),
    )


def _nearest(
    pipeline: Pipeline,
    images: Artifact[SyntheticImage],
    decisions: Artifact[FilterDecision],
    kept: Sequence[SyntheticImage],
) -> Artifact[Neighbour]:
    """The nearest real images of a sample that is spread evenly over each class."""
    classes: dict[int, list[SyntheticImage]] = defaultdict(list)
    for image in kept:
        classes[image.y].append(image)
    sample = [
        group[i * len(group) // min(NEIGHBOURS, len(group))]
        for group in classes.values()
        for i in range(min(NEIGHBOURS, len(group)))
    ]
    return pipeline.store.run(
        NearestStage(images.folder, list(pipeline.refs.values()), pipeline.dataset.root),
        sample,
        {
            "generate": images.digest,
            "filter": decisions.digest,
            "dataset": pipeline.dataset_digest,
        },
        pipeline.engine,
    )


def wordings_of(pipeline: Pipeline) -> tuple[Wording, ...]:
    """How the classes of the dataset are called in a sentence."""
    return wordings(pipeline.dataset.class_names, pipeline.dataset.class_words)


def _wording(backend: object, said: Sequence[Wording]) -> dict[str, str]:
    """What a backend that speaks depends on besides; those that do not keep their work."""
    return {"wording": digest_of([[w.noun, *w.own] for w in said])} if speaks(backend) else {}


def count_reasons(decisions: Sequence[FilterDecision]) -> str:
    """Rejections by filter, for one line of text."""
    counts: dict[str, int] = defaultdict(int)
    for decision in decisions:
        if decision.reason is not None:
            counts[decision.reason] += 1
    return ", ".join(f"{reason} {n}" for reason, n in sorted(counts.items())) or "none"
