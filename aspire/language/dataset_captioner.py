"""Captions that came with the dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aspire.data.loaded import LoadedImage
from aspire.identity import Json


class DatasetCaptioner:
    """Reads the caption each image has in the metadata table."""

    def identity(self) -> Mapping[str, Json]:
        return {"captioner": "dataset"}

    def caption(self, images: Sequence[LoadedImage]) -> list[str | None]:
        return [image.ref.caption for image in images]
