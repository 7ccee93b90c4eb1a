"""Another scene for each image: where its class object is moved to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from aspire.language.phrases import head, singular
from aspire.language.scenes import scene_kind
from aspire.rng import seed_for


def choose_alternatives(
    backgrounds: Mapping[str, str | None],
    seed: int,
    proposed: Mapping[str, str | None] | None = None,
    classes: Mapping[str, int] | None = None,
) -> dict[str, str | None]:
    """Pick for each image a background that other images of the corpus show.

    Only phrases that occur are offered, so that every alternative has a donor image. A scene of
    another kind is preferred (water for land); where a kind is unknown, or no other kind
    occurs, any phrase with another head noun, and where all share one, what is told apart by
    words on both sides ("red backdrop", "blue backdrop"; not "sea", "blue sea"). Of these the
    scenes that other images of the class show, if there are any: a scene of its own takes a cue
    away, while that of another class also brings one. The choice belongs to the image, whatever
    the order or number of the others; it changes only when the set of phrases does.

    Args:
        backgrounds: img_id -> background phrase, None where the caption names none.
        seed: the run's seed.
        proposed: img_id -> a scene that a language model would move it to. It is taken where the
            corpus shows it; else a scene of its head noun or kind is preferred.
        classes: img_id -> class; without, all images count as one.

    Returns:
        img_id -> alternative background, None where there is no background or no other one.
    """
    phrases = sorted({phrase for phrase in backgrounds.values() if phrase})
    own: dict[int, set[str]] = defaultdict(set)
    for img_id, phrase in backgrounds.items():
        if phrase:
            own[(classes or {}).get(img_id, 0)].add(phrase)
    offers = {
        (y, phrase): _preferring(seen, _offers(phrase, phrases))
        for y, seen in own.items()
        for phrase in seen
    }
    chosen: dict[str, str | None] = {}
    for img_id, phrase in backgrounds.items():
        offered = offers[(classes or {}).get(img_id, 0), phrase] if phrase else []
        wish = (proposed or {}).get(img_id)
        if phrase and wish:
            offered = _nearest(wish, phrase, phrases) or offered
        index = seed_for(seed, "alternative", img_id) % len(offered) if offered else 0
        chosen[img_id] = offered[index] if offered else None
    return chosen


def _offers(phrase: str, phrases: list[str]) -> list[str]:
    """The phrases that may stand in for one, in their given order."""
    kind, others = scene_kind(phrase), _of_another_noun(phrase, phrases)
    if not others:
        words = {other: set(other.split()[:-1]) for other in phrases}  # before the noun
        return [o for o in phrases if words[o] - words[phrase] and words[phrase] - words[o]]
    if kind is None:
        return others
    return [other for other in others if scene_kind(other) not in (None, kind)] or others


def _preferring(known: set[str], offered: list[str]) -> list[str]:
    """Those that are known, if any is."""
    return [o for o in offered if o in known] or offered


def _nearest(wish: str, phrase: str, phrases: list[str]) -> list[str]:
    """What comes nearest to a wish and is not ``phrase``: itself, its head noun, its kind."""
    if wish in phrases and wish != phrase:
        return [wish]
    noun, kind = singular(head(wish)), scene_kind(wish)
    others = _of_another_noun(phrase, phrases)
    named_so = [other for other in others if singular(head(other)) == noun]
    return named_so or [other for other in others if kind and scene_kind(other) == kind]


def _of_another_noun(phrase: str, phrases: list[str]) -> list[str]:
    noun = singular(head(phrase))
    return [other for other in phrases if singular(head(other)) != noun]
