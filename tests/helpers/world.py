"""One store and the pipelines over it, on the tiny Waterbirds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from aspire.data.table import Dataset
from aspire.discovery.base import Score
from aspire.discovery.wilson import Wilson
from aspire.editing.annotations import AnnotationSegmenter
from aspire.editing.composition import CompositionRestyler
from aspire.editing.opencv_inpainter import OpenCVInpainter
from aspire.generation.composition import CompositionPersonaliser, CompositionSampler
from aspire.generation.filters import Duplicate, NearUniform
from aspire.language.base import Phrases
from aspire.language.dataset_captioner import DatasetCaptioner
from aspire.pipeline.flow import Pipeline
from aspire.pipeline.parts import Backends, StageSettings
from aspire.pipeline.stage import LocalEngine
from aspire.pipeline.store import Artifact, ArtifactStore
from aspire.stored.decisions import Decisions


class SplitExtractor:
    """ "a landbird on the lake": the scene is what follows "on the"."""

    def identity(self) -> Mapping[str, Any]:
        return {"extractor": "split"}

    def extract(self, captions: Sequence[str], words: Sequence[Sequence[str]]) -> list[Phrases]:
        return [Phrases((), c.split(" on the ")[1] if " on the " in c else None) for c in captions]


SETTINGS = StageSettings(
    caption={"max_rejected": 0.5},
    extract={"max_rejected": 0.5},
    edit={"images_per_class": None, "dilate": 3, "max_mask": 0.5, "seed": 0},
    discover={"collapse": {}},
    generate={"per_real": 0.5, "max_per_class": 1000},
    filter={"min_kept": 0.0},
)


class World:
    """One store and the pipelines over it."""

    def __init__(self, dataset: Dataset, root: Path) -> None:
        self.dataset = dataset
        self.root = root
        self.log: list[Artifact[Any]] = []
        self.score: Score = Wilson(min_support=5)
        self.decisions: Decisions | None = None

    def pipeline(self, **settings: Mapping[str, Any]) -> Pipeline:
        segmenter, inpainter = AnnotationSegmenter(), OpenCVInpainter()
        restyler = CompositionRestyler(inpainter)

        def sampler(root: Path, refs: Any) -> CompositionSampler:
            return CompositionSampler(root, refs, segmenter, restyler)

        return Pipeline(
            self.dataset,
            "digest-of-the-dataset",
            Backends(
                captioner=DatasetCaptioner(),
                extractor=SplitExtractor(),
                segmenter=segmenter,
                inpainter=inpainter,
                restyler=restyler,
                score=self.score,
                personaliser=CompositionPersonaliser(),
                sampler=sampler,
                filters=(NearUniform(), Duplicate()),
            ),
            replace(SETTINGS, **{k: {**getattr(SETTINGS, k), **v} for k, v in settings.items()}),
            ArtifactStore(self.root, on_done=self.log.append),
            LocalEngine(batch_size=16),
            decisions=self.decisions,
        )

    def states(self) -> dict[str, str]:
        states = {a.stage: a.state for a in self.log}
        self.log.clear()
        return states
