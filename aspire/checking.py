"""Configured values against the annotations of the constructors that will take them.

The annotations are read from the source and nothing of it is run: importing a baseline takes torch,
and a configuration is checked before it is known whether there is anything to do.
"""

from __future__ import annotations

import ast
import json
import math
import re
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec

from aspire import values
from aspire.errors import ConfigError, did_you_mean

# What an annotation may name without being looked up; a path is typed as a text.
_PLAIN: dict[str, Any] = {
    **{t.__name__: t for t in (int, float, str, bool, list, tuple, dict)},
    "None": None,
    "object": Any,
}
_READ = {
    "typing": typing,
    "collections.abc": typing,
    "msgspec": msgspec,
    "aspire.values": values,
}
_OURS = ("aspire.", "hydra_plugins.aspire.")  # here, and where Hydra wants its launchers
_ROOTS = {"ABC", "Protocol", "Generic", "object"}  # bases that take no argument


@dataclass(frozen=True)
class Signature:
    """What a constructor takes.

    Args:
        hints: parameter -> its annotation; Any where it has none that can be checked.
        required: parameters without a default.
        further: whether it takes any other keyword.
    """

    hints: dict[str, Any] = field(default_factory=dict)
    required: frozenset[str] = frozenset()
    further: bool = False


def problems(node: Mapping[str, Any], key: str = "", section: Any = None) -> Iterator[str]:
    """What is wrong with a configuration, a sentence each, in its own order.

    Args:
        node: resolved plain values; every mapping in it with a ``_target_`` is held against that
            target's constructor.
        key: of the node, for the messages.
        section: class with further annotations of the node's keys; a nested class stands for a
            nested node.
    """
    hints = _hints(node, section)
    target = str(node.get("_target_", ""))
    signature = signature_of(target) if target else None
    ours = target.startswith(_OURS)
    if signature:
        missing = signature.required - node.keys()
        if ours and missing and not node.get("_partial_"):
            yield f"{_join(key, min(missing))} is not set: expected {words(hints[min(missing)])}."
    for name, value in node.items():
        where, hint = _join(key, str(name)), hints.get(str(name), Any)
        if str(name).startswith("_"):
            continue
        if isinstance(hint, type) and issubclass(hint, Section):
            if isinstance(value, Mapping):
                yield from problems(value, where, hint)
            elif value is not None:
                yield f"{where}={shown(value)}: expected its keys: {', '.join(hint.keys())}."
        elif isinstance(value, Mapping) and "_target_" in value:
            yield from problems(value, where)
        elif name in hints:
            yield from problem_of(where, value, hint)
        elif ours and signature and not signature.further:
            near = did_you_mean(str(name), signature.hints)
            yield f"{where}: {target.rpartition('.')[2]} takes no such value.{near}"
        elif isinstance(value, Mapping):
            yield from problems(value, where)


def check(node: Mapping[str, Any], key: str = "") -> None:
    """The same for code that has no command line.

    Raises:
        ConfigError: with what was expected, a line for each value.
    """
    if found := list(problems(node, key)):
        raise ConfigError("\n".join(found))


class Section:
    """Annotations of keys that no constructor takes."""

    @classmethod
    def keys(cls) -> list[str]:
        """Their names."""
        return list(typing.get_type_hints(cls))


def problem_of(key: str, value: Any, hint: Any) -> Iterator[str]:
    """What is wrong with a single value, at most one sentence."""
    if value == "???":
        yield f"{key} is not set: expected {words(hint)}."
        return
    try:
        converted = msgspec.convert(value, hint)
    except msgspec.ValidationError:
        near = did_you_mean(str(value), [c for c in literals(hint) if isinstance(c, str)])
        given = "" if _secret(hint) else f"={shown(value)}"
        yield f"{key}{given}: expected {words(hint)}.{near}"
        return
    if hint is not Any and not _finite(converted):
        yield f"{key}={shown(value)}: expected {words(hint)}, and a finite one."


def _secret(hint: Any) -> bool:
    """Whether a wrong value may be a key, which is never repeated."""
    return any(
        isinstance(meta, msgspec.Meta) and bool((meta.extra or {}).get("secret"))
        for option in _options(hint)
        for meta in getattr(option, "__metadata__", ())
    )


def _finite(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def shown(value: Any) -> str:
    """A value about as it is typed.

    >>> shown(None), shown(True), shown("two"), shown([1, "a"])
    ('null', 'true', 'two', '[1, "a"]')
    """
    return value if isinstance(value, str) else json.dumps(value, default=str)


def is_text(hint: Any) -> bool:
    """Whether a value is a text and nothing else, or null.

    >>> is_text(str | None), is_text(str | int), is_text(Any)
    (True, False, False)
    """
    kinds = {getattr(o, "__origin__", o) for o in _options(hint)} - {None, type(None)}
    return kinds == {str}


def hint_at(node: Mapping[str, Any], key: str, section: Any = None) -> Any:
    """The annotation of a dotted key below a node; Any where none says what it takes."""
    name, dot, rest = key.partition(".")
    hint = _hints(node, section).get(name, Any)
    if not dot:
        return hint
    below = node.get(name)
    nested = hint if isinstance(hint, type) and issubclass(hint, Section) else None
    return hint_at(below, rest, nested) if isinstance(below, Mapping) else Any


def _hints(node: Mapping[str, Any], section: Any) -> dict[str, Any]:
    """Annotations of the keys of a node."""
    hints = dict(typing.get_type_hints(section, include_extras=True)) if section else {}
    signature = signature_of(str(node["_target_"])) if node.get("_target_") else None
    return (signature.hints if signature else {}) | hints


# --- annotations in words ---------------------------------------------------------------------


def words(hint: Any) -> str:
    """What an annotation asks for.

    >>> from aspire.values import Count, Fraction, Positive
    >>> words(Count), words(Fraction | None)
    ('a whole number of at least 1', 'a number from 0 to 1 or null')
    >>> words(bool | typing.Literal["auto"]), words(list[Positive])
    ('true, false or auto', 'a list, each a number above 0')
    """
    said: list[str] = []
    for option in _options(hint):
        said += [w for w in _words(option) if w not in said]
    return " or ".join(filter(None, [", ".join(said[:-1]), said[-1]])).rstrip(",")


def _options(hint: Any) -> tuple[Any, ...]:
    """Members of a union; the hint alone where it is none."""
    return get_args(hint) if get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


def literals(hint: Any) -> list[Any]:
    """Members of the literals in it."""
    found = [o for o in _options(hint) if get_origin(o) is typing.Literal]
    return [c for literal in found for c in get_args(literal)]


def _words(hint: Any) -> list[str]:
    if get_origin(hint) is typing.Annotated:
        inner, *metas = get_args(hint)
        meta = next(m for m in metas if isinstance(m, msgspec.Meta))
        if meta.description:
            return [meta.description]
        (said,) = _words(inner)
        return [said + _range(meta)]
    if get_origin(hint) is typing.Literal:
        return [shown(c) for c in get_args(hint)]
    plain = {int: ["a whole number"], float: ["a number"], bool: ["true", "false"], str: ["a text"]}
    if hint in plain:
        return plain[hint]
    if hint in (None, type(None)):
        return ["null"]
    origin, inner = get_origin(hint) or hint, get_args(hint)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return ["a mapping" + (f", each value {words(inner[1])}" if inner[1:] else "")]
    if isinstance(origin, type) and issubclass(origin, typing.Collection):
        each = inner[0] if inner else Any
        return ["a list" + (f", each {words(each)}" if each is not Any else "")]
    return ["a value"]


def _range(meta: msgspec.Meta) -> str:
    low, high = (meta.ge, meta.gt), (meta.le, meta.lt)
    said = ""
    if meta.ge is not None and meta.le is not None:
        said = f" from {meta.ge} to {meta.le}"
    elif meta.gt is not None and meta.lt is not None:
        said = f" between {meta.gt} and {meta.lt}, both excluded,"
    else:
        lows = [f" of at least {low[0]}", f" above {low[1]}"]
        highs = [f" of at most {high[0]}", f" below {high[1]}"]
        both = [text for text, v in zip(lows + highs, low + high, strict=True) if v is not None]
        said = " and".join(both)
    if meta.multiple_of is not None:
        said += f", a multiple of {meta.multiple_of},"
    if meta.min_length:
        said += f", at least {meta.min_length} of them"
    return said


# --- annotations from source ------------------------------------------------------------------


@cache
def signature_of(target: str) -> Signature | None:
    """What the class or function of that dotted name takes; None where no source says so."""
    module, _, name = target.rpartition(".")
    found = _find(module, name)
    if found is None:
        return None
    return _signature(*found)


def arguments_of(target: str) -> dict[str, str]:
    """What the docstring of a class or function says about each of its arguments, on one line.

    >>> arguments_of("aspire.plugins.Plugin")["name"]
    'what is typed.'
    """
    module, _, name = target.rpartition(".")
    return dict(_documented(module, name))


def _documented(module: str, name: str) -> Iterator[tuple[str, str]]:
    found = _find(module, name)
    if found is None:
        return
    module, node = found
    if isinstance(node, ast.ClassDef):
        for base in node.bases:
            yield from _documented(module, ast.unparse(base).partition("[")[0])
    doc = ast.get_docstring(node) or ""
    _, _, listed = doc.partition("Args:\n")
    section = re.split(r"\n(?=\S)", listed)[0]
    for names, text in re.findall(r"^ {4}(\w[^:\n]*):(.*(?:\n {5,}.*)*)", section, re.MULTILINE):
        for argument in names.split(","):
            yield argument.strip(), " ".join(text.split())


def _find(module: str, name: str) -> tuple[str, ast.ClassDef | ast.FunctionDef] | None:
    """Where a class or function is defined, through imports within its package."""
    statement = _names(module).get(name)
    if isinstance(statement, ast.ClassDef | ast.FunctionDef):
        return module, statement
    if isinstance(statement, ast.ImportFrom) and statement.module and not statement.level:
        original = next(a.name for a in statement.names if (a.asname or a.name) == name)
        here = module.partition(".")[0] + "."
        if f"{statement.module}.".startswith((here, *_OURS)):
            return _find(statement.module, original)
    return None


def _signature(module: str, node: ast.ClassDef | ast.FunctionDef) -> Signature:
    if isinstance(node, ast.FunctionDef):
        return _of_arguments(module, node.args)
    inits = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
    if inits:
        arguments = inits[0].args
        own = _of_arguments(module, arguments, skip=1)
        return _joined(_of_bases(module, node), own) if own.further else own
    if any("dataclass" in ast.unparse(d) for d in node.decorator_list):
        return _joined(_of_bases(module, node), _of_fields(module, node))
    return _of_bases(module, node)


def _of_arguments(module: str, arguments: ast.arguments, skip: int = 0) -> Signature:
    positional = [*arguments.posonlyargs, *arguments.args]
    optional = len(positional) - len(arguments.defaults)
    required = {a.arg for a in positional[skip:optional]}
    pairs = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    required |= {a.arg for a, default in pairs if default is None}
    hints = {
        a.arg: _evaluated(module, a.annotation) for a in positional[skip:] + arguments.kwonlyargs
    }
    return Signature(hints, frozenset(required), arguments.kwarg is not None)


def _of_fields(module: str, node: ast.ClassDef) -> Signature:
    fields = [
        n
        for n in node.body
        if isinstance(n, ast.AnnAssign)
        and isinstance(n.target, ast.Name)
        and "ClassVar" not in ast.unparse(n.annotation)
    ]
    hints = {ast.unparse(f.target): _evaluated(module, f.annotation) for f in fields}
    required = frozenset(ast.unparse(f.target) for f in fields if f.value is None)
    return Signature(hints, required)


def _of_bases(module: str, node: ast.ClassDef) -> Signature:
    """Of the first base with a constructor."""
    for base in node.bases:
        name = ast.unparse(base).partition("[")[0]
        if name in _ROOTS:
            continue
        found = _find(module, name)
        return _signature(*found) if found else Signature(further=True)
    return Signature()


def _joined(base: Signature, own: Signature) -> Signature:
    required = (base.required - own.hints.keys()) | own.required
    return Signature({**base.hints, **own.hints}, required, base.further)


def _evaluated(module: str, annotation: ast.expr | None) -> Any:
    """The annotation as an object; Any where it names what cannot be checked."""
    if annotation is None:
        return Any
    try:
        expression = compile(ast.Expression(annotation), module, "eval")
        hint = eval(expression, {"__builtins__": {}}, _Lookup(module))  # names from below only
        msgspec.json.Decoder(hint)  # whether it is a type that values can be held against
    except Exception:  # whatever an annotation of somebody's own class may hold
        return Any
    return hint


class _Lookup(dict[str, Any]):
    """The names that an annotation in a module may use; all others are Any."""

    def __init__(self, module: str) -> None:
        super().__init__(_PLAIN)
        self.module = module

    def __missing__(self, name: str) -> Any:
        statement = _names(self.module).get(name)
        if isinstance(statement, ast.Assign):
            return _evaluated(self.module, statement.value)
        if isinstance(statement, ast.ImportFrom) and statement.module and not statement.level:
            original = next(a.name for a in statement.names if (a.asname or a.name) == name)
            if statement.module in _READ:
                return getattr(_READ[statement.module], original)
            if (statement.module, original) == ("pathlib", "Path"):
                return str
            if statement.module.partition(".")[0] == self.module.partition(".")[0]:
                return _Lookup(statement.module)[original]
        return Any


@cache
def _names(module: str) -> dict[str, ast.stmt]:
    """Name -> the statement at the top of a module that defines it."""
    try:
        path = _source(module)
        tree = ast.parse(path.read_bytes()) if path else None
    except (OSError, SyntaxError, ValueError):
        return {}
    names: dict[str, ast.stmt] = {}
    for statement in tree.body if tree else ():
        if isinstance(statement, ast.ClassDef | ast.FunctionDef):
            names[statement.name] = statement
        elif isinstance(statement, ast.ImportFrom):
            names |= {a.asname or a.name: statement for a in statement.names}
        elif isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            names[statement.targets[0].id] = statement
    return names


def _source(module: str) -> Path | None:
    """File of a module, found as an import would, without importing the packages above it."""
    where, spec = None, None
    parts = module.split(".")
    for length in range(1, len(parts) + 1):
        spec = PathFinder.find_spec(".".join(parts[:length]), where)
        if spec is None:
            return None
        where = spec.submodule_search_locations
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None
