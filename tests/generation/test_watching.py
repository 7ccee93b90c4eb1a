"""Losses and samples of a personalisation reach the loggers that training runs have."""

from __future__ import annotations

import csv
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wandb
from omegaconf import OmegaConf
from PIL import Image

from aspire.cli._app import compose_config
from aspire.cli.jobs import Job
from aspire.data.images import read_image
from aspire.generation.base import ClassEvidence, Loggable
from aspire.generation.composition import CompositionPersonaliser
from aspire.generation.textual_inversion import TextualInversion
from aspire.reporting import wandb_run
from aspire.reporting.loggers import csv_logger, tensorboard_logger
from aspire.session import new_session

QUICK: dict[str, Any] = {
    "steps": 20, "batch_size": 1, "strip_every": 10, "device": "cpu", "checkpointing": False,
    "images": 4, "per_feature": [3, 1], "checkpoint_every": 5,
}  # fmt: skip


def test_strips_and_losses_in_csv_and_tensorboard(
    tiny_sd: Path, landbirds: ClassEvidence, tmp_path: Path
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    personaliser = TextualInversion(str(tiny_sd), folder=tmp_path, **QUICK)
    assert isinstance(personaliser, Loggable)
    personaliser.log_to(
        lambda folder: [
            csv_logger(folder, "0-personalise"), tensorboard_logger(folder, "0-personalise"),
        ]
    )  # fmt: skip
    personaliser.personalise(landbirds)
    (folder,) = tmp_path.iterdir()
    strips = {f.name[5:11]: read_image(f) for f in (folder / "strips").iterdir()}
    assert sorted(strips) == ["000010", "000020"]

    kept = folder / "csv" / "personalise"
    for step, strip in strips.items():
        shown = read_image(kept / "images" / f"personalise-strip-{step}-0.png")
        assert (shown == strip).all()
    rows = list(csv.DictReader((kept / "metrics.csv").read_text().splitlines()))
    assert all(float(r["personalise/loss"]) > 0 for r in rows)
    assert [int(r["step"]) for r in rows] == list(range(1, 20, 2))  # counted from 0

    events = EventAccumulator(str(folder / "tensorboard" / "personalise"), {"images": 0})
    events.Reload()
    found = events.Images("personalise/strip")
    assert [e.step for e in found] == [10, 20]
    assert (found[0].width, found[0].height) == (4 * 32, 32)


def test_wandb_has_a_run_a_class_with_its_strips(
    tiny_sd: Path, landbirds: ClassEvidence, tmp_path: Path, tiny_data: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Through the verb's own wiring, on a W&B that only takes notes."""
    started: list[dict[str, Any]] = []
    logged: list[dict[str, Any]] = []
    ended: list[int] = []

    class Notes:
        disabled = False

        def define_metric(self, *args: Any, **kwargs: Any) -> None: ...

        def log(self, content: dict[str, Any]) -> None:
            logged.append(content)

        def finish(self, exit_code: int) -> None:
            ended.append(exit_code)

    def init(**about: Any) -> Notes:
        started.append(about)
        return Notes()

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("ASPIRE_DATA", str(tiny_data))
    monkeypatch.setattr(wandb, "init", init)
    words = ["personaliser=textual_inversion", f"personaliser.model={tiny_sd}",
             f"paths.outputs={tmp_path}", "logger=wandb", "dataset.scale=0.02",
             *(f"personaliser.{k}={v}" for k, v in QUICK.items())]  # fmt: skip
    cfg, _ = compose_config("generate", words)
    OmegaConf.resolve(cfg.personaliser)
    with new_session():
        personaliser = Job("generate", cfg, words).experiment.pipeline.backends.personaliser
        personaliser.personalise(landbirds)
        wandb_run.close_run()

    (about,) = started
    assert about["job_type"] == "personalise"
    assert about["config"]["settings"]["personaliser"]["steps"] == 20
    shown = [row for row in logged if "personalise/strip" in row]
    assert [row["step"] for row in shown] == [10, 20]
    assert all(isinstance(i, wandb.Image) for row in shown for i in row["personalise/strip"])
    (folder,) = (tmp_path / "personalised").iterdir()
    strip = np.asarray(Image.open(folder / "strips" / "step-000010.png"))
    sent = shown[0]["personalise/strip"][0].image
    assert (np.asarray(sent) == strip).all()
    assert [row["step"] for row in logged if "personalise/loss" in row] == list(range(2, 21, 2))
    assert ended == [0]  # nothing of a training run is looked for in its folder


def test_loggers_stay_in_their_process_and_composition_has_nothing_to_show() -> None:
    personaliser = TextualInversion("nowhere")
    personaliser.log_to(lambda folder: [])
    sent = pickle.loads(pickle.dumps(personaliser))
    assert sent.loggers is None
    assert personaliser.loggers is not None
    assert not isinstance(CompositionPersonaliser(), Loggable)
