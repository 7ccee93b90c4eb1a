"""``aspire data``: what datasets there are, what is in them, how to get and pass them on."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from rich.text import Text

from aspire.cli._app import compose_config, plain, task_overrides
from aspire.cli._datasets import called, checked_dataset, read_dataset
from aspire.cli._show import show_groups
from aspire.confdir import conf_dir
from aspire.console import Table, console
from aspire.data.download import DatasetFiles
from aspire.data.sources import parts_of
from aspire.data.table import Dataset, Split
from aspire.data.unpack import Limits
from aspire.errors import AspireError, ConfigError, DataError, did_you_mean
from aspire.progress import Bars
from aspire.text import file_name


def job(cfg: DictConfig) -> None:
    """Do what the first word says."""
    if cfg.action not in ACTIONS:
        raise ConfigError(
            f"aspire data {cfg.action}: no such action.{did_you_mean(str(cfg.action), ACTIONS)} "
            f"Actions: {', '.join(ACTIONS)}."
        )
    ACTIONS[cfg.action](cfg)


# --- what there is ------------------------------------------------------------------------------


def _list(cfg: DictConfig) -> None:
    table = Table()
    for column in ("dataset", "what", "root"):
        table.add_column(column, no_wrap=column == "dataset", overflow="fold")
    for path in sorted((conf_dir() / "dataset").glob("*.yaml")):
        what = path.read_text("utf-8").splitlines()[0].lstrip("# ")
        node = OmegaConf.load(path)
        if "defaults" in node:
            composed, _ = compose_config("data", [f"dataset={path.stem}"])
        else:  # composing takes a tenth of a second each
            composed = OmegaConf.create({"dataset": node, "paths": plain(cfg.paths)})
        given = OmegaConf.select(composed, "dataset.root")
        where = "(yours: set its path)"
        if given:
            there = "" if Path(given).exists() or _is_drawn(path.stem) else " (not here yet)"
            where = f"{given}{there}"
        table.add_row(path.stem, what, where)
    console.print(table)
    console.show("\n[bold]next[/bold]  aspire data show dataset=NAME")


def _show(cfg: DictConfig) -> None:
    (dataset, report), about = checked_dataset(cfg.dataset), _About(cfg)
    console.show("{} in {}", dataset.name, dataset.root)
    console.show(
        "classes: {}; spurious attribute ({}): {}\n"
        "a group: {}; worst group: the one with the lowest accuracy\n"
        "licence: {}\nhomepage: {}\npublished counts: {}",
        ", ".join(dataset.class_names),
        dataset.spurious_attribute,
        ", ".join(dataset.attribute_names),
        dataset.group_definition,
        about.licence or "not recorded",
        about.homepage or "none recorded",
        _published(dataset, about.published),
    )
    show_groups(dataset)
    columns = [c for c in ("caption", "mask_filename", "objects") if c in dataset.table.columns]
    for column in columns:
        share = (dataset.table[column] != "").mean()
        console.print(f"{column}: {100 * share:.0f} % of the images")
    if "caption" in columns:
        for caption in dataset.split(Split.TRAIN)["caption"].head(5):
            console.show("  [dim]{}[/dim]", caption)
    console.print(report.text() or "every image is there and can be used")


def _published(dataset: Dataset, published: dict[str, Any]) -> str:
    from aspire.data.verify import compare

    if not published:
        return "none to compare with"
    try:
        different = [c for c in compare(dataset, published) if c.found != c.published]
    except DataError:
        return "for other groups than these"
    if not different:
        return "as found here"
    return f"{len(different)} differ: numbers are not comparable; see aspire data verify"


# --- getting it ---------------------------------------------------------------------------------


class _About:
    """What conf/dataset/NAME.yaml says beside the reader's arguments."""

    def __init__(self, cfg: DictConfig) -> None:
        node = plain(cfg.dataset)
        self.name = str(HydraConfig.get().runtime.choices["dataset"])
        self.root = node.get("root")
        self.sources = parts_of(self.name, node.get("sources"))
        self.published: dict[str, Any] = node.get("published") or {}
        self.licence: str | None = node.get("licence")
        self.homepage: str | None = node.get("homepage")

    def depot(self, cfg: DictConfig) -> DatasetFiles:
        if not self.root:
            raise ConfigError(
                f"dataset={self.name} reads your own data where it is; there is nothing to get."
            )
        default = self.root
        if any(w.lstrip("+").startswith("dataset.root=") for w in task_overrides()):
            composed, _ = compose_config("data", [f"dataset={self.name}"])
            default = OmegaConf.select(composed, "dataset.root")
        return DatasetFiles(
            self.name,
            Path(self.root),
            self.sources,
            homepage=self.homepage,
            wrapper=Path(str(default)).name if default else None,
            limits=Limits(**plain(cfg.unpack)),
            progress=Bars(console),
            say=lambda line: console.show("  {}", line),
            **plain(cfg.download),
        )


def _download(cfg: DictConfig) -> None:
    about = _About(cfg)
    if _nothing_to_get(about):
        return
    depot = about.depot(cfg)
    if not depot.parts:
        raise ConfigError(
            f"dataset={about.name} has no sources; it is data of your own. Put it in {about.root} "
            "or say where it is with dataset.root=DIR."
        )
    if not cfg.overwrite and len(depot.missing()) == len(depot.parts) and _readable(cfg):
        console.print(f"{about.name} is in {depot.root} already; nothing to download")
        _after(about)
        return
    _terms(about)
    got = depot.download(bool(cfg.overwrite))
    what = f"got {', '.join(got)}" if got else "nothing to download"
    console.print(f"{about.name} is in {depot.root}; {what}")
    _after(about)


def _add(cfg: DictConfig) -> None:
    about = _About(cfg)
    if _nothing_to_get(about):
        return
    if cfg["from"] is None:
        raise ConfigError("from is not set: aspire data add dataset=NAME from=FILE (or a folder)")
    depot = about.depot(cfg)
    _terms(about)
    taken = depot.add(Path(str(cfg["from"])), bool(cfg.overwrite))
    console.print(f"{about.name} is in {depot.root}; took {', '.join(taken)}")
    if missing := depot.missing():
        console.print(f"still missing: {', '.join(p.name for p in missing)}")
        console.show("[bold]next[/bold]  aspire data add dataset={} from=FILE", about.name)
        return
    _after(about)


def _is_drawn(name: str) -> bool:
    return name.startswith("mini_")


def _nothing_to_get(about: _About) -> bool:
    if about.sources or not _is_drawn(about.name):
        return False
    console.print(f"{about.name} is drawn on first use, nothing to download")
    return True


def _readable(cfg: DictConfig) -> bool:
    """Whether somebody has put it there by hand."""
    try:
        read_dataset(cfg.dataset).check_files()
    except AspireError:
        return False
    return True


def _terms(about: _About) -> None:
    if about.licence:
        page = f" ({about.homepage})" if about.homepage else ""
        console.print(
            f"licence: {about.licence.rstrip('.')}{page}\nby getting it you accept these terms"
        )


def _after(about: _About) -> None:
    console.show("[bold]next[/bold]  aspire data verify dataset={}", about.name)


# --- looking at it and passing it on ------------------------------------------------------------


def _verify(cfg: DictConfig) -> None:
    from aspire.data.verify import compare, surplus

    dataset, about = read_dataset(cfg.dataset), _About(cfg)
    problems = about.depot(cfg).changed() if about.root and about.sources else []
    try:
        dataset.check_files()
        console.print(f"files: all {len(dataset.table)} images are there and have content")
    except DataError as error:
        problems.append(str(error))
    if not about.published:
        console.print(f"{about.name}: no published counts to compare with; only files are checked")
    else:
        counts = compare(dataset, about.published)
        table = Table(title=f"{about.name}: images")
        for column, side in (("split", "left"), ("group", "left"), ("published", "right"),
                             ("found", "right"), ("", "left")):  # fmt: skip
            table.add_column(column, justify=side)
        for c in counts:
            same = c.found == c.published
            verdict = Text("same") if same else Text("differs", style="red")
            table.add_row(c.split, c.group, str(c.published), str(c.found), verdict)
        console.print(table)
        problems += [str(c) for c in counts if c.found != c.published]
        problems += [
            f"{split}: {number} images are in none of the published groups"
            for split, number in surplus(dataset, about.published).items()
        ]
    if problems:
        raise DataError(
            f"{about.name} in {dataset.root} is not as published:\n  " + "\n  ".join(problems)
            if about.published
            else "\n".join(problems)
        )
    if about.published:
        console.print(f"{about.name} is as published")


def _preview(cfg: DictConfig) -> None:
    from aspire.data.preview import contact_sheet
    from aspire.stored.files import write_atomic

    dataset = read_dataset(cfg.dataset)
    sheet = contact_sheet(dataset, str(cfg.split), cfg.examples)
    data = io.BytesIO()
    sheet.save(data, "PNG")
    choice = str(HydraConfig.get().runtime.choices["dataset"])
    name = f"{file_name(called(choice, cfg.dataset))}-{cfg.split}.png"
    path = Path(cfg.paths.outputs) / "preview" / name
    write_atomic(path, data.getvalue())
    console.show("[bold]preview[/bold]  {}", path)


def _export(cfg: DictConfig) -> None:
    from aspire.data.export import Export, check_kind
    from aspire.data.generated import read_generated

    if cfg.dir is None:
        raise ConfigError("dir is not set: aspire data export dataset=NAME to=csv dir=DIR")
    check_kind(str(cfg.to))
    generated = read_generated(Path(str(cfg.generated))) if cfg.generated is not None else None
    dataset, about = read_dataset(cfg.dataset), _About(cfg)
    # what was typed, without the places of this machine
    words = [w if "/" not in w else f"{w.split('=')[0]}=..." for w in task_overrides()]
    words = [w for w in words if w.split("=")[0] not in ("action", "dir")]
    export = Export(
        dataset,
        generated,
        about.licence,
        about.homepage,
        " ".join(["aspire data export", *words, "dir=..."]),
        Bars(console),
    )
    number = export.write(str(cfg.to), Path(str(cfg.dir)), bool(cfg.overwrite))
    if generated is not None and generated.filtered is None:
        console.show("  [yellow]note:[/yellow] no filter has judged these generated images")
    if about.licence:
        terms = about.licence.rstrip(".")
        console.print(f"licence: {terms}; its terms hold for this copy too")
    extra = f", {len(generated.records)} of them generated" if generated else ""
    console.show("[bold]exported[/bold]  {} images{} to {}", number, extra, cfg.dir)


ACTIONS = {
    "list": _list,
    "show": _show,
    "download": _download,
    "add": _add,
    "verify": _verify,
    "preview": _preview,
    "export": _export,
}
