"""Which image shows which found feature: a table to be joined with one's own."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET

from aspire.discovery.rank import phrases_of
from aspire.pipeline.flow import Pipeline
from aspire.pipeline.parts import collapsed_by
from aspire.records import Extraction, SpuriousFeature
from aspire.text import csv_table

COLUMNS = ("path", "y", "split", "feature", "present")


def feature_csv(pipeline: Pipeline, features: Sequence[SpuriousFeature]) -> str:
    """The rows as CSV, its head alone where there is no shortcut."""
    return (csv_table(feature_rows(pipeline, features)) or ",".join(COLUMNS)) + "\n"


def feature_rows(
    pipeline: Pipeline, features: Sequence[SpuriousFeature]
) -> list[dict[str, object]]:
    """A row for each image that was looked at and each shortcut, of whatever class.

    Returns:
        ``path`` relative to the dataset's root, ``y`` and ``split`` by name, ``feature``, and
        ``present``: 1, 0, or empty where nothing is known of the image, as without a caption.
    """
    name = collapsed_by(pipeline.phrase_groups)
    shows = {e.img_id: {name.get(p, p) for p in _all_of(e)} for e in pipeline.extractions.records}
    table = pipeline.dataset.table
    split = dict(zip(table["img_id"].astype(str), table["split"], strict=True))
    named = {int(s): s.name.lower() for s in pipeline.splits}
    found = sorted({f.phrase for f in features if f.spurious})
    return [
        dict(
            zip(
                COLUMNS,
                (
                    ref.file,
                    pipeline.dataset.class_names[ref.y],
                    named[int(split[img_id])],
                    phrase,
                    int(phrase in shows[img_id]) if img_id in shows else None,
                ),
                strict=True,
            )
        )
        for img_id, ref in pipeline.refs.items()
        for phrase in found
    ]


def _all_of(extraction: Extraction) -> set[str]:
    """Its phrases, and the visual concepts that it shows of other classes."""
    seen = set() if extraction.regions is UNSET else set(extraction.regions)
    return seen | {phrase for _, phrase in phrases_of(extraction)}
