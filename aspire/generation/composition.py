"""The offline generator: objects of the class, placed in scenes that changed the prediction.

Where a diffusion model is personalised on the edited images, this one remembers which objects and
which scenes they were made of, and combines them again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from aspire.data.loaded import LoadedImage
from aspire.editing.base import Restyled, Restyler, RestyleRequest, Segmenter
from aspire.editing.class_objects import ClassObjects
from aspire.generation.base import ClassEvidence, GenerationRequest, Sampled
from aspire.generation.contexts import avoided_phrases, free_scenes
from aspire.identity import Json
from aspire.records import Concept, Context, ImageRef, Rejected
from aspire.values import Count, Fraction


class CompositionPersonaliser:
    """Learns scenes free of the spurious features, weighted by how they moved the classifier.

    A scene qualifies when its phrase is not spurious for the class, and a donor when none of its
    phrases is.

    Args:
        max_contexts: scenes kept, strongest first.
        max_donors: training images kept per scene, and objects per class.
    """

    def __init__(self, max_contexts: Count = 40, max_donors: Count = 500) -> None:
        self.max_contexts = max_contexts
        self.max_donors = max_donors

    def identity(self) -> Mapping[str, Json]:
        return {
            "personaliser": "composition",
            "max_contexts": self.max_contexts,
            "max_donors": self.max_donors,
        }

    def personalise(self, evidence: ClassEvidence) -> Concept | Rejected:
        concept_id = f"{evidence.y:03d}"
        avoided = avoided_phrases(evidence)
        if not avoided:
            return Rejected(item_id=concept_id, reason="no_spurious_feature", detail=evidence.name)
        if not evidence.objects:
            return Rejected(item_id=concept_id, reason="no_object_mask", detail=evidence.name)
        contexts = []
        annotated = evidence.objects[0].mask is not None
        for phrase, weight in free_scenes(evidence):
            donors = [
                ref.img_id
                for ref in evidence.scenes.get(phrase, ())
                if (ref.mask is not None or not annotated)
                and not (evidence.phrases[ref.img_id] & avoided)
            ]
            if donors:
                contexts.append((phrase, weight, tuple(sorted(donors)[: self.max_donors])))
        contexts = contexts[: self.max_contexts]
        if not contexts:
            detail = f"{evidence.name}: no training image shows a scene without {sorted(avoided)}"
            return Rejected(item_id=concept_id, reason="no_context", detail=detail)
        total = sum(weight for _, weight, _ in contexts)
        return Concept(
            concept_id=concept_id,
            y=evidence.y,
            objects=tuple(sorted(r.img_id for r in evidence.objects)[: self.max_donors]),
            contexts=tuple(
                Context(phrase=p, weight=round(w / total, 6), donors=d) for p, w, d in contexts
            ),
            avoided=tuple(sorted(avoided)),
        )


class CompositionSampler:
    """Places a random object of the class in a random scene of its concept.

    Args:
        root: the dataset's root.
        refs: img_id -> image, for objects and donors.
        segmenter, restyler: the editing backends.
        attempts: objects tried when one has no usable mask.
        min_object, max_object: accepted share of the image that the object covers, in [0, 1].
        class_words: for each class the phrases that name its object; see the edit stage.
    """

    batch_size: ClassVar[int] = 1

    def __init__(
        self,
        root: Path,
        refs: Mapping[str, ImageRef],
        segmenter: Segmenter,
        restyler: Restyler,
        attempts: Count = 5,
        min_object: Fraction = 0.01,
        max_object: Fraction = 0.7,
        class_words: Sequence[Sequence[str]] = (),
    ) -> None:
        self.root = Path(root)
        self.refs = refs
        self.segmenter = segmenter
        self.objects = ClassObjects(segmenter, class_words)
        self.restyler = restyler
        self.attempts = attempts
        self.min_object = min_object
        self.max_object = max_object

    def identity(self) -> Mapping[str, Json]:
        return {
            "sampler": "composition",
            "segmenter": self.segmenter.identity(),
            "restyler": self.restyler.identity(),
            "attempts": self.attempts,
            "object": [self.min_object, self.max_object],
        }

    def sample(self, requests: Sequence[GenerationRequest]) -> list[Sampled | Rejected]:
        return [self._compose(request) for request in requests]

    def _compose(self, asked: GenerationRequest) -> Sampled | Rejected:
        concept, rng = asked.concept, np.random.default_rng(asked.seed)
        weights = np.array([c.weight for c in concept.contexts])
        for _ in range(self.attempts):
            ref = self.refs[concept.objects[int(rng.integers(len(concept.objects)))]]
            context = concept.contexts[int(rng.choice(len(weights), p=weights / weights.sum()))]
            image = LoadedImage(ref, self.root)
            (keep,) = self.objects.masks([image])
            if keep is None or not self.min_object <= keep.mean() <= self.max_object:
                continue
            request = RestyleRequest(
                image=image,
                keep=keep,
                source="",
                target=context.phrase,
                donors=[
                    LoadedImage(self.refs[d], self.root)
                    for d in context.donors
                    if d != ref.img_id  # that would be a real image again
                ],
                find_objects=self.objects.masks,
                seed=int(rng.integers(2**62)),
            )
            (restyled,) = self.restyler.restyle([request])
            if not isinstance(restyled, Restyled):  # no donor, or the backend broke down
                continue
            parents = (ref.img_id, restyled.donor.img_id if restyled.donor else "")
            prompt = f"a photo of a {asked.class_name}, {context.phrase}"
            return Sampled(restyled.pixels, prompt, parents, keep, scene=context.phrase)
        detail = f"{self.attempts} attempts found no usable object or donor"
        return Rejected(item_id=concept.concept_id, reason="no_composition", detail=detail)
