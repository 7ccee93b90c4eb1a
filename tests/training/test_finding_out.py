"""What a method does to find out sees real images; what it does to learn sees the mixture.

Every yaml of conf/baseline is run for a few steps without generated images and with some that are
noise of a wrong class: what it remembers of the real images, which come first, has to be the same.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from aspire.baselines.lff import LfFLoss
from aspire.cli._app import build, compose_config
from aspire.confdir import conf_dir
from aspire.data.image_table import ImageTable
from aspire.stored.phases import finished_phase
from aspire.training.context import TrainingContext
from aspire.training.phases import Phase, Setup, run_phase
from aspire.training.settings import FitSettings, Identities

Make = Callable[..., TrainingContext]
BASELINES = sorted(p.stem for p in (conf_dir() / "baseline").glob("*.yaml"))
FINDS = {  # on training images; the others find nothing out, or on val
    "afr": {"true_class_probability"},
    "cnc": {"reference_predictions"},
    "eiil": {"environments"},
    "jtt": {"errors"},
    "lff": {"biased network", "difficulties"},
    "masktune": {"heat", "masked"},
    "ssa": {f"attributes-{what}-{n}" for n in range(3) for what in ("fold", "held-out")},
}
ONLINE = {"lff"}  # while it learns, so that its batches hold fewer real images in a mixture
FAST = {"eiil": ["baseline.env_steps=20"], "dfr": ["baseline.refits=2"]}
LEARNT = {"strength", "head"}  # of DFR, on features of the mixture


class Noting(TrainingContext):
    """Keeps what is remembered, what LfF's second network came to, and every fit."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.found: dict[str, NDArray[Any]] = {}
        self.fits: dict[str, ImageTable] = {}

    @property
    def real(self) -> TrainingContext:
        made = super().real
        if made is not self:
            assert isinstance(made, Noting)
            made.found, made.fits = self.found, {}
        return made

    def remember(self, name: str, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        made = super().remember(name, make)
        if name not in LEARNT:
            self.found[name] = made
        return made

    def note(self, phase: Phase) -> None:
        self.fits[phase.name] = phase.train
        if isinstance(phase.objective, LfFLoss):
            weights = phase.objective.biased.state_dict().values()
            self.found["biased network"] = np.concatenate([w.numpy().ravel() for w in weights])
            self.found["difficulties"] = phase.objective.loss_biased.numpy()[phase.train.is_real]


def noted(setup: Setup, phase: Phase, *how: Any, **more: Any) -> dict[str, Any]:
    new = finished_phase(phase.folder) is None
    done = run_phase(setup, phase, *how, **more)
    if new:
        assert isinstance(setup, Noting)
        setup.note(phase)
    return done


def poisoned(train: ImageTable, folder: Path, seed: int) -> ImageTable:
    """The table with as many images of noise again, of random classes and groups."""
    rng = np.random.default_rng(seed)
    number, paths = len(train), []
    for row in range(number):
        paths.append(folder / f"{seed}-{row}.png")
        Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(paths[-1])
    y = rng.integers(0, 2, number)
    group = 2 * y + rng.integers(0, 2, number) if (train.group >= 0).all() else np.full(number, -1)
    return ImageTable(
        train.paths + tuple(paths),
        np.concatenate([train.y, y]),
        np.concatenate([train.group, group]),
        np.full(2 * number, 0.5 / number),
        np.arange(2 * number) < number,
    )


@pytest.fixture
def run(
    context: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, int | None], Noting]:
    monkeypatch.setattr(sys.modules[context.__module__], "TrainingContext", Noting)
    monkeypatch.setattr(sys.modules[TrainingContext.__module__], "run_phase", noted)

    def make(name: str, seed: int | None) -> Noting:
        words = [f"baseline={name}", "hparams=mini", *FAST.get(name, [])]
        baseline = build(compose_config("train", words)[0].baseline)
        ctx = context(
            f"{name}-{seed}",
            groups=baseline.needs.train_groups,
            fit_settings=FitSettings(2, 1, 8, "val_acc"),
            shared=Identities(["real", seed], ["real", None], {}, tmp_path / "shared"),
        )
        if seed is not None:
            ctx.train = poisoned(ctx.train, tmp_path, seed)
            ctx.info = replace(ctx.info, num_train=len(ctx.train))
        baseline.run(ctx)
        assert isinstance(ctx, Noting)
        return ctx

    return make


@pytest.mark.parametrize("name", BASELINES)
def test_generated_images_change_nothing_of_what_is_found_out(
    name: str, run: Callable[[str, int | None], Noting]
) -> None:
    mixed, other = run(name, 1), run(name, 2 if name in ONLINE else None)
    assert set(mixed.found) == set(other.found) == FINDS.get(name, set())
    for what, value in mixed.found.items():
        theirs = other.found[what]
        assert np.array_equal(value[: len(theirs)], theirs), what
    # and something is learnt from them
    learnt = list(mixed.fits.values())[-1]
    assert {p for p in learnt.paths if p not in other.train.paths}


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_says_so(name: str) -> None:
    target = build(compose_config("train", [f"baseline={name}"])[0].baseline)
    said = " ".join((sys.modules[type(target).__module__].__doc__ or "").split())
    assert "mixture" in said or "generated image" in said


def test_the_real_rows_of_a_context(context: Make, tmp_path: Path) -> None:
    plain = context("plain")
    assert plain.real is plain
    shared = Identities("mixture", "real", {}, tmp_path / "shared")
    mixed = context("mixed", shared=shared)
    mixed.train = poisoned(mixed.train, tmp_path, 0)
    real = mixed.real
    assert real.train.paths == plain.train.paths
    assert real.train.weight is None
    assert real.info.num_train == 40
    assert real.shared.images == "real"
    assert real.real is real
    real.record(errors=3)
    assert mixed.recorded == {"errors": 3}
    # its ERM is the one of the run without generated images, and not the one of the mixture
    apart = context("apart", shared=Identities("real", "real", {}, tmp_path / "elsewhere"))
    nets = [ctx.erm(steps=2).state_dict() for ctx in (real, apart, mixed)]
    assert all(torch.equal(nets[0][k], nets[1][k]) for k in nets[0])
    assert any(not torch.equal(nets[0][k], nets[2][k]) for k in nets[0])
