"""What runs share is made once, is what each would have made alone, and can be switched off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aspire.baselines.erm import CrossEntropy
from aspire.data.table import Split
from aspire.errors import ConfigError
from aspire.training.context import TrainingContext
from aspire.training.features import collect
from aspire.training.module import ClassificationModule
from aspire.training.settings import DeviceSettings, FitSettings, Identities

Make = Callable[..., TrainingContext]
ALONE = DeviceSettings(accelerator="cpu", share_stages=False, feature_cache=False)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry per training step."""
    taken: list[int] = []
    original = ClassificationModule.training_step

    def counting(self: ClassificationModule, batch: Any, batch_idx: int) -> Any:
        taken.append(batch_idx)
        return original(self, batch, batch_idx)

    monkeypatch.setattr(ClassificationModule, "training_step", counting)
    return taken


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


@pytest.fixture
def shared(tmp_path: Path) -> Identities:
    return Identities("images", "real images", {"model": "small"}, tmp_path / "shared")


def test_erm_is_trained_once_for_all_and_as_each_would_alone(
    context: Make, shared: Identities, steps: list[int]
) -> None:
    first = context("a", shared=shared).erm()
    assert len(steps) == 8
    second = context("b", shared=shared).erm()
    assert len(steps) == 8
    alone = context("c", shared=shared, device_settings=ALONE).erm()
    assert len(steps) == 16
    assert same(first, second)
    assert same(first, alone)


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("name", ["step-*.safetensors", "finished.json"])
def test_a_damaged_erm_is_trained_again(
    name: str, context: Make, shared: Identities, steps: list[int], caplog: Any
) -> None:
    first = context("a", shared=shared).erm()
    (folder,) = (shared.root / "erm").glob("erm-*")
    _flip(sorted(folder.glob(name))[-1])
    assert same(first, context("b", shared=shared).erm())
    assert len(steps) == 16
    (line,) = caplog.messages
    assert line.startswith(f"{folder} is damaged: ")
    assert line.endswith("It is trained again.")


def test_damaged_features_and_states_are_made_again(
    context: Make, shared: Identities, caplog: Any
) -> None:
    run = context("a", shared=shared)
    net = run.network("erm")
    right = run.features(net, Split.VAL)
    (kept,) = (shared.root / "features").glob("*.safetensors")
    _flip(kept)
    assert torch.equal(run.features(net, Split.VAL), right)
    assert torch.equal(run.features(net, Split.VAL), right)
    assert caplog.messages == [f"{kept} is not what was kept. The features are computed again."]
    caplog.clear()
    run.remember("rows", lambda: np.arange(3))
    _flip(run.folder / "state" / "rows.npy")
    assert run.remember("rows", lambda: np.arange(3)).tolist() == [0, 1, 2]
    assert "rows.npy is not what was kept. It is made again." in caplog.text


def test_selection_does_not_train_again_but_settings_do(
    context: Make, shared: Identities, steps: list[int]
) -> None:
    run = context("a", shared=shared)
    run.erm()
    last = run.erm(select="last")
    assert len(steps) == 8
    assert run.phases["erm"]["selected_step"] == 8
    assert same(last, context("b", shared=shared).erm(select="last"))
    for number, change in enumerate(
        ({"steps": 4}, {"lr": 0.05}, {"rows": np.arange(30)}, {"weight_decay": 0.1}), start=1
    ):
        before = len(steps)
        context(f"c{number}", shared=shared).erm(**change)
        assert len(steps) == before + (4 if "steps" in change else 8)
    before = len(steps)
    context("d", seed=1, shared=shared).erm()
    other = Identities("other images", None, shared.training, shared.root)
    context("e", shared=other).erm()
    assert len(steps) == before + 16


def test_oracle_measures_the_test_split_and_is_trained_apart(
    context: Make, shared: Identities, steps: list[int]
) -> None:
    settings = FitSettings(8, 4, 8, "oracle_test")
    run = context("a", shared=shared, fit_settings=settings)
    context("b", shared=shared).erm()
    net = run.erm()
    assert len(steps) == 16
    assert "test/worst_group_acc" in run.phases["erm"]["history"][0]
    predicted = run.predict(net, Split.TEST).numpy()
    table = run.table(Split.TEST)
    worst = min((predicted == table.y)[table.group == g].mean() for g in range(4))
    assert worst == max(r["test/worst_group_acc"] for r in run.phases["erm"]["history"])


def test_every_rule_s_weights_are_kept(context: Make) -> None:
    run = context("a")
    net = run.fit("train", CrossEntropy())
    phase = run.phases["train"]
    rules = {"val_worst_group", "val_worst_class", "val_acc", "val_balanced", "last"}
    assert set(phase["best"]) == rules
    kept = {int(p.stem.split("-")[1]) for p in phase["folder"].glob("step-*.safetensors")}
    assert kept == set(phase["best"].values())
    for rule, step in phase["best"].items():
        again = context("a").fit("train", CrossEntropy(), select=rule)
        by_step = {r["step"]: r["val/acc"] for r in phase["history"]}
        predicted = run.predict(again, Split.VAL).numpy()
        assert (predicted == run.table(Split.VAL).y).mean() == pytest.approx(by_step[step])
    assert same(net, context("a").fit("train", CrossEntropy()))


def test_features_are_computed_once_per_weights_and_split(
    context: Make, shared: Identities, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def counting(*args: Any) -> torch.Tensor:
        calls.append(1)
        return collect(*args)

    monkeypatch.setattr("aspire.training.features.collect", counting)
    run = context("a", shared=shared)
    net = run.network("x")
    features = run.features(net, Split.VAL)
    assert torch.equal(context("b", shared=shared).features(net, Split.VAL), features)
    assert len(calls) == 1
    alone = context("c", shared=shared, device_settings=ALONE).features(net, Split.VAL)
    assert torch.equal(alone, features)
    assert len(calls) == 2
    run.features(net, Split.TEST)
    run.features(run.network("y"), Split.VAL)
    assert len(calls) == 4
    torch.nn.init.zeros_(net.head.weight)  # the head has no part in it
    run.features(net, Split.VAL)
    assert len(calls) == 4
    logits = run.logits(net, Split.VAL)
    torch.testing.assert_close(logits, net.head.bias.expand(len(logits), 2))
    direct = run.collect(net, run.table(Split.VAL), lambda n, x: n(x))
    torch.testing.assert_close(logits, direct)


def test_what_is_remembered_is_not_made_again(context: Make) -> None:
    made = context("a").remember("errors", lambda: np.arange(3))
    again = context("a").remember("errors", lambda: pytest.fail("made again"))
    assert made.tolist() == again.tolist() == [0, 1, 2]


def test_generators_follow_from_seed_and_name(context: Make) -> None:
    draw = {
        (seed, name): context("a", seed=seed).rng(name).random()
        for seed in (0, 1)
        for name in ("x", "y")
    }
    assert len(set(draw.values())) == 4
    assert context("b").rng("x").random() == draw[0, "x"]


def test_score_is_the_rule_s(context: Make) -> None:
    run = context("a")
    val = run.table(Split.VAL)
    predicted = val.y.copy()
    predicted[val.group == 2] = 0  # one group of four wrong
    assert run.score(predicted) == (0.0, 0.75)
    rows = np.flatnonzero(val.group != 2)
    assert run.score(predicted[rows], rows) == (1.0, 1.0)
    by_class = context("b", fit_settings=FitSettings(8, 4, 8, "val_worst_class"))
    assert by_class.score(predicted) == (0.5, 0.75)
    for rule in ("last", "oracle_test"):  # neither judges predictions on val
        other = context("c", fit_settings=FitSettings(8, 4, 8, rule))
        assert other.score(predicted) == (0.0, 0.75)


def test_objective_is_told_the_pseudo_groups(context: Make) -> None:
    seen: list[Any] = []

    class Looking(CrossEntropy):
        def setup(self, info: Any, net: Any) -> None:
            seen.append(info)

        def forward(self, net: Any, batch: Any) -> Any:
            seen.append((batch.row, batch.group))
            return super().forward(net, batch)

    groups = np.arange(40) % 6
    context("a", groups=False).fit("train", Looking(), groups=groups)
    info, *batches = seen
    assert info.num_groups == 6
    assert info.group_counts == (7, 7, 7, 7, 6, 6)
    for row, group in batches:
        assert group.tolist() == groups[row].tolist()


def test_rule_that_does_not_apply_is_named(context: Make, shared: Identities) -> None:
    tables = context("a").tables
    val = replace(tables[Split.VAL], group=np.full(len(tables[Split.VAL]), -1))
    run = context("a", shared=shared, tables={**tables, Split.VAL: val})
    run.erm(select="val_acc")
    with pytest.raises(ConfigError, match="selection=val_worst_group does not apply here"):
        run.erm()
