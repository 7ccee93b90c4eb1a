"""The comments in the yaml files of ``conf/``: what a key means, and where its value comes from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml


@dataclass(frozen=True)
class Entry:
    """A key of a yaml file.

    Args:
        key: dotted, as typed on the command line; for a line of ``defaults`` its group.
        value: as it stands in the file; None for a mapping, whose keys follow.
        beside: the comment behind the value and in lines that continue it; "" where there is none.
        above: the comment in the lines above the key; never the one that heads the file.
    """

    key: str
    value: str | None
    beside: str
    above: str

    @property
    def comment(self) -> str:
        """What is said about the key; lines above it often are about those after it, too."""
        return self.beside or self.above


def entries(path: Path) -> Iterator[Entry]:
    """Every key of a file, in its order."""
    text = path.read_text("utf-8")
    root = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    if isinstance(root, yaml.MappingNode):
        yield from _walk(root, "", text.splitlines())


def heading(path: Path) -> str:
    """The comment that heads a file, in one line; "" where there is none."""
    lines = path.read_text("utf-8").splitlines()
    lines = [line for line in lines if not line.startswith("# @package")]
    return " ".join(_text(line) for line in lines[: _run(lines, 0, "#")])


def _walk(node: yaml.MappingNode, prefix: str, lines: Sequence[str]) -> Iterator[Entry]:
    for name, child in node.value:
        if name.value == "defaults" and not prefix:  # choices that the file makes
            for choice in child.value:
                if isinstance(choice, yaml.MappingNode):
                    yield from _walk(choice, "", lines)
            continue
        inner = name.value.removeprefix("override ").removeprefix("optional ").removeprefix("/")
        key = f"{prefix}.{inner}" if prefix else inner
        above = _above(name.start_mark.line, name.start_mark.column, lines)
        if isinstance(child, yaml.MappingNode):
            yield Entry(key, None, _beside(name, lines), above)
            yield from _walk(child, key, lines)
        else:
            block = isinstance(child, yaml.SequenceNode) and not child.flow_style
            block = block or getattr(child, "style", None) in ("|", ">")
            yield Entry(key, _value(child), _beside(name if block else child, lines), above)


def _value(node: yaml.Node) -> str:
    if not isinstance(node, yaml.SequenceNode):
        return str(node.value)
    return f"[{', '.join(str(v.value) for v in node.value)}]"


def _beside(node: yaml.Node, lines: Sequence[str]) -> str:
    """What follows a node on its last line, and is continued below in the same column."""
    end = node.end_mark
    if end.line >= len(lines):
        return ""
    line = lines[end.line]
    start = line.find("#", end.column)
    if start < 0:
        return ""
    more = _run(lines, end.line + 1, " " * start + "#")
    return " ".join(map(_text, [line[start:], *lines[end.line + 1 : end.line + 1 + more]]))


def _above(line: int, column: int, lines: Sequence[str]) -> str:
    start = line
    while start and lines[start - 1].startswith(" " * column + "#"):
        start -= 1
    return " ".join(map(_text, lines[start:line])) if start else ""


def _run(lines: Sequence[str], first: int, begin: str) -> int:
    """How many lines from one on begin so."""
    number = 0
    while first + number < len(lines) and lines[first + number].startswith(begin):
        number += 1
    return number


def _text(line: str) -> str:
    return line.strip().lstrip("#").strip()
