"""The trainer against loops of plain PyTorch and diffusers, in every architecture and precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from aspire.generation.base import ClassEvidence, GenerationRequest, Sampled
from aspire.generation.denoising import Denoising, Draw
from aspire.generation.dreambooth import DreamBooth
from aspire.generation.image_to_image import ImageToImage
from aspire.generation.lora import LoRA
from aspire.generation.text_to_image import TextToImage
from aspire.generation.textual_inversion import TextualInversion
from aspire.records import Concept

QUICK: dict[str, Any] = {
    "steps": 3, "batch_size": 2, "strip_every": 0, "device": "cpu", "checkpointing": False,
    "images": 4, "per_feature": [3, 1],
}  # fmt: skip


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Draw]:
    """What the trainer saw, in order."""
    seen: list[Draw] = []
    whole = Draw.of

    def noting(*args: Any) -> Draw:
        seen.append(whole(*args))
        return seen[-1]

    monkeypatch.setattr(Draw, "of", noting)
    return seen


def concept_of(personaliser: Any, evidence: ClassEvidence) -> tuple[Concept, dict[str, Any]]:
    concept = personaliser.personalise(evidence)
    assert isinstance(concept, Concept)
    assert concept.weights is not None
    return concept, load_file(personaliser.folder / concept.weights)


def noised(model: Path, draw: Draw) -> tuple[Any, Any]:
    """Noisy latents, and what is to be told of them; worked out from the betas."""
    from diffusers import DDIMScheduler

    config = DDIMScheduler.from_pretrained(model / "scheduler").config
    if config.beta_schedule == "linear":
        betas = torch.linspace(config.beta_start, config.beta_end, 1000)
    else:  # scaled_linear
        betas = torch.linspace(config.beta_start**0.5, config.beta_end**0.5, 1000) ** 2
    kept = (1 - betas).cumprod(0)[draw.timesteps][:, None, None, None]
    noisy = kept.sqrt() * draw.latents + (1 - kept).sqrt() * draw.noise
    if config.prediction_type == "epsilon":
        return noisy, draw.noise
    return noisy, kept.sqrt() * draw.noise - (1 - kept).sqrt() * draw.latents


@pytest.mark.parametrize("name", ["tiny_sd", "tiny_sd_2"])
def test_textual_inversion_is_the_usual_loop(
    name: str, landbirds: ClassEvidence, tmp_path: Path, drawn: list[Draw],
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    """The whole table is trained and all rows but the new one are put back, as is usual."""
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    model = request.getfixturevalue(name)
    _, learnt = concept_of(TextualInversion(str(model), folder=tmp_path, **QUICK), landbirds)
    draws = drawn[:3]  # those of the steps; further ones measure the effect

    unet = UNet2DConditionModel.from_pretrained(model / "unet")
    text = CLIPTextModel.from_pretrained(model / "text_encoder")
    tokenizer = CLIPTokenizer.from_pretrained(model / "tokenizer")
    start = tokenizer("the", add_special_tokens=False).input_ids[0]
    tokenizer.add_tokens("<landbird>")
    new = tokenizer.convert_tokens_to_ids("<landbird>")
    text.resize_token_embeddings(len(tokenizer))
    for part in (unet, text):
        part.eval().requires_grad_(False)
    table = text.get_input_embeddings().weight
    with torch.no_grad():
        table[new] = table[start]
    before = table.detach().clone()
    table.requires_grad_(True)
    optimizer = torch.optim.AdamW([table], lr=2e-3, weight_decay=1e-2)
    for draw in draws:
        assert all("<landbird>" in caption for caption in draw.captions)
        ids = tokenizer(draw.captions, padding="max_length", return_tensors="pt").input_ids
        noisy, target = noised(model, draw)
        predicted = unet(noisy, draw.timesteps, text(ids)[0]).sample
        F.mse_loss(predicted, target).backward()
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            table[:new] = before[:new]
    assert not torch.equal(table[new], before[new])
    torch.testing.assert_close(learnt["<landbird>"][0], table[new], rtol=1e-4, atol=2e-6)


def test_the_loss_of_dreambooth_adds_that_of_the_prior(
    tiny_sd: Path, landbirds: ClassEvidence, tmp_path: Path, drawn: list[Draw],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from diffusers import StableDiffusionPipeline

    found: list[float] = []
    whole = Denoising.training_step

    def noting(self: Denoising, batch: Any, index: int) -> Any:
        loss = whole(self, batch, index)
        found.append(float(loss))
        return loss

    monkeypatch.setattr(Denoising, "training_step", noting)
    settings = {**QUICK, "steps": 1, "prior_images": 3, "prior_steps": 1, "prior_weight": 0.25}
    DreamBooth(str(tiny_sd), folder=tmp_path, **settings).personalise(landbirds)
    pipe = StableDiffusionPipeline.from_pretrained(tiny_sd, safety_checker=None)
    own, prior = drawn[:2]
    assert all("sks landbird" in c for c in own.captions)
    assert prior.captions == ["a photo of a landbird"] * 2
    expected = 0.0
    with torch.no_grad():  # B is zero at first, so the model is as it was
        for draw, weight in ((own, 1.0), (prior, 0.25)):
            ids = pipe.tokenizer(draw.captions, padding="max_length", return_tensors="pt").input_ids
            noisy, target = noised(tiny_sd, draw)
            predicted = pipe.unet(noisy, draw.timesteps, pipe.text_encoder(ids)[0]).sample
            expected += weight * float(((predicted - target) ** 2).mean())
    assert found == [pytest.approx(expected, rel=1e-5)]


@pytest.mark.parametrize(("kind", "options"), [(TextualInversion, {}), (LoRA, {"rank": 2})])
def test_frozen_parts_are_bfloat16_and_learnt_ones_float32(
    kind: Any, options: Any, tiny_sd: Path, landbirds: ClassEvidence, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    seen: list[set[Any]] = []
    whole = Denoising.training_step

    def watching(self: Denoising, batch: Any, index: int) -> Any:
        parts = [self.pipe.unet, self.pipe.text_encoder, self.pipe.vae]
        frozen = {p.dtype for part in parts for p in part.parameters() if not p.requires_grad}
        assert {p.dtype for p in self.trained} == {torch.float32}
        seen.append(frozen)
        return whole(self, batch, index)

    monkeypatch.setattr(Denoising, "training_step", watching)
    settings = {**QUICK, "precision": "bfloat16", "learning_rate": 0.05, **options}
    concept, learnt = concept_of(kind(str(tiny_sd), folder=tmp_path, **settings), landbirds)
    assert seen == [{torch.bfloat16}] * 3
    assert all(v.dtype == torch.float32 and v.isfinite().all() for v in learnt.values())
    assert concept.effect is not None
    assert concept.effect > 1e-3
    sampler = TextToImage(
        tmp_path, {}, str(tiny_sd), folder=tmp_path, steps=1, precision="bfloat16", device="cpu"
    )
    (made,) = sampler.sample([GenerationRequest("g", concept, "landbird", 0)])
    assert isinstance(made, Sampled)


def test_checkpointing_computes_activations_twice_and_learns_the_same(
    tiny_sd: Path, landbirds: ClassEvidence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffusers.models.resnet import ResnetBlock2D

    calls = [0]
    whole = ResnetBlock2D.forward

    def counting(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls[0] += torch.is_grad_enabled()
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(ResnetBlock2D, "forward", counting)
    counts, made = [], []
    for on in (False, True):
        calls[0] = 0
        settings = {**QUICK, "checkpointing": on}
        made.append(
            concept_of(TextualInversion(str(tiny_sd), folder=tmp_path / str(on), **settings),
                       landbirds)[1]["<landbird>"]
        )  # fmt: skip
        counts.append(calls[0])
    assert counts[0] > 0
    # those of the blocks are called again; the two of the middle block by whole blocks
    assert counts[1] > 1.5 * counts[0]
    torch.testing.assert_close(made[0], made[1], rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("name", ["tiny_sd", "tiny_sd_2", "tiny_sdxl"])
@pytest.mark.parametrize(
    ("kind", "options"),
    [(TextualInversion, {}), (LoRA, {"text_encoder": True}), (DreamBooth, {"prior_images": 1})],
)
def test_every_architecture_is_personalised_and_sampled(
    name: str, kind: Any, options: Any, landbirds: ClassEvidence, tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    model = request.getfixturevalue(name)
    further = {"prior_steps": 1} if kind is DreamBooth else {}
    settings = {**QUICK, "steps": 1, "learning_rate": 0.05, **options, **further}
    concept, _ = concept_of(kind(str(model), folder=tmp_path, **settings), landbirds)
    assert concept.effect is not None
    assert concept.effect > 0
    asked = [GenerationRequest("g", concept, "landbird", 0)]
    for sampler in (TextToImage, ImageToImage):
        (made,) = sampler(
            tmp_path, {}, str(model), folder=tmp_path, steps=2, device="cpu"
        ).sample(asked)  # fmt: skip
        assert isinstance(made, Sampled)
        assert made.pixels.shape == (32, 32, 3)
        assert made.pixels.std() > 1
