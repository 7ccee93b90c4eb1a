"""Foreground and background phrases by part-of-speech tags and a lexicon; offline, no LLM.

Only spaCy's tagger runs. Its parser attaches prepositions by what is likely in newspapers, and
trips over captions without a verb; which noun phrase is the scene follows more reliably from
the preposition in front of it and from its head noun.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aspire.identity import Json
from aspire.language.base import Phrases
from aspire.language.phrases import head_matches, normalise
from aspire.language.scenes import (
    INSIDE,
    LOCATION,
    NEAR,
    Lexicon,
    Mention,
    find_scene,
    has,
    lexicon,
)
from aspire.language.spacy_model import DEFAULT, SpacyModel

RULES = 2  # raise when the same tags give other phrases


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_OTHER = {"with", "of", "for", "to", "like", "as", "without", "about", "during", "after", "before"}
_PREPOSITIONS = LOCATION | NEAR | _OTHER
_PHRASAL = {
    ("in", "front", "of"): "in front of", ("in", "the", "front", "of"): "in front of",
    ("next", "to"): "next to", ("close", "to"): "close to",
    ("on", "top", "of"): "on", ("out", "of"): "from", ("in", "between"): "between",
}  # fmt: skip
_CLOSE_UP = {("close", "up"), ("close", "-", "up")}

_NOISE = re.compile(r"araf+\w*")  # BLIP's "arafed", "araffe", "araffy", "araflane"
_COLOURS = _words("black white red orange yellow green blue brown gray grey pink purple")
_ING_NOUNS = _words(
    """building railing clearing wing king ring string spring swing painting ceiling crossing
    landing morning evening awning bedding clothing opening pudding duckling wedding earring thing
    something parking lightning drawing sibling"""
)
# Verbs the tagger takes for plural nouns ("a dog stands near").
_VERBS = _words("stands sits perches walks runs swims flies looks lies rests plays")
# What is looked at is not where one is.
_LOOKING = _words("look looks looking stare stares staring gaze gazing peering")
# Participles that may follow a noun within a phrase ("moss covered rock").
_LINKS = _words("covered lined filled colored coloured shaped headed winged topped capped striped")

# One letter per token: D determiner, M modifier, V participle after a noun, N noun,
# G hyphen, C "and", P preposition, X noise, O anything else.
_NOUN_PHRASE = re.compile(
    r"(?:M(?:G(?=[MNV])|C(?=M)|(?=[MNV]))|V(?:G(?=[MN])|(?=[MN]))|N(?:G(?=[MNV])|(?=[NV])))*N"
)


@dataclass(slots=True)
class _Token:
    text: str
    tag: str
    start: int
    role: str = "O"
    preposition: str = ""  # of the last token of a preposition

    @property
    def end(self) -> int:
        return self.start + len(self.text)


class SpacyExtractor:
    """Noun phrases of captions, sorted into class object, foreground and background.

    Args:
        model: an installed spaCy pipeline package with a tagger, or the folder of one.
    """

    def __init__(self, model: str = DEFAULT) -> None:
        self._model = SpacyModel(model, exclude=("parser", "ner", "lemmatizer"))

    def identity(self) -> Mapping[str, Json]:
        """Versions of spaCy, model, rules and lexicon.

        Raises:
            ConfigError: when spaCy or the model is not installed.
        """
        name, version = self._model.version()
        return {
            "extractor": "spacy",
            "model": name,
            "model_version": version,
            "spacy": importlib.metadata.version("spacy"),
            "rules": RULES,
            "lexicon": lexicon().digest,
        }

    def extract(
        self, captions: Sequence[str], class_words: Sequence[Sequence[str]]
    ) -> list[Phrases]:
        """See :class:`aspire.language.base.Extractor`.

        Raises:
            ConfigError: when spaCy or the model is not installed.
        """
        texts = [" ".join(caption.lower().split()) for caption in captions]
        # Captioners repeat themselves; one thing is parsed once.
        distinct = list(dict.fromkeys(text for text in texts if text))
        docs = self._model.nlp.pipe(distinct, batch_size=256) if distinct else []
        tagged = {
            text: [(token.text, token.tag_, token.idx) for token in doc]
            for text, doc in zip(distinct, docs, strict=True)
        }
        found: dict[tuple[str, tuple[str, ...]], Phrases] = {}
        for text, words in zip(texts, class_words, strict=True):
            key = (text, tuple(words))
            if key not in found:
                tokens = [_Token(*token) for token in tagged.get(text, ())]
                _assign_roles(tokens, words, lexicon())
                found[key] = _sort_out(_mentions(text, tokens, lexicon()), words)
        return [found[text, tuple(words)] for text, words in zip(texts, class_words, strict=True)]


def _assign_roles(tokens: list[_Token], class_words: Sequence[str], words: Lexicon) -> None:
    """Give each token its role, correcting what the tagger gets wrong in captions."""
    skip = 0
    previous = ""
    for i, token in enumerate(tokens):
        following = tokens[i + 1] if i + 1 < len(tokens) else None
        if skip:  # inside a preposition or "close up"
            skip -= 1
            if skip == 0:
                previous = token.role
            continue
        for length in (4, 3, 2):
            span = tuple(t.text for t in tokens[i : i + length])
            if span in _PHRASAL:
                for part in tokens[i : i + length]:
                    part.role = "P"
                tokens[i + length - 1].preposition = _PHRASAL[span]
                skip = length - 1
                break
            if span in _CLOSE_UP:
                for part in tokens[i : i + length]:
                    part.role = "N" if part.text != "-" else "G"
                skip = length - 1
                break
        if not skip:
            infinitive = token.tag == "VB" and i > 0 and tokens[i - 1].preposition == "to"
            role = "O" if infinitive else _role(token, previous, following, class_words, words)
            token.role = previous = role
            if previous == "P":
                token.preposition = token.text


def _role(
    token: _Token,
    previous: str,
    following: _Token | None,
    class_words: Sequence[str],
    words: Lexicon,
) -> str:
    text, tag = token.text, token.tag
    after = following.tag if following else ""
    noun_follows = after.startswith(("NN", "JJ")) or (
        following is not None and (has(following.text, words.scenes))
    )
    in_phrase = previous in ("D", "M", "P", "X")
    if _NOISE.fullmatch(text):
        return "X"
    if tag == "HYPH" or text == "-":
        return "G"
    if tag in ("DT", "PRP$", "PDT", "WP$"):
        return "D"
    if tag == "CC" or text == ",":
        return "C"
    if text in _PREPOSITIONS and not tag.startswith("NN"):
        return "P"
    if head_matches(text, class_words) and text.isalpha():
        return "N"
    if text in _COLOURS:
        return "M"
    if text.endswith("ing") and text not in _ING_NOUNS and tag[:2] in ("NN", "VB", "JJ"):
        if not noun_follows:
            return "N" if tag == "NN" and previous == "D" else "O"
        return "M" if in_phrase or not previous else "O"
    if text in _VERBS and previous == "N":
        return "O"
    if has(text, words.scenes) and (in_phrase or previous in ("N", "V")):
        return "N"
    if has(text, words.movables) and not noun_follows and (in_phrase or previous in ("", "C")):
        return "N"
    if tag.startswith("NN"):
        return "N"
    if tag in ("VBN", "VBD"):
        if previous in ("N", "G") and text in _LINKS and noun_follows:
            return "V"
        return "M" if (in_phrase or previous in ("", "G", "C")) and noun_follows else "O"
    if tag.startswith("JJ") or tag == "CD":
        return "M"
    if tag in ("VB", "VBP", "VBZ") and in_phrase:
        return "M" if noun_follows else "N"
    if tag == "RB" and after in ("VBN", "JJ", "VBD") and (in_phrase or not previous):
        return "M"
    return "O"


def _mentions(text: str, tokens: list[_Token], words: Lexicon) -> list[Mention]:
    """The noun phrases in order, each with the preposition in front of it."""
    mentions: list[Mention] = []
    end = 0
    for match in _NOUN_PHRASE.finditer("".join(token.role for token in tokens)):
        inside = tokens[match.start() : match.end()]
        gap = tokens[end : match.start()]
        end = match.end()
        backdrop = len(inside) > 1 and inside[-1].text == "background" and inside[-2].role == "N"
        if backdrop:  # "with a sky background"
            inside.pop()
        phrase = normalise(text[inside[0].start : inside[-1].end])
        prepositions = [token.preposition for token in gap if token.preposition]
        relation = prepositions[-1] if prepositions else ""
        if relation and any(token.text in _LOOKING for token in gap):
            relation = "looking at"
        mention = Mention(phrase, relation, backdrop=backdrop)
        mention.determined = any(t.role == "D" and t.text not in ("some", "any") for t in gap)
        before = mentions[-1] if mentions else None
        if before is not None:
            if mention.relation == "of" and not before.kept:
                mention.relation, mention.joined = before.relation, before.joined
            elif not prepositions and gap and {t.role for t in gap} <= {"C", "D", "X"}:
                mention.relation, mention.joined = before.relation, any(t.role == "C" for t in gap)
            if mention.noun == "background" and mention.relation == "in":
                before.backdrop = True
            # "with people on the beach", but not "with a red head sitting on the beach".
            mention.nested = (before.nested or before.relation == "with") and (
                before.kept or not any(token.tag.startswith("VB") for token in gap)
            )
        followed_by_of = end < len(tokens) and tokens[end].text == "of"
        owned = any(t.tag == "PRP$" for t in gap[-2:])
        mention.kept = bool(phrase) and not (
            phrase in ("close up", "close-up")
            or has(mention.noun, words.containers)
            or has(mention.noun, words.parts)
            or (mention.relation in INSIDE and has(mention.noun, words.lights))
            or (followed_by_of and has(mention.noun, words.containers_of))
            or (owned and any(has(word, words.parts) for word in phrase.split()))
        )
        mentions.append(mention)
    return mentions


def _sort_out(mentions: list[Mention], class_words: Sequence[str]) -> Phrases:
    """Class object out, the one scene to the background, the rest to the foreground."""
    kept = [m for m in mentions if m.kept and not head_matches(m.noun, class_words)]
    scene = find_scene(kept)
    background = scene.phrase if scene else None
    foreground = dict.fromkeys(m.phrase for m in kept if not _same(m.phrase, background))
    return Phrases(tuple(foreground), background)


def _same(phrase: str, background: str | None) -> bool:
    """Whether a phrase is the background, said with more or fewer words."""
    if background is None:
        return False
    one, other = phrase.split(), background.split()
    size = min(len(one), len(other))
    return one[-size:] == other[-size:]
