"""Which scenes a class may be shown in: those that moved the classifier away from its shortcut."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import msgspec

from aspire.generation.base import ClassEvidence
from aspire.records import Concept, Context, Rejected


def avoided_phrases(evidence: ClassEvidence) -> frozenset[str]:
    """What images of the class may not show."""
    return frozenset(f.phrase for f in evidence.features if f.spurious)


def free_scenes(evidence: ClassEvidence) -> list[tuple[str, float]]:
    """Scenes without a spurious feature and how hard each pulled the classifier, hardest first.

    The pull is the sum of the drops of the edits that put the scene in place of a spurious one.
    Where only objects are spurious any scene will do: each pulls alike.
    """
    avoided = avoided_phrases(evidence)
    pull: dict[str, float] = defaultdict(float)
    for effect in evidence.effects:
        if effect.phrase in avoided and effect.replacement is not None:
            pull[effect.replacement] += max(effect.drop, 0.0)
    if not pull:
        pull = dict.fromkeys(evidence.scenes, 1.0)
    ordered = sorted(pull.items(), key=lambda item: (-item[1], item[0]))
    return [(phrase, weight) for phrase, weight in ordered if phrase not in avoided and weight > 0]


def in_usual_scenes(concept: Concept, scenes: Mapping[str, Sequence[str]]) -> Concept | None:
    """The same class with nothing to avoid: in the scenes that are its spurious features.

    Each as often. A class of which nothing was found may stand anywhere: in all scenes of the data,
    as often as all classes show them, so that it also gets what is another one's shortcut. Images
    of these are made beside those without a feature, so that being generated says nothing of the
    class or of what stands where. Otherwise a net that can tell generated images from real ones
    learns each scene's opposite from them and the shortcut from the real ones, and a class without
    generated images from there being none.

    Args:
        concept: of a class.
        scenes: background phrase -> img_ids that show it.

    Returns:
        None where no scene is known, and where all features are objects: other classes are shown
        in each other's scenes, but nobody is given this one's object, so that such images
        would tie it to this class again.
    """
    shown = {p: tuple(scenes[p]) for p in concept.avoided or scenes if p in scenes}
    number = {p: 1 if concept.avoided else len(ids) for p, ids in shown.items()}
    if not number:
        return None
    total = sum(number.values())
    return msgspec.structs.replace(
        concept,
        contexts=tuple(
            Context(phrase=p, weight=round(n / total, 6), donors=shown[p])
            for p, n in number.items()
        ),
        avoided=(),
    )


def described(evidence: ClassEvidence, max_contexts: int) -> Concept | Rejected:
    """The concept of a class as far as words say it: nothing learnt, no donors."""
    concept_id = f"{evidence.y:03d}"
    avoided = avoided_phrases(evidence)
    if not avoided:
        return Rejected(item_id=concept_id, reason="no_spurious_feature", detail=evidence.name)
    scenes = free_scenes(evidence)[:max_contexts]
    if not scenes:
        detail = f"{evidence.name}: no scene is known without {sorted(avoided)}"
        return Rejected(item_id=concept_id, reason="no_context", detail=detail)
    total = sum(weight for _, weight in scenes)
    return Concept(
        concept_id=concept_id,
        y=evidence.y,
        objects=tuple(sorted(r.img_id for r in evidence.objects)),
        contexts=tuple(
            Context(phrase=phrase, weight=round(weight / total, 6), donors=())
            for phrase, weight in scenes
        ),
        avoided=tuple(sorted(avoided)),
    )
