"""Pushed sets and classifiers read back: what comes from elsewhere is checked first."""

from __future__ import annotations

import errno
import hashlib
import io
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pytest
import torch
import yaml
from hub_server import HubServer
from huggingface_hub import constants, is_offline_mode
from runfolders import hostile

import aspire
from aspire.cli import main, train
from aspire.data.hub_dataset import HubDataset
from aspire.data.table import Dataset
from aspire.errors import AspireError, ConfigError, DataError, StorageError
from aspire.hub import Repository


def renamed(files: dict[str, bytes], change: Callable[[dict[str, Any]], None]) -> None:
    """Change the manifest."""
    manifest = json.loads(files["aspire.json"])
    change(manifest)
    files["aspire.json"] = json.dumps(manifest).encode()


def put(files: dict[str, bytes], name: str, content: bytes) -> None:
    """Put a file there that the manifest speaks of."""
    files[name] = content
    about = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    renamed(files, lambda m: m["files"].update({name: about}))


def _changed(files: dict[str, bytes]) -> None:
    name = next(f for f in files if f.startswith("images/"))
    files[name] = files[name][:-1] + b"x"


def _table(old: str, new: str) -> Callable[[dict[str, bytes]], None]:
    def change(files: dict[str, bytes]) -> None:
        text = files["metadata.csv"].decode()
        assert old in text
        put(files, "metadata.csv", text.replace(old, new).encode())

    return change


def _called(column: str, other: str) -> Callable[[dict[str, bytes]], None]:
    """Files of this machine in a column that a reader of tables takes for the usual one."""

    def change(files: dict[str, bytes]) -> None:
        table = pd.read_csv(io.BytesIO(files["metadata.csv"]), dtype=str, keep_default_na=False)
        table = table.rename(columns={column: other}).drop(columns="file_name")
        put(files, "metadata.csv", table.assign(**{other: "/etc/passwd"}).to_csv().encode())

    return change


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (_changed, r"images/\S+ is not the file that was pushed"),
        (lambda f: put(f, "../evil.png", b"x"), r"names '\.\./evil\.png', which is not a file"),
        (lambda f: put(f, "/tmp/evil.png", b"x"), r"names '/tmp/evil\.png', which is not a file"),
        (lambda f: put(f, "data.pkl", b"x"), r"names 'data\.pkl'; of a dataset expected only"),
        (lambda f: put(f, "load.py", b"x"), r"names 'load\.py'; of a dataset"),
        (lambda f: renamed(f, lambda m: m.update(kind="model")), "describes a model"),
        (lambda f: renamed(f, lambda m: m.update(more=1)), "none that aspire push has written"),
        (lambda f: renamed(f, lambda m: m["about"].pop("class_names")), "about is none of a data"),
        (lambda f: f.pop("aspire.json"), "holds no aspire.json"),
        (lambda f: f.pop("metadata.csv"), "metadata.csv has no bytes there"),
        (
            lambda f: f.update({f"x{i}.bin": b"" for i in range(60)}),
            "holds 62 files that aspire.json does not name",
        ),
        (_table("images/generated/g00.png", "/etc/passwd"), "row 0 names '/etc/passwd', which"),
        (_table("masks/generated/g00.png", "../m.png"), r"row 0 names '\.\./m\.png', which"),
        (_called("img_filename", "image_path"), "row 0 names '/etc/passwd', which"),
        (_called("mask_filename", "mask"), "row 0 names '/etc/passwd', which"),
    ],
)
def test_a_dataset_that_is_not_as_it_was_pushed_is_refused(
    fault, said, hub: HubServer, made: Path, tmp_path: Path
) -> None:
    assert main(["push", str(made), "me/birds", "yes=true"]) == 0
    stored = hub.repositories["datasets/me/birds"]
    files = dict(stored.files)
    fault(files)
    stored.commit(files)
    with pytest.raises(DataError, match=said):
        HubDataset("me/birds", tmp_path / "cache").read()
    assert not list((tmp_path / "cache").rglob("evil*"))
    assert not (tmp_path / "evil.png").exists()


def test_a_set_may_not_be_larger_than_allowed(hub: HubServer, made: Path, tmp_path: Path) -> None:
    assert main(["push", str(made), "me/birds", "yes=true"]) == 0
    with pytest.raises(DataError, match=r"allowed are 1e-06. To allow more: dataset\.max_gb="):
        HubDataset("me/birds", tmp_path / "cache", max_gb=1e-6).read()
    assert not [f for f in hub.asked if "/resolve/" in f and "/images/" in f]


def test_a_classifier_may_not_be_larger_than_allowed(hub: HubServer, trained: Path) -> None:
    assert main(["push", str(trained), "me/birds", "yes=true"]) == 0
    with pytest.raises(DataError, match="in Python max_gb="):
        aspire.load_run("hf://me/birds", max_gb=1e-6)
    assert aspire.load_run("hf://me/birds").metrics["test"]


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("config.yaml", lambda place: {"model": hostile(place)["model"]}, "names distutils"),
        ("config.yaml", lambda place: {"model": {"width": "${oc.env:HF_TOKEN}"}}, "interpolation"),
        ("result.json", lambda place: {"weights_sha256": 1}, "is damaged"),
        ("result.json", lambda place: None, "not the weights that the run was finished with"),
    ],
)
def test_a_classifier_with_a_manifest_that_fits_is_checked_as_any_run(
    name, change, said, hub: HubServer, trained: Path, tmp_path: Path
) -> None:
    assert main(["push", str(trained), "me/birds", "yes=true"]) == 0
    stored = hub.repositories["models/me/birds"]
    files, changes = dict(stored.files), change(tmp_path / "executed")
    if changes is None:
        put(files, "model.safetensors", b"other")
    else:
        read = yaml.safe_load(files[name])
        put(files, name, msgspec.json.encode({**read, **changes}))
    stored.commit(files)
    with pytest.raises(AspireError, match=said):
        _ = aspire.load_run("hf://me/birds").model
    assert not (tmp_path / "executed").exists()


def test_a_branch_is_what_it_was_where_the_hub_is_out_of_reach(
    hub: HubServer, made: Path, tmp_path: Path, monkeypatch, caplog
) -> None:
    assert main(["push", str(made), "me/birds", "yes=true"]) == 0
    root = HubDataset("me/birds", tmp_path / "cache").read().root
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert HubDataset("me/birds", tmp_path / "cache").read().root == root
    assert "me/birds is taken as it was last" in caplog.text
    with pytest.raises(AspireError, match="the hub was not reached"):
        HubDataset("me/others", tmp_path / "cache").read()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(ConfigError, match="no revision v9 there"):
        HubDataset("me/birds", tmp_path / "cache", revision="v9").read()
    with pytest.raises(ConfigError, match="no dataset of that name, or it is private"):
        HubDataset("me/others", tmp_path / "cache").read()


def test_a_commit_is_fetched_once_whoever_asks_and_whatever_stopped_it(
    hub: HubServer, made: Path, tmp_path: Path, monkeypatch
) -> None:
    assert main(["push", str(made), "me/birds", "yes=true"]) == 0
    repository, cache = Repository("me/birds", "dataset"), tmp_path / "cache"

    def bring() -> Path:
        return repository.bring("main", cache, 1.0)

    def fetched() -> int:
        return sum(f.startswith("GET") and "/resolve/" in f and "/images/" in f for f in hub.asked)

    with monkeypatch.context() as patch:
        full = OSError(errno.ENOSPC, "No space left on device")
        patch.setattr("huggingface_hub.snapshot_download", _raising(full))
        with pytest.raises(StorageError, match="the disk is full"):
            bring()
        patch.undo()
        patch.setattr("aspire.hub._file", _raising(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            bring()
    assert fetched() == 20
    assert not repository.is_here("main", cache)
    with ThreadPoolExecutor(4) as pool:
        folders = {f.result() for f in [pool.submit(bring) for _ in range(4)]}
    assert fetched() == 20
    assert len(folders) == 1
    # half removed
    (folder := folders.pop()).joinpath("aspire.json").unlink()
    assert (bring() / "aspire.json").is_file()
    assert [p.name for p in folder.parent.iterdir() if p.name.endswith(".partial")] == []


def _raising(error: BaseException) -> Callable[..., Any]:
    def raises(*args: Any, **kwargs: Any) -> Any:
        raise error

    return raises


def test_offline_says_what_was_never_fetched(
    hub: HubServer, made: Path, monkeypatch, capsys
) -> None:
    assert main(["push", str(made), "me/birds", "yes=true"]) == 0
    done: list[bool] = []
    monkeypatch.setattr(train, "job", lambda cfg: done.append(is_offline_mode()))
    words = ["train", "dataset=hub", "dataset.repo=me/birds", "offline=true", "logger=none"]
    capsys.readouterr()
    assert main(words) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "me/birds (revision main) for dataset=hub was never fetched here" in said
    assert "aspire data show dataset=hub dataset.repo=me/birds dataset.revision=main" in said
    assert main(["data", "show", "dataset=hub", "dataset.repo=me/birds"]) == 0
    assert main(words) == 0
    assert done == [True]


def test_a_network_of_ones_own_is_given_again(
    hub: HubServer, waterbirds: Dataset, tmp_path: Path
) -> None:
    settings = {"fit.steps": 4, "fit.evaluations": 1, "fit.batch_size": 8}
    run = aspire.train(waterbirds, model=Own, transform=aspire.Preprocessing(24), settings=settings)
    assert main(["push", str(run.folder), "me/own", "yes=true"]) == 0
    files = hub.repositories["models/me/own"].files
    assert 'aspire.load_run("hf://me/own", model=YourNetwork)' in files["README.md"].decode()
    assert str(tmp_path) not in repr({k: files[k] for k in files if k != "model.safetensors"})
    picture = waterbirds.path(waterbirds.table["img_filename"][0])
    there = aspire.load_run("hf://me/own", model=Own)
    pd.testing.assert_frame_equal(there.predict(picture), run.predict(picture))
    with pytest.raises(ConfigError, match="was trained with a network of your own"):
        aspire.load_run("hf://me/own")


class Own(torch.nn.Module):
    """Two outputs of the mean colour."""

    def __init__(self) -> None:
        super().__init__()
        self.last = torch.nn.Linear(3, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.last(images.mean((2, 3)))
        return found
