"""Old run folders name classes where they stood; keys do not change when a class moves."""

from __future__ import annotations

import pkgutil

import pytest

from aspire.cli._app import build, class_of
from aspire.errors import ConfigError
from aspire.moved import MOVED, as_first_named, of_today
from aspire.stored.config import read_config, shipped_targets


@pytest.mark.parametrize("name", MOVED.values())
def test_every_name_of_today_is_there_and_shipped(name: str) -> None:
    assert pkgutil.resolve_name(name).__name__ == name.rpartition(".")[2]
    assert any(name in names for names in shipped_targets().values())


def test_nested_names_are_renamed_and_all_else_is_left() -> None:
    then = {"a": [{"_target_": "aspire.discovery.groups.Annotated"}, 1], "b": "aspire.discovery"}
    now = {
        "a": [{"_target_": "aspire.pipeline.discovered_groups.Annotated"}, 1],
        "b": "aspire.discovery",
    }
    assert of_today(then) == now
    assert as_first_named(now) == then


def test_a_folder_of_before_the_move_is_read(tmp_path) -> None:
    (tmp_path / "config.yaml").write_text(
        "dataset: {_target_: aspire.data.mini_waterbirds.MiniWaterbirds, root: data}\n"
        "trainer: {_target_: aspire.classification.settings.DeviceSettings, devices: 1}\n"
        "seed: 0\n"
    )
    config = read_config(tmp_path)
    assert config["dataset"] == {
        "_target_": "aspire.miniatures.mini_waterbirds.MiniWaterbirds", "root": "data"
    }  # fmt: skip
    assert config["trainer"]["_target_"] == "aspire.training.settings.DeviceSettings"


def test_a_name_of_before_that_is_typed_is_answered_with_that_of_today() -> None:
    target = "aspire.discovery.groups.Annotated"
    for name in (class_of, lambda t: build({"_target_": t})):
        with pytest.raises(ConfigError, match=r"pipeline\.discovered_groups\.Annotated now"):
            name(target)
