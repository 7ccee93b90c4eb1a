"""``engine=devices``: two processes make what one does, each image once, killed or not."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from commands import FORKS

from aspire.checking import check
from aspire.errors import AspireError, ConfigError
from aspire.generation.base import GenerationRequest
from aspire.generation.text_to_image import TextToImage
from aspire.pipeline import predicting
from aspire.pipeline.device_engine import DeviceEngine
from aspire.pipeline.stage import LocalEngine
from aspire.pipeline.stages.generate import GenerateStage
from aspire.pipeline.store import ArtifactStore
from aspire.records import Concept, Context
from aspire.rng import seed_for

CONCEPT = Concept(
    concept_id="000", y=0, objects=(), avoided=("boat",),
    contexts=(Context(phrase="lake", weight=1.0, donors=()),),
)  # fmt: skip
NUMBER = 12


def run(
    folder: Path, model: Path, engine: Any, dies_at: str = "", **settings: Any
) -> tuple[Any, dict[str, list[str]]]:
    """The artifact, and which process was asked for which images."""
    from noting import Noting

    sampler = Noting(folder, {}, str(model), steps=1, device="cpu", batch_size=1, **settings)
    sampler.notes, sampler.dies_at = folder / "notes", dies_at
    sampler.notes.mkdir(parents=True, exist_ok=True)
    requests = [
        GenerationRequest(f"g{i:02d}", CONCEPT, "bird", seed_for(0, "generate", 0, i))
        for i in range(NUMBER)
    ]
    stage = GenerateStage(sampler, 0, {0: NUMBER})
    made = ArtifactStore(folder).run(stage, requests, {"dataset": "of the test"}, engine)
    return made, {p.name: p.read_text().split() for p in sampler.notes.iterdir()}


def two(**changes: Any) -> DeviceEngine:
    return DeviceEngine(2, accelerator="cpu", **{"batch_size": 2, **changes})


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other processes find ``noting``, and calculate as this one does."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def _without_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes are forks of the server of ``commands``, which has imported everything."""
    monkeypatch.setattr(predicting, "START", FORKS.get_start_method())


@pytest.fixture(scope="module")
def alone(tiny_sd: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What this process makes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        return run(tmp_path_factory.mktemp("alone"), tiny_sd, LocalEngine(64))[0]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_make_the_files_of_one_and_none_twice(
    alone: Any, tiny_sd: Path, tmp_path: Path
) -> None:
    shared, asked = run(tmp_path, tiny_sd, two())
    assert shared.digest == alone.digest  # records and, by their hashes, all images
    for name in {r.file for r in alone.records}:
        assert shared.path(name).read_bytes() == alone.path(name).read_bytes()
    assert str(os.getpid()) not in asked
    assert [len(ids) for ids in asked.values()] == [NUMBER // 2] * 2
    assert Counter(i for ids in asked.values() for i in ids) == {r.img_id: 1 for r in alone.records}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("_without_imports")
def test_killed_and_continued_is_the_same_and_repeats_nothing(
    alone: Any, tiny_sd: Path, tmp_path: Path
) -> None:
    with pytest.raises(AspireError, match=r"engine=devices failed.*\nFinished items are kept"):
        run(tmp_path, tiny_sd, two(), dies_at="g07")
    for file in (tmp_path / "notes").iterdir():
        file.unlink()
    resumed, asked = run(tmp_path, tiny_sd, two())
    assert resumed.digest == alone.digest
    again = Counter(i for ids in asked.values() for i in ids)
    assert resumed.resumed >= 1
    assert sum(again.values()) == NUMBER - resumed.resumed
    assert set(again.values()) == {1}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("_without_imports")
def test_an_error_of_a_process_is_told_as_it_is(tiny_sd: Path, tmp_path: Path) -> None:
    with pytest.raises(AspireError, match=r"generator\.scheduler=Euler: diffusers has no such"):
        run(tmp_path, tiny_sd, two(), scheduler="Euler")


def test_one_device_and_other_stages_are_worked_off_here(tiny_sd: Path, tmp_path: Path) -> None:
    for name, engine in (("a", DeviceEngine(1)), ("b", two(stages=["caption"]))):
        _, asked = run(tmp_path / name, tiny_sd, engine)
        assert asked == {str(os.getpid()): [f"g{i:02d}" for i in range(NUMBER)]}


def test_what_cannot_work_is_refused_at_once(
    tiny_sd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = {"_target_": "aspire.pipeline.device_engine.DeviceEngine", "devices": 0}
    with pytest.raises(
        ConfigError, match=r"engine\.devices=0: expected a whole number of at least 1 or auto\."
    ):
        check(engine, "engine")
    with pytest.raises(ConfigError, match=r"cannot send the stage generate .* engine=local"):
        unsendable(tmp_path / "a", tiny_sd)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="leave torchrun out, or take engine=local"):
        run(tmp_path / "b", tiny_sd, two())


def unsendable(folder: Path, model: Path) -> None:
    class Local(TextToImage):
        pass

    stage = GenerateStage(Local(folder, {}, str(model)), 0, {0: 2})
    asked = [GenerationRequest(f"g{i}", CONCEPT, "bird", i) for i in range(2)]
    ArtifactStore(folder).run(stage, asked, {}, two())
