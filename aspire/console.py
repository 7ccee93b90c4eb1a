"""What is written on a terminal: markup is in our own templates, and values never are markup.

Verbs print with the one ``console`` and with this ``Table``, never with rich's own.
"""

from __future__ import annotations

import re
from typing import Any

from rich import console as rich_console
from rich import table as rich_table
from rich.text import Text

from aspire.text import visible

_PLACE = re.compile(r"\{(:[^{}]*)?\}")


def styled(template: str, *values: object) -> Text:
    """A template in rich's markup, each ``{}`` or ``{:<9}`` in it filled with a value as it is.

    Args:
        template: ours; text of users in it would be read as markup.
        values: one a place; a ``Text`` keeps its style.

    >>> styled("[bold]run[/bold]  {} {:.1f}", "[/red]", 2.34).plain
    'run  [/red] 2.3'
    """
    pattern = Text.from_markup(template, emoji=False)
    whole, end = Text(), 0
    for place, value in zip(_PLACE.finditer(pattern.plain), values, strict=True):
        whole.append_text(pattern[end : place.start()])
        text = value.copy() if isinstance(value, Text) else _filled(value, (place[1] or ":")[1:])
        for span in pattern.spans:
            if span.start <= place.start() < span.end:
                text.stylize_before(span.style)
        whole.append_text(text)
        end = place.end()
    return whole.append_text(pattern[end:])


def _filled(value: object, form: str) -> Text:
    return Text(format(value if isinstance(value, int | float) else visible(value), form))


class Console(rich_console.Console):
    """rich's, to which a text is a text: no markup, no emoji codes, no control characters."""

    def __init__(self, stderr: bool = False, **options: Any) -> None:
        plain = {"markup": False, "emoji": False, "highlight": False, "soft_wrap": True}
        super().__init__(stderr=stderr, **(plain | options))

    def render_str(self, text: str, **options: Any) -> Text:
        """A text as it is, apart from line breaks."""
        return super().render_str(visible(text, breaks=True), **options)

    def show(self, *parts: Any, **options: Any) -> None:
        """Print a template of ours and the values that fill it, see :func:`styled`."""
        self.print(styled(*parts), **options)


class Table(rich_table.Table):
    """rich's, whose titles, heads and cells are texts as they are; a ``Text`` keeps its style."""

    def __init__(self, title: str | Text | None = None, **options: Any) -> None:
        plain = {"title_justify": "left", "box": None}
        super().__init__(title=_cell(title, "table.title"), **(plain | options))

    def add_column(self, header: Any = "", *args: Any, **options: Any) -> None:
        """A column; see rich."""
        super().add_column(_cell(header), *args, **options)

    def add_row(self, *cells: Any, **options: Any) -> None:
        """A row; see rich."""
        super().add_row(*(_cell(c) for c in cells), **options)


def _cell(given: Any, style: str = "") -> Any:
    return Text(visible(given), style) if isinstance(given, str) else given


console = Console()
