"""Captions of composed scenes, in the words of a captioner."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aspire.miniatures.drawing.background import Background
from aspire.miniatures.drawing.compose import Scene
from aspire.miniatures.drawing.sprites import Thing, with_article


def join_nouns(nouns: Sequence[str]) -> str:
    """A list as English writes it.

    >>> join_nouns(["a tent", "a tree", "the sun"])
    'a tent, a tree and the sun'
    """
    return nouns[0] if len(nouns) == 1 else f"{', '.join(nouns[:-1])} and {nouns[-1]}"


def describe(
    rng: np.random.Generator,
    noun: str,
    background: Background,
    scene: Scene,
    things: Sequence[Thing],
    verbs: Sequence[str] = ("standing", "sitting"),
    carried: str = "",
) -> str:
    """A caption of a scene that names the subject, every visible thing and the background.

    Args:
        rng: chooses the wording.
        noun: what to call the subject, without article ("duck", "bird").
        background: of the scene.
        scene: as composed.
        things: the things offered to :func:`compose`; only those in ``scene.objects`` are named.
        verbs: what the subject does on this background, if anything.
        carried: how the subject relates to its carrier ("on a man").

    Returns:
        For example "an owl in front of a tree in a forest".
    """
    subject, place = " ".join([with_article(noun), *carried.split()]), background.phrase
    verb = f" {verbs[int(rng.integers(len(verbs)))]}" if rng.random() < 0.4 and verbs else ""
    seen = [t for t in things if t.phrase in scene.objects]
    ground = [t.noun for t in seen if t.where == "ground"]
    # What hangs in the sky comes last: "next to a tent under a kite".
    sky = [t.noun for t in seen if t.where == "sky"]
    under = f" under {join_nouns(sky)}" if sky else ""
    wording = rng.random()
    if ground and wording < 0.25:
        return f"{subject}{verb}{under} {place} with {join_nouns(ground)}"
    if ground and wording < 0.35:
        return f"{join_nouns([*ground, subject])}{under} {place}"
    relations: dict[str, list[str]] = {}
    for thing in seen:
        if thing.where == "ground":
            relations.setdefault(scene.relations[thing.phrase], []).append(thing.noun)
    beside = "".join(f" {relation} {join_nouns(n)}" for relation, n in relations.items())
    return f"{subject}{verb}{beside}{under} {place}"
