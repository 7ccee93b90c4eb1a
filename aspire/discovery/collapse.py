"""Phrases that say the same are counted together: "a small dog", "dogs" and "dog".

Two phrases are one when their nouns are, up to number and spelling. The lemma of every word comes
from spaCy, whose model is installed with the package; what is left of difference in spelling
("seashore", "sea shore") is measured by rapidfuzz. Adjectives say which, nouns say what: "pine
tree" stays apart from "tree", "small dog" does not from "dog". Meaning is not looked at: "lake" and
"pond" are two features, each with its own evidence.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping

from aspire.identity import Json
from aspire.language.phrases import normalise, singular
from aspire.language.scenes import LOCATION, NEAR, has, lexicon
from aspire.language.spacy_model import DEFAULT, SpacyModel

RULES = 1  # raise when the same lemmas give other groups
_NOUNS = ("NOUN", "PROPN")
_PLACED = sorted(LOCATION | NEAR, key=len, reverse=True)


class Collapser:
    """Groups phrases by their nouns.

    Args:
        similarity: from 0 to 100, how alike the spelling of two phrases' nouns must be. At 92 one
            letter in thirteen may differ ("harbor", "harbour"); "skateboard" and "skateboarder"
            are at 91.
        model: an installed spaCy pipeline with tagger and lemmatizer, or the folder of one.
    """

    def __init__(self, similarity: float = 92, model: str = DEFAULT) -> None:
        self.similarity = similarity
        self._model = SpacyModel(model, exclude=("parser", "ner"))

    def identity(self) -> Mapping[str, Json]:
        return {
            "similarity": self.similarity,
            "rules": RULES,
            "lexicon": lexicon().digest,
            **dict([self._model.version()]),
            **{n: importlib.metadata.version(n) for n in ("spacy", "rapidfuzz")},
        }

    def collapse(
        self, counts: Mapping[str, int], known: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """Phrase -> the phrase of its group that occurs most often.

        Groups are formed around their most frequent spelling, never through chains of likeness, and
        in an order that only the counts decide.

        Args:
            counts: phrase -> occurrences.
            known: groups that exist already; phrases join them where they can, and they keep
                their names.
        """
        from rapidfuzz.fuzz import ratio, token_sort_ratio

        known = known or {}
        keys = self._keys(sorted({*counts, *known}))
        total: dict[str, int] = {}
        for phrase, number in counts.items():
            total[keys[phrase]] = total.get(keys[phrase], 0) + number
        leader: dict[str, str] = {}  # key -> key of its group
        names: dict[str, str] = {}  # key of a group -> its name
        for phrase, name in sorted(known.items()):
            leader[keys[phrase]] = keys[name]
            names[keys[name]] = name
        for key in sorted(total, key=lambda k: (-total[k], k)):
            if key in leader:
                continue
            near = (
                other
                for other in names
                if ratio(key.replace(" ", ""), other.replace(" ", "")) >= self.similarity
                or token_sort_ratio(key, other) >= self.similarity
            )
            leader[key] = next(near, key)
            if leader[key] == key:
                members = [p for p in counts if keys[p] == key]
                names[key] = min(members, key=lambda p: (-counts[p], p))
        # the name is the most common spelling of the whole group, not of the first key alone
        by_group: dict[str, list[str]] = {}
        for phrase in counts:
            by_group.setdefault(leader[keys[phrase]], []).append(phrase)
        kept = set(known.values())
        for group, members in by_group.items():
            if names[group] not in kept:
                names[group] = min(members, key=lambda p: (-counts[p], p))
        return {phrase: names[leader[keys[phrase]]] for phrase in counts}

    def _keys(self, phrases: list[str]) -> dict[str, str]:
        """Phrase -> its nouns as lemmas."""
        # "there is" shows the tagger that a noun phrase follows
        docs = self._model.nlp.pipe([f"there is {_bare(p)}" for p in phrases], batch_size=256)
        keys = {}
        for phrase, doc in zip(phrases, docs, strict=True):
            words = [t for t in list(doc)[2:] if not (t.is_punct or t.is_space)]
            nouns = [
                singular(t.text) if singular(t.text) == t.text else singular(t.lemma_.lower())
                for t in words
                if t.pos_ in _NOUNS or t is words[-1]
            ]
            if len(nouns) > 1 and has(nouns[0], lexicon().containers_of) and " of " in phrase:
                nouns = nouns[1:]  # a body of water is water
            keys[phrase] = " ".join(nouns) or phrase
        return keys


class Apart:
    """Every phrase is counted by itself: two visual concepts with one noun are two things."""

    def identity(self) -> Mapping[str, Json]:
        return {"collapse": "none"}

    def collapse(
        self, counts: Mapping[str, int], known: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """Phrase -> itself, or what it is known as."""
        return {phrase: (known or {}).get(phrase, phrase) for phrase in counts}


def _bare(phrase: str) -> str:
    """Without articles and without the preposition in front.

    >>> _bare("in the lake"), _bare("on top of a rock"), _bare("a small dog")
    ('lake', 'rock', 'small dog')
    """
    text = normalise(phrase)
    for preposition in ("on top of", *_PLACED):
        if text.startswith(f"{preposition} "):
            return normalise(text[len(preposition) :])
    return text
