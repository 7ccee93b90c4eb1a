"""``aspire.discover``: which features a classifier leans on, as tables and pictures."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aspire.api.audited import audited_by
from aspire.api.calls import job_of
from aspire.api.pages import edited_pictures, shown_in_notebook, table_of
from aspire.api.words import calling
from aspire.cli._show import show_features
from aspire.cli.discover import Found, discovered
from aspire.own_objects import label_of
from aspire.pipeline.discovered_groups import ATTRIBUTES, UNKNOWN, Discovered
from aspire.pipeline.parts import collapsed_by

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from aspire.api.audited import Transform
    from aspire.api.runs import Run
    from aspire.data.table import Dataset, Reader
    from aspire.discovery.base import Score
    from aspire.editing.base import Inpainter, Restyler, Segmenter
    from aspire.language.base import Captioner, Extractor

SHOWN = 8  # features of a class


class Findings:
    """What a classifier leans on, with the evidence.

    Args:
        found: the job's.
    """

    def __init__(self, found: Found) -> None:
        self._found = found

    @property
    def folder(self) -> Path:
        """Where the result and the report are kept."""
        return self._found.folder

    @cached_property
    def features(self) -> pd.DataFrame:
        """A row for each phrase of each class, the strongest of a class first.

        ``class``; ``feature``, the phrase that was taken out; ``kind``, "object" or "scene";
        ``spurious``, whether it passed the thresholds of the score; ``score``; ``edits`` of images
        that were classified right, and ``flips``, how many of them changed the answer;
        ``flip_rate`` and ``control_rate`` in [0, 1]; ``mean_drop`` and ``control_drop`` of the true
        class's probability; ``q_value``. NaN where nothing is known.
        """
        import pandas as pd

        names = self._found.pipeline.dataset.class_names
        rows = [
            {
                "class": names[f.y],
                "feature": f.phrase,
                "kind": "scene" if f.kind == "change_background" else "object",
                "spurious": f.spurious,
                "score": f.score,
                "edits": f.support,
                "flips": f.flips,
                "flip_rate": f.flip_rate,
                "control_rate": f.control_rate,
                "mean_drop": f.mean_drop,
                "control_drop": f.control_drop,
                "q_value": f.q_value,
            }
            for f in self._found.discovery.features.records
        ]
        frame = pd.DataFrame(rows, columns=list(COLUMNS))
        return frame.astype(dict.fromkeys(("control_rate", "control_drop", "q_value"), float))

    @cached_property
    def groups(self) -> pd.DataFrame:
        """A row for each image that was looked at: does it show a shortcut of its class?

        ``img_id``, ``file``, ``class``, and ``shortcut``: "with shortcut", "without shortcut", or
        "unknown" where its caption does not tell (``groups=discovered`` trains with these).
        """
        import pandas as pd

        pipeline, features = self._found.pipeline, self._found.discovery.features.records
        names = collapsed_by(pipeline.phrase_groups)
        known = {e.img_id: e for e in pipeline.extractions.records}
        rule = Discovered()
        rows = []
        for img_id, ref in pipeline.refs.items():
            told = rule.attribute(ref.y, known.get(img_id), names, features)
            rows.append(
                {
                    "img_id": img_id,
                    "file": ref.file,
                    "class": pipeline.dataset.class_names[ref.y],
                    "shortcut": "unknown" if told == UNKNOWN else ATTRIBUTES[told],
                }
            )
        return pd.DataFrame(rows)

    def show(self, top: int = SHOWN) -> None:
        """The strongest features of each class, in a notebook with pictures, else as text.

        Args:
            top: features of each class.
        """
        if not shown_in_notebook(self._html(top)):
            show_features(
                self._found.pipeline.dataset,
                self._found.discovery.features,
                top,
                self._found.work.experiment.decisions,
            )  # fmt: skip

    def report(self, path: str | Path | None = None) -> Path:
        """Write the report, one HTML file that needs nothing beside it.

        Args:
            path: of the file; None for ``report.html`` in :attr:`folder`.

        Returns:
            Where it is.

        Raises:
            StorageError: where it cannot be written.
        """
        with calling(path or self.folder):
            written = self._found.write_report()
            if path is None:
                return written
            target = Path(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(written, target)
            return target

    def _html(self, top: int) -> str:
        shown = self.features.groupby("class", sort=False).head(top)
        return table_of(shown) + edited_pictures(self._found)

    def _repr_html_(self) -> str:
        return self._html(SHOWN)

    def __repr__(self) -> str:
        spurious = self.features[self.features["spurious"]]
        leans = "; ".join(
            f"{name} on {', '.join(rows['feature'].head(3))}"
            for name, rows in spurious.groupby("class", sort=False)
        )
        return f"<findings: {leans or 'no spurious feature'}; {self.folder}>"


COLUMNS = (
    "class", "feature", "kind", "spurious", "score", "edits", "flips", "flip_rate",
    "control_rate", "mean_drop", "control_drop", "q_value",
)  # fmt: skip


def discover(
    model: str | Path | Run | nn.Module,
    dataset: str | Path | pd.DataFrame | Dataset | Reader,
    *,
    transform: Transform | None = None,
    split: str = "train",
    captioner: str | Captioner | None = None,
    extractor: str | Extractor | None = None,
    segmenter: str | Segmenter | None = None,
    inpainter: str | Inpainter | None = None,
    restyler: str | Restyler | None = None,
    score: str | Score | None = None,
    decisions: str | Path | None = None,
    seed: int = 0,
    outputs: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Findings:
    """Find the features that a classifier leans on: caption, extract, edit, ask it, rank.

    Args:
        model: a trained ``nn.Module`` (B, 3, H, W) -> (B, M) class scores, in the order of the
            dataset's classes (``settings={"classifier.classes": {...}}`` says otherwise); a run, or
            the folder of one; the name of a baseline, trained here first (``"erm"``); or a choice
            of ``aspire list classifier`` with its keys in ``settings``.
        dataset: what :func:`aspire.load_dataset` gives or takes.
        transform: how images become the input of a network: a function from a PIL image to a
            (3, H, W) float32 tensor, as torchvision has them, or an ``aspire.Preprocessing``.
        split: whose images are edited: ``train``, ``val``, ``test``, ``unseen`` or ``all``.
        captioner, extractor, segmenter, inpainter, restyler, score: who works in the stages: the
            name of a choice, or an object.
        decisions: a file of ``aspire review`` on the :attr:`~aspire.Findings.folder` of the same
            call without it. What a person judged is ``spurious`` or not as they say, and phrases
            that they count together are one feature.
        seed, outputs, settings: see :func:`aspire.train`.

    Returns:
        ``.features`` and ``.groups`` as DataFrames, ``.show()``, ``.report(path)``.

    Raises:
        ConfigError: for a name, key or value there is not; a network without a transform; or a
            classifier of which nothing can be said, with what may be wrong; or decisions on other
            findings than these.
        DataError: when the dataset cannot be read, or outputs are not finite.

    >>> discover("ermm", "mini_waterbirds")
    Traceback (most recent call last):
    aspire.errors.ConfigError: model=ermm is neither a classifier, ... Did you mean erm? ...
    """
    with calling(outputs or ""):
        own, words = audited_by(model, transform, settings)
        parts = {
            "captioner": captioner, "extractor": extractor, "segmenter": segmenter,
            "inpainter": inpainter, "restyler": restyler, "score": score,
        }  # fmt: skip
        work = job_of(
            "discover",
            dataset,
            parts,
            {"split": split, **words},
            seed=seed,
            outputs=outputs,
            decisions=decisions,
            own=own,
        )
        work.refuse_random()
        choice = model if isinstance(model, str) else label_of(model)
        call = f"aspire.discover({choice}, {work.experiment.dataset.name})"
        return Findings(discovered(work, choice, call=call))
