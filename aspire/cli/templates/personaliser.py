"""Blank: what a generator learns about a class first, and where it is from."""

from __future__ import annotations

from collections.abc import Mapping

from aspire.generation.base import ClassEvidence
from aspire.generation.contexts import avoided_phrases
from aspire.identity import Json
from aspire.records import Concept, Context, Rejected
from aspire.values import Count


class Blank:
    """Every scene that is no spurious feature of the class, each as often.

    Args:
        max_contexts: scenes kept, the first ones of the alphabet.
    """

    def __init__(self, max_contexts: Count = 40) -> None:
        self.max_contexts = max_contexts

    def identity(self) -> Mapping[str, Json]:
        return {"personaliser": "blank", "version": 1, "max_contexts": self.max_contexts}

    def personalise(self, evidence: ClassEvidence) -> Concept | Rejected:
        concept_id = f"{evidence.y:03d}"
        avoided = avoided_phrases(evidence)
        if not avoided:
            return Rejected(item_id=concept_id, reason="no_spurious_feature", detail=evidence.name)
        scenes = sorted(evidence.scenes.keys() - avoided)[: self.max_contexts]
        if not scenes:
            return Rejected(item_id=concept_id, reason="no_context", detail=evidence.name)
        return Concept(
            concept_id=concept_id,
            y=evidence.y,
            objects=tuple(sorted(ref.img_id for ref in evidence.objects)),
            contexts=tuple(
                Context(
                    phrase=scene,
                    weight=1 / len(scenes),
                    donors=tuple(sorted(ref.img_id for ref in evidence.scenes[scene])),
                )
                for scene in scenes
            ),
            avoided=tuple(sorted(avoided)),
        )
