"""The Ray engine: what local gives, a killed worker or not. A cluster of this machine alone."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
from runfolders import run_folder

from aspire.classification.predictor import Request, RunPredictor
from aspire.data.table import Dataset
from aspire.discovery.wilson import Wilson
from aspire.editing.annotations import AnnotationSegmenter
from aspire.editing.composition import CompositionRestyler
from aspire.editing.opencv_inpainter import OpenCVInpainter
from aspire.errors import AspireError, ConfigError, DataError
from aspire.generation.composition import CompositionPersonaliser, CompositionSampler
from aspire.generation.filters import NearUniform
from aspire.language.base import Phrases
from aspire.language.dataset_captioner import DatasetCaptioner
from aspire.pipeline.flow import Pipeline
from aspire.pipeline.generating import generate
from aspire.pipeline.parts import Backends, StageSettings
from aspire.pipeline.ray_cluster import connect
from aspire.pipeline.ray_engine import RayEngine
from aspire.pipeline.stage import Engine, ItemResult, LocalEngine
from aspire.pipeline.store import ArtifactStore
from aspire.records import Caption
from aspire.runs.trained import TrainedRun


class Splitter:
    """ "a landbird on the lake": the scene is what follows "on the"."""

    def identity(self) -> dict[str, Any]:
        return {"extractor": "split"}

    def extract(self, captions: Sequence[str], words: Sequence[Any]) -> list[Phrases]:
        return [Phrases((), c.split(" on the ")[1]) for c in captions]


class DyingSampler(CompositionSampler):
    """Kills its process once, in the middle of a batch, where it is told to."""

    marker: Path | None = None

    def sample(self, requests: Sequence[Any]) -> list[Any]:
        made = super().sample(requests)
        if self.marker is not None:
            try:
                self.marker.open("x").close()
            except FileExistsError:
                return made
            os.kill(os.getpid(), signal.SIGKILL)
        return made


def chain(dataset: Dataset, root: Path, reader: Any, engine: Engine, marker: Any = None) -> Any:
    """Every stage on the tiny Waterbirds; its artifacts by name."""
    made: dict[str, Any] = {}
    segmenter, inpainter = AnnotationSegmenter(), OpenCVInpainter()
    restyler = CompositionRestyler(inpainter)

    def sampler(root: Path, refs: Any) -> DyingSampler:
        found = DyingSampler(root, refs, segmenter, restyler)
        found.marker = marker
        return found

    pipeline = Pipeline(
        dataset,
        "digest-of-the-dataset",
        Backends(
            captioner=DatasetCaptioner(),
            extractor=Splitter(),
            segmenter=segmenter,
            inpainter=inpainter,
            restyler=restyler,
            score=Wilson(min_support=5),
            personaliser=CompositionPersonaliser(),
            sampler=sampler,
            filters=(NearUniform(),),
        ),
        StageSettings(
            caption={"max_rejected": 0.5},
            extract={"max_rejected": 0.5},
            edit={"images_per_class": None, "dilate": 3, "max_mask": 0.5, "seed": 0},
            discover={"collapse": {}},
            generate={"per_real": 0.5, "max_per_class": 1000},
            filter={"min_kept": 0.0},
        ),
        ArtifactStore(root, on_done=lambda a: made.update({a.stage: a})),
        engine,
    )
    generate(pipeline, reader, seed=0)
    return made


def by_value(kind: type) -> None:
    """Send what is defined beside it along: workers cannot import test modules."""
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[kind.__module__])


@pytest.fixture(scope="module")
def _cluster() -> Iterator[None]:
    ray, _ = connect(None, "the test")
    by_value(Splitter)
    yield
    ray.shutdown()


@pytest.mark.slow
@pytest.mark.usefixtures("_cluster")
def test_records_and_digests_are_those_of_local_though_a_worker_is_killed(
    waterbirds: Dataset, background_reader: Any, tmp_path: Path
) -> None:
    by_value(type(background_reader))
    local = chain(waterbirds, tmp_path / "local", background_reader, LocalEngine(16))
    marker = tmp_path / "killed"
    engine = RayEngine(batch_size=16, actors=1)
    spread = chain(waterbirds, tmp_path / "ray", background_reader, engine, marker)
    assert marker.exists()
    assert {"caption", "extract", "edit", "score", "generate"} <= spread.keys()
    for name, one in local.items():
        other = spread[name]
        assert (other.key, other.digest, other.records) == (one.key, one.digest, one.records), name
    for folder in ("edit", "generate"):
        files = [{f.name for f in made[folder].folder.rglob("*.png")} for made in (local, spread)]
        assert files[0] == files[1]
        assert files[0]


class Spelling:
    """A stage that stops at a bad item, with the advice to mend it."""

    name = "spelling"
    version = 1
    record = Caption

    def __init__(self, bad: str = "") -> None:
        self.bad = bad

    def identity(self) -> dict[str, Any]:
        return {}

    def item_id(self, item: str) -> str:
        return item

    def run(self, items: Sequence[str], save: Any) -> Iterator[ItemResult[Caption]]:
        for item in items:
            if item == self.bad:
                raise DataError(f"{item} is torn. Mend it.")
            yield ItemResult(item, (Caption(img_id=item, text=item.upper()),))


@pytest.mark.slow
@pytest.mark.usefixtures("_cluster")
def test_an_error_arrives_in_its_own_words_and_finished_items_are_kept(tmp_path: Path) -> None:
    items = [f"item-{i}" for i in range(8)]
    store, engine = ArtifactStore(tmp_path), RayEngine(batch_size=2, actors=1)
    with pytest.raises(AspireError, match=r"^item-7 is torn\. Mend it\.$") as caught:
        store.run(Spelling("item-7"), items, {}, engine)
    assert caught.value.exit_code == DataError.exit_code
    artifact = store.run(Spelling(), items, {}, engine)
    assert artifact.resumed >= 2
    assert [r.text for r in artifact.records] == [i.upper() for i in items]


def test_a_single_item_is_done_here(tmp_path: Path) -> None:
    artifact = ArtifactStore(tmp_path).run(Spelling(), ["one"], {}, RayEngine(address="nowhere"))
    assert [r.text for r in artifact.records] == ["ONE"]


def test_without_ray_the_extra_is_named(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"engine=ray needs Ray: pip install .*\[ray\]"):
        ArtifactStore(tmp_path).run(Spelling(), ["one", "two"], {}, RayEngine())


def test_a_classifier_travels_without_the_process_that_trained_it(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save

    class Model:
        def build(self, classes: int) -> Any:
            return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, classes))

        def preprocessing(self) -> Any:
            return self

        stored_side = 2

        def evaluation(self, image: Any) -> Any:
            return torch.from_numpy(image).permute(2, 0, 1)

        def normalise(self, images: Any) -> Any:
            return images.float() / 255

    weights = save(Model().build(2).state_dict())
    folder = run_folder(tmp_path, weights=weights, class_names=["a", "b"])
    stays = threading.Lock()  # as a console has one

    def model(run: Any) -> Any:
        assert stays
        return Model()

    request = Request(("a", "b"), 0, lambda name: model(name), model, lambda: stays)
    run = TrainedRun(folder, "hit")
    here = RunPredictor(run, lambda: request.make_model(run), lambda: torch.device("cpu"))
    there = cloudpickle.loads(cloudpickle.dumps(here))
    images = [np.full((2, 2, 3), v, np.uint8) for v in (0, 90, 255)]
    assert there.digest == here.digest == hashlib.sha256(weights).hexdigest()
    there.device = here.device
    np.testing.assert_array_equal(there(images), here(images))
    assert cloudpickle.loads(cloudpickle.dumps(request)).class_names == ("a", "b")
