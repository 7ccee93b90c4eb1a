"""Training for real, on the tiny folder: equal seeds, selection, and what fit promises."""

from __future__ import annotations

import csv
from collections.abc import Callable
from functools import partialmethod
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from trained import BASELINES, STEPS, Kill, Stumbling, equal, kill_after, plain, weights

from aspire.baselines.base import StepOutput
from aspire.baselines.erm import ERM, CrossEntropy
from aspire.classification.backbones import SmallCNN
from aspire.classification.classifier import Classifier
from aspire.classification.schedules import constant, cosine, cosine_to_hundredth
from aspire.data.datamodule import Batch
from aspire.data.table import Split
from aspire.errors import ConfigError
from aspire.training.context import TrainingContext
from aspire.training.module import ClassificationModule
from aspire.training.settings import DeviceSettings, FitSettings

# --- the same and not the same ---------------------------------------------------------------


@pytest.mark.parametrize("name", BASELINES)
def test_equal_seeds_give_equal_weights(context: Callable[..., TrainingContext], name: str) -> None:
    nets, phases = [], []
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.manual_seed(hash(folder) % 1000)  # what happened before must not matter
        run = context(folder, seed)
        nets.append(weights(BASELINES[name]().run(run)))
        phases.append(plain(run.phases))
    assert equal(nets[0], nets[1])
    assert phases[0] == phases[1]
    assert not equal(nets[0], nets[2])


def test_number_of_evaluations_does_not_change_the_training(
    context: Callable[..., TrainingContext],
) -> None:
    nets = []
    for evaluations in (2, 4):
        settings = FitSettings(STEPS, evaluations, 8, "last")
        run = context(f"e{evaluations}", fit_settings=settings)
        nets.append(weights(ERM().run(run)))
    assert equal(nets[0], nets[1])


def moving_average(history: list[dict[str, Any]], decay: float) -> dict[str, Any]:
    """By its recursion: the first weights, then each at 1 - min(decay, (1 + n) / (10 + n))."""
    average = {k: v.astype(np.float64) for k, v in history[0].items()}
    for n, current in enumerate(history[1:], 1):
        share = min(decay, (1 + n) / (10 + n))
        average = {k: share * v + (1 - share) * current[k] for k, v in average.items()}
    return average


@pytest.mark.parametrize("evaluation", [None, 2])
def test_moving_average_of_the_weights_is_judged_and_kept(
    context: Callable[..., TrainingContext], monkeypatch: pytest.MonkeyPatch, evaluation: int | None
) -> None:
    seen: list[dict[str, Any]] = []
    original = ClassificationModule.on_train_batch_end

    def noting(self: ClassificationModule, *args: Any) -> None:
        if len(seen) == self.global_step - 1:
            seen.append(weights(self.net))
        original(self, *args)

    monkeypatch.setattr(ClassificationModule, "on_train_batch_end", noting)
    settings = FitSettings(STEPS, 4, 8, "last", ema=0.3)
    if evaluation is not None:  # killed, and resumed from its last state
        with monkeypatch.context() as patch:
            kill_after(patch, evaluation)
            with pytest.raises(Kill):
                ERM().run(context("a", fit_settings=settings))
    run = context("a", fit_settings=settings)
    kept = weights(ERM().run(run))
    assert len(seen) == STEPS
    expected = moving_average(seen, 0.3)
    for name, value in kept.items():
        if "num_batches" not in name:
            np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-6)
    assert not equal(kept, seen[-1])
    # a training is what it is, whatever is kept of it
    plain_run = weights(ERM().run(context("b", fit_settings=FitSettings(STEPS, 4, 8, "last"))))
    assert equal(plain_run, seen[-1])


def test_settings_without_an_average_are_known_by_the_same_name_as_ever() -> None:
    assert "ema" not in FitSettings(STEPS, 4, 8, "last").identity()
    assert FitSettings(STEPS, 4, 8, "last", ema=0.9).identity()["ema"] == 0.9


class Plain(SmallCNN):
    """Without batch statistics, which are of a batch and not of a step."""

    def build(self, num_classes: int) -> Classifier:
        torch.manual_seed(0)
        side = self.preprocessing().size
        body = nn.Sequential(nn.Flatten(), nn.Linear(3 * side * side, 8), nn.Tanh())
        return Classifier(body, 8, num_classes)


def test_two_accumulated_batches_are_one_of_twice_the_size(
    context: Callable[..., TrainingContext],
) -> None:
    nets = []
    for batch_size, accumulate in ((16, 1), (8, 2)):
        settings = FitSettings(STEPS, 2, batch_size, "last", accumulate=accumulate)
        run = context(f"b{batch_size}", fit_settings=settings, model=Plain(image_size=16))
        nets.append(weights(ERM().run(run)))
        assert run.phases["erm"]["steps"] == STEPS
    for name, value in nets[0].items():
        np.testing.assert_allclose(nets[1][name], value, rtol=1e-5, atol=1e-6)


def test_an_erm_may_make_a_step_of_every_batch(context: Callable[..., TrainingContext]) -> None:
    alone = context("alone", fit_settings=FitSettings(STEPS, 2, 8, "last"))
    within = context("within", fit_settings=FitSettings(STEPS // 2, 1, 8, "last", accumulate=2))
    expected = weights(alone.erm(select="last"))
    assert equal(weights(within.erm(steps=STEPS, select="last", accumulate=1)), expected)


def test_of_a_frozen_network_only_the_last_layer_learns(
    context: Callable[..., TrainingContext],
) -> None:
    run = context("a", fit_settings=FitSettings(STEPS, 2, 8, "last", frozen=True))
    start = {k: v.detach().clone() for k, v in run.network("erm").named_parameters()}
    net = ERM().run(run)
    moved = {k for k, v in net.named_parameters() if not torch.equal(v.detach(), start[k])}
    assert moved == {"head.weight", "head.bias"}


def test_the_rate_of_afr_ends_at_a_hundredth() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.4)
    schedule = cosine_to_hundredth(optimizer, 10)
    assert schedule is not None
    rates = []
    for _ in range(10):
        optimizer.step()
        schedule.step()
        rates.append(schedule.get_last_lr()[0])
    assert rates[4] == pytest.approx(0.004 + 0.396 / 2)
    assert rates[9] == pytest.approx(0.004)


def test_a_compiled_network_learns_the_same(
    context: Callable[..., TrainingContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = weights(ERM().run(context("plain")))
    # Traced as for a GPU, run without a C++ compiler, which not every machine has.
    monkeypatch.setattr(nn.Module, "compile", partialmethod(nn.Module.compile, backend="eager"))
    compiled = context("compiled", device_settings=DeviceSettings("cpu", compile=True))
    net = ERM().run(compiled)
    assert net.backbone._compiled_call_impl is not None
    for name, value in weights(net).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-6)


def test_erms_of_two_lengths_both_count(context: Callable[..., TrainingContext]) -> None:
    run = context("a")
    run.erm(steps=4)
    run.erm()
    run.erm()
    assert [p["steps"] for p in run.phases.values()] == [4, STEPS]


def test_history_has_a_line_per_evaluation(context: Callable[..., TrainingContext]) -> None:
    run = context("a")
    ERM().run(run)
    phase = run.phases["erm"]
    assert [row["step"] for row in phase["history"]] == [2, 4, 6, 8]
    assert phase["steps"] == STEPS
    assert phase["selection"] == "val_worst_group"
    with (phase["folder"] / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(r["val/acc"]) for r in rows] == [r["val/acc"] for r in phase["history"]]
    scores = [(r["val/worst_group_acc"], r["val/acc_balanced"]) for r in phase["history"]]
    assert phase["selected_step"] == 2 * (scores.index(max(scores)) + 1)


def test_selected_weights_are_those_of_the_selected_evaluation(
    context: Callable[..., TrainingContext],
) -> None:
    run = context("a")
    net = ERM().run(run)
    chosen = next(
        r for r in run.phases["erm"]["history"]
        if r["step"] == run.phases["erm"]["selected_step"]
    )  # fmt: skip
    table = run.tables[Split.VAL]
    correct = run.predict(net, Split.VAL).numpy() == table.y
    assert correct.mean() == pytest.approx(chosen["val/acc"])
    worst = min(correct[table.group == g].mean() for g in range(4))
    assert worst == pytest.approx(chosen["val/worst_group_acc"])


def test_it_learns(context: Callable[..., TrainingContext]) -> None:
    settings = FitSettings(30, 1, 16, "last")
    run = context("a", fit_settings=settings, scheduler=constant)
    net = ERM().run(run)
    train = run.predict(net, Split.TRAIN).numpy() == run.train.y
    assert train.mean() > 0.85


# --- the other promises of fit ---------------------------------------------------------------


def test_objective_sees_no_groups_unless_it_may(context: Callable[..., TrainingContext]) -> None:
    seen: list[Any] = []

    class Looking(CrossEntropy):
        def forward(self, net: Classifier, batch: Batch) -> StepOutput:
            seen.append(batch.group)
            return super().forward(net, batch)

    context("hidden", groups=False).fit("train", Looking())
    assert (torch.cat(seen) == -1).all()
    seen.clear()
    context("shown", groups=True).fit("train", Looking())
    assert set(torch.cat(seen).tolist()) == {0, 1, 2, 3}


def test_second_phase_goes_on_from_given_weights_and_trains(
    context: Callable[..., TrainingContext],
) -> None:
    modes: list[bool] = []

    class Looking(CrossEntropy):
        def forward(self, net: Classifier, batch: Batch) -> StepOutput:
            if not modes:
                first.update(weights(net))
            modes.append(all(m.training for m in net.modules()))
            return super().forward(net, batch)

    first: dict[str, Any] = {}
    run = context("a")
    net = run.fit("one", CrossEntropy())
    before = weights(net)
    run.predict(net, Split.VAL)  # leaves the network in evaluation mode
    run.fit("two", Looking(), net=net, steps=4)
    assert equal(first, before)
    assert modes == [True] * 4
    assert [r["step"] for r in run.phases["two"]["history"]] == [2, 4]


def test_a_phase_has_one_name(context: Callable[..., TrainingContext]) -> None:
    run = context("a")
    run.fit("train", CrossEntropy(), steps=1)
    with pytest.raises(ValueError, match="phase 'train' appears twice"):
        run.fit("train", CrossEntropy(), steps=1)


def test_finished_phase_is_not_trained_again(context: Callable[..., TrainingContext]) -> None:
    expected = weights(context("a").fit("train", CrossEntropy()))
    again = context("a").fit("train", Stumbling(at=0, error=Kill()))
    assert equal(weights(again), expected)


def test_sample_weights_leave_rows_out(context: Callable[..., TrainingContext]) -> None:
    rows: list[Any] = []

    class Looking(CrossEntropy):
        def forward(self, net: Classifier, batch: Batch) -> StepOutput:
            rows.append(batch.row)
            return super().forward(net, batch)

    allowed = np.zeros(40)
    allowed[[3, 17, 30]] = 1.0
    context("a").fit("train", Looking(), sample_weights=allowed)
    assert set(torch.cat(rows).tolist()) == {3, 17, 30}


def test_predict_and_features_are_in_row_order(context: Callable[..., TrainingContext]) -> None:
    run = context("a")
    torch.manual_seed(0)
    net = run.model.build(2)
    for split, size in ((Split.TRAIN, 40), (Split.VAL, 16), (Split.TEST, 16)):
        features = run.features(net, split)
        assert features.shape == (size, 8)
        with torch.inference_mode():
            expected = net.head(features).argmax(1)
        assert torch.equal(run.predict(net, split), expected)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            (10, 4, 8, "last"),
            "fit.steps=10 is not a multiple of fit.evaluations=4. Try fit.steps=8.",
        ),
        ((3, 4, 8, "last"), "fit.steps=3 is not a multiple of fit.evaluations=4. Try fit.steps=4."),
    ],
)
def test_fit_settings_that_cannot_work(settings: tuple[Any, ...], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        FitSettings(*settings)
    assert said in str(caught.value)


def test_cosine_ends_at_nothing_and_constant_is_none() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    assert constant(optimizer, 10) is None
    schedule = cosine(optimizer, 10)
    assert schedule is not None
    rates = []
    for _ in range(10):
        optimizer.step()
        schedule.step()
        rates.append(schedule.get_last_lr()[0])
    expected = [0.05 * (1 + np.cos(np.pi * t / 10)) for t in range(1, 11)]
    assert rates == pytest.approx(expected, abs=1e-9)


def test_auto_takes_as_many_devices_as_processes_were_started(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert DeviceSettings(devices="auto").num_devices() == 1
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert DeviceSettings(devices="auto").num_devices() == 4
    assert DeviceSettings(devices=2).num_devices() == 2


def test_sigterm_in_a_training_is_not_taken_for_ctrl_c(
    context: Callable[..., TrainingContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminated(SystemExit):
        """What a handler of SIGTERM raises."""

    def step(*args: Any) -> Any:
        raise Terminated(143)

    from aspire.training.module import ClassificationModule

    monkeypatch.setattr(ClassificationModule, "training_step", step)
    with pytest.raises(Terminated):
        BASELINES["erm"]().run(context("run"))
