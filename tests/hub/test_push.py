"""``aspire push``: what goes to the hub, and what stands in the way."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hub_server import HubServer
from huggingface_hub import constants
from pages import EVIL
from runfolders import run_folder

import aspire
from aspire.classification.backbones import SmallCNN
from aspire.classification.hub_run import HubRun
from aspire.classification.predictor import Request
from aspire.cli import main, push
from aspire.data.images import read_image
from aspire.data.table import Split
from aspire.data.tables import IMAGE_SUFFIXES
from aspire.hub import ENDINGS
from aspire.reporting.hub_cards import model_card
from aspire.stored.config import read_network


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
