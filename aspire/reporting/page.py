"""What all pages share: how they are rendered, and the parts about settings and stages."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from aspire.records import Rejected
from aspire.reporting import plots
from aspire.reporting.artifacts import Artifacts, Json
from aspire.reporting.labels import KINDS, REASONS, number
from aspire.stored.config import leaves
from aspire.stored.files import write_atomic
from aspire.text import visible


def write_page(path: Path, template: str, **values: Any) -> Path:
    """Render a template of this folder into a file. Equal values give equal bytes."""
    write_atomic(path, rendered(template, **values))
    return path


def rendered(template: str, **values: Any) -> bytes:
    """A template of this folder, filled."""
    return _environment().get_template(template).render(**values).encode()


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "bar": lambda c, tone: Markup(plots.accuracy_bar(c.values, c.mean, c.std, tone)),
        "change": lambda before, after: Markup(plots.change(before.values, after.values)),
        "rate_bar": lambda *a: Markup(plots.rate_bar(*a)),
        "reasons": REASONS,
        "kinds": KINDS,
        "number": number,
    }
    return environment


def _shown(value: Any) -> Any:
    """A text without characters that do something; what the templates made stays as it is."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def stages_of(result: Json, artifacts: Artifacts) -> list[Json]:
    """Every artifact in pipeline order: how many records, what was rejected and why."""
    entries = {name: [("all", a)] for name, a in result["stages"].items()}
    for part, names in (
        ("discovery", ("score", "discover")),
        ("generation", ("personalise", "generate", "filter")),
    ):
        for name in names if result.get(part) else ():
            entries[name] = [(seed, s[name]) for seed, s in result[part].items()]
    return [
        {"name": name, "runs": [_stage(result, artifacts, name, seed, a) for seed, a in runs]}
        for name, runs in entries.items()
    ]


def _stage(result: Json, artifacts: Artifacts, name: str, seed: str, artifact: Json) -> Json:
    reasons = artifact["rejected"]
    if name == "filter":  # decides, so what it rejects are records too
        reasons = result["generation"][seed]["reasons"]
    examples = artifacts.lines(artifact["folder"], Rejected, "rejected.jsonl")
    first = {r.reason: r for r in reversed(examples)}
    return artifact | {"seed": seed, "reasons": reasons, "first": first}


def flat(node: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Nested settings as dotted names and values.

    >>> list(flat({"a": {"b": 1}, "c": "d"}))
    [('a.b', '1'), ('c', 'd')]
    """
    for key, value in leaves(node):
        yield key, value if isinstance(value, str) else json.dumps(value)
