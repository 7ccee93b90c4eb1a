"""Which nouns are scenes, and of which kind; which of a caption's noun phrases is the scene."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import yaml

from aspire.language.phrases import head, singular

# How a preposition places the scene: in it, behind the object, near it; others say neither.
INSIDE = frozenset(("in", "inside", "into", "at", "within"))
ON = frozenset(("on", "onto", "atop"))
BEFORE = frozenset(("in front of", "against", "behind"))
LOCATION = INSIDE | ON | BEFORE | {
    "over", "above", "under", "beneath", "below", "underneath", "through", "across", "along",
    "around", "among", "amongst", "between", "towards", "toward", "past", "down", "up", "off",
    "outside", "amid",
}  # fmt: skip
NEAR = frozenset(
    ("near", "by", "beside", "next to", "close to", "alongside", "overlooking", "facing",
     "beyond", "from")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Lexicon:
    """``scenes.yaml`` as sets; its comments say what the groups mean."""

    kinds: dict[str, str]  # noun -> scene kind, of scenes, faint, scattered and backdrops
    qualities: dict[str, str]  # what an area is like -> scene kind
    scenes: frozenset[str]
    areas: frozenset[str]
    faint: frozenset[str]
    scattered: frozenset[str]
    backdrops: frozenset[str]
    supports: frozenset[str]
    movables: frozenset[str]
    lights: frozenset[str]
    parts: frozenset[str]
    containers: frozenset[str]
    containers_of: frozenset[str]
    digest: str  # changes with the file, so that cached extractions do not outlive it


@cache
def lexicon() -> Lexicon:
    """The lexicon, read once."""
    data = resources.files("aspire.language").joinpath("scenes.yaml").read_bytes()
    table = yaml.safe_load(data)
    kinds: dict[str, str] = {}
    for group in ("scenes", "faint", "scattered", "backdrops"):
        for kind, nouns in table[group].items():
            for noun in nouns:
                kinds.setdefault(noun, kind)
    return Lexicon(
        kinds=kinds,
        qualities={word: kind for kind, words in table["qualities"].items() for word in words},
        **{
            group: frozenset(noun for nouns in table[group].values() for noun in nouns)
            for group in ("scenes", "faint", "scattered", "backdrops")
        },
        **{
            group: frozenset(table[group])
            for group in (
                "areas",
                "supports",
                "movables",
                "lights",
                "parts",
                "containers",
                "containers_of",
            )
        },
        digest=hashlib.sha256(data).hexdigest()[:16],
    )


def has(noun: str, group: frozenset[str]) -> bool:
    """Whether a group of the lexicon holds a noun, as spelt or in the singular."""
    return noun in group or singular(noun) in group


def scene_kind(phrase: str) -> str | None:
    """The kind of scene a phrase names, by its head noun; of an area, by what it is like.

    >>> scene_kind("shallow water"), scene_kind("green mountains"), scene_kind("teapot")
    ('water', 'mountain', None)
    >>> scene_kind("wooded area"), scene_kind("bamboo forest area"), scene_kind("area")
    ('forest', 'forest', None)
    """
    words, noun = lexicon(), head(phrase.lower())
    if not has(noun, words.areas):
        return words.kinds.get(noun) or words.kinds.get(singular(noun))
    like = reversed(phrase.lower().split()[:-1])
    return next((k for w in like if (k := words.kinds.get(w) or words.qualities.get(w))), None)


@dataclass(slots=True)
class Mention:
    """One noun phrase of a caption: ``relation`` is the preposition that places it, if any."""

    phrase: str
    relation: str = ""
    joined: bool = False  # the "b" of "a and b"
    determined: bool = True  # has an article or the like; "dry bush" has none
    kept: bool = True  # may be part of the answer
    backdrop: bool = False  # followed by "in the background"
    nested: bool = False  # says where something is that the class object is merely "with"

    @property
    def noun(self) -> str:
        """The head noun."""
        return head(self.phrase).rpartition("-")[2]


def find_scene(mentions: Sequence[Mention]) -> Mention | None:
    """The one noun phrase that is the scene, if any.

    Of the phrases whose head is a scene the most specific: one the class object is in, on or over
    (the ground gives way to the others) rather than near, and of equals the last. Of two joined
    by "and" the first wins, as neither is more specific, and so does a scene before what it is
    "with". Where no scene is named: what is behind the class object, or what it is in, unless
    that is a thing that carries or moves; at last the large thing that it is on.
    """
    best, best_rank = None, (0, 0, 0)
    for mention in mentions:
        tier = _tier(mention)
        if not tier or mention.relation == "of":
            continue
        nearness = 3 if mention.relation in LOCATION else 1 if mention.relation in NEAR else 0
        if tier == 1 and nearness == 3 and not mention.nested:
            tier, nearness = 2, 2  # the ground under the class object, before the lake near it
        rank = (tier, int(not mention.nested), 1 if mention.backdrop else nearness)
        follows = not mention.joined and mention.relation != "with"
        if rank > best_rank or (rank == best_rank and follows):
            best, best_rank = mention, rank
    return best or _place(mentions)


def _tier(mention: Mention) -> int:
    """2 for a scene wherever it is, 1 for one that gives way to those, 0 for a thing."""
    words, noun = lexicon(), mention.noun
    if has(noun, words.scenes) or (has(noun, words.areas) and " " in mention.phrase):
        return 2
    plain = not mention.determined or noun != singular(noun)
    return int(has(noun, words.faint) or (plain and has(noun, words.scattered)))


def _place(mentions: Sequence[Mention]) -> Mention | None:
    """Of things, the last that is behind the class object, or around it, or large and below it."""
    words = lexicon()
    carriers = words.movables | words.supports
    behind = [m for m in mentions if m.relation in BEFORE or m.backdrop]
    around = [m for m in mentions if m.relation in INSIDE]
    below = [m for m in mentions if m.relation in ON and has(m.noun, words.backdrops)]
    for offered, barred in ((behind, words.movables), (around, carriers), (below, carriers)):
        for mention in reversed(offered):
            if not has(mention.noun, barred):
                return mention
    return None
