"""Values files come from anybody."""

from __future__ import annotations

from pathlib import Path

import pytest

from aspire.errors import ConfigError
from aspire.stored.tuned import TunedValues, read_folder, read_values, write_values


def test_what_is_written_is_read(tmp_path: Path) -> None:
    values = {"optimizer.lr": 1e-5, "baseline.gammas": [1, 2.5], "baseline.source": "val"}
    found = TunedValues(baseline="dfr", choices={"optimizer": "adamw"}, values=values)
    write_values(tmp_path / "a" / "dfr.yaml", found, "by hand")
    assert read_values(tmp_path / "a" / "dfr.yaml") == found
    assert read_folder(tmp_path / "a") == {"dfr": found}


def test_numbers_are_read_as_they_are_meant(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("baseline: afr\nvalues: {optimizer.lr: 1e-3, baseline.strengths: [0, 1e-2]}\n")
    assert read_values(path).values == {"optimizer.lr": 0.001, "baseline.strengths": [0, 0.01]}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "Expected `object`, got `null`"),
        ("a: [", "while parsing"),
        ("baseline: erm\n", "missing required field `values`"),
        ("baseline: erm\nvalues: {}\nvalue: 1\n", "unknown field `value`"),
        ("baseline: ../erm\nvalues: {}\n", "at `$.baseline`"),
        ("baseline: erm\nvalues: {baseline._target_: os.system}\n", "at `key` in `$.values`"),
        ("baseline: erm\nvalues: {scheduler.path: os.system}\n", "at `key` in `$.values`"),
        ("baseline: erm\nvalues: {paths.outputs: /}\n", "at `key` in `$.values`"),
        ("baseline: erm\nvalues: {baseline.a: '${oc.env:HOME}'}\n", "at `$.values[...]`"),
        ("baseline: erm\nvalues: {baseline.a: {_target_: os.system}}\n", "at `$.values[...]`"),
        ("baseline: erm\nvalues: {optimizer.lr: .inf}\n", "optimizer.lr is not finite"),
        ("baseline: erm\nvalues: {optimizer.lr: .nan}\n", "optimizer.lr is not finite"),
        ("baseline: erm\nchoices: {paths: x}\nvalues: {}\n", "at `key` in `$.choices`"),
        ("baseline: erm\nvalues: &a {baseline.x: 1}\nchoices: *a\n", "holds an alias"),
        ("baseline: erm\nvalues: !!python/object/apply:os.system [ls]\n", "could not determine"),
        ("#" * 70_000, "it is larger than 65536 bytes"),
    ],
)
def test_what_is_no_values_file(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        read_values(path)
    assert str(error.value).startswith(f"hparams={path}: ")
    assert why in str(error.value)
    assert "Expected a preset (unified, paper or mini) or a file of values" in str(error.value)


def test_folders_of_values(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no values file in it"):
        read_folder(tmp_path)
    (tmp_path / "a.yaml").write_text("baseline: erm\nvalues: {}\n")
    (tmp_path / "b.yaml").write_text("baseline: jtt\npreset: mini\nvalues: {}\n")
    with pytest.raises(ConfigError, match=r"different preset \(erm: unified; jtt: mini\)"):
        read_folder(tmp_path)
    (tmp_path / "b.yaml").write_text("baseline: erm\nvalues: {}\n")
    with pytest.raises(ConfigError, match="two files have values of erm"):
        read_folder(tmp_path)
