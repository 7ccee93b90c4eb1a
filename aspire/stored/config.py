"""Configurations that are in folders: read as plain data, with an allow-list of what they may name.

Whatever a configuration names by ``_target_`` is imported and called. The user's own words may name
anything; a folder that somebody sends may name what ``conf/`` names in the same group, and nothing
else, unless the user says that it is code of their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from aspire.confdir import conf_dir
from aspire.errors import ConfigError, DamagedError
from aspire.moved import of_today
from aspire.stored.files import own_file

Json = dict[str, Any]

LARGEST = 2**20  # bytes of a configuration; ours have some 10,000
# Library functions that look up what another argument names, which then is a target too.
_LOOKUPS = ("hydra.utils.get_method", "hydra.utils.get_class", "hydra.utils.get_object")

OWN = "own"  # in place of _target_: the name of an object that a script handed over

_own: ContextVar[frozenset[str]] = ContextVar("own", default=frozenset())


class StoredConfigError(ConfigError):
    """A configuration in a folder that cannot be read, or that names what it must not."""


@contextmanager
def trusting(names: Iterable[str]) -> Iterator[None]:
    """Let stored configurations name these too, for a while.

    Args:
        names: dotted names of the user's own classes and functions.
    """
    token = _own.set(frozenset(names))
    try:
        yield
    finally:
        _own.reset(token)


def read_config(folder: Path) -> Json:
    """The ``config.yaml`` of a run folder as plain values; nothing in it is resolved.

    Classes that have moved since it was written have the names of today.

    Raises:
        StoredConfigError: when it is not there or no such file, holds an interpolation, or names a
            class or function that is neither in ``conf/`` nor the user's own. File and key are in
            the message.
    """
    path = Path(folder) / "config.yaml"
    content: Json = of_today(_parsed(path))
    for key in content:  # they name folders of conf/
        if not str(key).isidentifier() or key in ("hydra", "defaults"):
            raise StoredConfigError(
                f"{path}: {str(key)[:80]!r} is no key of a run's configuration."
            )
    for key, value in walk(content, names=True):
        if isinstance(value, str) and "${" in value:
            raise StoredConfigError(
                f"{path}: {key} holds an interpolation. A stored configuration is written "
                "resolved, and nothing in it is looked up again. Put the value itself there if "
                "you know it, or train the run again."
            )
    for key, target in (pair for group, node in content.items() for pair in named(node, group)):
        allowed = shipped_targets().get(key.partition(".")[0], frozenset()) | _own.get()
        if not isinstance(target, str) or target not in allowed:
            raise StoredConfigError(_refusal(path, key, target))
    return content


def read_node(folder: Path, group: str) -> Json:
    """One part of it, of which something is to be built.

    Raises:
        StoredConfigError: as :func:`read_config`, and where it has no such part.
    """
    node = read_config(folder).get(group)
    refuse_own(group, node)
    if not isinstance(node, dict) or "_target_" not in node:
        raise StoredConfigError(
            f"{Path(folder) / 'config.yaml'}: {group} names no class. Expected what aspire train "
            f"wrote there: {group}: {{_target_: ...}}."
        )
    return node


def refuse_own(group: str, node: Any) -> None:
    """Refuse to make what was handed over as an object: a file knows no more than its name.

    Raises:
        StoredConfigError: saying how it is handed over again.
    """
    if isinstance(node, Mapping) and OWN in node:
        again = {
            "model": "Its weights are here: aspire.load_run(DIR, model=...) in Python, with the "
            "same network.",
            "dataset": "Give the data again: dataset=... on the command line.",
        }
        raise StoredConfigError(
            f"{group} was an object of Python, {str(node[OWN])[:200]}, which no file describes. "
            f"{again.get(group, 'Run the script again that made it.')}"
        )


def read_network(folder: Path) -> Json:
    """The model of a run, whose tensors all lie in the run.

    What it began with is not loaded once more: neither a file, which may be gone or somebody
    else's, nor a download.

    Raises:
        StoredConfigError: as :func:`read_node`.
    """
    node = read_node(folder, "model")
    ours = str(node["_target_"]).startswith("aspire.")
    return {**node, "weights": "none"} if ours and "weights" in node else node


def named(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """(key, name) of everything that a node would have imported, at any depth."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield f"{key}._target_", node["_target_"]
            if node["_target_"] in _LOOKUPS:
                yield from ((f"{key}.{k}", v) for k, v in node.items() if k != "_target_")
        for name, value in node.items():
            yield from named(value, f"{key}.{name}")
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from named(value, f"{key}[{number}]")


@cache
def shipped_targets() -> Mapping[str, frozenset[str]]:
    """Group of ``conf/`` -> what its files name."""
    found: dict[str, set[str]] = {}
    inner: set[tuple[str, str]] = set()  # group, and another that is in it: ${inpainter}
    for path in sorted(conf_dir().rglob("*.yaml")):
        head, _, _ = path.relative_to(conf_dir()).as_posix().partition("/")
        for group, node in _parts_of(path, head).items():
            found.setdefault(group, set()).update(str(name) for _, name in named(node))
            inner |= {(group, m[1]) for _, v in walk(node) if (m := _NODE.fullmatch(str(v)))}
    before = None
    while before != (before := sum(map(len, found.values()))):
        for group, other in inner:
            found[group] |= found.get(other, set())
    return {group: frozenset(names) for group, names in found.items()}


def targets_in(folder: Path) -> set[str]:
    """What the yaml files of the user's own configuration folder name."""
    return {
        str(name)
        for path in sorted(Path(folder).rglob("*.yaml"))
        for _, name in named(_parts_of(path, ""))
    }


_NODE = re.compile(r"\$\{(\w+)\}")


def _parts_of(path: Path, group: str) -> Json:
    """By group: that of the file's folder, or where it fills several, its first keys."""
    text = path.read_text("utf-8")
    content = yaml.load(text, _CLoader) or {}
    if not isinstance(content, Mapping):
        return {}
    alone = path.parent == conf_dir() or "@package _global_" in text.partition("\n")[0]
    parts = content if alone else {group: content}
    return {str(k): v for k, v in parts.items() if k != "hydra"}


def _refusal(path: Path, key: str, target: Any) -> str:
    name = str(target) if isinstance(target, str) else f"a {type(target).__name__}"
    return (
        f"{path}: {key} names {name[:200]}, which aspire's own conf/ does not name there. What a "
        "configuration names is run, so one that is in a folder may not name anything else. If "
        f"it is code of your own, say so: 'own=[{name[:200]}]', or give the folder of your yaml "
        "files with --config-dir."
    )


_CLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class PlainLoader(yaml.SafeLoader):
    """Plain values only; no aliases, of which a small file can make an endless one."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it holds an alias (*name)")
        return super().compose_node(parent, index)


def _parsed(path: Path) -> Json:
    if not path.is_file():
        raise StoredConfigError(
            f"{path.parent}: no config.yaml in it. Expected the folder of a finished run as aspire "
            "train made it; take the whole folder, or train it again."
        )
    try:
        if own_file(path).stat().st_size > LARGEST:
            raise ValueError(f"larger than {LARGEST} bytes")
        content = yaml.load(path.read_bytes(), PlainLoader)
        if not isinstance(content, dict) or not content:
            raise ValueError("no keys and values")
    except DamagedError as error:
        raise StoredConfigError(str(error)) from None
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StoredConfigError(
            f"{path} is damaged: {reason}. Expected the configuration that aspire train wrote; "
            "take the folder from where it came from again, or train it again."
        ) from None
    return content


def walk(node: Any, key: str = "", *, names: bool = False) -> Iterator[tuple[str, Any]]:
    """Keys and values at any depth; with ``names`` the name of a key is a value of it too."""
    if isinstance(node, Mapping):
        for name, value in node.items():
            inner = f"{key}.{name}" if key else str(name)
            if names:
                yield inner, name
            yield from walk(value, inner, names=names)
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from walk(value, f"{key}[{number}]", names=names)
    else:
        yield key, node


def leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings as dotted names and values; lists and empty mappings are values.

    >>> list(leaves({"a": {"b": 1, "c": {}}, "d": [2]}))
    [('a.b', 1), ('a.c', {}), ('d', [2])]
    """
    if isinstance(node, Mapping) and (node or not prefix):
        for key, value in node.items():
            yield from leaves(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, node


# --- writing ---------------------------------------------------------------------------------

# Keys whose values are files or folders where they exist; an id of a hub never does.
PLACES = frozenset(
    {"root", "path", "file", "folder", "dir", "table", "metadata", "images", "cache", "data",
     "outputs", "weights", "model", "prompt", "config", "decisions"}
)  # fmt: skip


def absolute(node: Any, key: str = "") -> Any:
    """The same values with absolute paths, so that they mean the same in another folder.

    Args:
        node: plain values.
        key: that they are under.
    """
    if isinstance(node, Mapping):
        return {k: absolute(v, str(k)) for k, v in node.items()}
    if isinstance(node, list):
        return [absolute(v, key) for v in node]
    return str(Path(node).expanduser().absolute()) if is_place(key, node) else node


def is_place(key: str, value: Any) -> bool:
    """Whether a value names a file or folder of this machine."""
    return key in PLACES and _there(value, Path.exists)


# What may be given where weights are named, whatever is in the working folder.
_WORDS = frozenset({"hub", "none", "package"})


def _there(value: Any, is_there: Callable[[Path], bool]) -> bool:
    if not isinstance(value, str) or not 0 < len(value) <= 4096 or value in _WORDS:
        return False
    try:
        return is_there(Path(value).expanduser())
    except (OSError, ValueError, RuntimeError):
        return False


# Of these only what is in them counts, and that has a digest of its own elsewhere.
_WHERE = frozenset({"root", "folder", "dir", "images", "cache", "data", "outputs"})


def contents(
    node: Any, digest: Callable[[Path], str], key: str = "", *, elsewhere: bool = True
) -> Any:
    """The same values, in which files count by what is in them and not by where they are.

    Under any key, for code of the user's own may call it as it likes; only a name is a name.

    Args:
        node: plain values.
        digest: of a file or folder.
        key: that they are under.
        elsewhere: whether folders of data and outputs count elsewhere, and not here at all.
    """
    if isinstance(node, Mapping):
        return {k: contents(v, digest, str(k), elsewhere=elsewhere) for k, v in node.items()}
    if isinstance(node, list):
        return [contents(v, digest, key, elsewhere=elsewhere) for v in node]
    if isinstance(node, str) and key in _WHERE and elsewhere:
        return None
    place = key not in _WHERE and is_place(key, node)
    return digest(Path(node).expanduser()) if place or _is_file(key, node) else node


def _is_file(key: str, value: Any) -> bool:
    """Whether a value is the path of a file: a word alone never is, but with an ending it may."""
    return key != "name" and bool({".", "/"} & set(str(value))) and _there(value, Path.is_file)


# --- data that has moved -----------------------------------------------------------------------


def base_of(dataset: Mapping[str, Any]) -> Path:
    """The folder that a stored dataset is in."""
    if dataset.get("root"):
        return Path(str(dataset["root"]))
    return Path(str(dataset.get("metadata") or dataset.get("images") or ".")).parent


def rerooted(dataset: Mapping[str, Any], root: Path) -> Json:
    """The node of a dataset whose folder is another now: what lay below it lies below that.

    Args:
        dataset: its stored node.
        root: where the folder is.
    """
    base = base_of(dataset)

    def moved(value: Any) -> Any:
        if isinstance(value, str) and Path(value).is_relative_to(base):
            return str(root / Path(value).relative_to(base))
        return value

    return {k: moved(v) if k in PLACES else v for k, v in dataset.items()}
