"""What is made of a model's answer, against expectations written by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aspire.errors import ConfigError
from aspire.language.answers import candidate_spans, grammar, read_answer, schema, span_of
from aspire.language.base import Phrases, Unreadable
from aspire.language.prompts import load_prompt

CAPTION = "A duck near two wooden Boats on the calm lake, with tall trees in the background"
DUCK = ["duck", "waterbird"]
WHOLE = {"background": "calm lake", "foreground": ["wooden boats"], "alternative": "a desert"}
READ = Phrases(("wooden boats",), "calm lake", "desert")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (json.dumps(WHOLE), READ),
        (json.dumps(WHOLE, indent=2), READ),
        ("```json\n" + json.dumps(WHOLE) + "\n```", READ),
        ("Sure! Here it is: " + json.dumps(WHOLE) + " Anything else?", READ),
        ('{"thought": {"a": 1}} ' + json.dumps(WHOLE), READ),
        # the authors' names and lists
        ('{"foreground": ["wooden boat"], "background": ["the calm lakes"], "alt": ["desert"]}',
         READ),
        ('{"foreground": "wooden boats", "background": "Calm Lake"}',
         Phrases(("wooden boats",), "calm lake")),
        # invented, of the class, the scene again, twice
        ('{"foreground": ["whale", "duck", "the lake", "boats", "boats"], "background": "lake"}',
         Phrases(("boats",), "lake")),
        ('{"foreground": ["old wooden boats"], "background": "huge lake"}',
         Phrases(("wooden boats",), "lake")),
        # the class object is no scene; without a scene there is no alternative
        ('{"foreground": [], "background": "duck", "alternative": "desert"}', Phrases()),
        # named already, of the class, or nothing
        ('{"background": "lake", "alternative": "big lake"}', Phrases((), "lake")),
        ('{"background": "lake", "alternative": "tall trees"}', Phrases((), "lake")),
        ('{"background": "lake", "alternative": "waterbird"}', Phrases((), "lake")),
        ('{"background": "lake", "alternative": "none"}', Phrases((), "lake")),
        ('{"foreground": null, "background": null, "alternative": null}', Phrases()),
    ],
)  # fmt: skip
def test_answers_of_many_shapes_are_read(raw: str, expected: Phrases) -> None:
    assert read_answer(raw, CAPTION, DUCK) == expected


@pytest.mark.parametrize(
    "raw",
    ["", "I see a duck.", "[]", "{}", "null", '{"foreground": ["boats"', '{"scene": "lake"}',
     '{"foreground": [1]}', '{"background": {"name": "lake"}}', "{" * 5000],
)  # fmt: skip
def test_what_is_no_answer_stays_word_for_word(raw: str) -> None:
    assert read_answer(raw, CAPTION, DUCK) == Unreadable(raw)


@pytest.mark.parametrize(
    ("phrase", "caption", "span"),
    [
        ("the Red, white boat", "a red, white boat", "red, white boat"),
        ("dogs", "one dog", "dog"),
        ("rock-climbers", "two rock-climbers", "rock-climbers"),
        ("men", "a man on a horse", "man"),
        ("cat", "a caterpillar", None),
        ("", "a cat", None),
        ("café", "in a Café", "café"),
        ("lake lake", "a lake", "lake"),
    ],
)
def test_phrases_come_back_in_the_words_of_the_caption(
    phrase: str, caption: str, span: str | None
) -> None:
    assert span_of(phrase, caption) == span


def test_a_candidate_is_a_span_without_function_words() -> None:
    spans = candidate_spans(CAPTION, DUCK)
    wanted = ["wooden boats", "boats", "calm lake", "lake", "tall trees", "trees"]
    assert [s for s in spans if s not in ("wooden", "calm")] == wanted
    assert not any("," in s or "duck" in s or "two" in s or "the" in s.split() for s in spans)


def test_the_grammar_admits_the_spans_and_the_schema_names_the_fields() -> None:
    rules = grammar('a duck on a "big" lake', DUCK)
    assert r'phrase ::= "\"lake\""' in rules
    assert "::=" in grammar("a duck", DUCK)
    assert "foreground" in grammar("a duck", DUCK)
    assert schema()["required"] == ["background", "foreground", "alternative"]


def test_a_prompt_is_a_file_with_a_version(tmp_path: Path) -> None:
    prompt = load_prompt("phrases")
    assert prompt.version >= 1
    chat = prompt.messages("a {caption} on a mat", ["cat", "kitten"])
    assert [m["role"] for m in chat] == ["system", *["user", "assistant"] * 3, "user"]
    assert chat[-1]["content"] == "Class object: cat or kitten\nCaption: a {caption} on a mat"
    assert prompt.text("a cat", ["cat"]).endswith("Caption: a cat\nJSON:")
    for class_object, caption, answer in prompt.examples:  # the examples obey the contract
        table = json.loads(answer)
        found = read_answer(answer, caption, [class_object])
        assert isinstance(found, Phrases)
        assert list(found.foreground) == table["foreground"]
        assert (found.background, found.alternative) == (table["background"], table["alternative"])

    own = tmp_path / "mine.yaml"
    own.write_text("version: 2\nsystem: s\nuser: '{caption}'\nrepair: r\nexamples: []\n")
    mine = load_prompt(str(own))
    assert mine.identity()["prompt_version"] == 2
    assert mine.digest != prompt.digest
    own.write_text("version: 2\nsystem: s\n")
    with pytest.raises(ConfigError, match="KeyError: 'user'"):
        load_prompt(str(own))
