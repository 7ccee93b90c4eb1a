"""A file that a result depends on counts by what is in it, whatever it is called."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from aspire.cli import main
from aspire.cli._app import compose_config, plain
from aspire.cli.jobs import IDENTITY, training_identity
from aspire.reporting.table import differing

TINY = ["dataset.scale=0.02", "fit.steps=2", "fit.evaluations=1", "logger=none"]
PRETRAINED = ["model=resnet18", "model.architecture=test_efficientnet", "model.image_size=32"]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_data: Path) -> None:
    monkeypatch.setenv("ASPIRE_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("ASPIRE_DATA", str(tiny_data))
    monkeypatch.chdir(tmp_path)


def write_weights(path: Path, seed: int) -> None:
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    network = timm.create_model("test_efficientnet", pretrained=False, num_classes=0)
    save_file(network.state_dict(), path)


def identity(*words: str) -> dict[str, object]:
    return training_identity(compose_config("train", [*TINY, *words])[0])


def test_other_weights_under_the_same_name_are_another_run(tmp_path: Path) -> None:
    write_weights(Path("w.safetensors"), seed=1)
    words = ["train", *TINY, *PRETRAINED, "model.weights=w.safetensors"]
    folders: list[set[Path]] = []

    def train(*words: str) -> int:
        assert main(list(words)) == 0
        folders.append({p.parent for p in tmp_path.glob("outputs/train/**/result.json")})
        return len(folders[-1])

    assert train(*words) == 1
    Path("elsewhere").mkdir()
    shutil.copy("w.safetensors", "elsewhere/v.safetensors")
    assert train(*words[:-1], "model.weights=elsewhere/v.safetensors") == 1
    write_weights(Path("w.safetensors"), seed=2)
    assert train(*words) == 2
    (new,) = folders[-1] - folders[0]
    old = folders[0].pop()
    # nor is the ERM that runs share taken for that of the other weights
    first, second = (json.loads((f / "result.json").read_text()) for f in (old, new))
    assert first["weights_sha256"] != second["weights_sha256"]
    # what sets them apart is shown, short enough for a table
    told = [dict([t.split("=")]) for t in differing([first, second])]
    assert [len(t["model.weights"]) for t in told] == [8, 8]
    assert told[0] != told[1]
    # what a run began with is not needed to look at it
    Path("w.safetensors").unlink()
    assert main(["evaluate", str(new)]) == 0


def test_keys_without_a_file_are_as_they_were(tmp_path: Path) -> None:
    for name in ("hub", "none", "package", "erm"):
        (tmp_path / name).mkdir()
    for words in ([], ["model=resnet18"], ["model=efficientnet_lite0"], ["scheduler=cosine"]):
        cfg, _ = compose_config("train", [*TINY, *words])
        plain_values = {k: plain(cfg[k]) for k in IDENTITY}
        plain_values["fit"] = {k: v for k, v in plain_values["fit"].items() if v is not None}
        assert plain_values["model"].pop("view", None) is None  # there was no such setting
        assert training_identity(cfg) == plain_values


OWN = """
class Mine:
    def __init__(self, **settings): pass
"""


@pytest.mark.parametrize(
    ("key", "make"),
    [
        ("checkpoint", lambda path: path.write_bytes(b"1")),
        ("words", lambda path: path.write_text("grass")),
        ("data", lambda path: path.write_text("x,y")),
        ("path", lambda path: (path.mkdir(exist_ok=True), (path / "a.pt").write_bytes(b"1"))),
    ],
)
def test_files_of_own_code_count_under_whatever_key(
    key: str, make: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("mine_files.py").write_text(OWN)
    path = tmp_path / "some.thing"
    words = ["baseline._target_=mine_files.Mine", f"+baseline.{key}={path}"]
    without = identity(*words)
    make(path)
    first = identity(*words)
    assert first["baseline"] != without["baseline"]
    file = path / "a.pt" if path.is_dir() else path
    file.write_bytes(b"other")
    assert identity(*words)["baseline"] != first["baseline"]


def test_a_rerun_and_a_diff_say_that_a_file_is_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_weights(Path("w.safetensors"), seed=1)
    assert main(["train", *TINY, *PRETRAINED, "model.weights=w.safetensors"]) == 0
    (first,) = (p.parent for p in tmp_path.glob("outputs/train/**/result.json"))
    assert main(["rerun", str(first), "dry_run=true"]) == 0
    assert "file:" not in capsys.readouterr().out
    write_weights(Path("w.safetensors"), seed=2)
    assert main(["rerun", str(first)]) == 1
    told = " ".join(capsys.readouterr().out.split())
    weights = tmp_path / "w.safetensors"
    assert f"file: model.weights={weights} is not the file that the run was made with" in told
    other = tmp_path / "other"
    shutil.copytree(first, other)
    result = json.loads((other / "result.json").read_text())
    before = result["identity"]["model"]["weights"]
    result["identity"]["model"]["weights"] = "b" * 64
    (other / "result.json").write_text(json.dumps(result))
    assert main(["diff", str(first), str(other), "format=json"]) == 0
    found = {(d["section"], d["name"]): d for d in json.loads(capsys.readouterr().out)}
    assert found["data", "model.weights"]["left"] == before
    assert found["data", "model.weights"]["right"] == "b" * 64
