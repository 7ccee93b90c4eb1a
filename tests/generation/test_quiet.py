"""Loading a model prints nothing, and changes nothing for others."""

from __future__ import annotations

from pathlib import Path

import pytest

from aspire.generation.text_to_image import TextToImage


def test_loading_shows_no_bars_and_leaves_those_of_others(
    tiny_sd: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from diffusers import StableDiffusionPipeline
    from huggingface_hub.utils import are_progress_bars_disabled

    TextToImage(tmp_path, {}, str(tiny_sd), device="cpu")._load()
    assert capfd.readouterr() == ("", "")
    assert not are_progress_bars_disabled()
    StableDiffusionPipeline.from_pretrained(tiny_sd, safety_checker=None)
    assert "Loading" in capfd.readouterr().err
