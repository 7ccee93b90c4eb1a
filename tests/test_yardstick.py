"""The yardstick: conversion, keeping, and what stands on it; no machine is measured here."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aspire import yardstick as module
from aspire.cli import _plan, doctor, main
from aspire.cli._app import compose_config
from aspire.cli._estimate import expectation, seconds_at_reference
from aspire.environment import yardstick_of
from aspire.runs.claims import RunStatus
from aspire.yardstick import Yardstick, gflops, measure, read_yardstick, shortest, yardstick

SLOW = Yardstick(2, product_1=37.0, product=70.0, convolution_1=30.0, convolution=55.0, bf16=0.06)
STORED = {
    "threads": 2, "product_1": 75.0, "product": 140.0, "convolution_1": 60.0,
    "convolution": 110.0, "bf16": 2.5,
}  # fmt: skip


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Stands in for the measurement; one entry for each."""
    calls: list[int] = []

    def measure_() -> Yardstick:
        calls.append(1)
        return SLOW

    module._measured.cache_clear()
    monkeypatch.setattr(module, "measure", measure_)
    yield calls
    module._measured.cache_clear()


def ticking(*times: float) -> Callable[[], float]:
    left = iter(times)
    return lambda: next(left)


def test_the_best_of_several_tries_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.5)
    # three tries of 0.5, 0.25 and 0.75 s by two threads, after which 0.6 s are over by the wall
    spent = ticking(0, 0.5, 0.5, 0.75, 0.75, 1.5)
    wall = ticking(0, 0.4, 0.6)
    done: list[int] = []
    assert shortest(lambda: done.append(1), 2, spent, wall) == 0.125
    assert len(done) == 3


def test_there_are_two_tries_however_long_they_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.5)
    assert shortest(lambda: None, 1, ticking(0, 8, 8, 12), ticking(0, 20)) == 4


def test_counts_and_seconds_become_gflops(monkeypatch: pytest.MonkeyPatch) -> None:
    # 2 x 1024^3 operations; 2 x 32 images x 32 x 32 pixels x 64 x 64 channels x 9
    assert (module.PRODUCT, module.CONVOLUTION) == (2_147_483_648, 2_415_919_104)
    assert gflops(2_147_483_648, 0.02) == 107.4
    seconds = iter([0.04, 0.05, 0.02, 0.03, 0.2])
    monkeypatch.setattr(module, "shortest", lambda work, threads, spent: next(seconds))
    monkeypatch.setattr(module, "cores", lambda: 8)
    import torch

    before = torch.get_num_threads()
    assert measure() == Yardstick(2, 53.7, 107.4, 48.3, 80.5, 0.1)
    assert torch.get_num_threads() == before


def test_a_single_core_is_measured_with_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "shortest", lambda work, threads, spent: 0.02)
    monkeypatch.setattr(module, "cores", lambda: 1)
    found = measure()
    assert (found.threads, found.product_1, found.product) == (1, 107.4, 107.4)


def test_a_process_measures_once_and_others_find_it(tmp_path: Path, measured: list[int]) -> None:
    assert yardstick() == yardstick() == yardstick(tmp_path) == SLOW
    assert len(measured) == 1
    module._measured.cache_clear()  # another process
    assert yardstick(tmp_path) == SLOW
    assert len(measured) == 1
    (file,) = tmp_path.glob("yardstick-*.json")
    file.write_text('{"threads": 2}')  # damaged: not believed
    assert yardstick(tmp_path) == SLOW
    assert json.loads(file.read_text())["product"] == 70.0
    assert len(measured) == 2


def test_another_machine_is_measured_anew(
    tmp_path: Path, measured: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = []
    for processor, cores in (("A", 2), ("B", 2), ("A", 4)):
        monkeypatch.setattr(module, "_processor", lambda name=processor: name)
        monkeypatch.setattr(module, "cores", lambda n=cores: n)
        module._machine.cache_clear()
        yardstick(tmp_path)
        names.append(sorted(p.name for p in tmp_path.iterdir()))
    module._machine.cache_clear()
    assert [len(n) for n in names] == [1, 2, 3]


@pytest.mark.parametrize(
    "content",
    [
        None, [], {}, {"threads": 2}, STORED | {"product": -1}, STORED | {"product": float("nan")},
        STORED | {"product": "140"}, STORED | {"more": 1},
    ],
)  # fmt: skip
def test_what_is_no_yardstick_is_none(content: Any) -> None:
    assert read_yardstick(content) is None


def test_doctor_measures_and_says_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ASPIRE_OUTPUTS", str(tmp_path))
    asked: list[dict[str, Any]] = []

    def stand_in(folder: Path, **how: Any) -> Yardstick:
        asked.append({"folder": folder, **how})
        return SLOW

    monkeypatch.setattr(doctor, "yardstick", stand_in)
    expected = (
        "matrix product 37 GFLOPS with 1 thread, 70 with 2; convolution 30 and 55; bf16 0.1 times "
        "as fast as fp32"
    )
    assert main(["doctor", "network=false", "format=json"]) == 0
    checks = {c["name"]: c["detail"] for c in json.loads(capsys.readouterr().out)}
    assert checks["yardstick"] == expected
    assert asked == [{"folder": tmp_path / "cache", "again": True}]


@pytest.mark.parametrize(
    ("about", "seconds"),
    [
        ({"device": "cpu", "yardstick": STORED}, 20.0),  # at 140 twice as fast as at 70
        ({"device": "cuda:0", "yardstick": STORED}, 10.0),  # a GPU is no processor
        ({"device": "cpu"}, 10.0),
        ({"device": "cpu", "yardstick": {"product": "fast"}}, 10.0),
        (["nothing"], 10.0),
    ],
)
def test_what_a_job_may_take_follows_from_another_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, about: Any, seconds: float
) -> None:
    (tmp_path / "environment.json").write_text(json.dumps(about))
    monkeypatch.setattr(_plan, "damage", lambda folder: "")
    monkeypatch.setattr(_plan, "read_any", lambda folder: {"identity": {"fit": {"steps": 100}}})
    monkeypatch.setattr(_plan, "run_status", lambda folder: RunStatus(folder, "done", seconds=10.0))
    monkeypatch.setattr(_plan, "yardstick", lambda cache: SLOW)
    rate = _plan._rate(tmp_path, tmp_path / "cache")
    assert rate is not None
    assert 100 * rate == pytest.approx(seconds)


def test_only_a_processor_has_a_yardstick(tmp_path: Path) -> None:
    assert yardstick_of(tmp_path) is None
    (tmp_path / "environment.json").write_text("{")
    assert yardstick_of(tmp_path) is None
    (tmp_path / "environment.json").write_text(json.dumps({"device": "cpu", "yardstick": STORED}))
    assert yardstick_of(tmp_path) == Yardstick(**STORED)


def test_how_long_a_quickstart_takes() -> None:
    words = ["experiment=quickstart", "fit.steps=300", "stage.generate.per_real=0.5"]
    words += ["generator.steps=4", "generator.guidance=0.0", "personaliser.steps=50"]
    cfg, chosen = compose_config("quickstart", words)
    about = {"train_images": 1200, "classes": 2}
    arms = [("erm", "none"), ("erm", "aspire")]
    # a seed: 7.5 + 2 x 300 x 0.036 + 600 images x 4 x 0.0058 + 2 classes x (1.1 + 50 x 0.078)
    found = seconds_at_reference(cfg, chosen, arms, generating=True, **about)
    assert found == pytest.approx(3 * (7.5 + 21.6 + 13.92 + 10.0))
    words[3:5] = ["generator.steps=null", "generator.guidance=null"]  # as the samplers take it
    cfg, chosen = compose_config("quickstart", words)
    assert seconds_at_reference(cfg, chosen, arms, generating=True, **about) == found
    # nothing was timed of another method or captioner, so nothing is said
    assert seconds_at_reference(cfg, chosen, [("jtt", "none")], generating=True, **about) is None
    other = {**chosen, "captioner": "blip"}
    assert seconds_at_reference(cfg, other, arms, generating=True, **about) is None


@pytest.mark.parametrize(
    ("product", "threads", "expected"),
    [
        (69.0, 2, "about 17 min on this machine (69 GFLOPS), less what is there already"),
        (138.0, 2, "about 8 min on this machine (138 GFLOPS), less what is there already"),
        (69.0, 1, "about 31 min on this machine (37 GFLOPS), less what is there already"),
        (1380.0, 2, "about 50 s on this machine (1380 GFLOPS), less what is there already"),
    ],
)
def test_the_same_work_is_told_for_this_machine(
    product: float, threads: int, expected: str
) -> None:
    here = Yardstick(2, 37.0, product, 1.0, 1.0, 1.0)
    assert expectation(340.0, here, threads) == expected
