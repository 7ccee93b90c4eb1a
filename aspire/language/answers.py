"""From what a language model wrote to the phrases of the contract, or to the admission of none."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aspire.identity import Json
from aspire.language.base import Phrases, Unreadable
from aspire.language.phrases import head, head_matches, normalise, singular
from aspire.language.scenes import BEFORE, LOCATION, NEAR

VERSION = 1  # raise when the same answer gives other phrases

# The names by which models, and the authors' own files, call the third field.
_ALTERNATIVE = ("alternative", "alt", "alternate_background", "alternative_background")
_LONGEST = 4  # words of a phrase that a constrained answer may copy
_MOST = 6  # foreground phrases of one caption

_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")
# No candidate holds one of these: prepositions, other function words, participles of captions,
# words about the picture, and BLIP's noises.
_OTHERS = """and or of with for to like as is are was were be being has have there it he she they
    who which while without about during after before very flying sitting standing walking running
    swimming floating wading perched perching laying lying resting looking holding eating drinking
    wearing playing hanging taking close view photo picture image background foreground
    arafed araffe araffes araffy"""
_BREAKS = frozenset(" ".join((*LOCATION, *NEAR, *BEFORE, _OTHERS)).split())
# Nor does one end with one of these.
_COMMON = """large small little big tall long short young old beautiful
    black white red orange yellow green blue brown gray grey pink purple"""
_ADJECTIVES = frozenset(_COMMON.split())


def read_answer(raw: str, caption: str, class_words: Sequence[str]) -> Phrases | Unreadable:
    """The phrases a model's answer holds.

    The JSON may be in a fence or in prose; it may lack fields, hold one string for a list, or
    a list for one string. Phrases are brought back to the caption's own words (see
    :func:`span_of`); what is not in the caption, and what names the class object, is left out.

    >>> read_answer('Sure: {"foreground": ["Two Boats"], "background": ["the sea"]}',
    ...     "a duck near two boats on the sea", ["duck"])
    Phrases(foreground=('boats',), background='sea', alternative=None)
    >>> read_answer("I see a duck.", "a duck", ["duck"])
    Unreadable(raw='I see a duck.', reason='unreadable')
    """
    table = _object_in(raw)
    if table is None:
        return Unreadable(raw)
    given_fore, given_back = table.get("foreground"), table.get("background")
    given_other = next((table[key] for key in _ALTERNATIVE if table.get(key)), None)
    try:
        fore, back, other = _texts(given_fore), _texts(given_back), _texts(given_other)
    except TypeError:
        return Unreadable(raw)
    return to_phrases(fore, back, other, caption, class_words)


def to_phrases(
    foreground: Sequence[str],
    background: Sequence[str],
    alternative: Sequence[str],
    caption: str,
    class_words: Sequence[str],
) -> Phrases:
    """Free phrases onto the contract of :class:`aspire.language.base.Phrases`."""
    scene = next(_spans(background, caption, class_words), None)
    objects = [p for p in _spans(foreground, caption, class_words) if not _overlap(p, scene)]
    other = normalise(" ".join(alternative[0].lower().split())) if alternative and scene else ""
    # What the caption names already is no other scene.
    if not other or span_of(other, caption) or head_matches(head(other), class_words):
        return Phrases(tuple(dict.fromkeys(objects)), scene)
    return Phrases(tuple(dict.fromkeys(objects)), scene, other)


def span_of(phrase: str, caption: str) -> str | None:
    """A phrase in the caption's own words: a contiguous span of it in lower case, or None.

    Words are compared in the singular. Where the whole phrase does not occur, words are dropped
    from its front until the rest does; its last word, the head noun, must be there.

    >>> span_of("Rocky Shores", "A gull on a shore, alone")
    'shore'
    >>> span_of("red house", "a gull on a shore") is None
    True
    """
    text = " ".join(caption.lower().split())
    words = list(_WORD.finditer(text))
    have = [singular(word.group()) for word in words]
    want = [singular(word) for word in _WORD.findall(normalise(phrase))]
    for start in range(len(want)):
        part = want[start:]
        for at in range(len(have) - len(part) + 1):
            if have[at : at + len(part)] == part:
                return text[words[at].start() : words[at + len(part) - 1].end()]
    return None


def schema() -> dict[str, Json]:
    """JSON schema of an answer, for endpoints that can be told one."""
    text: dict[str, Json] = {"type": "string"}
    text_or_null: dict[str, Json] = {"type": ["string", "null"]}
    properties: dict[str, Json] = {
        "background": text_or_null,
        "foreground": {"type": "array", "items": text},
        "alternative": text_or_null,
    }
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def grammar(caption: str, class_words: Sequence[str] = ()) -> str:
    """The answers that fit one caption, as a GBNF grammar (llama.cpp and xgrammar read it).

    Phrases can only be spans of the caption; an alternative of at most three words goes with a
    background and is free. No white space but one blank after each comma and colon: small models
    otherwise like to fill a page with it.
    """
    spans = candidate_spans(caption, class_words)
    if not spans:
        return 'root ::= "{\\"background\\": null, \\"foreground\\": [], \\"alternative\\": null}"'
    # Small models fill a list to the brim: no more places than the caption could need.
    more = min(_MOST - 1, len(caption.split()) // 5)
    quoted = " | ".join(json.dumps(json.dumps(span, ensure_ascii=False)) for span in spans)
    return "\n".join(
        (
            'root ::= "{\\"background\\": " (none | scene) "}"',
            'none ::= "null" things "null"',
            "scene ::= phrase things place",
            'things ::= ", \\"foreground\\": [" (phrase more)? "], \\"alternative\\": "',
            "more ::= " + (f'(", " phrase){{0,{more}}}' if more else '""'),
            f"phrase ::= {quoted}",
            'place ::= "\\"" [a-z]{2,12} (" " [a-z]{2,12}){0,2} "\\""',
        )
    )


def candidate_spans(caption: str, class_words: Sequence[str] = ()) -> list[str]:
    """Spans of at most four words that could be noun phrases, in order of appearance.

    None holds a preposition, an article, a conjunction or punctuation, nor ends with a common
    adjective or a class word.

    >>> candidate_spans("a duck on a big blue lake", ["duck"])
    ['big blue lake', 'blue lake', 'lake']
    """
    text = " ".join(caption.lower().split())
    words = list(_WORD.finditer(text))
    found: dict[str, None] = {}
    for first in range(len(words)):
        for last in range(first, min(first + _LONGEST, len(words))):
            word = words[last].group()
            if (
                word in _BREAKS
                or not normalise(word)
                or (last > first and text[words[last - 1].end() : words[last].start()] != " ")
            ):
                break
            if word not in _ADJECTIVES and not head_matches(word, class_words):
                found[text[words[first].start() : words[last].end()]] = None
    return list(found)


def _spans(phrases: Sequence[str], caption: str, class_words: Sequence[str]) -> Iterator[str]:
    for phrase in phrases:
        span = span_of(phrase, caption)
        if span and not head_matches(head(span), class_words):
            yield span


def _overlap(phrase: str, scene: str | None) -> bool:
    """Whether a phrase is the scene, said with more or fewer words."""
    if scene is None:
        return False
    one, other = phrase.split(), scene.split()
    size = min(len(one), len(other))
    return one[-size:] == other[-size:]


def _texts(value: Any) -> list[str]:
    """None, a text or a list of texts as a list.

    Raises:
        TypeError: for anything else.
    """
    if value is None:
        return []
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(v, str) or v is None for v in values):
        raise TypeError
    return [v for v in values if v and v.strip().lower() not in ("none", "null", "n/a")]


def _object_in(raw: str) -> Mapping[str, Any] | None:
    """The first JSON object in a text that holds one of our fields."""
    decoder = json.JSONDecoder()
    for match in re.finditer(r"\{", raw):
        try:
            value, _ = decoder.raw_decode(raw, match.start())
        except (json.JSONDecodeError, RecursionError):
            continue
        if isinstance(value, dict) and {"foreground", "background"} & value.keys():
            return value
    return None
