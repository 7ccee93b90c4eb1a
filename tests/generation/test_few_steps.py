"""Distilled weights: the pipeline with them is diffusers' own, loaded as their cards say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_diffusion as tiny
import torch
from safetensors.torch import load_file, save_file

from aspire.errors import ConfigError, ServiceError
from aspire.generation.base import ClassEvidence, GenerationRequest
from aspire.generation.lora import LoRA
from aspire.generation.text_to_image import TextToImage
from aspire.generation.textual_inversion import TextualInversion
from aspire.records import Concept, Context

PLAIN = Concept(
    concept_id="000", y=0, objects=(), avoided=("boat",),
    contexts=(Context(phrase="lake", weight=1.0, donors=()),),
)  # fmt: skip


@pytest.fixture(scope="module")
def lcm_lora(tiny_sd: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.lora_of(tiny_sd, tmp_path_factory.mktemp("lcm"))


def requests(concept: Concept, number: int = 2) -> list[GenerationRequest]:
    return [GenerationRequest(f"g{i}", concept, "landbird", 50 + i) for i in range(number)]


def pixels(sampler: TextToImage, concept: Concept = PLAIN) -> Any:
    return np.stack([s.pixels for s in sampler.sample(requests(concept))]).astype(int)


def sampler_of(model: Path, **settings: Any) -> TextToImage:
    return TextToImage(Path(), {}, str(model), device="cpu", **settings)


def by_hand(pipe: Any, sampler: TextToImage, concept: Concept = PLAIN, **call: Any) -> Any:
    """(N, H, W, 3) of diffusers' own call."""
    plans = [sampler.plan(r) for r in requests(concept)]
    pipe.set_progress_bar_config(disable=True)
    made = pipe(
        [p.prompt for p in plans],
        generator=[torch.Generator().manual_seed(p.noise) for p in plans],
        height=tiny.SIZE,
        width=tiny.SIZE,
        output_type="np",
        **call,
    ).images
    return np.round(made * 255).astype(int)


@pytest.mark.parametrize("kind", ["tiny_sd", "tiny_sdxl"])
def test_lcm_lora_is_loaded_as_its_card_says(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    import diffusers

    model = request.getfixturevalue(kind)
    name = {"tiny_sd": "StableDiffusionPipeline", "tiny_sdxl": "StableDiffusionXLPipeline"}[kind]
    sampler = sampler_of(model, fast=str(tiny.lora_of(model, tmp_path / "lcm", name)))
    pipe = getattr(diffusers, name).from_pretrained(model, safety_checker=None)
    pipe.scheduler = diffusers.LCMScheduler.from_config(pipe.scheduler.config)
    pipe.load_lora_weights(tmp_path / "lcm")
    expected = by_hand(pipe, sampler, num_inference_steps=4, guidance_scale=0.0)
    assert np.abs(pixels(sampler) - expected).max() <= 1  # merged or beside: by rounding
    plain = sampler_of(model, steps=4, guidance=0.0, scheduler="LCMScheduler")
    assert np.abs(pixels(plain) - expected).max() > 1


def test_turbo_is_a_pipeline_of_its_own(tiny_sd: Path, tmp_path: Path) -> None:
    import diffusers

    turbo = tiny.stable_diffusion(tmp_path / "turbo", timestep_spacing="trailing")
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(turbo, safety_checker=None)
    for parameter in pipe.unet.parameters():
        parameter.data *= 1.1
    pipe.unet.save_pretrained(turbo / "unet")
    sampler = sampler_of(tiny_sd, fast=str(turbo), steps=1)
    expected = by_hand(pipe, sampler, num_inference_steps=1, guidance_scale=0.0)
    assert np.abs(pixels(sampler) - expected).max() <= 1


def test_scheduler_beside_the_lora_is_used_unless_one_is_named(
    tiny_sd: Path, lcm_lora: Path, tmp_path: Path
) -> None:
    from diffusers import DDIMScheduler

    own = tiny.lora_of(tiny_sd, tmp_path / "own")
    tiny.ddim(timestep_spacing="trailing").save_pretrained(own / "scheduler")
    assert type(sampler_of(tiny_sd, fast=str(lcm_lora))._load().scheduler).__name__ == (
        "LCMScheduler"
    )
    scheduler = sampler_of(tiny_sd, fast=str(own))._load().scheduler
    assert isinstance(scheduler, DDIMScheduler)
    assert scheduler.config.timestep_spacing == "trailing"
    named = sampler_of(tiny_sd, fast=str(own), scheduler="EulerDiscreteScheduler")
    assert type(named._load().scheduler).__name__ == "EulerDiscreteScheduler"


@pytest.mark.parametrize("kind", [TextualInversion, LoRA])
def test_what_is_learnt_on_the_teacher_is_used_by_the_student_and_taken_off(
    kind: Callable[..., Any], tiny_sd: Path, lcm_lora: Path, landbirds: ClassEvidence,
    tmp_path: Path,
) -> None:  # fmt: skip
    settings = {"steps": 2, "strip_every": 0, "learning_rate": 0.5, "device": "cpu"}
    concept = kind(str(tiny_sd), folder=tmp_path, **settings).personalise(landbirds)
    assert isinstance(concept, Concept)
    sampler = sampler_of(tiny_sd, fast=str(lcm_lora), folder=tmp_path)
    before = pixels(sampler)
    learnt = pixels(sampler, concept)
    assert np.abs(learnt - before).max() > 0
    assert (pixels(sampler) == before).all()
    assert (pixels(sampler, concept) == learnt).all()


def test_a_lighter_autoencoder_takes_the_place_of_the_models(tiny_sd: Path, tmp_path: Path) -> None:
    from diffusers import StableDiffusionPipeline

    light = tiny.light_vae()
    light.save_pretrained(tmp_path / "taesd")
    sampler = sampler_of(tiny_sd, steps=2, guidance=0.0, vae=str(tmp_path / "taesd"))
    pipe = StableDiffusionPipeline.from_pretrained(tiny_sd, safety_checker=None)
    pipe.vae = light
    expected = by_hand(pipe, sampler, num_inference_steps=2, guidance_scale=0.0)
    assert np.abs(pixels(sampler) - expected).max() <= 1


def test_without_guidance_nothing_is_said_of_what_to_avoid(tiny_sd: Path) -> None:
    guided, free = sampler_of(tiny_sd, steps=2), sampler_of(tiny_sd, steps=2, guidance=1.0)
    (request,) = requests(PLAIN, 1)
    assert guided.plan(request).negative_prompt == "boat"
    assert free.plan(request).negative_prompt == ""
    assert free.sample([request])[0].negative_prompt == ""


def test_identity_tells_distilled_weights_apart_and_is_unmoved_without(
    tiny_sd: Path, lcm_lora: Path, tmp_path: Path
) -> None:
    plain = sampler_of(tiny_sd).identity()
    assert plain["steps"] == 50
    assert plain["guidance"] == 7.5
    assert not {"fast", "vae"} & plain.keys()
    fast = sampler_of(tiny_sd, fast=str(lcm_lora)).identity()
    assert fast["steps"] == 4
    assert fast["guidance"] == 0.0
    state = load_file(lcm_lora / "pytorch_lora_weights.safetensors")
    (tmp_path / "other").mkdir()
    save_file(
        {k: 2 * v for k, v in state.items()},
        tmp_path / "other" / "pytorch_lora_weights.safetensors",
    )
    other = sampler_of(tiny_sd, fast=str(tmp_path / "other")).identity()
    assert other["fast"] != fast["fast"]


def test_weights_that_do_not_fit_are_refused_by_name(
    tiny_sd: Path, tiny_sdxl: Path, lcm_lora: Path, tmp_path: Path
) -> None:
    from diffusers import AutoencoderKL

    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"empty holds no LoRA"):
        sampler_of(tiny_sd, fast=str(tmp_path / "empty")).sample(requests(PLAIN))
    state = load_file(lcm_lora / "pytorch_lora_weights.safetensors")
    for name, wrong in (
        ("shape", {k: torch.cat([v, v]) for k, v in state.items()}),
        ("names", {f"unet.elsewhere{i}.lora_A.weight": v for i, v in enumerate(state.values())}),
    ):
        (tmp_path / name).mkdir()
        save_file(wrong, tmp_path / name / "pytorch_lora_weights.safetensors")
        with pytest.raises(ConfigError, match=rf"generator.fast=.*{name}.*LCM-LoRA"):
            sampler_of(tiny_sd, fast=str(tmp_path / name)).sample(requests(PLAIN))
    with pytest.raises(ConfigError, match=r"holds no autoencoder|is a"):
        sampler_of(tiny_sd, vae=str(tiny_sd)).sample(requests(PLAIN))
    AutoencoderKL(latent_channels=3, block_out_channels=(32,)).save_pretrained(tmp_path / "vae")
    with pytest.raises(ConfigError, match=r"latents of 3 channels; generator.model has 4"):
        sampler_of(tiny_sd, vae=str(tmp_path / "vae")).sample(requests(PLAIN))
    with pytest.raises(ConfigError, match=r"no such scheduler; expected e.g. DDIMScheduler"):
        sampler_of(tiny_sd, scheduler="AutoencoderKL").sample(requests(PLAIN))


def test_distilled_weights_out_of_reach_say_what_to_type(
    tiny_sd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ServiceError, match=r"or leave generator.fast out"):
        sampler_of(tiny_sd, fast="nobody/lcm-lora").sample(requests(PLAIN))
