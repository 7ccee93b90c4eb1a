"""Code outside the package is part of the identity of what it makes."""

from __future__ import annotations

import importlib
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from aspire.baselines.erm import ERM
from aspire.discovery.effect import Effect
from aspire.own_code import code_digests, code_of, targets_in
from aspire.pipeline.stages.discover import RankStage

FILES = {
    "mine/__init__.py": "",
    "mine/score.py": "from aspire.discovery.effect import Effect\n"
    "from . import helper\n\nclass Mine(Effect):\n    pass\n",
    "mine/helper.py": "from mine.deep.far import f\n",
    "mine/deep/__init__.py": "",
    "mine/deep/far.py": "import json\ndef f(): return 1\n",
    "mine/unrelated.py": "",
    "alone.py": "class Net: pass\n",
}


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [m for m in sys.modules if m.partition(".")[0] in ("mine", "alone")]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path


def test_what_is_installed_or_ours_has_no_digest() -> None:
    targets = ["aspire.baselines.erm.ERM", "torch.optim.SGD", "json.loads", "builtins.dict"]
    assert code_digests([*targets, "no_such_module.Thing", "nodot"]) == {}
    assert code_of(RankStage(Effect(), 2)) == {}
    assert code_of(partial(ERM)) == {}


@pytest.mark.parametrize("changed", ["mine/score.py", "mine/helper.py", "mine/deep/far.py"])
def test_a_change_of_it_or_of_what_it_imports_is_another_identity(mine: Path, changed: str) -> None:
    before = code_digests(["mine.score.Mine"])
    assert list(before) == ["mine.score"]
    (mine / "mine/unrelated.py").write_text("x = 1\n")
    assert code_digests(["mine.score.Mine"]) == before
    (mine / changed).write_text((mine / changed).read_text() + "# changed\n")
    assert code_digests(["mine.score.Mine"]) != before


def test_where_it_lies_does_not_matter(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = code_digests(["alone.Net", "alone.Net.method"])
    (mine / "elsewhere").mkdir()
    (mine / "alone.py").rename(mine / "elsewhere/alone.py")
    monkeypatch.syspath_prepend(mine / "elsewhere")
    monkeypatch.delitem(sys.modules, "alone")  # looking for alone.Net has imported it
    assert code_digests(["alone.Net"]) == before


def test_code_of_a_stage_is_that_of_what_it_holds(mine: Path) -> None:
    score: Any = importlib.import_module("mine.score").Mine()
    expected = code_digests(["mine.score.Mine"])
    assert code_of(RankStage(score, 2)) == expected
    assert code_of([partial(type(score), min_support=3)]) == expected
    # what is loaded later is no part of it
    ours = RankStage(Effect(), 2)
    ours._loaded = score  # type: ignore[attr-defined]
    assert code_of(ours) == {}


def test_targets_are_found_at_any_depth() -> None:
    nested = {"a": {"_target_": "x.Y", "list": [{"_target_": "z.W"}, 1]}, "_target_": 3}
    assert list(targets_in(nested)) == ["x.Y", "z.W"]
