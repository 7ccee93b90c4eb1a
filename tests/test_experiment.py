"""An experiment is made of plain objects, without a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from aspire.baselines.erm import ERM
from aspire.classification.backbones import SmallCNN
from aspire.classification.schedules import constant
from aspire.data.checks import check_dataset
from aspire.data.table import Dataset
from aspire.experiment import Experiment
from aspire.generation.mixing import RealOnly
from aspire.pipeline.discovered_groups import Annotated
from aspire.pipeline.parts import StageSettings
from aspire.pipeline.stage import LocalEngine
from aspire.recipe import Parts, Recipe
from aspire.training.settings import DeviceSettings, FitSettings


def not_wanted(*args: Any) -> Any:
    raise AssertionError("only training was asked for")


def recipe(seed: int, made: list[int]) -> Recipe:
    def parts() -> Parts:
        made.append(seed)
        return Parts(
            baseline=ERM(),
            model=SmallCNN(image_size=16, widths=(4, 8)),
            optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
            scheduler=constant,
            fit=FitSettings(steps=2, evaluations=1, batch_size=4, selection="last"),
            device=DeviceSettings(accelerator="cpu", pixel_cache=False),
        )

    return Recipe(
        identity={"model": "small", "augmentation": "none"},
        labels={"baseline": "erm", "model": "small", "augmentation": "none"},
        seed=seed,
        augmentation=RealOnly(),
        groups=Annotated(),
        parts=parts,
        config=lambda: b"seed: 0\n",
    )


def test_it_trains_and_finds_what_is_trained(waterbirds: Dataset, tmp_path: Path) -> None:
    dataset, checks = check_dataset(waterbirds)
    settings = StageSettings({}, {}, {}, {}, {}, {})
    experiment = Experiment(
        dataset, checks, tmp_path, not_wanted, settings, LocalEngine, not_wanted
    )  # fmt: skip
    made: list[int] = []
    first = experiment.train(recipe(0, made))
    again = experiment.train(recipe(0, made))
    other = experiment.train(recipe(1, made))
    assert [r.state for r in (first, again, other)] == ["run", "hit", "run"]
    assert first.folder == again.folder != other.folder
    assert made == [0, 1]  # nothing heavy is built for a run that is there
    assert first.result["baseline"] == "erm"
    assert (first.folder / "config.yaml").read_bytes() == b"seed: 0\n"
