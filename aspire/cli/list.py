"""``aspire list``: every choice there is, what it is, and which model it fetches."""

from __future__ import annotations

import json

import yaml
from omegaconf import DictConfig

from aspire.cli._comments import entries, heading
from aspire.confdir import conf_dir
from aspire.console import Table, console
from aspire.errors import ConfigError, did_you_mean
from aspire.plugins import plugins

# Groups of conf/ that are not chosen one by one.
_APART = {"hydra", "paths", "hparams"}


def job(cfg: DictConfig) -> None:
    """List one kind of choice, or the kinds."""
    kinds = sorted(p.name for p in conf_dir().iterdir() if p.is_dir() and p.name not in _APART)
    kind = str(cfg.kind).removesuffix("s") if cfg.kind and cfg.kind not in kinds else cfg.kind
    if kind and kind not in kinds:
        raise ConfigError(
            f"aspire list {cfg.kind}: no such kind.{did_you_mean(str(cfg.kind), kinds)} "
            f"Kinds: {', '.join(kinds)}."
        )
    found = [choice for k in ([kind] if kind else kinds) for choice in choices(k)]
    if cfg.format == "json":
        console.print(json.dumps(found, indent=1))
        return
    table = Table()
    if kind:
        table.add_column("choice", no_wrap=True)
        table.add_column("what", ratio=1)
        columns = ["what", "needs"] if any(choice["needs"] for choice in found) else ["what"]
        for name in columns[1:]:
            table.add_column(name, overflow="fold")
        for choice in found:
            table.add_row(f"{kind}={choice['name']}", *(choice[name] for name in columns))
    else:
        table.add_column("kind", no_wrap=True)
        table.add_column("choices", ratio=1)
        for name in kinds:
            table.add_row(name, ", ".join(c["name"] for c in found if c["kind"] == name))
    console.print(table)
    console.show(
        "\n[bold]next[/bold]  {}",
        f"aspire list {kind or 'KIND'}" if not kind else f"aspire train {kind}=NAME --cfg job",
    )


def choices(kind: str) -> list[dict[str, str]]:
    """Those of one kind: kind, name, what, needs (a model, a package; "" for nothing)."""
    found = []
    for path in sorted((conf_dir() / kind).glob("*.yaml")):
        what = heading(path) or next((e.comment for e in entries(path)), "")
        needs = _model(yaml.safe_load(path.read_text("utf-8")))
        found.append({"kind": kind, "name": path.stem, "what": what, "needs": needs})
    for plugin in plugins():
        if plugin.group == kind:
            what = f"{plugin.target}, of the package {plugin.package}"
            found.append({"kind": kind, "name": plugin.name, "what": what, "needs": ""})
    return found


def _model(node: object) -> str:
    """The models of the hub that a choice names, wherever in it."""
    if not isinstance(node, dict):
        return ""
    names = [v for k, v in node.items() if k.endswith("model") and isinstance(v, str) and "/" in v]
    return ", ".join([*names, *filter(None, map(_model, node.values()))])
