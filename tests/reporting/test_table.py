"""The results table: what is averaged with what, and how it is written."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hostile import NAMES

from aspire.console import Console
from aspire.errors import ConfigError
from aspire.reporting.table import (
    Cell,
    as_rich,
    as_text,
    find_results,
    rows_of,
    usable_metrics,
)
from aspire.text import cell, markdown, visible


def training(seed: int, worst: float | None, acc: float, **changes: Any) -> dict[str, Any]:
    """What a training run leaves in its result.json, as far as the table reads it."""
    test = {"worst_group_acc": worst, "acc": acc, "acc_adjusted": None}
    return {
        "dataset": "birds",
        "dataset_digest": "d",
        "model": "small_cnn",
        "baseline": "erm",
        "augmentation": "none",
        "identity": {"fit": {"steps": 10}},
        "seed": seed,
        "needs": "none",
        "selection": "val_acc",
        "steps": 10,
        "weights_sha256": "w",
        "class_names": ["a", "b"],
        "generated_digest": None,
        "metrics": {"test": test},
    } | changes


@pytest.mark.parametrize(
    ("values", "mean", "std", "text"),
    [
        # mean 0.7; squared deviations 0.01 + 0 + 0.01, over n - 1 = 2: variance 0.01
        ((0.6, 0.7, 0.8), 0.7, 0.1, "70.0 ± 10.0 (3)"),
        ((0.5, 0.5), 0.5, 0.0, "50.0 ± 0.0 (2)"),
        ((0.25,), 0.25, None, "25.0 (1)"),  # no spread from one seed, not a spread of 0
        ((), None, None, "-"),
    ],
)
def test_cell(values: tuple[float, ...], mean: float | None, std: float | None, text: str) -> None:
    cell = Cell(values)
    assert cell.mean == pytest.approx(mean)
    assert cell.std == pytest.approx(std)
    assert cell.text() == text


def test_seeds_are_one_row_in_order() -> None:
    (row,) = rows_of([training(1, 0.8, 0.9), training(0, 0.6, 0.7)], ["worst_group_acc", "acc"])
    assert row.seeds == (0, 1)
    assert row.cells["worst_group_acc"].values == (0.6, 0.8)
    assert row.cells["acc"].text() == "80.0 ± 14.1 (2)"  # 100 * sqrt(2 * 0.1 ** 2)


@pytest.mark.parametrize(
    "change",
    [
        {"identity": {"fit": {"steps": 20}}},
        {"baseline": "groupdro"},
        {"augmentation": "aspire"},
        {"model": "resnet50"},
        {"dataset_digest": "another"},
    ],
)
def test_whatever_differs_besides_the_seed_is_another_row(change: dict[str, Any]) -> None:
    rows = rows_of([training(0, 0.5, 0.5), training(1, 0.9, 0.9, **change)], ["acc"])
    assert [r.seeds for r in rows] in ([(0,), (1,)], [(1,), (0,)])


def test_arms_stand_in_the_order_of_a_comparison() -> None:
    names = ["aspire", "none", "duplicates"]
    rows = rows_of([training(0, 0.5, 0.5, augmentation=a) for a in names], ["acc"])
    assert [r.arm for r in rows] == ["erm", "erm + duplicates", "erm + aspire"]


def test_an_unknown_metric_value_is_left_out_of_the_mean() -> None:
    (row,) = rows_of([training(0, None, 0.5), training(1, 0.4, 0.5)], ["worst_group_acc"])
    assert row.cells["worst_group_acc"].text() == "40.0 (1)"


def test_an_unknown_metric_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"Did you mean worst_group_acc\?"):
        rows_of([training(0, 0.5, 0.5)], ["worst_group"])


def test_only_training_runs_are_found(tmp_path: Path) -> None:
    for name, content in (("a", training(0, 0.5, 0.5)), ("run", {"arms": []})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(json.dumps(content))
    assert find_results(tmp_path) == [training(0, 0.5, 0.5)]


@pytest.mark.parametrize("name", ["missing", "."])
def test_a_folder_without_runs_says_what_to_type(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"no finished training run.*aspire train.*table DIR"):
        find_results(tmp_path / name)


def test_styles() -> None:
    rows = rows_of([training(0, 0.6, 0.7), training(1, 0.8, 0.9)], ["worst_group_acc"])
    markdown = as_text(rows, ["worst_group_acc"], "test", "md").splitlines()
    assert markdown[:3] == [
        "| dataset |     model | arm | needs | selection | steps | worst_group_acc |",
        "| :------ | --------: | --: | ----: | --------: | ----: | --------------: |",
        "| birds   | small_cnn | erm |  none |   val_acc |    10 | 70.0 ± 14.1 (2) |",
    ]
    assert "sample standard deviation" in markdown[-1]

    (line,) = csv.DictReader(as_text(rows, ["worst_group_acc"], "test", "csv").splitlines())
    assert (line["arm"], line["seeds"]) == ("erm", "2")
    assert float(line["worst_group_acc_mean"]) == pytest.approx(0.7)
    assert float(line["worst_group_acc_std"]) == pytest.approx(0.02**0.5)

    (content,) = json.loads(as_text(rows, ["worst_group_acc"], "test", "json"))
    assert content["seeds"] == [0, 1]
    assert content["worst_group_acc"]["mean"] == pytest.approx(0.7)

    assert as_rich(rows, ["worst_group_acc"], "test").row_count == 1
    with pytest.raises(ConfigError, match="rich, md, csv or json"):
        as_text(rows, ["worst_group_acc"], "test", "xml")


def shown(rows: list[Any], metrics: list[str], width: int = 80) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(as_rich(rows, metrics, "test", width))
    return out.getvalue()


def many() -> list[dict[str, Any]]:
    """Two datasets by three arms, which differ in every column."""
    arms = [("erm", "none", "none", 300), ("erm", "aspire", "none", 300)]
    arms += [("groupdro", "none", "train and val groups", 3000)]
    return [
        training(0, 0.5, 0.75, dataset=d, dataset_digest=d, baseline=b, augmentation=a, needs=n,
                 steps=s, selection="val_worst_group_acc" if b == "groupdro" else "val_acc",
                 model="resnet50" if b == "groupdro" else "small_cnn")
        for d in ("mini_waterbirds", "mini_hard_imagenet") for b, a, n, s in arms
    ]  # fmt: skip


def test_no_column_is_cut_at_80_characters() -> None:
    metrics = ["worst_group_acc", "acc"]
    text = shown(rows_of(many(), metrics), metrics)
    assert max(len(line.rstrip()) for line in text.splitlines()[1:]) <= 80
    assert "…" not in text
    assert "..." not in text
    (line,) = (r for r in text.splitlines() if "mini_waterbirds" in r and "groupdro" in r)
    words = ["mini_waterbirds", "resnet50", "groupdro", "[1]", "50.0", "(1)", "75.0", "(1)"]
    assert line.split() == words
    assert "[1] needs train and val groups, selection val_worst_group_acc, steps 3000" in text


def test_columns_that_are_the_same_everywhere_stand_below() -> None:
    text = shown(rows_of([training(0, 0.5, 0.7), training(1, 0.5, 0.7)], ["acc"]), ["acc"])
    assert "dataset birds, model small_cnn, needs none, selection val_acc, steps 10" in " ".join(
        text.split()
    )
    assert "selection  " not in text


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ([{"model": {"image_size": s}} for s in (64, 128)], ["model.image_size=64", "=128"]),
        ([{"optimizer": {"lr": s}} for s in (0.1, 0.01)], ["optimizer.lr=0.1", "lr=0.01"]),
        ([{"fit": {"batch_size": 8}}, {}], ["fit.batch_size=8", "fit.batch_size=None"]),
    ],
)
def test_rows_that_would_look_alike_show_what_differs(changes: Any, told: list[str]) -> None:
    results = [training(i, 0.5, 0.7, identity=c) for i, c in enumerate(changes)]
    text = shown(rows_of(results, ["acc"]), ["acc"], 120)
    assert all(t in text for t in told)
    for style in ("md", "csv", "json"):
        assert all(t in as_text(rows_of(results, ["acc"]), ["acc"], "test", style) for t in told)


def test_data_of_one_name_are_told_apart_and_so_are_models_of_two_arms() -> None:
    other = training(0, 0.5, 0.7, dataset_digest="feedc0de" * 8)
    assert "data=feedc0de" in shown(rows_of([training(0, 0.5, 0.7), other], ["acc"]), ["acc"])
    sizes = [{"model": {"image_size": s}} for s in (64, 32)]
    arms = [
        training(0, 0.5, 0.7, identity=i, baseline=b)
        for i, b in zip(sizes, ("erm", "jtt"), strict=True)
    ]
    assert "model.image_size=32" in shown(rows_of(arms, ["acc"]), ["acc"])


def test_steps_are_said_once() -> None:
    results = [training(0, 0.5, 0.7, steps=s, identity={"fit": {"steps": s}}) for s in (10, 20)]
    assert [r.settings for r in rows_of(results, ["acc"])] == ["", ""]


def test_without_groups_the_worst_class_stands_for_the_worst_group() -> None:
    result = training(0, None, 0.7)
    result["metrics"]["test"]["worst_class_acc"] = 0.25
    assert usable_metrics([result], ["worst_group_acc", "acc"], "test") == [
        "worst_class_acc",
        "acc",
    ]
    known = training(0, 0.5, 0.7)
    assert usable_metrics([known], ["worst_group_acc", "acc"], "test") == ["worst_group_acc", "acc"]


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_names_are_shown_as_they_are_in_every_style(name: str) -> None:
    rows = rows_of([training(0, 0.5, 0.7, dataset=name), training(0, 0.5, 0.7)], ["acc"])
    whole = "".join(shown(rows, ["acc"], 1000).split())
    assert "".join(visible(name).split()) in whole
    assert markdown(name) in as_text(rows, ["acc"], "test", "md")
    read = list(csv.DictReader(as_text(rows, ["acc"], "test", "csv").splitlines()))
    assert {r["dataset"] for r in read} == {"birds", cell(name)}
    stored = json.loads(as_text(rows, ["acc"], "test", "json"))
    assert {r["dataset"] for r in stored} == {"birds", name}
