"""``personaliser=none``: nothing is learnt from the edits. An arm for comparison.

A diffusion model calls the class by its name; composition and inpainting take any object of it. The
scenes are those that images of the class show without a found feature, not the ones whose edits
moved the classifier.

With ``personaliser=anywhere`` they are all scenes of the data, each as often. That alone breaks the
tie between class and scene, known to be a shortcut or not, so it is an arm of its own.
"""

from __future__ import annotations

from collections.abc import Mapping

from aspire.generation.base import ClassEvidence
from aspire.generation.contexts import avoided_phrases
from aspire.identity import Json
from aspire.records import Concept, Context, Rejected
from aspire.values import Count


class Unpersonalised:
    """Scenes free of the spurious features, as often as the class shows them.

    Args:
        max_contexts: scenes kept, the most frequent ones.
        max_donors: training images, of any class, kept per scene, and objects per class.
        even: every scene that images of any class show, each as often. So it is too for a class
            that shows no free scene.
    """

    def __init__(
        self, max_contexts: Count = 40, max_donors: Count = 2000, even: bool = False
    ) -> None:
        self.max_contexts = max_contexts
        self.max_donors = max_donors
        self.even = even

    def identity(self) -> Mapping[str, Json]:
        return {
            "personaliser": "none",
            "version": 2,  # scenes from the data, with donors
            "max_contexts": self.max_contexts,
            "max_donors": self.max_donors,
            "even": self.even,
        }

    def personalise(self, evidence: ClassEvidence) -> Concept | Rejected:
        concept_id = f"{evidence.y:03d}"
        avoided = avoided_phrases(evidence)
        if not avoided:
            return Rejected(item_id=concept_id, reason="no_spurious_feature", detail=evidence.name)
        free = {
            phrase: [r for r in refs if not evidence.phrases.get(r.img_id, frozenset()) & avoided]
            for phrase, refs in evidence.scenes.items()
            if phrase not in avoided
        }
        shown = {p: sum(r.y == evidence.y for r in refs) for p, refs in free.items()}
        if self.even or not any(shown.values()):
            shown = {p: int(bool(refs)) for p, refs in free.items()}
        scenes = sorted((p for p, n in shown.items() if n), key=lambda p: (-shown[p], p))
        scenes = scenes[: self.max_contexts]
        if not scenes:
            detail = f"{evidence.name}: no training image shows a scene without {sorted(avoided)}"
            return Rejected(item_id=concept_id, reason="no_context", detail=detail)
        total = sum(shown[p] for p in scenes)
        return Concept(
            concept_id=concept_id,
            y=evidence.y,
            objects=tuple(sorted(r.img_id for r in evidence.objects)[: self.max_donors]),
            contexts=tuple(
                Context(
                    phrase=phrase,
                    weight=round(shown[phrase] / total, 6),
                    donors=tuple(sorted(r.img_id for r in free[phrase])[: self.max_donors]),
                )
                for phrase in scenes
            ),
            avoided=tuple(sorted(avoided)),
        )
