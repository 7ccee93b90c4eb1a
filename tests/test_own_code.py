"""Code outside the package is part of the identity of what it makes."""

from __future__ import annotations

import importlib
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aspire.baselines.erm import ERM
from aspire.discovery.effect import Effect
from aspire.identity import digest_of
from aspire.own_code import code_digests, code_of, targets_in
from aspire.own_objects import described
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


SCRIPT = """
import functools
WIDTH = 4
def twice(x): return 2 * x
class Base:
    def run(self): return twice(WIDTH)
class Net(Base):
    size = 3
    @functools.cached_property
    def far(self): return {s for s in ("a", "b")} | {"c"}
def unrelated(): return 0
def around(n):
    def inner(x): return x + n
    return inner
"""


def of_script(text: str, name: str = "Net") -> dict[str, str]:
    """The code of a thing of a script that runs."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(text, "script.py", "exec"), names)
    return code_of(eval(name, names))


def test_of_the_script_that_runs_only_what_is_used_counts() -> None:
    before = of_script(SCRIPT)
    assert set(before) == {"__main__.Net", "__main__.Base", "__main__.twice"}
    for old, new in (("return 0", "return 1"), ("class Net", "# a remark\n\nclass Net")):
        assert of_script(SCRIPT.replace(old, new)) == before
    for old, new, changed in (
        ("2 * x", "3 * x", "twice"),
        ("WIDTH = 4", "WIDTH = 5", "Base"),
        ("size = 3", "size = 4", "Net"),
        ('"c"', '"d"', "Net"),
    ):
        after = of_script(SCRIPT.replace(old, new))
        assert {k for k in after if after[k] != before[k]} == {f"__main__.{changed}"}


def test_a_function_is_what_it_holds_too() -> None:
    inner = "__main__.around.<locals>.inner"
    found = [of_script(SCRIPT, f"around({n})")[inner] for n in (1, 1, 2)]
    assert found[0] == found[1] != found[2]


def test_objects_are_described_by_what_they_hold() -> None:
    first, other = Holds(1, Path("a")), Holds(1, Path("b"))
    assert described(first) == {"own": f"{__name__}.Holds", "n": 1, "path": "a"}
    assert described(first) != described(other)
    assert described(np.arange(3)) == described(np.arange(3)) != described(np.arange(4))
    assert described({"x": {2, 1}}) == described({"x": {1, 2}})
    assert described({"y": float("nan")}) == {"y": "nan"}
    first.path = first  # type: ignore[assignment]
    assert described(first)["path"] == f"again {__name__}.Holds"  # type: ignore[index, call-overload]


def test_a_network_is_its_modules_and_tensors() -> None:
    def made(seed: int, rate: float = 0.5) -> Any:
        torch.manual_seed(seed)
        return torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout(rate))

    assert described(made(0)) == described(made(0).eval())
    assert len({digest_of(described(n)) for n in (made(0), made(1), made(0, 0.4))}) == 3


class Holds:
    def __init__(self, n: int, path: Path) -> None:
        self.n = n
        self.path = path
        self._loaded = object()


def test_targets_are_found_at_any_depth() -> None:
    nested = {"a": {"_target_": "x.Y", "list": [{"_target_": "z.W"}, 1]}, "_target_": 3}
    assert list(targets_in(nested)) == ["x.Y", "z.W"]
