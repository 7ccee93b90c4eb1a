"""A training that is killed, interrupted or explodes, and is run again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from trained import BASELINES, Kill, Stumbling, equal, kill_after, plain, weights

from aspire.baselines.erm import CrossEntropy
from aspire.baselines.groupdro import GroupDRO
from aspire.errors import AspireError
from aspire.stored.phases import weights_file
from aspire.training.context import TrainingContext
from aspire.training.settings import FitSettings


@pytest.mark.parametrize(
    ("name", "evaluation"), [("erm", 1), ("erm", 3), ("erm", 4), ("groupdro", 3)]
)
def test_killed_run_ends_as_an_undisturbed_one(
    context: Callable[..., TrainingContext],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    evaluation: int,
) -> None:
    whole = context("whole")
    expected = weights(BASELINES[name]().run(whole))
    with monkeypatch.context() as patch:
        kill_after(patch, evaluation)
        with pytest.raises(Kill):
            BASELINES[name]().run(context("cut"))
    again = context("cut")
    assert equal(weights(BASELINES[name]().run(again)), expected)
    assert plain(again.phases) == plain(whole.phases)
    files = [p.relative_to(whole.folder) for p in whole.folder.rglob("*") if p.is_file()]
    assert {f.name for f in files} >= {"metrics.csv", "finished.json"}
    assert {p.relative_to(again.folder) for p in again.folder.rglob("*") if p.is_file()} == {*files}
    for file in files:
        assert (again.folder / file).read_bytes() == (whole.folder / file).read_bytes()


def test_group_weights_are_restored(
    context: Callable[..., TrainingContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    def final_q(folder: str) -> Any:
        state = torch.load(
            context(folder).folder / "checkpoints/train/last.ckpt", weights_only=True
        )
        return state["state_dict"]["objective.q"].numpy()

    for folder, kills in (("whole", (4,)), ("cut", (2, 4))):
        for evaluation in kills:
            with monkeypatch.context() as patch:
                kill_after(patch, evaluation)
                with pytest.raises(Kill):
                    GroupDRO(eta=0.5).run(context(folder))
            if evaluation == 2:
                halfway = final_q("cut")
    assert halfway.sum() == pytest.approx(1.0)
    assert np.abs(halfway - 0.25).max() > 0.01
    assert np.array_equal(final_q("cut"), final_q("whole"))
    assert not np.array_equal(final_q("cut"), halfway)


def test_kill_in_the_middle_of_an_epoch(context: Callable[..., TrainingContext]) -> None:
    expected = weights(context("whole").fit("train", CrossEntropy()))
    with pytest.raises(Kill):
        context("cut").fit("train", Stumbling(at=5, error=Kill()))
    assert equal(weights(context("cut").fit("train", CrossEntropy())), expected)


def test_ctrl_c_is_a_keyboard_interrupt_and_can_be_resumed(
    context: Callable[..., TrainingContext],
) -> None:
    import signal

    before = signal.getsignal(signal.SIGINT)
    finished: list[bool] = []
    expected = weights(context("whole").fit("train", CrossEntropy()))
    with pytest.raises(KeyboardInterrupt):
        context("cut", finish=finished.append).fit(
            "train", Stumbling(at=5, error=KeyboardInterrupt())
        )
    assert signal.getsignal(signal.SIGINT) is before
    assert finished == [True]
    assert equal(weights(context("cut").fit("train", CrossEntropy())), expected)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_exploding_loss_names_the_step_and_keeps_the_last_good_state(
    context: Callable[..., TrainingContext], value: float
) -> None:
    finished: list[bool] = []
    run = context("a", finish=finished.append)
    with pytest.raises(AspireError) as caught:
        run.fit("train", Stumbling(at=5, loss=value))
    text = str(caught.value)
    assert f"The loss became {value} at step 5." in text
    assert "The last good checkpoint is kept" in text
    assert text.endswith("Try a smaller optimizer.lr.")
    assert finished == [True]
    assert run.phases == {}
    state = torch.load(run.folder / "checkpoints/train/last.ckpt", weights_only=True)
    assert state["global_step"] == 4
    assert all(
        torch.isfinite(v).all() for v in state["state_dict"].values() if v.is_floating_point()
    )
    kept = load_file(weights_file(run.folder / "checkpoints/train", 4))
    assert all(torch.isfinite(v).all() for v in kept.values() if v.is_floating_point())


class Greedy(CrossEntropy):
    """Finds no memory for more than a few images."""

    def forward(self, net: Any, batch: Any) -> Any:
        if len(batch.y) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return super().forward(net, batch)


def test_full_memory_says_which_batch_has_as_many_images_a_step(
    context: Callable[..., TrainingContext],
) -> None:
    with pytest.raises(AspireError) as caught:
        context("a").fit("train", Greedy())
    text = str(caught.value)
    assert text.startswith(
        "Out of memory with fit.batch_size=8. fit.batch_size=4 fit.accumulate=2 has as many images"
    )
    run = context("b", fit_settings=FitSettings(8, 4, 4, "val_worst_group", accumulate=2))
    run.fit("train", Greedy())
    assert run.phases["train"]["steps"] == 8


def test_every_checkpoint_loads_without_trust(
    context: Callable[..., TrainingContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_after(monkeypatch, 2)
    run = context("a")
    with pytest.raises(Kill):
        GroupDRO().run(run)
    files = {p.name for p in run.folder.rglob("*") if p.is_file()}
    assert files - {"step-0000002.safetensors"} == {
        "last.ckpt",
        "step-0000004.safetensors",
        "metrics.csv",
    }
    state = torch.load(run.folder / "checkpoints/train/last.ckpt", weights_only=True)
    assert state["global_step"] == 4
    load_file(weights_file(run.folder / "checkpoints/train", 4))
