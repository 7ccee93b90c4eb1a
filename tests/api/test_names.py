"""The names of ``import aspire`` and what they take: changed on purpose only."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import aspire

STAGES = "captioner extractor segmenter inpainter restyler score"
TAKEN = {
    "load_dataset": "source * outputs **settings",
    "discover": f"model dataset * transform split {STAGES} decisions seed outputs settings",
    "generate": f"model dataset * transform {STAGES} personaliser generator filters decisions "
    "seed outputs settings",
    "train": "dataset * baseline objective model transform augmentation classifier "
    f"classifier_transform {STAGES} personaliser generator filters decisions seed outputs "
    "settings",
    "load_run": "path * model own max_gb",
    "results": "path",
    "Preprocessing": "size mean std crop interpolation min_scale flip view",
    "Needs": "train_groups val_groups target",
    "StepOutput": "loss logits scalars",
    "Dataset": "name root table class_names attribute_names spurious_attribute class_words "
    "group_definition own_cue",
}
MEMBERS = {
    "Run": "class_names folder metrics model predict preprocessing result",
    "Findings": "features folder groups report show",
    "GeneratedImages": "folder images show",
    "LoadedDataset": "check_files checks class_counts composing digest group_counts grouper notes "
    "path split splits state words attribute_names class_names class_words group_definition name "
    "own_cue root spurious_attribute table",
    "AspireError": "add_note args exit_code with_traceback",
}
METRICS = {
    "group_accuracy": "preds target groups num_groups",
    "worst_group_accuracy": "preds target groups num_groups",
    "balanced_group_accuracy": "preds target groups num_groups",
    "adjusted_group_accuracy": "preds target groups train_counts",
    "GroupAccuracy": "num_groups **kwargs",
    "WorstGroupAccuracy": "num_groups **kwargs",
    "BalancedGroupAccuracy": "num_groups **kwargs",
    "AdjustedGroupAccuracy": "train_counts **kwargs",
}


def taken_by(function: Callable[..., Any]) -> str:
    """Names of parameters in order; ``*`` before those that are given by name."""
    words: list[str] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in words:
            words.append("*")
        words.append(("**" if parameter.kind is parameter.VAR_KEYWORD else "") + parameter.name)
    return " ".join(words)


def test_the_public_names() -> None:
    others = {"__version__", "metrics", "Objective", "Split"}
    assert set(aspire.__all__) == {*TAKEN, *MEMBERS, *others}
    assert set(dir(aspire)) >= set(aspire.__all__)


@pytest.mark.parametrize("name", TAKEN)
def test_what_is_taken(name: str) -> None:
    assert taken_by(getattr(aspire, name)) == TAKEN[name]


@pytest.mark.parametrize("name", MEMBERS)
def test_what_an_object_has(name: str) -> None:
    kind = getattr(aspire, name)
    names = {n for n in (*dir(kind), *getattr(kind, "__dataclass_fields__", ())) if n[0] != "_"}
    assert names == set(MEMBERS[name].split())


def test_the_metrics() -> None:
    assert {n: taken_by(getattr(aspire.metrics, n)) for n in METRICS} == METRICS


def test_a_type_checker_reads_the_same_names() -> None:
    tree = ast.parse(Path(aspire.__file__).read_bytes())
    (block,) = (n for n in tree.body if isinstance(n, ast.If))
    told = {
        alias.asname: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert {**told, "metrics": "aspire.metrics"} == aspire._PLACES


def test_an_unknown_name_is_an_attribute_error() -> None:
    name = "trian"  # a mistake that a type checker would see
    with pytest.raises(AttributeError, match="module 'aspire' has no attribute 'trian'"):
        getattr(aspire, name)


def test_nothing_heavy_is_imported() -> None:
    code = "import sys, aspire; dir(aspire); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = {name.partition(".")[0] for name in done.stdout.split()}
    heavy = {"torch", "numpy", "pandas", "hydra", "omegaconf", "rich", "PIL", "torchmetrics"}
    assert found.isdisjoint(heavy)
    assert {n for n in done.stdout.split() if n.startswith("aspire")} == {
        "aspire",
        "aspire.version",
    }
