"""What is typed, against what there is: options, choices of groups, keys. Nothing is loaded yet."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from aspire.checking import hint_at, problems
from aspire.cli._keys import Launcher, keys_of
from aspire.cli._secrets import refuse_secrets, typed
from aspire.cli._tuned import is_file, named_by
from aspire.cli._words import parsed_or_none, quoted, readable
from aspire.confdir import conf_dir
from aspire.errors import ConfigError, did_you_mean

# Words that a verb is another verb with.
STANDS_FOR = {"quickstart": ("experiment=quickstart",)}

# Options of Hydra that take the next word.
_TAKES_WORD = {"--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn"}
_TAKES_WORD |= {"--config-dir", "-cd", "--info", "-i"}


# Options of Hydra that say what is to be done, of which it takes one.
_ONE_OF = {"--run", "-r", "--multirun", "-m", "--cfg", "-c", "--info", "-i"}


def check_overrides(verb: str, args: Sequence[str]) -> list[str]:
    """Compare every override with what there is, before anything is loaded.

    Returns:
        The arguments, texts in quotes where the grammar of overrides asks for them; options first,
        as Hydra refuses keys on both sides of one.

    Raises:
        ConfigError: listing every unknown key and choice with the nearest right name, or what a
            launcher does not take.
    """
    words, search = _split(args)
    if words == [*STANDS_FOR.get(verb, ())]:  # nothing is typed
        return list(args)
    refuse_secrets(typed(words))
    for word in words:
        if "=" not in word and not word.startswith("~"):
            raise ConfigError(f"{word}: expected KEY=VALUE; aspire {verb} --help shows examples.")
    for word in STANDS_FOR.get(verb, ()):
        key = word.partition("=")[0]
        other = next((w for w in words if w.startswith(f"{key}=") and w != word), None)
        if other:
            raise ConfigError(f"aspire {verb} is aspire run {word}. Type aspire run {other}.")
    extra = [f"hydra.searchpath=[file://{Path(search).resolve()}]"] if search else []
    with initialized():
        loader = GlobalHydra.instance().config_loader()
        parser = OverridesParser.create(loader)
        own = Path(search) if search else None
        there = _groups(loader)
        groups = [o for w in words if (o := parsed_or_none(parser, w)) and _is_group(there, o, own)]
        _refuse_unknown(loader, groups, own)
        unknown: list[str] = []
        of_groups = {o.input_line for o in groups}
        chosen = [f"{o.key_or_group}={_first(o)}" for o in groups if not o.is_delete()]
        cfg = _composed(verb, extra, chosen)
        values: Any = OmegaConf.to_container(cfg, resolve=False)
        sweep = cfg.hydra.mode == RunMode.MULTIRUN or bool({"-m", "--multirun"} & set(args))
        texts = readable(words, parser, lambda k: hint_at(values, k, keys_of(verb)), sweep)
        known = set(_keys(cfg))
        parsed = parser.parse_overrides(texts)
        for override in parsed:
            key = override.key_or_group
            new = override.is_add() or override.is_force_add() or override.is_delete()
            if override.input_line in of_groups or new or key in known or _inside_free(cfg, key):
                continue
            near = did_you_mean(key, known) or did_you_mean(key, there)
            siblings = sorted(k for k in known if k.rpartition(".")[0] == key.rpartition(".")[0])
            listed = f" Keys here: {', '.join(siblings[:20])}." if siblings else ""
            unknown.append(f"{key}: no such key.{near}{listed if not near else ''}")
        if unknown:
            raise ConfigError("\n".join(unknown))
        launcher = [
            str(o.input_line)
            for o in parsed
            if o.key_or_group.startswith("hydra.launcher") and not o.is_sweep_override()
        ]
        if launcher:
            cfg = compose(verb, [*extra, *chosen, *launcher], return_hydra_config=True)
        _check_launcher(cfg)
    options = list(args)
    for word in words:
        options.remove(word)
    return [*options, *texts]


def _composed(verb: str, extra: Sequence[str], chosen: Sequence[str]) -> DictConfig:
    """The verb's configuration with these choices.

    Raises:
        ConfigError: for a group that the verb does not have.
    """
    try:
        composed: DictConfig = compose(verb, [*extra, *chosen], return_hydra_config=True)
        return composed
    except ConfigCompositionException:
        there = compose(verb, return_hydra_config=True).hydra.runtime.choices
        taken = [str(group) for group in there if not str(group).startswith("hydra/")]
        for word in chosen:
            group = word.partition("=")[0]
            if group not in there:
                raise ConfigError(
                    f"{group}: aspire {verb} does not take it.{did_you_mean(group, taken)} It "
                    f"takes {', '.join(taken)}."
                ) from None
        raise


def _check_launcher(cfg: DictConfig) -> None:
    """Hold the values of a launcher of ours against what it takes, before Hydra makes it.

    Raises:
        ConfigError: with what was expected, a line for each value.
    """
    node: Any = OmegaConf.to_container(cfg.hydra.launcher, resolve=True)
    if not isinstance(node, dict) or not str(node.get("_target_")).startswith("hydra_plugins."):
        return
    if found := list(problems(node, "hydra.launcher", Launcher)):
        raise ConfigError("\n".join(found))


@contextmanager
def initialized() -> Iterator[None]:
    """Within it Hydra composes from ``conf/``, by the verb where there is one."""
    if GlobalHydra.instance().is_initialized():
        yield
        return
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        yield


@contextmanager
def initialized_apart() -> Iterator[None]:
    """The same where an application of somebody else's may be running Hydra in this process."""
    before = GlobalHydra.instance()
    theirs, before.hydra = before.hydra, None
    try:
        with initialized():
            yield
    finally:
        GlobalHydra.instance().hydra = theirs


def check_options(args: Sequence[str]) -> None:
    """Refuse options that Hydra does not take together.

    Raises:
        ConfigError: for two of them, or ``--resolve`` without ``--cfg``.
    """
    names = [a.partition("=")[0] for a in args if a.startswith("-")]
    if len(given := [n for n in names if n in _ONE_OF]) > 1:
        raise ConfigError(
            f"{' '.join(given)}: expected one of them. --cfg job shows the configuration of a "
            "single job; for a sweep dry_run=true lists its jobs."
        )
    if "--resolve" in names and not given:
        raise ConfigError("--resolve: expected --cfg job beside it.")


def _split(args: Sequence[str]) -> tuple[list[str], str | None]:
    """The overrides among the arguments, and the user's own configuration folder."""
    words: list[str] = []
    search = None
    option = ""
    for arg in args:
        if option in ("--config-dir", "-cd"):
            search = arg
        elif arg.startswith("--config-dir="):
            search = arg.split("=", 1)[1]
        elif not arg.startswith("-") and option not in _TAKES_WORD:
            words.append(arg)
        option = arg
    return words, search


def config_folder(args: Sequence[str]) -> Path | None:
    """The user's own configuration folder, where one is given."""
    _, search = _split(args)
    return Path(search) if search else None


def choices_of(group: str) -> list[str]:
    """The choices of a group of ``conf/``, those of plug-ins too."""
    with initialized():
        loader = GlobalHydra.instance().config_loader()
        found: list[str] = loader.get_group_options(group, ObjectType.CONFIG)
    return found


def _groups(loader: ConfigLoader) -> list[str]:
    found: list[str] = loader.list_groups("")
    return found


def _is_group(there: Sequence[str], override: Override, own: Path | None) -> bool:
    name = override.key_or_group
    top = name.split("/")[0]
    known = top in there or "/" in name or bool(own and (own / top).is_dir())
    return "." not in name and known and name != "hydra"


def _values(override: Override) -> list[str]:
    """Every single choice that an override names or its glob matches."""
    value = override.value()
    if override.is_choice_sweep():
        return [str(v) for v in override.sweep_iterator()]
    if override.is_sweep_override() or value is None:
        return []
    if isinstance(value, list):
        return [str(v) for v in value]
    return [str(value)]


def _first(override: Override) -> str:
    values = _values(override)
    if isinstance(override.value(), list):
        return f"[{','.join(map(quoted, values))}]"
    return quoted(values[0]) if values else "null"


def check_choices(words: Sequence[str]) -> None:
    """Compare choices of groups, ``baseline=erm``, with what there is.

    Raises:
        ConfigError: for those there are not, with the nearest right name.
    """
    with initialized():
        loader = GlobalHydra.instance().config_loader()
        parser = OverridesParser.create(loader)
        groups = [o for w in words if (o := parsed_or_none(parser, w))]
        _refuse_unknown(loader, groups, None)


def _refuse_unknown(loader: ConfigLoader, groups: Sequence[Override], own: Path | None) -> None:
    wrong = [problem for override in groups for problem in _check_choice(loader, override, own)]
    if wrong:
        raise ConfigError("\n".join(wrong))


def _check_choice(loader: ConfigLoader, override: Override, own: Path | None) -> list[str]:
    group = override.key_or_group
    values = _values(override)
    if override.is_choice_sweep() and not values:
        options = ", ".join(_options(loader, group, own))
        return [f"{override.input_line}: no choice matches. Choices: {options}."]
    return [problem for value in values for problem in _check_value(loader, group, value, own)]


def _check_value(loader: ConfigLoader, group: str, value: str, own: Path | None) -> list[str]:
    if group == "hparams" and is_file(value):
        named = named_by(value)
        return [p for g, v in named for p in _check_value(loader, g, v, own)]
    options = _options(loader, group, own)
    if value in options or value == "null":
        return []
    return [
        f"{group}={value}: no such choice.{did_you_mean(value, options)} Choices: "
        f"{', '.join(options) or 'none'}."
    ]


def _options(loader: ConfigLoader, group: str, own: Path | None) -> list[str]:
    options: list[str] = loader.get_group_options(group, ObjectType.CONFIG)
    if own:  # the user's own files join ours
        options = sorted({*options, *(p.stem for p in (own / group).glob("*.yaml"))})
    return options


def _keys(node: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(node, DictConfig) and not node._is_none():
        for key in map(str, node):
            name = f"{prefix}{key}"
            yield name
            yield from _keys(node._get_node(key), f"{name}.")


def _inside_free(cfg: DictConfig, key: str) -> bool:
    """Whether the key lies in a list or in a part of Hydra's own that takes any key."""
    parts = key.split(".")
    if re.search(r"\[\d+\]", key):
        return True
    return parts[:2] in (["hydra", "searchpath"], ["hydra", "sweeper"])
