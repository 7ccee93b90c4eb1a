"""``aspire new``: what it writes works at once, in a checkout and as a package."""

from __future__ import annotations

import importlib.util
import inspect
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import pytest

from aspire.cli import main, new
from aspire.confdir import conf_dir
from aspire.plugins import GROUPS, Plugin

ROOT = Path(__file__).parents[2]


def loaded(name: str, path: Path) -> ModuleType:
    """A file as the module of that name, for as long as the test lasts."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _modules_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in set(sys.modules) - before:
        if "my_choice" in name:
            del sys.modules[name]


def run_tests(module: ModuleType, tmp_path: Path) -> int:
    """Call the tests of a written file as pytest would; how many there were."""
    tests = [t for n, t in vars(module).items() if n.startswith("test_")]
    for number, test in enumerate(tests):
        folder = tmp_path / f"{module.__name__}-{number}"
        folder.mkdir()
        test(**({"tmp_path": folder} if "tmp_path" in inspect.signature(test).parameters else {}))
    return len(tests)


def test_every_kind_of_a_plug_in_can_be_made() -> None:
    assert new.kinds() == sorted(GROUPS.values())


@pytest.mark.parametrize("kind", new.kinds())
def test_in_a_checkout_what_is_written_passes(kind: str, tmp_path: Path) -> None:
    files = new.in_checkout(tmp_path / "checkout", kind, "my_choice")
    new.write(files)
    code, conf, test = files
    package = code.parent.name
    assert (ROOT / "aspire" / package).is_dir()
    assert (ROOT / "tests" / package).is_dir()
    assert conf == tmp_path / "checkout/conf" / kind / "my_choice.yaml"
    module = loaded(f"aspire.{package}.my_choice", code)
    assert f"aspire.{package}.my_choice.MyChoice" in conf.read_text()
    assert module.MyChoice.__module__ == f"aspire.{package}.my_choice"
    assert not [p for p in files if "lank" in p.read_text()]
    assert run_tests(loaded("test_my_choice", test), tmp_path) > 0


def test_what_is_written_has_our_style(tmp_path: Path) -> None:
    for kind in new.kinds():
        new.write(new.in_checkout(tmp_path / kind, kind, "my_choice"))
    ruff = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--no-cache",
        "--config",
        ROOT / "pyproject.toml",
    ]
    # what only the place tells it
    placed = ["--ignore", "D103", "--config", 'lint.isort.known-first-party=["aspire"]']
    done = subprocess.run([*ruff, *placed, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_a_package_with_every_kind_composes_and_is_a_plug_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    first, *others = new.kinds()
    for kind in others:
        new.write(new.in_package(Path("my-choices"), kind, f"my_choice_{kind}"))
    assert main(["new", first, f"my_choice_{first}", "folder=my-choices"]) == 0
    told = capsys.readouterr().out
    assert "wrote my-choices/my_choices/my_choice_baseline.py" in told
    assert "next  cd my-choices && pytest" in told

    project = tomllib.loads((tmp_path / "my-choices/pyproject.toml").read_text())["project"]
    assert project["entry-points"]["aspire.filters"] == {
        "my_choice_filter": "my_choices.my_choice_filter:MyChoiceFilter"
    }
    assert {GROUPS[group] for group in project["entry-points"]} == set(new.kinds())

    # the two ways of using it: the folder of its yaml files, and its entry points
    monkeypatch.chdir("my-choices")
    monkeypatch.syspath_prepend(str(Path.cwd()))
    words = [f"{kind}=my_choice_{kind}" for kind in new.kinds()]
    assert main(["train", "--config-dir", "conf", *words, "--cfg", "job"]) == 0
    shown = capsys.readouterr().out
    for group, entries in project["entry-points"].items():
        ((name, value),) = entries.items()
        plugin = Plugin(
            GROUPS[group], name, value.replace(":", "."), "", EntryPoint(name, value, group)
        )
        node = plugin.node()
        if plugin.group == "filter":
            node = node[name]
        assert "???" not in str(node).replace("'root': '???'", "")
        for key in node:
            assert f"  {key}:" in shown, (name, key)

    test = loaded("test_my_choice_conf", Path("tests/test_conf.py"))
    test.test_it_composes(test.CONF / "filter/my_choice_filter.yaml")
    assert run_tests(
        loaded("test_my_choice_score", Path("tests/test_my_choice_score.py")), tmp_path
    )


def test_a_generator_of_a_package_is_completed_by_the_pipeline() -> None:
    value = "aspire.cli.templates.generator:Blank"
    entry = EntryPoint("mine", value, "aspire.generators")
    assert Plugin("generator", "mine", value.replace(":", "."), "", entry).node() == {
        "_target_": "aspire.cli.templates.generator.Blank",
        "_partial_": True,
        "noise": 0.0,
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["baselin", "x"], "kind=baselin: no such kind. Did you mean baseline?"),
        (["baseline"], "name is not set: expected a text"),
        (["baseline", "MyMethod"], "a letter first, such as my_method."),
        (["baseline", "2fast"], "a letter first, such as fast."),
        (["baseline", "../x"], "name=../x: expected lower-case letters"),
        (["baseline", "lambda"], "name=lambda: a word of Python, YAML or Windows."),
        (["baseline", "nul"], "name=nul: a word of Python, YAML or Windows."),
        (["baseline", "jtt"], "name=jtt: baseline=jtt is there already."),
        (["baseline", "objective"], "its class would be Objective, which is another one's name."),
        (["filter", "x", "folder=1+1"], "folder=1+1: no package can be called 1_1."),
        (["filter", "x", "folder=torch"], "folder=torch: a package torch is installed already."),
        (["filter", "x", "folder=theirs"], "folder=theirs has a pyproject.toml, but no package"),
        (["filter", "x", "folder=mine_x"], "mine_x/mine_x/x.py is there already."),
    ],
)
def test_names_are_checked_and_nothing_is_written(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("theirs").mkdir()
    Path("theirs/pyproject.toml").write_text("")
    Path("mine_x/mine_x").mkdir(parents=True)
    Path("mine_x/mine_x/x.py").touch()
    before = sorted(tmp_path.rglob("*"))
    assert main(["new", *words]) == 2
    assert said in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_in_a_checkout_it_goes_where_the_others_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "conf").symlink_to(conf_dir())
    monkeypatch.setattr(new, "conf_dir", lambda: tmp_path / "conf")
    monkeypatch.setattr(new, "write", lambda files: None)
    monkeypatch.chdir(tmp_path)
    assert main(["new", "baselines", "my_choice"]) == 0
    told = capsys.readouterr().out
    assert f"wrote {tmp_path}/aspire/baselines/my_choice.py" in told
    assert "next  pytest tests/baselines/test_my_choice.py" in told
    assert "its values in conf/hparams/: CONTRIBUTING.md, A baseline" in told
