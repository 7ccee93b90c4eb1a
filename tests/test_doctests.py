"""The examples in the docstrings are true."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = [
    "aspire.api.datasets",
    "aspire.api.discovering",
    "aspire.api.runs",
    "aspire.api.training",
    "aspire.baselines.rwg",
    "aspire.classification.metrics",
    "aspire.cli.hparams",
    "aspire.data.groups",
    "aspire.miniatures.drawing.captions",
    "aspire.miniatures.drawing.pen",
    "aspire.miniatures.drawing.sprites",
    "aspire.discovery.collapse",
    "aspire.discovery.ground_truth",
    "aspire.discovery.wilson",
    "aspire.errors",
    "aspire.generation.mixing",
    "aspire.language.answers",
    "aspire.language.phrases",
    "aspire.language.scenes",
    "aspire.identity",
    "aspire.metrics",
    "aspire.own_objects",
    "aspire.reporting.table",
    "aspire.rng",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.attempted > 0
    assert result.failed == 0
