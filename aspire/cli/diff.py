"""``aspire diff``: two runs side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from aspire.console import Table, console, styled
from aspire.reporting.compare import SECTIONS, Difference, describe, differences


def job(cfg: DictConfig) -> None:
    """Print what two runs do not share."""
    left, right = describe(Path(cfg.a)), describe(Path(cfg.b))
    found = differences(left, right)
    if cfg.format == "json":
        print(json.dumps([asdict(d) for d in found], indent=1))
        return
    console.show("[bold]A[/bold]  {}\n[bold]B[/bold]  {}", cfg.a, cfg.b)
    show_differences(found, left, right, everything=bool(cfg.all))


def show_differences(
    found: Sequence[Difference],
    left: Mapping[str, Mapping[str, Any]],
    right: Mapping[str, Mapping[str, Any]],
    everything: bool = False,
) -> None:
    """A table a section that has differences, and a line for those that have none."""
    for section, title in SECTIONS.items():
        mine = {d.name: d for d in found if d.section == section}
        names = sorted({*left[section], *right[section]})
        head = styled("\n[bold]{}[/bold]  [dim]{}: [/dim]", section, title)
        if not names:
            console.show("{}[dim]nothing was noted[/dim]", head)
            continue
        same = len(names) - len(mine)
        console.show("{}[dim]{} differ, {} are the same[/dim]", head, len(mine), same)
        if not mine and not everything:
            continue
        table = Table(padding=(0, 2, 0, 2))
        table.add_column("", no_wrap=True)
        for column in ("A", "B"):
            table.add_column(column, overflow="fold")
        table.add_column("B - A", justify="right", no_wrap=True)
        for name in names:
            if name in mine or everything:
                pair = left[section].get(name), right[section].get(name)
                cells = (*(_text(v) for v in pair), _change(*pair) if name in mine else "")
                table.add_row(name, *cells)
        console.print(table)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = value if isinstance(value, str) else json.dumps(value)
    digest = len(text) == 64 and all(c in "0123456789abcdef" for c in text)
    return f"{text[:12]}..." if digest else text


def _change(left: Any, right: Any) -> str:
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (left, right))
    return f"{right - left:+.4g}" if numbers else ""
