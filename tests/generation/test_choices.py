"""Every choice of conf/ builds, cheaply, and with the published values where there are some."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aspire.cli._app import build, compose_config
from aspire.confdir import conf_dir


def choices(group: str) -> list[str]:
    return sorted(p.stem for p in (conf_dir() / group).glob("*.yaml"))


@pytest.mark.parametrize("choice", choices("personaliser"))
def test_every_personaliser_builds(choice: str) -> None:
    cfg, _ = compose_config("generate", [f"personaliser={choice}"])
    assert callable(build(cfg.personaliser).personalise)


@pytest.mark.parametrize("choice", choices("generator"))
def test_every_generator_builds(choice: str) -> None:
    cfg, _ = compose_config("generate", [f"generator={choice}"])
    sampler = build(cfg.generator)(root=Path(), refs={})
    assert sampler.batch_size >= 1


def test_every_filter_builds_under_its_own_name() -> None:
    cfg, _ = compose_config("generate", [f"filter=[{','.join(choices('filter'))}]"])
    for name, node in cfg.filter.items():
        assert build(node).name == name


def test_textual_inversion_is_set_as_in_the_paper() -> None:
    cfg, _ = compose_config("generate", ["personaliser=textual_inversion"])
    # methods-and-datasets.md 4.5: 5e-4 scaled by a batch of 4; 4.4: 15, then 10, up to 35 images
    paper: dict[str, Any] = {
        "steps": 1000, "batch_size": 4, "learning_rate": 5e-4 * 4, "weight_decay": 1e-2,
        "vectors": 1, "initial": "the", "flip": 0.5, "images": 35, "per_feature": [15, 10],
        "per": "class", "flipped_only": True, "model": "CompVis/stable-diffusion-v1-4",
    }  # fmt: skip
    assert {k: cfg.personaliser[k] for k in paper} == paper
    assert len(build(cfg.personaliser).templates) == 27
    cfg, _ = compose_config("generate", ["generator=text_to_image"])
    sampler = build(cfg.generator)(root=Path(), refs={})
    assert (sampler.steps, sampler.guidance) == (50, 7.5)
