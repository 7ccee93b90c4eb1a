"""Objects that a script hands over, in plain values: what they are and what they hold.

Together with the digest of their code (:mod:`aspire.own_code`) these are the identity of an object
that no file of ``conf/`` describes: an own network, loss, baseline or transform.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import math
import sys
from collections.abc import Mapping
from inspect import unwrap
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from aspire.errors import ConfigError
from aspire.identity import Json, digest_of
from aspire.text import file_name


def name_of(thing: Any) -> str:
    """Dotted name of a class or function, or of the class of any other object.

    >>> name_of(Path), name_of(ConfigError("x")), name_of(digest_of)
    ('pathlib.Path', 'aspire.errors.ConfigError', 'aspire.identity.digest_of')
    """
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{named.__module__}.{named.__qualname__}"


def label_of(thing: Any) -> str:
    """What tables and folders call an object: its ``label``, or the name of its class or function.

    >>> label_of(digest_of), label_of(ConfigError("x"))
    ('digest_of', 'ConfigError')
    """
    name = getattr(thing, "label", None) or name_of(unwrap(thing)).rpartition(".")[2]
    return file_name(str(name).strip("<>"))


def described(thing: Any) -> Json:
    """Plain values that are the same for equal objects, in this process and in the next.

    An object is its class and its attributes, or what its ``identity()`` says where it has one; a
    network is its modules and the content of its tensors; an array its content; a path what is in
    the file. Attributes with a leading underscore are left out: they hold what is remembered. The
    code of classes and functions is not in it, see :func:`aspire.own_code.code_of`.

    Raises:
        ConfigError: for an object that cannot be told from another, such as an open file.

    >>> described(functools.partial(round, ndigits=2))
    {'own': 'builtins.round', 'arguments': [], 'keywords': {'ndigits': 2}}
    """
    return _described(thing, name_of(thing), {})


def _described(thing: Any, path: str, above: Mapping[int, str]) -> Json:
    if isinstance(thing, enum.Enum):
        return f"{name_of(type(thing))}.{thing.name}"
    if thing is None or isinstance(thing, bool | int | str):
        return thing
    if isinstance(thing, float):
        return thing if math.isfinite(thing) else repr(thing)
    if isinstance(thing, bytes):
        return hashlib.sha256(thing).hexdigest()
    if isinstance(thing, ModuleType):
        return thing.__name__
    if isinstance(thing, Path):
        return hashlib.sha256(thing.read_bytes()).hexdigest() if thing.is_file() else str(thing)
    if id(thing) in above:
        return f"again {above[id(thing)]}"
    above = {**above, id(thing): path}

    def within(value: Any, name: str) -> Json:
        return _described(value, f"{path}.{name}", above)

    if isinstance(thing, list | tuple):
        return [within(v, str(i)) for i, v in enumerate(thing)]
    if isinstance(thing, set | frozenset):
        return sorted((within(v, "*") for v in thing), key=digest_of)
    if isinstance(thing, Mapping):
        return {str(k): within(v, str(k)) for k, v in thing.items()}
    if isinstance(thing, functools.partial):
        return {
            "own": name_of(thing.func),
            "arguments": within(thing.args, "arguments"),
            "keywords": within(thing.keywords, "keywords"),
        }
    if isinstance(thing, type) or hasattr(thing, "__qualname__"):
        kept = {k: within(v, k) for k, v in held_by(thing).items()}
        return {"own": name_of(thing), **kept} if kept else name_of(thing)
    if (tensors := _content(thing)) is not None:
        return tensors
    if callable(identity := getattr(thing, "identity", None)):
        return {"own": name_of(thing), "identity": within(identity(), "identity")}
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(thing, torch.nn.Module):
        return _network(thing, path, above)
    if hasattr(thing, "__dict__"):
        return {"own": name_of(thing), **{k: within(v, k) for k, v in public(thing).items()}}
    if " at 0x" in (text := repr(thing)):
        raise ConfigError(
            f"{path} is a {name_of(thing)}, and two of these cannot be told apart, so a result "
            "could be taken for that of another. Give the class that holds it a method identity() "
            "that returns plain values: all that its results depend on."
        )
    return text


def public(thing: Any) -> dict[str, Any]:
    """Attributes of an object that do not begin with an underscore, by name."""
    return {k: v for k, v in sorted(vars(thing).items()) if not k.startswith("_")}


def held_by(function: Any) -> dict[str, Any]:
    """What a function holds beside its code: defaults, and the variables of functions around it."""
    held: dict[str, Any] = {}
    if defaults := getattr(function, "__defaults__", None):
        held["defaults"] = defaults
    if keywords := getattr(function, "__kwdefaults__", None):
        held["keywords"] = keywords
    code, cells = getattr(function, "__code__", None), getattr(function, "__closure__", None)
    if isinstance(code, CodeType) and cells:
        held["around"] = {n: c.cell_contents for n, c in zip(code.co_freevars, cells, strict=True)}
    if not isinstance(function, type) and hasattr(function, "__self__"):  # of a bound method
        owner = function.__self__
        if not isinstance(owner, ModuleType):
            held["of"] = owner
    return held


def _content(thing: Any) -> Json:
    """An array or tensor by its content; None for anything else."""
    if type(thing).__module__.partition(".")[0] == "torch" and hasattr(thing, "detach"):
        import torch

        plain = thing.detach().cpu().contiguous()
        data = plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b""
    elif hasattr(thing, "tobytes") and hasattr(thing, "dtype"):
        data = thing.tobytes()
    else:
        return None
    return [str(thing.dtype), list(thing.shape), hashlib.sha256(data).hexdigest()]


def _network(module: Any, path: str, above: Mapping[int, str]) -> Json:
    """A network: each module's class and own attributes, and every tensor."""

    def own(part: Any, name: str) -> Json:
        values = {k: v for k, v in public(part).items() if k != "training"}
        return [name_of(part), _described(values, f"{path}.{name}", above)]

    modules = {name: own(part, name) for name, part in module.named_modules()}
    state = digest_of({name: _content(t) for name, t in module.state_dict().items()})
    return {"own": name_of(module), "modules": digest_of(modules), "tensors": state}
