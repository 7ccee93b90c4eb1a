"""Putting a scene together, and saying what it shows.

A scene is a painted background, one subject (the class object, label 1) and any number of further
things (labels 2, 3, ...). Everything random comes from the generator the caller passes, so a scene
depends on its own seed and on nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aspire.data.images import Pixels
from aspire.miniatures.drawing.background import Background
from aspire.miniatures.drawing.fields import Canvas, grid
from aspire.miniatures.drawing.pen import Style
from aspire.miniatures.drawing.sprites import Thing, Where, sprite_patch

Relation = Literal["next to", "in front of", "behind", "under", "on"]

SUBJECT = 1  # label of the class object
MIN_VISIBLE = 12  # pixels of a thing that must show, else it is left out of the scene
MIN_SHARE = 0.5  # share of a thing's own pixels that must show
SUBJECT_SHARE = 0.75  # share of the subject's own pixels that must show
TRIES = 6  # positions tried for a thing before it is left out


@dataclass(frozen=True)
class Carrier:
    """A thing right behind the subject that carries or wears it: a face with sunglasses.

    Args:
        thing: what it is; its size counts as for any thing.
        at: where the middle of the subject lies on it, as shares of its width and height.
        width: of the subject, as a share of the carrier's; None keeps the subject's own size.
        openmoji: ``at`` and ``width`` for the sprites of that style, where they differ.
    """

    thing: Thing
    at: tuple[float, float] = (0.5, 0.5)
    width: float | None = None
    openmoji: tuple[tuple[float, float], float] | None = None

    def fitted(self, style: Style) -> Carrier:
        """As it is in a style."""
        if style == "openmoji" and self.openmoji:
            return replace(self, at=self.openmoji[0], width=self.openmoji[1], openmoji=None)
        return self


@dataclass(frozen=True)
class _Layer:
    """A patch at its place; ``label`` as in the label map."""

    patch: NDArray[np.float32]
    top: int
    left: int
    label: int
    where: Where
    nearer: float = 0.0  # pixels by which it counts as nearer than where it stands

    @property
    def base(self) -> int:
        return self.top + int(self.patch.shape[0])

    @property
    def box(self) -> tuple[slice, slice]:
        h, w = self.patch.shape[:2]
        return slice(self.top, self.top + h), slice(self.left, self.left + w)

    @property
    def solid(self) -> NDArray[np.bool_]:
        return self.patch[..., 3] > 0.5


@dataclass(frozen=True)
class Scene:
    """A finished scene.

    Args:
        pixels: (S, S, 3) uint8 RGB.
        labels: (S, S) uint8; 0 background, 1 subject, 2, 3, ... the things.
        objects: phrase -> label of every thing that shows (at least ``MIN_VISIBLE`` pixels).
        relations: phrase -> where the subject is, seen from that thing ("under" the sun).
    """

    pixels: Pixels
    labels: Pixels
    objects: dict[str, int]
    relations: dict[str, Relation]


def _place(
    rng: np.random.Generator,
    patch: NDArray[np.float32],
    size: int,
    horizon: float,
    where: Where,
    label: int,
) -> _Layer:
    """A random position inside the frame that suits the scene."""
    h, w = patch.shape[:2]
    if where == "sky":
        top = rng.uniform(0.0, max(0.02, horizon - h / size)) * size
    elif where == "middle":
        top = (rng.uniform(0.47, 0.64) - h / size / 2) * size
        left = (rng.uniform(0.36, 0.64) - w / size / 2) * size
        return _Layer(patch, *_inside(round(top), round(left), h, w, size), label, where)
    else:  # feet well below the horizon, so that nothing seems to stand in the air
        low, high = max(h / size, min(horizon + 0.15, 0.85)), 0.97
        top = rng.uniform(low, max(low, high)) * size - h
    left = rng.uniform(0, max(size - w, 0))
    return _Layer(patch, *_inside(round(top), round(left), h, w, size), label, where)


def _inside(top: int, left: int, h: int, w: int, size: int) -> tuple[int, int]:
    """The nearest place at which a patch lies within the frame."""
    return min(max(top, 0), max(size - h, 0)), min(max(left, 0), max(size - w, 0))


def _carry(subject: _Layer, patch: NDArray[np.float32], carrier: Carrier, size: int) -> _Layer:
    """The carrier's layer, cut at the frame, far enough back to lie behind the subject."""
    h, w = patch.shape[:2]
    rows, cols = subject.box
    top = round((rows.start + rows.stop) / 2 - carrier.at[1] * h)
    left = round((cols.start + cols.stop) / 2 - carrier.at[0] * w)
    cut = patch[max(-top, 0) : max(size - top, 0), max(-left, 0) : max(size - left, 0)]
    top, left = max(top, 0), max(left, 0)
    back = min(subject.base + subject.nearer - (top + cut.shape[0]) - 1.0, 0.0)
    return _Layer(cut, top, left, SUBJECT + 1, "middle", back)


def _ordered(layers: Sequence[_Layer]) -> list[_Layer]:
    """Far before near: the sky first, then by where things stand; ties as given."""
    return sorted(layers, key=lambda a: (a.where != "sky", a.base + a.nearer))


def _label_map(layers: Sequence[_Layer], size: int) -> Pixels:
    labels = np.zeros((size, size), np.uint8)
    for layer in _ordered(layers):
        labels[layer.box][layer.solid] = layer.label
    return labels


def _shows(layers: Sequence[_Layer], size: int) -> bool:
    """Whether enough of every layer can be seen."""
    visible = np.bincount(_label_map(layers, size).ravel(), minlength=len(layers) + 2)
    for layer in layers:
        share = SUBJECT_SHARE if layer.label == SUBJECT else MIN_SHARE
        seen = int(visible[layer.label])
        if seen < MIN_VISIBLE or seen < share * int(layer.solid.sum()):
            return False
    return True


def _relation(subject: _Layer, thing: _Layer) -> Relation:
    """How the subject stands to the thing, by what overlaps and what is nearer."""
    if thing.where == "sky":
        return "under"
    a, b = subject.box, thing.box
    down = min(a[0].stop, b[0].stop) - max(a[0].start, b[0].start)
    across = min(a[1].stop, b[1].stop) - max(a[1].start, b[1].start)
    narrow = min(subject.patch.shape[1], thing.patch.shape[1])
    if down <= 0 or across < 0.4 * narrow:
        return "next to"
    return "behind" if _ordered([subject, thing])[1] is thing else "in front of"


def _shadow(canvas: Canvas, layer: _Layer) -> None:
    """Darken the ground under a layer, in place; its width is that of the longest side."""
    size = len(canvas)
    y, x = grid(size)
    h, w = layer.patch.shape[:2]
    radius = 0.42 * max(h, w) / size
    cy, cx = (layer.base - 0.5) / size, (layer.left + w / 2) / size
    fall = np.exp(-(((x - cx) / radius) ** 2 + ((y - cy) / (0.22 * radius)) ** 2))
    canvas *= 1 - 0.35 * fall[..., None]


def compose(
    rng: np.random.Generator,
    background: Background,
    subject: Thing,
    things: Sequence[Thing] = (),
    size: int = 64,
    tilt: float = 10.0,
    jitter: float = 0.12,
    grain: float = 0.03,
    carrier: Carrier | None = None,
    style: Style = "twemoji",
) -> Scene:
    """Draw one scene.

    Things that would hide the subject, or that nobody would see, are moved and in the end left out.

    Args:
        rng: where the randomness comes from.
        background: the scene to paint.
        subject: the class object, label 1.
        things: further objects with distinct phrases, labels 2, 3, ... in this order.
        size: side in pixels.
        tilt, jitter: as in :func:`sprite_patch`.
        grain: standard deviation of the pixel noise over the whole picture (1 is white).
        carrier: carries the subject; gets label 2, the things then the labels after it.
        style: of the sprites.

    Returns:
        The picture with its label map, and what can be seen in it.
    """
    canvas, horizon = background.paint(rng, size)
    behind = sprite_patch(rng, carrier.thing, size, tilt, jitter, style) if carrier else None
    if carrier and behind is not None and carrier.width:
        width = carrier.width * behind.shape[1] / size
        subject = replace(subject, size=(width, width), measure="width")
    first = sprite_patch(rng, subject, size, tilt, jitter, style)
    layers = [_place(rng, first, size, horizon, subject.where, SUBJECT)]
    objects: dict[str, int] = {}
    relations: dict[str, Relation] = {}
    if carrier and behind is not None:
        layers.append(_carry(layers[0], behind, carrier, size))
        objects[carrier.thing.phrase] = SUBJECT + 1
        relations[carrier.thing.phrase] = "on"
    for thing in things:
        patch = sprite_patch(rng, thing, size, tilt, jitter, style)
        for _ in range(TRIES):
            layer = _place(rng, patch, size, horizon, thing.where, len(layers) + 1)
            if _shows([*layers, layer], size):
                layers.append(layer)
                objects[thing.phrase] = layer.label
                relations[thing.phrase] = _relation(layers[0], layer)
                break
    canvas = canvas.clip(0, 1)
    for layer in _ordered(layers):
        if layer.where == "ground":
            _shadow(canvas, layer)
        alpha = layer.patch[..., 3:]
        canvas[layer.box] += alpha * (layer.patch[..., :3] - canvas[layer.box])
    canvas += grain * rng.standard_normal(canvas.shape, dtype=np.float32)
    pixels = (canvas.clip(0, 1) * 255 + 0.5).astype(np.uint8)
    return Scene(pixels, _label_map(layers, size), objects, relations)
