"""How every verb is started: check the overrides, compose, run, and say clearly what went wrong."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import hydra
from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.errors import HydraException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from aspire.checking import problems
from aspire.cli._arms import check_arm
from aspire.cli._completion import OPTIONS, complete
from aspire.cli._help import show_help
from aspire.cli._keys import keys_of
from aspire.cli._overrides import STANDS_FOR, check_options, check_overrides, initialized
from aspire.cli._own import own_targets
from aspire.cli._plugins import add_to_hydra
from aspire.cli._secrets import refuse_secrets
from aspire.cli._signals import STOPPED, Stopped, stoppable
from aspire.cli._tuned import check_tuned, with_values_files
from aspire.cli._words import refuse_pickles, with_flags, with_positionals
from aspire.confdir import conf_dir
from aspire.console import Console
from aspire.errors import AspireError, ConfigError
from aspire.memory import keep_freed_memory
from aspire.moved import MOVED
from aspire.own_code import find_code_in
from aspire.session import new_session
from aspire.stored.config import trusting, walk
from aspire.stored.trouble import storage_error

# Words without "=" at the beginning stand for these keys: aspire sweep status DIR.
POSITIONAL = {
    "table": ("dir",),
    "report": ("dir",),
    "review": ("dir",),
    "evaluate": ("run",),
    "predict": ("run", "images"),
    "data": ("action",),
    "hparams": ("preset",),
    "list": ("kind",),
    "models": ("action", "dir"),
    "new": ("kind", "name"),
    "sweep": ("action", "dir"),
    "generate": ("action", "image"),
    "wandb": ("action", "dir"),
    "rerun": ("run",),
    "diff": ("a", "b"),
    "push": ("run", "repo"),
}

HELP = ("--help", "-h")

# Lists that may be typed with commas alone, which elsewhere are a sweep.
LISTS = {"table": ("rows", "cols", "metric", "metrics")}


@new_session()
def run_verb(verb: str, argv: Sequence[str]) -> int:
    """Run one verb; the exit code as in :func:`aspire.cli.main`."""
    args, asked = _as_typed(verb, argv)
    # Hydra would print its own idea of an error; this hands the exception to us.
    full_error = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    keep_freed_memory()
    find_code_in(Path.cwd())
    add_to_hydra()
    old_argv, sys.argv = sys.argv, [f"aspire {verb}", *args]
    job = ReportingJob(verb)
    code: int | None = None
    try:
        if set(OPTIONS) & set(args):
            return complete(args, POSITIONAL)
        refuse_pickles(args)
        args = with_values_files(args)
        sys.argv[1:] = args
        if asked is not None:
            show_help(verb, args, asked)
            return 0
        if not {"--hydra-help", "--version"} & set(args):
            check_options(args)
            sys.argv[1:] = check_overrides(verb, args)
        importlib.import_module(f"aspire.cli.{verb}")  # for its print_summary
        with stoppable():
            hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=verb)(job)()
    except KeyboardInterrupt:
        say("Interrupted. The same command continues where it stopped.")
        return 130
    except Stopped:
        say("Stopped. The same command continues where it stopped.")
        return STOPPED
    except SystemExit as stop:  # Hydra's, after --hydra-help and --cfg
        return int(stop.code or 0)
    except AspireError as error:
        if full_error:
            raise
        say(str(error), error.exit_code)
        return error.exit_code
    except (HydraException, OmegaConfBaseException) as error:
        if full_error:
            raise
        say(re.sub(r"\s*\n\s*", "\n", str(error)))
        return 2
    except Exception as problem:
        found = storage_error(problem)
        if found is None or full_error:
            raise
        say(str(found), found.exit_code)
        return found.exit_code
    finally:
        sys.argv = old_argv
        if not full_error:
            os.environ.pop("HYDRA_FULL_ERROR", None)
        # A verb may have something to say after the last job of a sweep.
        print_summary = getattr(sys.modules.get(f"aspire.cli.{verb}"), "print_summary", None)
        code = print_summary() if print_summary else None
    if code is not None:
        return int(code)
    return job.failed[0].exit_code if job.failed else 0


def _as_typed(verb: str, argv: Sequence[str]) -> tuple[list[str], list[str] | None]:
    """The words as Hydra takes them, and those behind ``--help``; None where nobody asks."""
    args = with_flags(argv)
    asked = None
    if found := [number for number, a in enumerate(args) if a in HELP]:
        args, asked = args[: found[0]], [a for a in args[found[0] + 1 :] if a not in HELP]
    args = with_positionals(args, POSITIONAL.get(verb, ()))
    for number, arg in enumerate(args):
        key, _, value = arg.partition("=")
        if key in LISTS.get(verb, ()) and "," in value and value[0] not in "['\"":
            args[number] = f"{key}=[{value}]"
    return [*STANDS_FOR.get(verb, ()), *args], asked


class ReportingJob:
    """The job of a verb; says at once what went wrong, and in a sweep the other jobs still follow.

    Raised on only where the job runs in another process, whose launcher must hear of it.
    """

    def __init__(self, verb: str) -> None:
        self.verb = verb
        self.failed: list[AspireError] = []

    def __reduce__(self) -> tuple[Any, ...]:
        return (ReportingJob, (self.verb,))

    def __call__(self, cfg: DictConfig) -> None:
        verb = importlib.import_module(f"aspire.cli.{self.verb}")
        try:
            try:
                check_preset(HydraConfig.get().runtime.choices)
                check_tuned(HydraConfig.get().runtime.choices)
                check_arm(HydraConfig.get().runtime.choices, task_overrides())
                refuse_secrets(walk(_resolved(cfg)))
                check_values(cfg, self.verb)
            except AspireError as error:
                # A verb may keep account of jobs that were refused before they began.
                if (refused := getattr(verb, "refused", None)) and refused(cfg, error):
                    return
                raise
            with trusting(own_targets(cfg)), _network(cfg, self.verb):
                verb.job(cfg)
        except Exception as problem:
            known = (
                problem
                if isinstance(problem, AspireError)
                else storage_error(problem, cfg.paths.outputs)
            )
            if known is None:
                raise
            say(str(known), known.exit_code)
            self.failed.append(known)
            if "BasicLauncher" not in str(HydraConfig.get().launcher._target_):
                raise known from None


def _network(cfg: DictConfig, verb: str) -> AbstractContextManager[None]:
    """As it is, or out of reach with ``offline=true``.

    Raises:
        ConfigError: naming the models that would have to be fetched.
    """
    if not cfg.get("offline"):
        return nullcontext()
    found: AbstractContextManager[None] = importlib.import_module("aspire.cli._offline").offline(
        cfg, verb
    )
    return found


def say(text: str, exit_code: int = 1) -> None:
    """Print an error, or with exit code 0 a remark, where errors belong."""
    sys.stdout.flush()
    screen = Console(stderr=True)
    if exit_code:  # a dry run ends early and is no error
        screen.show("[red]error:[/red] ", end="")
    screen.print(text)


# --- composing ------------------------------------------------------------------------------


def compose_config(verb: str, overrides: Sequence[str]) -> tuple[DictConfig, dict[str, str]]:
    """The configuration that ``aspire VERB OVERRIDES`` would run with, and its choices."""
    with initialized():  # by the verb, where there is one
        cfg = compose(verb, with_values_files(overrides), return_hydra_config=True)
        chosen = {str(k): str(v) for k, v in cfg.hydra.runtime.choices.items()}
        check_preset(chosen)
        check_arm(chosen, overrides)
    with open_dict(cfg):
        del cfg["hydra"]
    check_values(cfg, verb)
    return cfg, chosen


def task_overrides() -> list[str]:
    """What the user typed for this job, after a sweep has been split up."""
    return list(HydraConfig.get().overrides.task)


def own_keys(verb: str) -> set[str]:
    """Top-level keys that only this verb has."""
    content = OmegaConf.load(conf_dir() / f"{verb}.yaml")
    return {str(k) for k in content} - {"defaults", "hydra"}


def build(node: Any, **extra: Any) -> Any:
    """Instantiate a node; lists are lists, and a wrong argument is answered in our words."""
    try:
        return instantiate(node, _convert_="all", **extra)
    except HydraException as error:
        if found := storage_error(error):
            raise found from None
        cause = error.__cause__
        while cause is not None:
            if isinstance(cause, AspireError):
                raise cause from None
            cause = cause.__cause__
        target = node.get("_target_") if isinstance(node, DictConfig | Mapping) else node
        raise ConfigError(f"{target} cannot be built: {_why(error)}{_now(target)}") from error


def class_of(target: str) -> Any:
    """The class or function that a ``_target_`` names.

    Raises:
        ConfigError: with the reason when it is not found.
    """
    try:
        return get_object(target)
    except Exception as error:  # whatever a module of the user's does when it is imported
        raise ConfigError(f"{target} cannot be found: {_why(error)}{_now(target)}") from error


def _now(target: Any) -> str:
    return f" It is {MOVED[target]} now." if target in MOVED else ""


def _why(error: BaseException) -> str:
    """The reason at the bottom of another library's errors."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = (str(error).splitlines() or [""])[0]
    if isinstance(error, ImportError | AttributeError | SyntaxError | NameError):
        text = f"{type(error).__name__}: {text}"
    if isinstance(error, ModuleNotFoundError) and "is not a package" in text:
        module, _, name = str(error.name).rpartition(".")
        return f"{module} has no attribute '{name}'."
    if isinstance(error, ModuleNotFoundError):
        text += f". Modules are looked for where Python has them and in {Path.cwd()}."
    return text


def plain(node: Any) -> Any:
    """The resolved node as plain Python values."""
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def _resolved(cfg: DictConfig) -> Any:
    """All of it, as far as it can be looked up."""
    try:
        return plain(cfg)
    except OmegaConfBaseException:  # the job will say what is wrong with it
        return OmegaConf.to_container(cfg, resolve=False)


# --- checking what was composed ----------------------------------------------------------------


def check_values(cfg: DictConfig, verb: str) -> None:
    """Hold every value against the type and range of what will take it.

    Raises:
        ConfigError: with what was expected, a line for each value.
    """
    found = list(dict.fromkeys(problems(plain(cfg), section=keys_of(verb))))
    # What another node is made of is said once, where it was typed.
    raw = dict(_raw(OmegaConf.to_container(cfg, resolve=False)))
    copies = tuple(k for k, v in raw.items() if re.fullmatch(r"\$\{[\w.]+\}", str(v)))
    if found:
        raise ConfigError("\n".join([p for p in found if not p.startswith(copies)] or found))


def _raw(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Full key and unresolved value of everything that is no mapping."""
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _raw(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def check_preset(choices: Mapping[str, str | None]) -> None:
    """Refuse hparams=paper where nothing was published: its file would silently be left out.

    Raises:
        ConfigError: naming the datasets or methods there are.
    """
    pair = choices.get("hparams/paper")
    if pair is None:
        return
    dataset, _, method = pair.partition("/")
    loader = GlobalHydra.instance().config_loader()
    methods = loader.get_group_options(f"hparams/paper/{dataset}", ObjectType.CONFIG)
    if method in methods:
        path = conf_dir() / "hparams" / "paper" / f"{pair}.yaml"
        schedule = OmegaConf.select(OmegaConf.load(path), "scheduler") if path.is_file() else None
        if schedule and choices.get("scheduler") != "constant":
            typed = f"scheduler={choices.get('scheduler')}"
            raise ConfigError(
                f"hparams=paper has a schedule of its own for baseline={method} on dataset="
                f"{dataset}, {schedule.path}; {typed} would be left out. Leave it out, or type "
                "scheduler.path=aspire.classification.schedules.NAME."
            )
        return
    if methods:
        there = f"{', '.join(methods)} there"
    else:
        there = ", ".join(loader.get_group_options("hparams/paper", ObjectType.GROUP))
    instead = "mini or unified" if dataset.startswith("mini_") else "unified"
    raise ConfigError(
        f"hparams=paper has no values for baseline={method} on dataset={dataset}, only for "
        f"{there}; take hparams={instead}."
    )
