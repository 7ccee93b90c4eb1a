"""Beside stage 7: the real image that a generated one looks most like, for a person to judge.

A generated image should be new, and still of the dataset's world. What comes out here decides
nothing; the filters do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from aspire.data.images import Pixels, read_image
from aspire.generation.thumbnails import AMONG, SIDE, evenly, nearest_view
from aspire.identity import Json
from aspire.pipeline.stage import ItemResult, SaveImage
from aspire.records import ImageRef, Neighbour, SyntheticImage

SHOWN = 192  # longest side of the real image that is kept to be looked at


class NearestStage:
    """SyntheticImage -> Neighbour, by :func:`aspire.generation.thumbnails.nearest_view`.

    Args:
        images: folder of the generate artifact.
        real: the training images; of more than 20,000 as many are searched, evenly spread. Their
            digest must be part of ``upstream``.
        root: of the dataset.
    """

    name: ClassVar[str] = "nearest"
    version: ClassVar[int] = 1
    record = Neighbour

    def __init__(self, images: Path, real: Sequence[ImageRef], root: Path) -> None:
        self.images = images
        self.root = Path(root)
        self._real = real

    @cached_property
    def real(self) -> tuple[ImageRef, ...]:
        """Those that are searched."""
        return tuple(self._real[i] for i in evenly(len(self._real)))

    @cached_property
    def files(self) -> tuple[Path, ...]:
        """Where they are."""
        return tuple(self.root / r.file for r in self.real)

    def identity(self) -> Mapping[str, Json]:
        return {"view": f"rgb {SIDE}", "among": AMONG}

    def item_id(self, item: SyntheticImage) -> str:
        return item.img_id

    def run(
        self, items: Sequence[SyntheticImage], save: SaveImage
    ) -> Iterator[ItemResult[Neighbour]]:
        for item in items:
            best, distance = nearest_view(read_image(self.images / item.file), self.files)
            neighbour = Neighbour(
                img_id=item.img_id,
                real_id=self.real[best].img_id,
                distance=round(distance, 5),
                file=save(_shrunk(read_image(self.files[best]))),
            )
            yield ItemResult(item.img_id, (neighbour,))


def _shrunk(pixels: Pixels) -> Pixels:
    from aspire.editing.pixels import resize

    height, width = pixels.shape[:2]
    scale = min(1.0, SHOWN / max(height, width))
    return resize(pixels, max(1, round(height * scale)), max(1, round(width * scale)))
