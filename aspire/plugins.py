"""Baselines, datasets and backends of other installed packages, found by their entry points.

A package says in its ``pyproject.toml``

    [project.entry-points."aspire.baselines"]
    mine = "my_package.mine:Mine"

and ``baseline=mine`` composes, with the arguments of the constructor as its keys. What is installed
is trusted as the package itself is; a name of ours is never replaced.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from aspire.confdir import conf_dir

# Group of entry points -> group of conf/.
GROUPS = {
    f"aspire.{group}s": group
    for group in (
        "baseline", "dataset", "captioner", "extractor", "segmenter", "inpainter", "restyler",
        "classifier", "score", "personaliser", "generator", "filter",
    )
}  # fmt: skip

# Keys of a dataset that are not for its class, see conf/dataset/.
_OF_A_DATASET = {"on_bad": "error", "duplicates": False, "thorough": False}

_OF_THE_PIPELINE = ("root", "refs")


@dataclass(frozen=True)
class Plugin:
    """A choice that another package brings.

    Args:
        group: of conf/.
        name: what is typed.
        target: dotted path of its class.
        package: the distribution it comes with.
        entry: its entry point.
    """

    group: str
    name: str
    target: str
    package: str
    entry: EntryPoint

    def node(self) -> dict[str, Any]:
        """What a yaml of conf/ would hold; a class that cannot be imported is told so when used."""
        node: dict[str, Any] = {"_target_": self.target}
        try:
            parameters = [*inspect.signature(self.entry.load()).parameters.values()]
        except Exception:  # whatever somebody's module does when it is imported
            parameters = []
        if self.group == "generator":  # completed by the pipeline, which knows the dataset
            node["_partial_"] = True
            parameters = [p for p in parameters if p.name not in _OF_THE_PIPELINE]
        for parameter in parameters:
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                default = "???" if parameter.default is parameter.empty else parameter.default
                node[parameter.name] = list(default) if isinstance(default, tuple) else default
        if self.group == "dataset":
            node = {**_OF_A_DATASET, **node}
        return {self.name: node} if self.group == "filter" else node


@cache
def plugins() -> tuple[Plugin, ...]:
    """Those of all installed packages whose names are not taken, by group and name."""
    return tuple(sorted(_found(), key=lambda p: (p.group, p.name)))


def versions() -> dict[str, str]:
    """Module of a plug-in -> its package and version, which a result of it depends on."""
    return {
        p.target.rpartition(".")[0]: f"{p.package} {p.entry.dist.version}"
        for p in plugins()
        if p.entry.dist
    }


def _found() -> Iterator[Plugin]:
    for group, ours in GROUPS.items():
        for entry in entry_points(group=group):
            if (
                entry.name.isidentifier()
                and not (conf_dir() / ours / f"{entry.name}.yaml").exists()
            ):
                target = entry.value.replace(":", ".").partition(" ")[0]
                yield Plugin(ours, entry.name, target, entry.dist.name if entry.dist else "", entry)
