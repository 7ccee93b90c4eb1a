"""Shapes on a transparent sheet, for what no emoji shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from PIL import Image, ImageDraw

Style = Literal["twemoji", "openmoji"]  # the second is the style that only the unseen split shows
Rgb = tuple[int, int, int]
Point = tuple[float, float]

INK: Rgb = (0, 0, 0)


def shade(rgb: Rgb, factor: float) -> Rgb:
    """A colour made darker (below 1) or lighter.

    >>> shade((100, 50, 200), 1.5)
    (150, 75, 255)
    """
    r, g, b = (min(255, max(0, round(c * factor))) for c in rgb)
    return r, g, b


class Pen:
    """Draws in coordinates from 0 to 1 (left to right, top to bottom).

    In the style of OpenMoji every shape has a black outline, as that set draws it.

    Args:
        size: side of the sheet in pixels; larger than needed, so that scaling down smooths.
        style: whether to outline.
        ink: width of the outline, as a share of the side.
    """

    def __init__(self, size: int, style: Style, ink: float = 0.022) -> None:
        self.size = size
        self.image = Image.new("RGBA", (size, size))
        self.outlined = style == "openmoji"
        self.ink = max(1, round(ink * size))
        self._draw = ImageDraw.Draw(self.image)

    def _px(self, points: Sequence[Point]) -> list[Point]:
        return [(x * self.size, y * self.size) for x, y in points]

    def oval(self, cx: float, cy: float, rx: float, ry: float, fill: Rgb) -> None:
        """An ellipse by its middle and radii."""
        box = self._px([(cx - rx, cy - ry), (cx + rx, cy + ry)])
        self._draw.ellipse(box, fill, INK if self.outlined else None, self.ink)

    def arc(
        self, cx: float, cy: float, rx: float, ry: float, start: float, end: float, fill: Rgb,
        width: float = 0.02,
    ) -> None:  # fmt: skip
        """Part of an ellipse's rim; degrees clockwise from the right."""
        box = self._px([(cx - rx, cy - ry), (cx + rx, cy + ry)])
        self._draw.arc(box, start, end, fill, max(1, round(width * self.size)))

    def pie(
        self, cx: float, cy: float, rx: float, ry: float, start: float, end: float, fill: Rgb
    ) -> None:
        """Part of an ellipse; degrees clockwise from the right."""
        box = self._px([(cx - rx, cy - ry), (cx + rx, cy + ry)])
        outline = INK if self.outlined else None
        self._draw.chord(box, start, end, fill, outline, self.ink)

    def poly(self, points: Sequence[Point], fill: Rgb) -> None:
        """A polygon."""
        corners = self._px(points)
        self._draw.polygon(corners, fill)
        if self.outlined:
            self._draw.line([*corners, corners[0]], INK, self.ink, joint="curve")

    def box(
        self, left: float, top: float, right: float, bottom: float, fill: Rgb, round_by: float = 0.0
    ) -> None:
        """A rectangle with round corners of that radius."""
        outline = INK if self.outlined else None
        corners = self._px([(left, top), (right, bottom)])
        self._draw.rounded_rectangle(corners, round_by * self.size, fill, outline, self.ink)

    def cover(self, left: float, top: float, right: float, bottom: float, fill: Rgb) -> None:
        """A rectangle without an outline, whatever the style."""
        self._draw.rectangle(self._px([(left, top), (right, bottom)]), fill)

    def line(self, points: Sequence[Point], width: float, fill: Rgb) -> None:
        """A line with round ends."""
        path = self._px(points)
        thick = max(1, round(width * self.size))
        rounds = [(thick, fill)]
        if self.outlined:
            rounds.insert(0, (thick + 2 * self.ink, INK))
        for wide, tint in rounds:
            self._draw.line(path, tint, wide, joint="curve")
            for x, y in (path[0], path[-1]):
                r = wide / 2
                self._draw.ellipse((x - r, y - r, x + r, y + r), tint)
