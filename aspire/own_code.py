"""Code outside the package, as part of the identity of what it makes.

What comes with this package or is installed is known by its version; that of a plug-in is
beside its name. A module of the user's own is known by its source: change it, and what it made is
made again. Its source is the module's file and those of the user's other modules that it imports,
however they are nested; what is imported under a computed name is not seen. Of the script or
notebook itself that runs, only the definitions count that are used (:mod:`aspire.own_script`).
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from aspire.identity import Json, digest_of
from aspire.own_objects import name_of
from aspire.own_script import SCRIPT, definition
from aspire.plugins import versions

PACKAGE = Path(__file__).parent
_INSTALLED = ("site-packages", "dist-packages")
_STANDARD = tuple(Path(sysconfig.get_path(n)).resolve() for n in ("stdlib", "platstdlib"))


def find_code_in(folder: Path) -> None:
    """Have modules in a folder found, last of all, so that no file in it hides an installed one.

    Once in the main process, for the working folder, and for the same one in each process that
    works for it: those of another machine, or of a cluster, begin elsewhere.
    """
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    importlib.invalidate_caches()


def code_digests(targets: Iterable[str]) -> dict[str, str]:
    """Module -> digest of its source, for every dotted path that leads to code of the user's own.

    >>> code_digests(["aspire.baselines.erm.ERM", "torch.optim.SGD", "collections.Counter"])
    {}
    """
    return _digests({m for t in targets if (m := _module_of(t)) is not None})


def targets_in(value: Any) -> Iterator[str]:
    """Every ``_target_`` in plain nested values.

    >>> list(targets_in({"a": [{"_target_": "x.Y", "b": {"_target_": "z.W"}}], "c": 1}))
    ['x.Y', 'z.W']
    """
    if isinstance(value, Mapping):
        if isinstance(value.get("_target_"), str):
            yield value["_target_"]
        value = value.values()
    elif not isinstance(value, list | tuple):
        return
    for part in value:
        yield from targets_in(part)


def code_of(thing: Any) -> dict[str, str]:
    """The same for an object: its classes, and those of what objects of ours and of theirs hold.

    Attributes with a leading underscore are not looked at, for they hold what is loaded later. A
    class or function of the script that runs has a digest of its own, under its dotted name.
    """
    modules: set[str] = set()
    of_script: dict[str, list[Json]] = {}
    todo, seen = [thing], set()
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, partial):
            todo += [one.func, *one.args, *one.keywords.values()]
        elif isinstance(one, list | tuple):
            todo += one
        elif isinstance(one, dict):
            todo += one.values()
        elif isinstance(one, ModuleType):
            modules.add(one.__name__)
        elif isinstance(one, type) or hasattr(one, "__qualname__"):
            for part in getattr(one, "__mro__", (one,)):
                if (module := getattr(part, "__module__", None) or "builtins") != SCRIPT:
                    modules.add(module)
                    continue
                content, used = definition(part)
                of_script.setdefault(name_of(part), []).append(content)
                todo += used
        else:
            todo += [type(one), *_parts(one)]
    return _digests(modules) | {k: digest_of(v) for k, v in sorted(of_script.items())}


def _parts(one: Any) -> list[Any]:
    """The modules of a network; what an object of ours, or of theirs, holds."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(one, torch.nn.Module):
        return list(one.modules())
    module = type(one).__module__
    ours = module.partition(".")[0] in (__name__.partition(".")[0], SCRIPT)
    if not hasattr(one, "__dict__") or not (ours or any(_own([module]))):
        return []
    return [v for k, v in vars(one).items() if not k.startswith("_")]


def _digests(modules: Iterable[str]) -> dict[str, str]:
    """Of those modules that are the user's own their source, of those of plug-ins their version."""
    known = versions()
    of_plugins = {m: known[m] for m in modules if m in known}
    return of_plugins | {m: _source_digest(m, f) for m, f in _own(modules)}


def _own(modules: Iterable[str]) -> Iterator[tuple[str, Path]]:
    """Those modules that are the user's own, with their files, in order."""
    for name in sorted(modules):
        if (file := _file_of(name)) is not None and is_own(file):
            yield name, file


def _file_of(module: str) -> Path | None:
    """The file of a module, be it imported or not; the packages that it is in are imported."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None and module not in sys.modules:
        spec = importlib.util.find_spec(module)
        file = spec.origin if spec is not None and spec.has_location else None
    return None if file is None else Path(file).resolve()


def is_own(file: Path) -> bool:
    """Whether a source file is neither this package's, nor Python's, nor of an installed one."""
    installed = any(part in _INSTALLED for part in file.parts)
    return not (installed or any(map(file.is_relative_to, (PACKAGE, *_STANDARD))))


def _module_of(target: str) -> str | None:
    """The module in which a dotted path ends: of ``a.b.Class.method`` it is ``a.b``.

    None where what it begins with is installed: looking for ``torch.optim`` would import torch.
    """
    if (module := target.rpartition(".")[0]) in versions():
        return module
    top, _, rest = target.partition(".")
    file = _file_of(top) if top and rest else None
    if file is not None and not is_own(file):
        return None
    name = target
    while name := name.rpartition(".")[0]:
        try:
            if name in sys.modules or importlib.util.find_spec(name) is not None:
                return name
        except (ImportError, ValueError):  # a parent of it is no package
            continue
    return None


def _source_digest(module: str, file: Path) -> str:
    """SHA-256 of a module and of the modules beside it that it needs."""
    depth = module.count(".") + (file.name == "__init__.py")
    root = file.parents[depth]
    known = {file}
    todo = [(module, file)]
    while todo:
        name, path = todo.pop()
        for imported in _imports(name, path):
            for found in _files(root, imported):
                if found[1] not in known:
                    known.add(found[1])
                    todo.append(found)
    digest = hashlib.sha256()
    for path in sorted(known):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(root).as_posix()}\0{content}\n".encode())
    return digest.hexdigest()


def _imports(module: str, file: Path) -> Iterator[str]:
    """Dotted names that a module's source imports, absolute."""
    if file.suffix != ".py":
        return
    try:
        tree = ast.parse(file.read_bytes())
    except SyntaxError:  # it is not going to be imported either
        return
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            yield from (f"{base}.{alias.name}".lstrip(".") for alias in node.names)


def _files(root: Path, name: str) -> Iterator[tuple[str, Path]]:
    """The files below a folder that importing a dotted name runs; its end may be no module."""
    parts = name.split(".")
    for i in range(1, len(parts) + 1):
        base = root.joinpath(*parts[:i])
        for path in (base.with_name(f"{base.name}.py"), base / "__init__.py"):
            if path.is_file() and is_own(path.resolve()):
                yield ".".join(parts[:i]), path
