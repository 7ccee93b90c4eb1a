"""Bars for the report: SVG without a fixed width and without text.

Positions are percentages, so a bar is as wide as its place on the page, and words are beside it
at the reader's own font size. Colours come from the page's CSS classes, which know light, dark and
print. Equal numbers give equal bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


def accuracy_bar(values: Sequence[float], mean: float, std: float | None, tone: int) -> str:
    """A bar from 0 to the mean, a whisker of one standard deviation, and a dot for each seed.

    Args:
        values: one per seed, fractions in [0, 1].
        mean, std: of them; ``std`` None below two seeds.
        tone: which of the page's colours, see ``.tone-N`` in report.css.
    """
    dots = "".join(f'<circle class="dot" cx="{_at(v)}" cy="50%" r="2.5"/>' for v in values)
    whisker = ""
    if std is not None:
        whisker = _whisker(max(0.0, mean - std), min(1.0, mean + std))
    bar = f'<rect class="fill" x="0" y="15%" width="{_at(mean)}" height="70%" rx="3"/>'
    spread = "" if std is None else f", standard deviation {100 * std:.1f}"
    return _svg(
        f"bar tone-{tone}", f"{100 * mean:.1f} percent{spread}", _grid() + bar + whisker + dots
    )


def change(before: Sequence[float], after: Sequence[float], tone: int = 1) -> str:
    """From the mean without to the mean with: a ring, a line, a disc; a fainter dot a seed.

    Args:
        before, after: one value a seed, fractions in [0, 1]; not empty.
        tone: of the disc, see ``.tone-N`` in report.css; a fall has the colour of warnings.
    """
    start, end = (sum(values) / len(values) for values in (before, after))
    way = "up" if end >= start else "down"
    seeds = "".join(
        f'<circle class="seed" cx="{_at(v)}" cy="50%" r="2"/>'
        for values in (before, after)
        for v in values
        if len(values) > 1
    )
    line = f'<line class="link" x1="{_at(start)}" x2="{_at(end)}" y1="50%" y2="50%"/>'
    ends = f'<circle class="from" cx="{_at(start)}" cy="50%" r="4.5"/>'
    ends += f'<circle class="to" cx="{_at(end)}" cy="50%" r="5.5"/>'
    label = f"from {100 * start:.1f} to {100 * end:.1f} percent"
    return _svg(f"bar change {way} tone-{tone}", label, _grid() + line + seeds + ends)


def rate_bar(rate: float, interval: Sequence[float], control: float | None = None) -> str:
    """A flip rate as a bar, its confidence interval as a whisker, and the controls' as a ring."""
    bar = f'<rect class="fill" x="0" y="20%" width="{_at(rate)}" height="60%" rx="3"/>'
    low, high = interval
    label = f"flip rate {_words(rate)}, interval {_words(low)} to {_words(high)}"
    ring = ""
    if control is not None:
        ring = f'<circle class="ring" cx="{_at(control)}" cy="50%" r="4"/>'
        label += f"; controls {_words(control)}"
    return _svg("bar rate", label, _track() + bar + _whisker(low, high) + ring)


def _words(fraction: float) -> str:
    return f"{100 * fraction:.0f} percent"


def _whisker(low: float, high: float) -> str:
    ends = "".join(f'<line x1="{x}" x2="{x}" y1="28%" y2="72%"/>' for x in (_at(low), _at(high)))
    line = f'<line x1="{_at(low)}" x2="{_at(high)}" y1="50%" y2="50%"/>'
    return f'<g class="whisker">{line}{ends}</g>'


def _svg(name: str, label: str, content: str) -> str:
    return f'<svg class="{name}" role="img" aria-label="{escape(label)}">{content}</svg>'


def _track() -> str:
    return '<line class="track" x1="0" x2="100%" y1="50%" y2="50%"/>'


def _grid() -> str:
    return "".join(
        f'<line class="grid" x1="{x}%" x2="{x}%" y1="0" y2="100%"/>' for x in (0, 25, 50, 75, 100)
    )


def _at(fraction: float) -> str:
    return f"{100 * fraction:.2f}%"
