"""``aspire push``, and reading back what it wrote, against a stand-in of the hub."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import re
import shlex
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from hub_server import HubServer, hub_at
from huggingface_hub import constants, is_offline_mode
from pages import EVIL, Outputs, commit
from runfolders import hostile, run_folder
from safetensors.torch import save

import aspire
from aspire import records as rec
from aspire.classification.backbones import SmallCNN
from aspire.classification.hub_run import HubRun
from aspire.classification.predictor import Request
from aspire.cli import main, push, train
from aspire.data.hub_dataset import HubDataset
from aspire.data.images import read_image
from aspire.data.table import Dataset, Split
from aspire.data.tables import IMAGE_SUFFIXES
from aspire.errors import AspireError, ConfigError, DataError, StorageError
from aspire.hub import ENDINGS, Repository
from aspire.reporting.hub_cards import model_card
from aspire.stored.config import read_network

SHAPE = {
    "name": "waterbirds", "digest": "0" * 64, "spurious_attribute": "background",
    "class_names": ["landbird", "waterbird"], "attribute_names": ["land", "water"],
    "group_counts": {},
}  # fmt: skip


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASPIRE_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("COLUMNS", "200")
    with hub_at(tmp_path / "hub", monkeypatch) as server:
        yield server


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A finished run with the weights of a real network."""
    return run_folder(tmp_path / "outputs", weights=save(SmallCNN().build(2).state_dict()))


@pytest.fixture
def made(tmp_path: Path, waterbirds_folder: Path) -> Path:
    """The folder of an ``aspire run`` with 24 generated images, 20 of them kept."""
    outputs = Outputs(tmp_path / "outputs")
    concepts = [
        rec.Concept(concept_id=f"{y:03d}", y=y, objects=("1",), contexts=(), avoided=(phrase,))
        for y, phrase in enumerate(("the lake", EVIL))
    ]
    images = [
        rec.SyntheticImage(
            img_id=f"g{i:02d}", y=i % 2, seed=i, prompt=f"a bird, {EVIL}", parents=("1", "2"),
            file=f"files/{i}.png", mask=f"files/m{i}.png", concept_id=f"{i % 2:03d}",
        )
        for i in range(24)
    ]  # fmt: skip
    for i in range(24):
        outputs.image(outputs.root / f"artifacts/generate/0/files/{i}.png")
        outputs.image(outputs.root / f"artifacts/generate/0/files/m{i}.png", mask=True)
    kept = [
        rec.FilterDecision(
            img_id=f"g{i:02d}", kept=i < 20, reason=None if i < 20 else "duplicate", scores={}
        )
        for i in range(24)
    ]
    entries = {
        "personalise": outputs.artifact("personalise", concepts),
        "generate": outputs.artifact("generate", images),
        "filter": outputs.artifact("filter", kept),
    }
    score = outputs.artifact("score", [], classifier="c" * 64)
    upstream = commit(outputs.root / "artifacts/personalise/0", {}, {})
    commit(outputs.root / "artifacts/generate/0", {"personalise": upstream}, {})
    found = {"score": score, "discover": outputs.artifact("discover", []), "features": [],
             "without": []}  # fmt: skip
    outputs.write({
        "schema": 1, "aspire": "0.1.0", "seeds": [0], "dataset": SHAPE, "settings": {}, "arms": [],
        "missing": [], "stages": {}, "discovery": {"0": found},
        "generation": {"0": {**entries, "kept": 20, "reasons": {"duplicate": 4}}},
        "overrides": ["dataset=waterbirds", f"dataset.root={waterbirds_folder}"],
    })  # fmt: skip
    config = {"dataset": {"_target_": "aspire.data.waterbirds.Waterbirds", "licence": "CC BY 4.0.",
                          "root": str(waterbirds_folder)}}  # fmt: skip
    (outputs.folder / "config.yaml").write_text(yaml.safe_dump(config))
    return outputs.folder


def head(card: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(card.split("---\n")[1])
    return found


def squeezed(card: bytes) -> str:
    return re.sub(" +", " ", card.decode())


def test_a_classifier_is_pushed_and_read_back(
    hub: HubServer, trained: Path, tmp_path: Path, waterbirds_folder: Path, capsys
) -> None:
    other = run_folder(tmp_path / "outputs", seed=1)
    result = json.loads((other / "result.json").read_text())
    result["metrics"]["test"]["worst_group_acc"] = 0.7
    (other / "result.json").write_text(json.dumps(result))
    assert main(["push", str(trained), "me/birds", "licence=My own, v1", "yes=true"]) == 0
    out = capsys.readouterr().out
    stored = hub.repositories["models/me/birds"]
    assert stored.private
    assert "model me/birds (a new one)" in re.sub(" +", " ", out)
    assert "private: only you and those you let in" in out
    assert "classifier=hub classifier.repo=me/birds classifier.revision=" in out
    assert set(stored.files) - {".gitattributes"} == {
        "README.md", "aspire.json", "config.yaml", "model.safetensors", "result.json",
    }  # fmt: skip
    assert str(tmp_path) not in repr({k: v for k, v in stored.files.items() if k != "model"})
    card = squeezed(stored.files["README.md"])
    assert "license: other\nlicense_name: my-own-v1\n" in card
    assert "Licence: My own, v1." in card
    assert "| landbird/water | 50.0 (2) | 50.0 (2) |" in card
    assert "by the rule `val_acc`" in card
    # (0.5 + 0.7) / 2, and 0.1 * sqrt(2)
    assert "This is seed 0 of 2 with the same settings." in card
    assert "60.0 ± 14.1" in card

    pictures = sorted(waterbirds_folder.rglob("*.jpg"))[:3]
    here, there = (aspire.load_run(path) for path in (trained, "hf://me/birds"))
    pd.testing.assert_frame_equal(here.predict(pictures), there.predict(pictures))
    assert there.metrics == here.metrics
    sha = list(stored.commits)[-1]
    assert there.folder == tmp_path / "outputs/cache/hub/models--me--birds" / sha

    asked = len(hub.asked)
    source = HubRun("me/birds", tmp_path / "outputs/cache/hub", sha)

    def refuse(baseline: str) -> Any:
        raise AssertionError

    request = Request(
        ("landbird", "waterbird"), 0, refuse, lambda run: _build(read_network(run.folder))
    )
    found = source.classifier(request)
    assert found.digest == hashlib.sha256((trained / "model.safetensors").read_bytes()).hexdigest()
    assert found([read_image(p) for p in pictures]).shape == (3, 2)
    assert len(hub.asked) == asked  # a commit that is here needs no network


def _build(node: dict[str, Any]) -> Any:
    assert node["_target_"].endswith("SmallCNN")
    return SmallCNN()


def test_generated_images_are_pushed_with_where_they_come_from(
    hub: HubServer, made: Path, tmp_path: Path, capsys
) -> None:
    assert main(["push", str(made), "me/birds", "yes=true"]) == 0
    out = capsys.readouterr().out
    stored = hub.repositories["datasets/me/birds"]
    assert stored.private
    assert "unknown: none was named" in out
    assert "generated only" in out
    images = [f for f in stored.files if f.startswith("images/")]
    assert len(images) == 20
    card = squeezed(stored.files["README.md"])
    told = head(stored.files["README.md"].decode())
    assert (told["license"], told["task_categories"]) == ("unknown", ["image-classification"])
    for words in (
        "**Licence: unknown.**", "| landbird, generated | 10 |", "| landbird | the lake | 10 |",
        "20 of 24 images passed the filters (rejected: duplicate 4)", "CC BY 4.0.",
        "aspire run dataset=waterbirds dataset.root=...",
    ):  # fmt: skip
        assert words in card
    assert "<script" not in card
    assert str(tmp_path) not in repr(stored.files)

    data = aspire.load_dataset("hf://me/birds")
    assert data.name == "birds"
    assert f"dataset.revision={data.root.name}" in data.checks.text()
    assert data.class_names == ("landbird", "waterbird")
    assert data.attribute_names == ("land", "water")
    assert {len(data.split(s)) for s in (Split.VAL, Split.TEST)} == {2, 4}
    rows = pd.read_csv(data.root / "metadata.csv", dtype=str, keep_default_na=False)
    assert rows["avoided"].tolist() == ["the lake", EVIL] * 10
    assert rows["prompt"][0] == f"a bird, {EVIL}"
    assert rows["parent_id"][0] == "1;2"
    assert rows["seed"].tolist() == [str(i) for i in range(20)]
    first = made.parents[1] / "artifacts/generate/0/files/0.png"
    assert np.array_equal(read_image(data.root / rows["img_filename"][0]), read_image(first))
    plain = pytest.importorskip("datasets").load_dataset(
        str(tmp_path / "outputs/hub/datasets--me--birds"), cache_dir=str(tmp_path / "hf")
    )["train"]
    assert plain["img_id"] == rows["img_id"].tolist()
    assert np.array_equal(np.asarray(plain[0]["image"]), read_image(first))
    about = json.loads(stored.files["aspire.json"])["about"]["made"]
    assert about["classifier"] == "c" * 64
    assert about["stages"]["generate"] == "digest-of-generate"


def test_real_images_go_along_only_where_that_is_asked(hub: HubServer, made: Path, capsys) -> None:
    assert main(["push", str(made), "me/birds", "real=true", "yes=true"]) == 0
    assert "real images of the dataset AND generated ones" in capsys.readouterr().out
    data = aspire.load_dataset("hub", repo="me/birds")
    counts = {s.name: len(data.split(s)) for s in data.splits}
    assert counts == {"TRAIN": 40 + 20, "VAL": 16, "TEST": 16}
    assert data.group_counts(Split.TEST)["landbird/water"] == 4


def test_nothing_is_pushed_before_that_is_wanted(
    hub: HubServer, trained: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    words = ["push", str(trained), "me/birds"]
    assert main(words) == 2
    assert "type the same with yes=true" in " ".join(capsys.readouterr().err.split())
    for stream in ("stdin", "stdout"):
        monkeypatch.setattr(f"sys.{stream}.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: "n")
    assert main(words) == 2
    monkeypatch.setattr("builtins.input", _ctrl_d)
    assert main(words) == 2
    assert hub.repositories == {}
    assert (tmp_path / "outputs/hub/models--me--birds/README.md").is_file()  # to look at
    monkeypatch.setattr("builtins.input", lambda question: "y")
    assert main(words) == 0
    assert "models/me/birds" in hub.repositories


def _ctrl_d(question: str) -> str:
    raise EOFError


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["dataset.root=/home/me/My Photos/x y"], "dataset.root=..."),
        ([r"dataset.root=C:\\Users\\me"], "dataset.root=..."),
        (["dataset.root='~'", "fit.steps=3"], "dataset.root=... fit.steps=3"),
        (["/home/me/a=b", "fit.steps=3"], "... fit.steps=3"),
        (["dataset.class_names=[a b,c]"], "'dataset.class_names=[a b,c]'"),
    ],
)
def test_a_command_goes_along_without_the_places_of_this_machine(words, shown) -> None:
    assert " ".join(push._without_places(push._words(shlex.join(words)))) == shown


def test_a_link_out_of_a_run_that_somebody_sent_is_not_pushed(
    hub: HubServer, made: Path, tmp_path: Path, capsys
) -> None:
    (tmp_path / "secret").write_text("of mine")
    picture = made.parents[1] / "artifacts/generate/0/files/0.png"
    picture.unlink()
    picture.symlink_to(tmp_path / "secret")
    assert main(["push", str(made), "me/birds", "yes=true"]) == 3
    assert "leads out of its folder" in capsys.readouterr().err
    assert hub.repositories == {}


def test_every_image_that_a_folder_may_hold_can_be_pushed() -> None:
    assert ENDINGS["dataset"] >= IMAGE_SUFFIXES


def _no_token(hub: HubServer, patch: pytest.MonkeyPatch) -> None:
    patch.delenv("HF_TOKEN")


def _other_token(hub: HubServer, patch: pytest.MonkeyPatch) -> None:
    hub.token = "another"


def _no_network(hub: HubServer, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")


def _nothing(hub: HubServer, patch: pytest.MonkeyPatch) -> None: ...


@pytest.mark.parametrize(
    ("fault", "words", "code", "said"),
    [
        (_no_token, ["me/birds"], 2, "hf auth login, or export HF_TOKEN=..."),
        (_other_token, ["me/birds"], 2, "does not know the token of this machine"),
        (_no_network, ["me/birds"], 5, "repo=me/birds: the hub was not reached"),
        (_nothing, ["birds"], 2, "such as repo=me/birds"),
        (_nothing, ["me/../birds"], 2, "no name of a repository"),
        (_nothing, ["you/birds"], 2, "take an owner that is yours: repo=YOU/birds"),
        (_nothing, ["me/birds", "public=true"], 2, "or that it is not decided: licence=unknown"),
        (_nothing, ["me/birds", "public=true", "licence=' '"], 2, "that it is not decided"),
        (_nothing, ["me/birds", "real=true"], 2, "a classifier is pushed without any images"),
    ],
)
def test_what_stands_in_the_way_is_said_with_what_to_type(
    fault, words, code, said, hub: HubServer, trained: Path, monkeypatch, capsys
) -> None:
    fault(hub, monkeypatch)
    assert main(["push", str(trained), *words, "yes=true"]) == code
    assert said in " ".join(capsys.readouterr().err.split())
    assert hub.repositories == {}


def test_what_is_there_is_replaced_only_where_that_is_asked(
    hub: HubServer, trained: Path, capsys
) -> None:
    words = ["push", str(trained), "me/birds", "yes=true"]
    assert main(words) == 0
    stored = hub.repositories["models/me/birds"]
    first = aspire.load_run("hf://me/birds").folder
    assert main(words) == 2
    assert "is there already (private)" in capsys.readouterr().err
    stored.commit(stored.files | {"old.json": b"{}"})
    assert main([*words, "overwrite=true", "licence=mit"]) == 0
    assert "old.json" not in stored.files
    assert "license: mit" in stored.files["README.md"].decode()
    assert aspire.load_run("hf://me/birds").folder != first
    stored.private = False
    assert main([*words, "overwrite=true", "licence=mit"]) == 2
    assert "If that is meant: public=true" in " ".join(capsys.readouterr().err.split())
    stored.commit({"model.bin": b"somebody's"})
    assert main([*words, "overwrite=true", "licence=mit", "public=true"]) == 2
    assert "was not written by aspire push" in capsys.readouterr().err


# --- what comes from elsewhere -----------------------------------------------------------------


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
    with pytest.raises(DataError, match=r"allowed are 1e-06: dataset\.max_gb="):
        HubDataset("me/birds", tmp_path / "cache", max_gb=1e-6).read()
    assert not [f for f in hub.asked if "/resolve/" in f and "/images/" in f]


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


def test_a_card_is_text_and_its_head_is_what_was_said() -> None:
    names = [EVIL, "---\nlicense: mit\n---", "[x](http://evil)"]
    groups = {name: {"acc": 0.5, "n": 2} for name in names}
    result = {
        **dict.fromkeys(("dataset", "model", "baseline", "augmentation", "needs"), names[0]),
        "class_names": names, "attribute_names": names, "selection": "`<b>`\n# y", "seed": 0,
        "generated_digest": None, "dataset_digest": "0" * 64, "steps": 1, "selected_step": 1,
        "train_images": 1, "metrics": {"test": {"groups": groups, "acc": 0.5}},
    }  # fmt: skip
    card = model_card("me/x", result, "mine: [x]\n---", [], f"aspire train x={EVIL}\n# z")
    assert head(card) == {
        "license": "other", "license_name": "mine-x",
        "pipeline_tag": "image-classification", "library_name": "aspire",
        "tags": ["aspire", "spurious-correlations", "group-robustness"], "metrics": ["accuracy"],
    }  # fmt: skip
    assert card.count("\n---\n") == 1
    body = card.split("\n---\n")[1].replace(f"    aspire train x={EVIL}", "")  # a block of code
    assert not [w for w in ("<script", "[x](", "\n# y", "\n# z") if w in body]
    assert "by the rule `'<b>'\\n# y`." in body  # within the span of code


def test_what_made_no_images_says_so(hub: HubServer, made: Path, capsys) -> None:
    result = json.loads((made / "result.json").read_text())
    (made / "result.json").write_text(json.dumps({**result, "generation": {}}))
    assert main(["push", str(made), "me/birds"]) == 2
    assert "it made no images" in capsys.readouterr().err
    assert main(["push", str(made.parent), "me/birds"]) == 2
    assert "no result.json in it" in capsys.readouterr().err
