"""The package imports in one direction: CONTRIBUTING has the floors, and this reads the imports."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "aspire").rglob("*.py"))
}


def floors() -> dict[str, int]:
    """Name below ``aspire`` -> number of its floor, counted from the ground."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    block = text.partition("## Floors")[2].partition("```\n")[2].partition("```")[0]
    rows = [line.partition("#")[0].split() for line in block.splitlines()]
    return {name: number for number, row in enumerate(reversed(rows)) for name in row}


def names(module: str) -> Iterator[tuple[str, int]]:
    """(dotted name, line) of everything that a file imports, wherever in it, and for types too."""
    for node in ast.walk(ast.parse(FILES[module].read_bytes())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}:{node.lineno}: expected an absolute import"
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def imports(module: str) -> Iterator[tuple[str, int]]:
    """(module, line) of every file of ours among them."""
    for name, line in names(module):
        found = name if name in FILES else name.rpartition(".")[0]
        if found in FILES and found != module:
            yield found, line


def part_of(module: str) -> str:
    """The package or file below ``aspire`` that a module is in."""
    return [*module.split("."), "aspire"][1]


def test_every_part_has_a_floor() -> None:
    assert {part_of(module) for module in FILES} == set(floors())


def test_no_import_runs_upward() -> None:
    floor = floors()
    upward = [
        f"{module}:{line} imports {other}"
        for module in FILES
        for other, line in imports(module)
        if floor[part_of(other)] > floor[part_of(module)]
    ]
    assert upward == []


@pytest.mark.parametrize("name_of", [str, part_of], ids=["files", "packages"])
def test_no_circle(name_of: Callable[[str], str]) -> None:
    graph: dict[str, set[str]] = {}
    for module in FILES:
        others = {name_of(other) for other, _ in imports(module)}
        graph.setdefault(name_of(module), set()).update(others - {name_of(module)})
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"they import each other: {' <- '.join(error.args[1])}")


def test_only_the_command_line_knows_hydra() -> None:
    knowing = {
        module
        for module in FILES
        for name, _ in names(module)
        if name.partition(".")[0] in ("hydra", "omegaconf") and part_of(module) != "cli"
    }
    assert knowing == set()
