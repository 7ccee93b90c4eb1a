"""A real image for the scene of a generated one that was cut from none.

Group-aware methods need the attribute of every image. A composed image has that of the
image its scene comes from; one that a model drew, or that an object was taken out of, has that of
the training images that show what it shows: its scene, or none of the found features.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from aspire.records import Concept, SyntheticImage


def scene_parents(
    images: Sequence[SyntheticImage],
    concepts: Iterable[Concept],
    scenes: Mapping[str, Sequence[str]],
    phrases: Mapping[str, frozenset[str]],
    places: Mapping[str, int],
    classes: Mapping[str, int],
) -> tuple[str, ...]:
    """img_id of a real image with the scene of each, or "" where none is known.

    Where an image has no such parent, it is the first of those with the commonest attribute among
    the training images that show its scene; without one, among those of its class
    that name none of its avoided features, or, if all do, among those of all classes. Where nothing
    is annotated it is the first of them all the same: discovered groups go by its caption.

    Args:
        images, concepts: what was generated, and of what.
        scenes: background phrase -> img_ids.
        phrases: img_id -> every phrase of that image.
        places: img_id -> attribute, -1 where unknown.
        classes: img_id -> class.
    """
    by_class = {c.y: c for c in concepts}
    known: dict[tuple[int, str], str] = {}

    def relative(y: int, scene: str) -> str:
        if (y, scene) not in known:
            free = [i for i, p in phrases.items() if not p & frozenset(by_class[y].avoided)]
            alike = (list(scenes.get(scene, ())), [i for i in free if classes[i] == y], free)
            annotated = ([i for i in group if places[i] >= 0] for group in alike)
            group = next(filter(None, annotated), next(filter(None, alike), []))
            known[y, scene] = _commonest(group, places)
        return known[y, scene]

    return tuple(i.parents[-1] or relative(i.y, i.scene) for i in images)


def _commonest(images: Sequence[str], places: Mapping[str, int]) -> str:
    if not images:
        return ""
    counts = Counter(places[i] for i in images)
    most = min(counts, key=lambda place: (-counts[place], place))
    return min(i for i in images if places[i] == most)
