"""A configuration that is in a folder is data: refused by name, never run and never resolved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from runfolders import CONFIG

from aspire.cli._app import plain
from aspire.cli._stored import stored_yaml
from aspire.confdir import conf_dir
from aspire.stored.config import (
    StoredConfigError,
    absolute,
    named,
    read_config,
    read_network,
    read_node,
    rerooted,
    shipped_targets,
    trusting,
)


def stored(tmp_path: Path, **changes: Any) -> Path:
    folder = tmp_path / "run"
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG | changes))
    return folder


def test_what_conf_names_in_a_group_may_stand_there_and_nothing_else(tmp_path):
    assert read_config(stored(tmp_path)) == CONFIG
    assert shipped_targets()["optimizer"] == {
        "torch.optim.Adam", "torch.optim.AdamW", "torch.optim.SGD",
    }  # fmt: skip
    # a class of ours in a place where it does not belong: it writes files wherever it is told to
    logger = {"_target_": "aspire.reporting.loggers.wandb_logger"}
    with pytest.raises(StoredConfigError, match="names aspire"):
        read_config(stored(tmp_path, dataset=logger))


@pytest.mark.parametrize(
    ("change", "key", "name"),
    [
        ({"model": {"_target_": "distutils.spawn.spawn"}}, "model._target_", "distutils.spawn"),
        ({"dataset": {"_target_": "pandas.read_pickle"}}, "dataset._target_", "pandas.read_pickle"),
        ({"model": {"_target_": "os.system", "_args_": ["x"]}}, "model._target_", "os.system"),
        ({"model": {"_target_": "aspire.cli.data.Path"}}, "model._target_", "aspire.cli.data.Path"),
        (
            {
                "model": CONFIG["model"]
                | {"width": {"_target_": "builtins.eval", "_partial_": True}}
            },
            "model.width._target_",
            "builtins.eval",
        ),
        (
            {"filter": {"x": [{"a": [{"_target_": "subprocess.run", "_recursive_": False}]}]}},
            "filter.x[0].a[0]._target_",
            "subprocess.run",
        ),
        (
            {"scheduler": {"_target_": "hydra.utils.get_method", "path": "os.system"}},
            "scheduler.path",
            "os.system",
        ),
        (
            {"scheduler": {"_target_": "hydra.utils.get_method", "_args_": ["os.system"]}},
            "scheduler._args_",
            "a list",
        ),
        ({"fit": {"_target_": "antigravity.x"}}, "fit._target_", "antigravity.x"),
        ({"own": {"_target_": "torch.optim.SGD"}}, "own._target_", "torch.optim.SGD"),
        ({"model": {"_target_": ["os.system"]}}, "model._target_", "a list"),
    ],
)
def test_a_foreign_name_is_refused_with_its_key(change, key, name, tmp_path):
    with pytest.raises(StoredConfigError) as error:
        read_config(stored(tmp_path, **change))
    assert f"config.yaml: {key} names {name}" in str(error.value)
    assert "'own=[" in str(error.value)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"dataset": CONFIG["dataset"] | {"name": "${oc.env:OPENAI_API_KEY}"}}, "dataset.name"),
        ({"fit": {"steps": ["x", "a ${paths.outputs} b"]}}, r"fit.steps\[1\]"),
        ({"stage": {"${oc.env:HOME}": 1}}, r"stage.\$"),
    ],
)
def test_an_interpolation_is_refused_and_never_looked_up(change, key, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-hunter2")
    with pytest.raises(StoredConfigError, match=f"config.yaml: {key}.* holds an interpol") as error:
        read_config(stored(tmp_path, **change))
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no keys and values"),
        ("- 1\n- 2\n", "no keys and values"),
        ("model: {_target_: x", "while parsing a flow mapping"),
        ("a: &x [1, 1]\nb: [*x, *x]\n", "it holds an alias"),
        ("a: !!python/object/apply:os.system [id]\n", "could not determine a constructor"),
        ("a: \x07\n", "unacceptable character"),
        ("a: " + "[" * 1500 + "\n", "recursion"),
        ("a: " + "x" * 2**20, "larger than 1048576 bytes"),
        ("hydra: {searchpath: [x]}\n", "'hydra' is no key of a run's configuration"),
        ("../../x: {a: 1}\n", "'../../x' is no key of a run's configuration"),
    ],
)
def test_what_is_no_configuration_is_said_to_be_damaged(text, reason, tmp_path):
    folder = stored(tmp_path)
    (folder / "config.yaml").write_text(text)
    with pytest.raises(StoredConfigError, match=reason):
        read_config(folder)
    (folder / "config.yaml").unlink()
    with pytest.raises(StoredConfigError, match=r"no config.yaml in it"):
        read_config(folder)


def test_code_of_ones_own_is_named_again(tmp_path):
    own = {"_target_": "mine.Net"}
    folder = stored(tmp_path, model=own)
    with trusting(["mine.Net"]):
        assert read_node(folder, "model") == own
    with pytest.raises(StoredConfigError, match="names mine"):
        read_node(folder, "model")
    with pytest.raises(StoredConfigError, match="baseline names no class"):
        read_node(stored(tmp_path), "baseline")


def test_every_choice_of_conf_can_be_read_back(tmp_path):
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train", [f"paths.outputs={tmp_path}"])
    (tmp_path / "config.yaml").write_bytes(stored_yaml(cfg))
    assert read_config(tmp_path)["model"] == plain(cfg.model)
    for group in (g for g in cfg if (conf_dir() / str(g)).is_dir() and g != "paths"):
        for path in sorted((conf_dir() / str(group)).glob("*.yaml")):
            node = OmegaConf.load(path)
            chosen = OmegaConf.create({**cfg, group: node.get(group, node)})
            names = {name for _, name in named(plain(chosen[group]))}
            assert names <= shipped_targets().get(str(group), set()), path


def test_paths_are_written_absolute(tmp_path, monkeypatch):
    (tmp_path / "pets").mkdir()
    (tmp_path / "pets" / "my.csv").touch()
    monkeypatch.chdir(tmp_path / "pets")
    node = {"metadata": "../pets/my.csv", "images": None, "name": "my.csv", "columns": {"y": "a"}}
    node |= {"model": "owner/id", "path": ["my.csv", "gone.csv"]}
    expected = node | {
        "metadata": str(tmp_path / "pets" / ".." / "pets" / "my.csv"),
        "path": [str(tmp_path / "pets" / "my.csv"), "gone.csv"],
    }
    assert absolute({"dataset": node}) == {"dataset": expected}


def test_data_that_has_moved_takes_everything_below_it_along():
    node = {"root": "/a/b", "table": "/a/b/c/t.csv", "cache": "/z/hf", "name": "/a/b"}
    assert rerooted(node, Path("/new")) == {
        "root": "/new", "table": "/new/c/t.csv", "cache": "/z/hf", "name": "/a/b",
    }  # fmt: skip
    assert rerooted({"metadata": "/a/my.csv", "images": None}, Path("n")) == {
        "metadata": "n/my.csv", "images": None,
    }  # fmt: skip


def test_what_a_network_began_with_is_not_loaded_again(tmp_path):
    model = {"_target_": "aspire.classification.backbones.TimmModel", "weights": "hub"}
    assert read_network(stored(tmp_path, model=model)) == model | {"weights": "none"}
    assert read_network(stored(tmp_path)) == CONFIG["model"]
    own = {"_target_": "mine.Model", "weights": "best"}  # says itself what that means
    with trusting(["mine.Model"]):
        assert read_network(stored(tmp_path, model=own)) == own
