"""What stands in the script or notebook itself that runs, as Python compiled it.

Its file changes with every line that is tried, and a notebook has none. So a class or function of
it is known by its own definition and by what that uses.
"""

from __future__ import annotations

import dis
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

from aspire.identity import Json
from aspire.own_objects import described, held_by

SCRIPT = "__main__"


def definition(thing: Any) -> tuple[Json, list[Any]]:
    """A class or function of the script, and whatever else it uses.

    Args:
        thing: the class or function.

    Returns:
        Its compiled code, with the values it holds and the plain values of the script it looks up;
        and the classes, functions, modules and objects it uses, whose code counts too.

    Raises:
        ConfigError: for a variable of the script that cannot be told from another.
    """
    used: list[Any] = []
    return _definition(thing, used), used


def _definition(thing: Any, used: list[Any]) -> Json:
    if isinstance(thing, type):
        held = {k: v for k, v in vars(thing).items() if k != "_abc_impl"}
        return [
            [name, _definition(value, used)]
            for name, value in sorted(held.items())
            if not name.startswith("__") or isinstance(value, FunctionType)
        ]
    if isinstance(thing, property):
        return [_definition(f, used) for f in (thing.fget, thing.fset) if f is not None]
    for inner in ("__func__", "func"):  # of static and class methods, of cached properties
        if isinstance(function := getattr(thing, inner, None), FunctionType):
            return _definition(function, used)
    if not isinstance(thing, FunctionType):
        used.append(thing)
        return described(thing)
    known = {n: thing.__globals__[n] for n in _names(thing.__code__) if n in thing.__globals__}
    held = held_by(thing)
    used += [*known.values(), *held.values()]
    return [_compiled(thing.__code__), described(held), described(known)]


def _names(code: CodeType) -> list[str]:
    """Names that are looked up in the script when the code runs."""
    found = {i.argval for i in dis.get_instructions(code) if i.opname in _LOOKUPS}
    inner = (name for const in _codes(code) for name in _names(const))
    return sorted(found.union(inner))


_LOOKUPS = ("LOAD_GLOBAL", "LOAD_NAME")


def _codes(code: CodeType) -> Iterator[CodeType]:
    return (const for const in code.co_consts if isinstance(const, CodeType))


def _compiled(code: CodeType) -> Json:
    """All that decides what the code does; not where it stands."""
    consts: list[Json] = []
    for const in code.co_consts:
        if isinstance(const, CodeType):
            consts.append(_compiled(const))
        elif isinstance(const, frozenset):  # whose order is another in each process
            consts.append(sorted(map(repr, const)))
        else:
            consts.append(repr(const))
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    return [code.co_code.hex(), consts, *map(list, names), code.co_flags]
