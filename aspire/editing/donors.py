"""The images that a scene may be cut from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import overload

from aspire.data.loaded import LoadedImage
from aspire.pipeline.records import ImageRef


class Donors(Sequence[LoadedImage]):
    """The images of a scene but one, made as they are asked for: a scene may have thousands."""

    def __init__(self, scene: tuple[ImageRef, ...], without: ImageRef, root: Path) -> None:
        self.scene = scene
        self.root = root
        self.gap = scene.index(without) if without in scene else len(scene)

    def __len__(self) -> int:
        return len(self.scene) - (self.gap < len(self.scene))

    @overload
    def __getitem__(self, index: int) -> LoadedImage: ...
    @overload
    def __getitem__(self, index: slice) -> list[LoadedImage]: ...
    def __getitem__(self, index: int | slice) -> LoadedImage | list[LoadedImage]:
        places = range(len(self))[index]
        if isinstance(places, range):
            return [self[place] for place in places]
        return LoadedImage(self.scene[places + (places >= self.gap)], self.root)
