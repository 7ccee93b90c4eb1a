"""The CLIP score with a tiny CLIP saved to disk, against the formula written out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aspire.discovery.b2t import B2T
from aspire.discovery.base import Candidate, Evidence
from aspire.errors import ConfigError
from aspire.records import ImageRef


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP of random weights, with model, tokenizer and image processor as a user has them."""
    import torch
    from transformers import (
        CLIPConfig,
        CLIPImageProcessor,
        CLIPModel,
        CLIPProcessor,
        CLIPTokenizer,
    )

    folder = tmp_path_factory.mktemp("clip")
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = [*letters, *(f"{c}</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({w: i for i, w in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config={
            **size, "num_attention_heads": 2, "vocab_size": len(words),
            "max_position_embeddings": 40, "eos_token_id": len(words) - 1,
            "bos_token_id": len(words) - 2, "pad_token_id": len(words) - 1,
        },
        vision_config={**size, "num_attention_heads": 2, "image_size": 16, "patch_size": 8},
        projection_dim=8,
    )  # fmt: skip
    CLIPModel(config).save_pretrained(folder)
    processor = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=16)
    CLIPProcessor(processor, tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture
def evidence(tmp_path: Path) -> Evidence:
    rng = np.random.default_rng(0)
    refs = []
    for i in range(7):
        pixels = rng.integers(0, 256, (20, 24, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        refs.append(ImageRef(img_id=str(i), file=f"{i}.png", y=int(i == 6)))
    candidates = tuple(
        Candidate(y, "change_background", phrase, (), {})
        for y, phrase in ((0, "lake"), (0, "forest"), (1, "lake"))
    )
    return Evidence(candidates, (*refs[:4], refs[6]), tuple(refs[4:6]), tmp_path)


def test_score_is_the_papers_formula(clip: Path, evidence: Evidence) -> None:
    import torch
    from transformers import CLIPModel, CLIPProcessor

    model, processor = CLIPModel.from_pretrained(clip), CLIPProcessor.from_pretrained(clip)

    def similarity(ref: ImageRef, phrase: str) -> float:
        image = Image.open(evidence.root / ref.file)
        inputs = processor(text=[f"a photo of a {phrase}"], images=[image], return_tensors="pt")
        with torch.no_grad():
            out = model(**inputs)
        return float(100 * torch.cosine_similarity(out.image_embeds, out.text_embeds))

    verdicts = B2T(str(clip), batch_size=3).judge(evidence)
    for verdict, phrase in zip(verdicts[:2], ("lake", "forest"), strict=True):
        wrong = np.mean([similarity(r, phrase) for r in evidence.wrong])
        right = np.mean([similarity(r, phrase) for r in evidence.right if r.y == 0])
        assert verdict is not None
        assert verdict.score == pytest.approx(wrong - right, abs=1e-3)
        assert verdict.spurious == (verdict.score > 0)
    assert verdicts[2] is None  # class 1 has no error


def test_batch_size_does_not_matter(clip: Path, evidence: Evidence) -> None:
    small, large = B2T(str(clip), batch_size=1), B2T(str(clip), batch_size=64)
    scores = [[v and v.score for v in s.judge(evidence)] for s in (small, large)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-3)
    assert small.identity() == large.identity()


def test_no_errors_need_no_model() -> None:
    candidate = Candidate(0, "change_background", "lake", (), {})
    assert B2T("nowhere").judge(Evidence((candidate,))) == [None]


def test_missing_model_says_what_to_type(
    evidence: Evidence, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="nothing does not exist"):
        B2T(str(tmp_path / "nothing")).judge(evidence)
    with pytest.raises(ConfigError, match=r"expected \{\} where the keyword goes"):
        B2T(prompt="a photo")
