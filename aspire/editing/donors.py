"""The images that a scene may be cut from, and which of them an edit gets.

Edits that show one photograph are no independent evidence, so the donors of a feature are dealt
like cards: no photograph is given out twice as long as there are others, and then all equally
often. An image may be a photograph of its own, or say which one its scene is from
(``place_filename``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, overload

import numpy as np

from aspire.data.loaded import LoadedImage
from aspire.records import Extraction, ImageRef
from aspire.rng import seed_for

Refs: TypeAlias = tuple[ImageRef, ...]
Deck: TypeAlias = list[Refs]  # of each photograph the images that show it


class Donors(Sequence[LoadedImage]):
    """The images of a scene but one, made as they are asked for: a scene may have thousands."""

    def __init__(self, scene: Refs, without: ImageRef, root: Path) -> None:
        self.scene = scene
        self.root = root
        self.gap = scene.index(without) if without in scene else len(scene)

    def __len__(self) -> int:
        return len(self.scene) - (self.gap < len(self.scene))

    @overload
    def __getitem__(self, index: int) -> LoadedImage: ...
    @overload
    def __getitem__(self, index: slice) -> list[LoadedImage]: ...
    def __getitem__(self, index: int | slice) -> LoadedImage | list[LoadedImage]:
        places = range(len(self))[index]
        if isinstance(places, range):
            return [self[place] for place in places]
        return LoadedImage(self.scene[places + (places >= self.gap)], self.root)


@dataclass(frozen=True)
class Hand:
    """What one image's new scene and its control's may be cut from.

    Images of one photograph, or of several that no other image was dealt.
    """

    donors: Refs = ()
    controls: Refs = ()


def photograph(ref: ImageRef) -> str:
    """What an image's scene is from: the photograph that is known, or the image itself."""
    return ref.photograph or ref.img_id


def deal(
    extractions: Sequence[Extraction],
    refs: Mapping[str, ImageRef],
    scenes: Mapping[str, Refs],
    seed: int,
) -> dict[str, Hand]:
    """Donors for the scene changes of many images.

    Each feature, a scene of a class, is dealt for by itself. Where there are fewer control donors
    than images, those who share a donor share control donors too, as far as possible, so that what
    an odd control does stays within one cluster.

    Args:
        extractions: of the images, with alternatives.
        refs: img_id -> image.
        scenes: phrase -> images that show it.
        seed: of the shuffles.

    Returns:
        img_id -> its hand, of every image with a background.
    """
    features: dict[tuple[int, str], list[Extraction]] = defaultdict(list)
    for e in extractions:
        if e.background is not None:
            features[refs[e.img_id].y, e.background].append(e)
    hands: dict[str, Hand] = {}
    for (y, scene), members in features.items():
        targets: dict[str, list[Extraction]] = defaultdict(list)
        for e in members:
            targets[e.alternative or ""].append(e)
        donors: dict[str, Deck] = {}
        sharing: dict[tuple[str, int], list[ImageRef]] = defaultdict(list)  # images by donor
        for target, group in targets.items():
            deck = _shuffled(scenes.get(target, ()), seed_for(seed, "donors", y, scene, target))
            for k, e in enumerate(group):
                donors[e.img_id] = _dealt(deck, k, len(group))
                sharing[target, k % max(1, min(len(deck), len(group)))].append(refs[e.img_id])
        deck = _shuffled(scenes.get(scene, ()), seed_for(seed, "controls", y, scene))
        controls: dict[str, Deck] = {}
        if len(deck) >= len(members):
            images = [refs[e.img_id] for e in members]
            _give_away_their_own(deck, images)
            controls = {r.img_id: _dealt(deck, k, len(images)) for k, r in enumerate(images)}
        else:
            for k, images in enumerate(sharing.values()):
                share = _dealt(deck, k, len(sharing))
                for i, ref in enumerate(images):
                    controls[ref.img_id] = _dealt(share, i, len(images))
        for e in members:
            others = [r for part in controls[e.img_id] for r in part if r.img_id != e.img_id]
            own = tuple(r for part in donors[e.img_id] for r in part)
            hands[e.img_id] = Hand(own, tuple(others))
    return hands


def _shuffled(images: Refs, seed: int) -> Deck:
    """The photographs that the images show, in random order."""
    found: dict[str, list[ImageRef]] = defaultdict(list)
    for ref in images:
        found[photograph(ref)].append(ref)
    deck = [tuple(found[name]) for name in sorted(found)]
    return [deck[i] for i in np.random.default_rng(seed).permutation(len(deck))]


def _dealt(deck: Deck, k: int, hands: int) -> Deck:
    """What the ``k``-th of so many players gets: photographs of its own, or one in turn."""
    return deck[k::hands] if hands <= len(deck) else deck[k % len(deck) :][:1] if deck else []


def _give_away_their_own(deck: Deck, images: Sequence[ImageRef]) -> None:
    """Swap where the first photograph an image would be dealt is the image itself, in place."""
    for k, ref in enumerate(images):
        if deck[k] == (ref,) and len(deck) > 1:
            other = (k + 1) % len(deck)
            deck[k], deck[other] = deck[other], deck[k]
