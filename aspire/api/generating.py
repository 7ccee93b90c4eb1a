"""``aspire.generate``: images of each class without the features a classifier leans on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aspire.api.audited import audited_by
from aspire.api.calls import job_of
from aspire.api.pages import gallery, shown_in_notebook
from aspire.api.words import calling
from aspire.console import console
from aspire.pipeline.generating import count_reasons
from aspire.pipeline.parts import Generation

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from aspire.api.audited import Transform
    from aspire.api.runs import Run
    from aspire.data.table import Dataset, Reader
    from aspire.discovery.base import Score
    from aspire.editing.base import Inpainter, Restyler, Segmenter
    from aspire.generation.base import Filter, Personaliser, Sampler
    from aspire.language.base import Captioner, Extractor

SHOWN = 8


class GeneratedImages:
    """What was generated, and what the filters said.

    Args:
        made: the pipeline's.
        class_names: in index order.
    """

    def __init__(self, made: Generation, class_names: Sequence[str]) -> None:
        self._made = made
        self._class_names = tuple(class_names)

    @property
    def folder(self) -> Path:
        """Where the images are."""
        return self._made.images.folder

    @cached_property
    def images(self) -> pd.DataFrame:
        """A row for each image.

        ``img_id``, ``file`` (absolute), ``class``, ``scene`` and ``prompt``, ``kept`` (whether it
        may be trained on) and ``reason`` ("" where it is kept, else the filter that threw it out).
        """
        import pandas as pd

        decided = {d.img_id: d for d in self._made.decisions.records}
        rows = [
            {
                "img_id": r.img_id,
                "file": str(self._made.images.path(r.file)),
                "class": self._class_names[r.y],
                "scene": r.scene,
                "prompt": r.prompt,
                "kept": decided[r.img_id].kept,
                "reason": decided[r.img_id].reason or "",
            }
            for r in self._made.images.records
        ]
        return pd.DataFrame(rows)

    def show(self, top: int = SHOWN) -> None:
        """Some images of each class that were kept, in a notebook; else how many there are."""
        if not shown_in_notebook(self._html(top)):
            console.print(repr(self))

    def _html(self, top: int) -> str:
        kept = self.images[self.images["kept"]].groupby("class", sort=False).head(top)
        return gallery((Path(r["file"]), f"{r['class']}: {r['scene']}") for _, r in kept.iterrows())

    def _repr_html_(self) -> str:
        return self._html(SHOWN)

    def __len__(self) -> int:
        return len(self._made.kept)

    def __repr__(self) -> str:
        reasons = count_reasons(self._made.decisions.records)
        all_of_them = len(self._made.images.records)
        return f"<{len(self)} of {all_of_them} generated images kept ({reasons}); {self.folder}>"


def generate(
    model: str | Path | Run | nn.Module,
    dataset: str | Path | pd.DataFrame | Dataset | Reader,
    *,
    transform: Transform | None = None,
    captioner: str | Captioner | None = None,
    extractor: str | Extractor | None = None,
    segmenter: str | Segmenter | None = None,
    inpainter: str | Inpainter | None = None,
    restyler: str | Restyler | None = None,
    score: str | Score | None = None,
    personaliser: str | Personaliser | None = None,
    generator: str | Callable[..., Sampler] | None = None,
    filters: Sequence[str | Filter] | None = None,
    decisions: str | Path | None = None,
    seed: int = 0,
    outputs: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
) -> GeneratedImages:
    """Generate images of each class without the features that a classifier leans on.

    Args:
        model, dataset, transform: as for :func:`aspire.discover`.
        captioner, extractor, segmenter, inpainter, restyler, score, personaliser: who works in the
            stages: the name of a choice, or an object.
        generator: a name, or a function ``(root, refs)`` that gives an object with ``sample``.
        filters: what throws images out: names and objects, in place of the usual ones.
        decisions: a file of ``aspire review``, as for :func:`aspire.discover`: images are made
            without the features that a person accepted, and not without those they rejected.
        seed, outputs, settings: see :func:`aspire.train`.

    Returns:
        ``.images`` as a DataFrame, ``.show()``, ``.folder``.
        ``aspire.train(dataset, augmentation="aspire", ...)`` trains on them.

    Raises:
        NothingFoundError: when no class has a spurious feature.
        ConfigError: as :func:`aspire.discover`.
    """
    with calling(outputs or ""):
        own, words = audited_by(model, transform, settings)
        parts = {
            "captioner": captioner, "extractor": extractor, "segmenter": segmenter,
            "inpainter": inpainter, "restyler": restyler, "score": score,
            "personaliser": personaliser, "generator": generator, "filter": filters,
        }  # fmt: skip
        work = job_of(
            "generate",
            dataset,
            parts,
            words,
            seed=seed,
            outputs=outputs,
            decisions=decisions,
            own=own,
        )
        made = work.experiment.generate(seed)
        return GeneratedImages(made, work.experiment.dataset.class_names)
