"""Hostile names through the verbs: each is shown as it is, in the terminal and in every format."""

import csv
import io
import json
import re

import numpy as np
import pandas as pd
import pytest
from hostile import NAMES
from PIL import Image

from aspire.cli import main
from aspire.cli._show import show_features, show_groups, show_metrics
from aspire.data.table import Dataset
from aspire.pipeline.records import Rejected, SpuriousFeature
from aspire.text import cell, markdown, visible

# What a csv may hold: no NUL, no number beside names.
CLASSES = [n for n in NAMES.values() if n != "+1" and "\x00" not in n]


def flat(text):
    """Without colours, and as if no line had been broken."""
    return "".join(re.sub(r"\x1b\[[\d;]*m", "", text).split())


def all_in(text):
    return [n for n in CLASSES if flat(visible(n)) not in flat(text)] == []


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Four pictures of each class, in a folder with a name of that kind."""
    root = tmp_path_factory.mktemp("hostile") / "it's [red] #1, {x}=%s <b>"
    root.mkdir()
    rng, rows = np.random.default_rng(0), []
    for y, name in enumerate(CLASSES):
        for i, split in enumerate(("train", "train", "val", "test")):
            file = f"{y}-{i}.png"
            Image.fromarray(rng.integers(0, 255, (16, 16, 3), np.uint8)).save(root / file)
            rows.append((f"{name} {i}", file, name, split, CLASSES[i % 2], f"a {name} on {name}"))
    columns = ["img_id", "img_filename", "y", "split", "place", "caption"]
    pd.DataFrame(rows, columns=columns).to_csv(root / "pets [x].csv", index=False)
    return root / "pets [x].csv"


@pytest.fixture
def words(table, tmp_path, monkeypatch):
    monkeypatch.setenv("ASPIRE_OUTPUTS", str(tmp_path / "out [b] {}"))
    monkeypatch.setenv("COLUMNS", "1000")
    path = str(table).replace("'", "\\'")
    return ["dataset=csv", f"dataset.metadata='{path}'"]


def test_data_are_shown_previewed_and_exported(words, tmp_path, capsys):
    assert main(["data", "show", *words]) == 0
    shown = capsys.readouterr().out
    assert all_in(shown)
    assert shown.startswith("pets [x] in ")
    assert main(["data", "preview", *words, "examples=1"]) == 0
    for to in ("csv", "folder"):
        assert main(["data", "export", *words, f"to={to}", f"dir={tmp_path / to}"]) == 0
        card = (tmp_path / to / "README.md").read_text()
        assert all(markdown(n) in card for n in CLASSES)
        assert "<script" not in card.lower().split("## reading it back")[0]
    rows = list(csv.DictReader(io.StringIO((tmp_path / "csv/metadata.csv").read_text("utf-8"))))
    assert {r["class"] for r in rows} == {" ".join(n.split(" ")).strip() for n in CLASSES}
    below = [p.relative_to(tmp_path / "folder") for p in (tmp_path / "folder").rglob("*.png")]
    assert len(below) == 4 * len(CLASSES)  # nothing went elsewhere
    assert ".." not in {part for p in below for part in p.parts}


def test_a_run_is_trained_judged_and_tabled(words, tmp_path, capsys):
    tiny = ["model=small_cnn", "fit.steps=2", "fit.evaluations=1", "logger=none"]
    assert main(["train", *words, *tiny]) == 0
    assert all_in(capsys.readouterr().out)
    outputs = tmp_path / "out [b] {}"
    (run,) = (p.parent for p in outputs.glob("train/*/*/*/*/result.json"))
    assert run.parts[-4].startswith("pets-x-")
    assert json.loads((run / "result.json").read_text())["dataset"] == "pets [x]"
    for style in ("md", "csv", "json"):
        assert main(["table", f"format={style}"]) == 0
        expected = {"md": markdown("pets [x]"), "csv": cell("pets [x]"), "json": "pets [x]"}
        assert str(expected[style]) in capsys.readouterr().out


# --- many classes, without training


def dataset(number, places=("unknown",), known=False):
    names = tuple(f"class number {i}" for i in range(number))
    rows = [(f"{y}{s}", "a.png", y, s, 0 if known else -1) for y in range(number) for s in range(3)]
    table = pd.DataFrame(rows, columns=["img_id", "img_filename", "y", "split", "place"])
    return Dataset("many", None, table, names, places)


@pytest.mark.parametrize("number", [2, 30, 100])
@pytest.mark.parametrize("known", [False, True])
def test_every_class_is_a_row_of_the_counts(number, known, capsys):
    show_groups(dataset(number, ("land",) if known else ("unknown",), known))
    title, head, *rows = capsys.readouterr().out.rstrip().splitlines()
    assert title.strip() == f"many: images per {'group' if known else 'class'}"
    assert head.split() == ["group" if known else "class", "train", "val", "test"]
    last = f"class number {number - 1}{'/land' if known else ''}"
    assert len(rows) == number
    assert rows[-1].split() == [*last.split(), "1", "1", "1"]


def result(number, groups=None):
    classes = {f"c{i}": {"acc": (i + 1) / 200, "n": 5} for i in range(number)}
    test = {"worst_group": None, "worst_group_acc": None, "acc": 0.5, "acc_adjusted": None}
    test |= {"groups": groups or {f"c{i}/unknown": {"acc": None, "n": 0} for i in range(number)}}
    test |= {"acc_balanced": None, "worst_class_acc": 0.005, "worst_class": "c0"}
    about = {"baseline": "erm", "needs": "none", "selection": "val_acc"}
    return about | {"metrics": {"test": test | {"classes": classes}}}


@pytest.mark.parametrize("number", [3, 30, 100])
def test_without_groups_the_classes_are_judged_and_the_worst_is_named(number, capsys):
    show_metrics(result(number))
    text = capsys.readouterr().out
    lines = [line.split() for line in text.rstrip().splitlines()]
    assert [] not in lines
    assert "unknown - 0" not in " ".join(text.split())
    assert ["c0", "<-", "worst", "0.5", "5"] in lines
    assert ["worst_class_acc", "0.5"] in lines
    assert len(lines) < 50
    assert ("the 40 lowest of 100; all in result.json" in text) == (number == 100)


def test_features_and_reasons_are_text(capsys):
    names = tuple(NAMES.values())
    features = [
        SpuriousFeature(
            feature_id="0/0", y=0, rank=i, kind="remove_object", phrase=n, support=1, flips=1,
            flip_rate=1.0, score=0.1, mean_drop=0.1, spurious=True, examples=(), members=(n,),
            interval=(0.0, 1.0), controls=0, control_rate=None, control_drop=None, p_value=None,
            q_value=None,
        )
        for i, n in enumerate(names)
    ]  # fmt: skip
    rejected = [Rejected(item_id=f"{i:03d}", reason=n, detail=n) for i, n in enumerate(names)]
    data = dataset(len(names))
    object.__setattr__(data, "class_names", names)

    class Found:
        records = features

    Found.rejected = rejected
    show_features(data, Found, 99)
    text = capsys.readouterr().out
    assert [n for n in names if flat(text).count(flat(visible(n))) < 2] == []
