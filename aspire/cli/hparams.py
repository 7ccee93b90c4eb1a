"""``aspire hparams``: what hparams=unified, paper and mini set, and where each value comes from."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.text import Text

from aspire.cli._comments import entries
from aspire.confdir import conf_dir
from aspire.console import Table, console
from aspire.errors import ConfigError, did_you_mean

PRESETS = ("unified", "paper", "mini")

# Marks of a value that somebody has published, explained in conf/hparams/paper.yaml.
PUBLISHED = re.compile(r"\[[VSR]\]")


@dataclass(frozen=True)
class Setting:
    """One value of a preset.

    Args:
        dataset, baseline: what it is for; None for all of them.
        key: as typed on the command line.
        value: as it stands in the file.
        source: the comment beside it.
    """

    dataset: str | None
    baseline: str | None
    key: str
    value: str
    source: str

    @property
    def published(self) -> bool:
        """Whether its source is somebody's publication."""
        return bool(PUBLISHED.search(self.source)) and not self.source.startswith("ours")


def job(cfg: DictConfig) -> None:
    """Print one preset, or all of them at a glance."""
    if cfg.preset is not None and cfg.preset not in PRESETS:
        raise ConfigError(
            f"preset={cfg.preset}: no such preset.{did_you_mean(str(cfg.preset), PRESETS)} "
            f"Presets: {', '.join(PRESETS)}."
        )
    choices = HydraConfig.get().runtime.choices
    dataset, baseline = choices["dataset"], choices["baseline"]
    wanted = [cfg.preset] if cfg.preset else list(PRESETS)
    found = {p: _matching(settings(p), dataset, baseline) for p in wanted}
    if not any(found.values()):
        have = settings(wanted[0])
        if dataset and not _matching(have, dataset, None):
            name, value, there = "dataset", dataset, [s.dataset for s in have]
        else:
            name, value, there = "baseline", baseline, [s.baseline for s in have]
        raise ConfigError(
            f"hparams={wanted[0]} has nothing for {name}={value}. It has "
            f"{', '.join(dict.fromkeys(t for t in there if t))}."
        )
    if cfg.format == "json":
        print(json.dumps({p: [asdict(s) for s in rows] for p, rows in found.items()}, indent=1))
        return
    show = _markdown if cfg.format == "md" else _rich
    for preset, rows in found.items():
        if not rows:
            continue
        if dataset or baseline:
            show(preset, *_list(rows))
        elif preset == "paper":
            show(preset, *_grid(rows), LEGEND)
        else:
            show(preset, *(_list(rows) if cfg.preset else _summary(rows)))
    if cfg.format == "rich" and not (dataset or baseline):
        console.show("[bold]next[/bold]  aspire hparams paper dataset=waterbirds")


# --- reading the files ----------------------------------------------------------------------


def settings(preset: str) -> list[Setting]:
    """Every value of a preset, in the order of the files; what holds for all comes first."""
    folder = conf_dir() / "hparams"
    found = list(_of_file(folder / f"{preset}.yaml", None, None))
    for path in sorted((folder / preset).rglob("*.yaml"), key=lambda p: (p.parent, _rank(p.stem))):
        dataset = {"unified": path.stem, "paper": path.parent.name}.get(preset)
        baseline = None if preset == "unified" else path.stem
        found += _of_file(path, dataset, baseline)
    return found


def _of_file(path: Path, dataset: str | None, baseline: str | None) -> Iterator[Setting]:
    for entry in entries(path):
        if entry.value is not None:
            yield Setting(dataset, baseline, entry.key, entry.value, entry.beside)


def _rank(name: str) -> tuple[bool, bool, str]:
    """ERM first, then the rest by name; miniatures after the real datasets."""
    return name != "erm", name.startswith("mini_"), name


def _matching(rows: list[Setting], dataset: str | None, baseline: str | None) -> list[Setting]:
    """Rows about a dataset and a method; rows for all go along if there is any such row."""
    kept = [
        s
        for s in rows
        if (dataset is None or s.dataset in (None, dataset))
        and (baseline is None or s.baseline in (None, baseline))
    ]
    return kept if any(s.dataset or s.baseline for s in kept) else []


# --- showing them ---------------------------------------------------------------------------

LEGEND = (
    "Steps x batch; learning rate, weight decay; how many of all values are published, the others "
    "being transferred or ours."
)


def _grid(rows: list[Setting]) -> tuple[list[str], list[list[str]]]:
    """Methods by datasets; each cell in three lines."""
    datasets = list(dict.fromkeys(s.dataset for s in rows if s.dataset))
    datasets.sort(key=lambda d: -_published(rows, d))
    body = []
    for method in dict.fromkeys(s.baseline for s in rows if s.baseline):
        cells = []
        for dataset in datasets:
            own = [s for s in rows if (s.dataset, s.baseline) == (dataset, method)]
            values = {s.key: s.value for s in own}
            cells.append(
                f"{int(values['fit.steps']):,} x {values['fit.batch_size']}\n"
                f"{values['optimizer.lr']}, {values['optimizer.weight_decay']}\n"
                f"published {sum(s.published for s in own)}/{len(own)}"
                if own
                else "-"
            )
        body.append([method, *cells])
    return ["method", *datasets], body


def _published(rows: list[Setting], dataset: str) -> int:
    return sum(s.published for s in rows if s.dataset == dataset)


def _summary(rows: list[Setting]) -> tuple[list[str], list[list[str]]]:
    """One row per dataset or method, its values in a line and their sources left out."""
    values: dict[str, list[str]] = {}
    for s in rows:
        if name := s.dataset or s.baseline:
            values.setdefault(name, []).append(f"{s.key.rpartition('.')[2]} {s.value}")
    head = "dataset" if any(s.dataset for s in rows) else "method"
    return [head, "values"], [[name, ", ".join(own)] for name, own in values.items()]


def _list(rows: list[Setting]) -> tuple[list[str], list[list[str]]]:
    """One row per value; columns that say nothing are left out."""
    about = [f for f in ("dataset", "baseline") if len({getattr(s, f) for s in rows} - {None}) > 1]
    head = [*("method" if f == "baseline" else f for f in about), "setting", "value", "source"]
    body = []
    for s in rows:
        body.append([*(getattr(s, f) or "all" for f in about), s.key, s.value, s.source])
    return head, body


def _rich(preset: str, head: list[str], body: list[list[str]], note: str = "") -> None:
    # What the settings are about is above them and not beside, which leaves room for sources.
    about = head.index("setting") if "setting" in head else 0
    table = Table(padding=(0, 2, 0, 0))
    for name in head[about:]:
        folds = name in ("values", "source")
        table.add_column(name, overflow="fold", no_wrap=not folds and name != "value")
    spaced = any("\n" in cell for row in body for cell in row)
    for number, row in enumerate(body):
        if number and (spaced or row[:about] != body[number - 1][:about]):
            table.add_row()
        if about and (not number or row[:about] != body[number - 1][:about]):
            table.add_row(Text(", ".join(row[:about]), style="bold"))
        table.add_row(*(Text(_short(c)) for c in row[about:]))
    console.print(Text(_title(preset), style="italic"), soft_wrap=False)
    console.print(table)
    if note:
        console.print(Text(note, style="italic dim"), soft_wrap=False)
    console.print()


def _markdown(preset: str, head: list[str], body: list[list[str]], note: str = "") -> None:
    lines = [f"**{_title(preset)}**", "", f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(cell.replace(chr(10), '; ') for cell in row)} |" for row in body]
    print("\n".join([*lines, "", *([note, ""] if note else [])]))


def _title(preset: str) -> str:
    """What the preset is, in its file's own words."""
    lines = (conf_dir() / "hparams" / f"{preset}.yaml").read_text("utf-8").splitlines()[1:]
    words: list[str] = []
    for line in lines:
        if not line.startswith("# "):
            break
        words.append(line[2:])
    return f"hparams={preset}: {' '.join(words)}"


def _short(value: str) -> str:
    """A long list by its ends.

    >>> _short("[1, 2, 3, 4, 5, 6, 7, 8, 9]")
    '9: 1, 2, ..., 9'
    """
    items = value.strip("[]").split(", ")
    if not value.startswith("[") or len(items) <= 8:
        return value
    return f"{len(items)}: {items[0]}, {items[1]}, ..., {items[-1]}"
