"""``aspire VERB --help [KEY]``: what a verb takes, and what a key or a group of it means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from aspire.checking import arguments_of, hint_at, shown, words
from aspire.cli._comments import entries, heading
from aspire.cli._keys import keys_of
from aspire.cli._overrides import check_overrides, config_folder, initialized
from aspire.cli._verbs import VERBS
from aspire.cli.list import choices
from aspire.confdir import conf_dir
from aspire.console import Table, console
from aspire.errors import ConfigError, did_you_mean

LAUNCHER = "hydra/launcher"
LONGEST = 60  # of a value beside others
_HIDDEN = ("_target_", "_partial_")


def show_help(verb: str, overrides: Sequence[str], asked: Sequence[str]) -> None:
    """Print the help of a verb as it is with these overrides, or of the keys that are asked for.

    Args:
        asked: words behind ``--help``: keys, sections and groups; KEY=VALUE is an override, too.

    Raises:
        ConfigError: for a key that there is not, with the nearest right name.
    """
    typed = [*overrides, *(word for word in asked if "=" in word)]
    with initialized():
        page = Page(verb, check_overrides(verb, typed))
        if not asked:
            page.show()
        for word in asked:
            page.explain(word.partition("=")[0])


@dataclass(frozen=True)
class Page:
    """What a verb takes with these words."""

    verb: str
    typed: Sequence[str]

    @cached_property
    def own(self) -> Path | None:
        """The user's own configuration folder."""
        return config_folder(self.typed)

    @cached_property
    def config(self) -> DictConfig:
        """All of it, as Hydra composes it."""
        search = [f"hydra.searchpath=[file://{self.own.resolve()}]"] if self.own else []
        options = [w for w in self.typed if "=" in w and not w.startswith("-")]
        composed: DictConfig = compose(self.verb, [*search, *options], return_hydra_config=True)
        return composed

    @cached_property
    def chosen(self) -> dict[str, str]:
        """Group -> the choice of it; lists as they are typed."""
        found = {str(g): str(c) for g, c in reversed(self.config.hydra.runtime.choices.items())}
        launcher = found[LAUNCHER]
        found = {g: c for g, c in found.items() if not g.startswith(("hydra/", "hparams/"))}
        for group in GlobalHydra.instance().config_loader().list_groups(""):
            if group not in found and group != "hydra" and group in self.config:  # several choices
                found[group] = f"[{','.join(map(str, self.config[group]))}]"
        return found | ({LAUNCHER: launcher} if "sweep" in self.config else {})

    @cached_property
    def values(self) -> dict[str, Any]:
        """The configuration with its references as they stand; of Hydra's own only a launcher."""
        values: Any = OmegaConf.to_container(self.config, resolve=False)
        launcher = values.pop("hydra")["launcher"]
        if LAUNCHER in self.chosen:
            values["hydra"] = {"launcher": launcher}
        return dict(values)

    @cached_property
    def keys(self) -> dict[str, Any]:
        """Every full key that has a value of its own."""
        return dict(_leaves(self.values))

    @cached_property
    def said(self) -> dict[str, str]:
        """Full key, section or group -> what the first file that has it says about it."""
        files = [(conf_dir() / f"{name}.yaml", "") for name in (self.verb, "base")]
        for group, choice in self.chosen.items():
            files += [
                self._file(group, name.strip(" '\"")) for name in choice.strip("[]").split(",")
            ]
        said = {LAUNCHER: "where the jobs of a sweep run; basic: here, one after the other"}
        for path, prefix in files:
            for entry in entries(path) if path.is_file() else ():
                if entry.comment:
                    said.setdefault(prefix + entry.key, entry.comment)
            files += [(path.with_stem(name), prefix) for name in _extended(path)]
        return said

    def options(self, group: str) -> list[str]:
        """The choices of a group, those of plug-ins and of the user's own folder too."""
        loader = GlobalHydra.instance().config_loader()
        own = (self.own / group).glob("*.yaml") if self.own else ()
        return sorted({*loader.get_group_options(group, ObjectType.CONFIG), *(p.stem for p in own)})

    def _file(self, group: str, name: str) -> tuple[Path, str]:
        """The file of a choice, and what is typed before its keys."""
        folders = [conf_dir(), *([self.own] if self.own else [])]
        paths = [folder / group / f"{name}.yaml" for folder in folders]
        path = next((p for p in paths if p.is_file()), paths[0])
        whole = path.is_file() and path.read_text("utf-8").startswith("# @package _global_")
        return path, "" if whole else f"{group.replace('/', '.')}."

    def meaning(self, key: str) -> str:
        """What is said about a key: by its yaml file, else by the class that takes it."""
        if key in self.said:
            return self.said[key]
        section, _, name = key.rpartition(".")
        node: Any = self.values
        for part in section.split(".") if section else []:
            node = node.get(part, {}) if isinstance(node, Mapping) else {}
        target = node.get("_target_") if isinstance(node, Mapping) else None
        return arguments_of(str(target)).get(name, "").replace("``", "") if target else ""

    def hint(self, key: str) -> Any:
        """The annotation of what a key takes."""
        return hint_at(self.values, key, keys_of(self.verb))

    def explained(self, key: str) -> str:
        """The key, or where nothing is said about it the section around it that is explained."""
        while not self.meaning(key) and "." in key and key.rpartition(".")[0] not in self.chosen:
            key = key.rpartition(".")[0]
        return key

    # --- what is shown -----------------------------------------------------------------------

    def show(self) -> None:
        """All that the verb takes."""
        header = self.config.hydra.help.header
        console.print(str(header).rstrip())
        groups = [g for g in self.chosen if len(self.options(g)) > 1]
        own = [k for k in self.keys if k.partition(".")[0] not in groups]
        console.show("\n[bold]keys[/bold], each typed as KEY=VALUE")
        self._show_keys(own)
        if groups:
            console.show("\n[bold]groups[/bold], each typed as GROUP=CHOICE")
            table = _table()
            for group in groups:
                table.add_row(
                    self._choice(group), f"{self.said[group]}: {', '.join(self.options(group))}"
                )
            console.print(table)
        example = groups[0] if groups else own[0]
        console.show("\n[bold]next[/bold]  aspire {} --help {}", self.verb, example)
        console.print(f"      aspire {self.verb} --cfg job")

    def _choice(self, group: str) -> str:
        choice = self.chosen[group]
        return f"{group}={'null' if choice == 'None' else choice}"

    def explain(self, key: str) -> None:
        """A key, the keys of a section, or the choices of a group and the keys of the chosen one.

        Raises:
            ConfigError: for a key that there is not.
        """
        if key in self.chosen:
            self._explain_group(key)
        elif key in self.keys:
            self._explain_key(key)
        elif below := [k for k in self.keys if k.startswith(f"{key}.")]:
            console.show("[bold]{}[/bold]  {}", key, self.meaning(key))
            self._show_keys(below)
        elif ends := [k for k in self.keys if k.endswith(f".{key}")]:
            for name in ends:
                self._explain_key(name)
        elif others := list(self._of_another_choice(key)):
            console.print(f"{key} is a key of {', '.join(others)}.")
            Page(self.verb, [*self.typed, others[0]]).explain(key)
        else:
            raise ConfigError(self._unknown(key))

    def _explain_key(self, key: str) -> None:
        value = self.keys[key]
        console.show("[bold]{}[/bold]  {}", key, self.meaning(self.explained(key)))
        table = _table()
        table.add_row("default", _default(value) + self._resolved(key, value))
        table.add_row("takes", words(self.hint(key)))
        console.print(table)

    def _explain_group(self, group: str) -> None:
        console.show("[bold]{}[/bold]  {}", group, self.said.get(group, ""))
        table = _table()
        found = {c["name"]: c["what"] for c in choices(group)}
        for name in self.options(group):
            path, _ = self._file(group, name)
            table.add_row(
                f"{group}={name}", found.get(name) or (heading(path) if path.is_file() else "")
            )
        console.print(table)
        below = [k for k in self.keys if k.startswith(f"{group.replace('/', '.')}.")]
        console.show("\n[bold]keys[/bold] of {}{}", self._choice(group), "" if below else ": none")
        self._show_keys(below)
        console.show(
            "\n[bold]next[/bold]  aspire {} --help {}=CHOICE  another one's keys", self.verb, group
        )

    def _show_keys(self, keys: Sequence[str]) -> None:
        table = _table()
        for name in dict.fromkeys(map(self.explained, keys)):
            value = self.keys.get(name, "{...}")
            if "${oc." in str(value):
                value = OmegaConf.select(self.config, name)
            table.add_row(f"{name}={_short(_default(value))}", self.meaning(name))
        console.print(table)

    def _resolved(self, key: str, value: Any) -> str:
        """What a reference leads to here."""
        if "${" not in str(value):
            return ""
        try:
            return f", here {shown(OmegaConf.select(self.config, key))}"
        except OmegaConfBaseException:
            return ""

    # --- what is not there ----------------------------------------------------------------------

    def _of_another_choice(self, key: str) -> Iterator[str]:
        """GROUP=CHOICE of every choice that has the key."""
        for group in self.chosen:
            if key.startswith(f"{group}."):
                for name in self.options(group):
                    path, prefix = self._file(group, name)
                    if path.is_file() and key in {prefix + e.key for e in entries(path)}:
                        yield f"{group}={name}"

    def _unknown(self, key: str) -> str:
        sections = {k.rpartition(".")[0] for k in self.keys} - {""}
        near = did_you_mean(key, [*self.chosen, *self.keys, *sections])
        also = [v for v in VERBS if any(e.key == key for e in entries(conf_dir() / f"{v}.yaml"))]
        there = f" It is one of aspire {also[0]}: aspire {also[0]} --help {key}." if also else ""
        return (
            f"{key}: aspire {self.verb} has no such key or group.{near}{there} All of them: aspire "
            f"{self.verb} --help."
        )


def _table() -> Table:
    table = Table(show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(overflow="fold", max_width=38)
    table.add_column(ratio=1, overflow="fold")
    return table


def _default(value: Any) -> str:
    return "" if value == "???" else shown(value)


def _short(value: str) -> str:
    return value if len(value) <= LONGEST else f"{value[:LONGEST]}..."


def _extended(path: Path) -> list[str]:
    """The choices of the same group that a file changes."""
    content = yaml.safe_load(path.read_text("utf-8")) if path.is_file() else None
    defaults = content.get("defaults", []) if isinstance(content, dict) else []
    return [d for d in defaults if isinstance(d, str) and d not in ("_self_", "base", path.stem)]


def _leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        elif name not in _HIDDEN:
            yield f"{prefix}{name}", value
