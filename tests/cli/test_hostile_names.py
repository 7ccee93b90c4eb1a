"""Hostile names through the verbs: each is shown as it is, in the terminal and in every format."""

import contextlib
import csv
import io
import json
import os
import re
import shlex

import numpy as np
import pandas as pd
import pytest
from hostile import NAMES, refused
from hydra.core.override_parser.overrides_parser import OverridesParser
from pages import Page
from PIL import Image

from aspire.cli import main
from aspire.cli._show import show_features, show_groups, show_metrics
from aspire.data.table import Dataset
from aspire.records import Rejected, SpuriousFeature
from aspire.text import cell, latex, markdown, visible

# What a csv may hold: no NUL, no number beside names.
CLASSES = [n for n in NAMES.values() if n != "+1" and "\x00" not in n]


def flat(text):
    """Without colours, and as if no line had been broken."""
    return "".join(re.sub(r"\x1b\[[\d;]*m", "", text).split())


def all_in(text):
    return [n for n in CLASSES if flat(visible(n)) not in flat(text)] == []


DATASET = "=cmd|' {} %s [red] <b>x</b>"
TINY = ["model=small_cnn", "model.image_size=32", "fit.steps=20", "fit.evaluations=1"]
FOUND = ["score.min_support=1", "score.max_q=1", "score.min_effect=-1", "stage.filter.min_kept=0"]
COLOURS = [(r, g, b) for r in (0, 120, 250) for g in (0, 120, 250) for b in (0, 120, 250)]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Four pictures of each class with an object that has its name, in such a folder."""
    root = tmp_path_factory.mktemp("hostile") / "it's [red] #1, {x}=%s <b>"
    root.mkdir()
    rng, rows = np.random.default_rng(0), []
    labels = np.zeros((32, 32), np.uint8)
    labels[4:12, 4:12], labels[20:28, 20:28] = 1, 2
    Image.fromarray(labels).save(root / "mask.png")
    for y, name in enumerate(CLASSES):
        for i, split in enumerate(("train", "train", "val", "test")):
            file = f"{y}-{i}.png"
            pixels = np.full((32, 32, 3), COLOURS[y], np.uint8)
            pixels[20:28, 20:28] = rng.integers(0, 255, 3)
            Image.fromarray(pixels).save(root / file)
            text, objects = f"a {name} on {name}", json.dumps({name: 2})
            about = (name, split, CLASSES[i % 2], text, "mask.png", objects)
            rows.append((f"{name} {i}", file, *about))
    columns = ["img_id", "img_filename", "y", "split", "place", "caption"]
    frame = pd.DataFrame(rows, columns=[*columns, "mask_filename", "objects"])
    frame.to_csv(root / "pets [x].csv", index=False)
    phrases = [{"caption": r[5], "foreground": [r[2]], "background": r[2]} for r in rows]
    lines = "\n".join(json.dumps(p) for p in phrases)
    (root / "phrases.jsonl").write_text(lines)
    return root / "pets [x].csv"


@pytest.fixture(scope="module")
def words(table):
    path = str(table).replace("'", "\\'")
    name = DATASET.replace("'", "\\'")
    return ["dataset=csv", f"dataset.metadata='{path}'", f"dataset.name='{name}'"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("ASPIRE_OUTPUTS", str(tmp_path / "out [b] {}"))
    monkeypatch.setenv("COLUMNS", "1000")


def no_link(*args, **options):
    """As for most users of Windows."""
    raise OSError(1314, "A required privilege is not held by the client")


@pytest.fixture(scope="module")
def outputs(table, words, tmp_path_factory):
    """What ``aspire run`` and ``aspire discover`` make of it, with all they say."""
    outputs = tmp_path_factory.mktemp("made") / "out [b] {}"
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        patch.setenv("ASPIRE_OUTPUTS", str(outputs))
        patch.setenv("COLUMNS", "1000")
        patch.setenv("WANDB_MODE", "offline")
        patch.setattr(os, "symlink", no_link)
        phrases = str(table.with_name("phrases.jsonl")).replace("'", "\\'")
        whole = [*words, *TINY, *FOUND, "extractor=replay", f"extractor.file='{phrases}'"]
        whole += ["segmenter=annotations", "stage.edit.images_per_class=2", "logger=none"]
        assert main(["run", "seeds=[0]", *whole]) == 0
        assert main(["discover", *whole]) == 0
    (outputs / "said.txt").write_text(said.getvalue())
    return outputs


def test_data_are_shown_previewed_and_exported(words, place, tmp_path, capsys):
    assert main(["data", "show", *words]) == 0
    shown = capsys.readouterr().out
    assert all_in(shown)
    assert shown.startswith(f"{DATASET} in ")
    assert main(["data", "preview", *words, "examples=1"]) == 0
    for to in ("csv", "folder"):
        assert main(["data", "export", *words, f"to={to}", f"dir={tmp_path / to}"]) == 0
        card = (tmp_path / to / "README.md").read_text()
        assert all(markdown(n) in card for n in CLASSES)
        assert "<script" not in card.lower().split("## reading it back")[0]
    rows = list(csv.DictReader(io.StringIO((tmp_path / "csv/metadata.csv").read_text("utf-8"))))
    assert {r["class"] for r in rows} == {" ".join(n.split(" ")).strip() for n in CLASSES}
    assert not [p for p in tmp_path.rglob("*") if refused(p.relative_to(tmp_path))]
    below = [p.relative_to(tmp_path / "folder") for p in (tmp_path / "folder").rglob("*.png")]
    assert len(below) == 2 * 4 * len(CLASSES)  # with masks; nothing went elsewhere
    assert ".." not in {part for p in below for part in p.parts}


def test_a_run_and_a_discovery_say_them_as_they_are(outputs):
    said = (outputs / "said.txt").read_text()
    assert all_in(said)
    assert flat(DATASET) in flat(said)
    assert not {"\x1b[31mred", "\x07", "\x00", "\u202e"} & set(said)
    for path in outputs.rglob("*"):  # nothing has a name that a system refuses or that leads out
        assert refused(path.relative_to(outputs)) == []
        assert path.resolve().is_relative_to(outputs)


@pytest.mark.parametrize("verb", ["run", "discover"])
def test_their_reports_show_them_and_hold_no_script(outputs, verb):
    (report,) = (outputs / verb).glob("*/report.html")
    page = Page(report.read_text())
    page.check_self_contained()
    assert [n for n in [*CLASSES, DATASET] if " ".join(visible(n).split()) not in page.text] == []
    assert not [k for _, attrs in page.tags for k in attrs if k.startswith("on")]


def test_every_verb_that_reads_a_run_shows_them(outputs, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ASPIRE_OUTPUTS", str(outputs))
    monkeypatch.setenv("COLUMNS", "100000")
    run, *_ = (str(p.parent) for p in sorted(outputs.glob("train/*/*/none/*/result.json")))
    sweep = str(outputs / "train")
    for command in (["evaluate", run], ["diff", run, run, "all=true"]):
        assert main(command) == 0
        said = capsys.readouterr().out
        assert all_in(said), command
    assert main(["sweep", "status", sweep]) == 0
    assert flat(DATASET) in flat(capsys.readouterr().out)
    assert main(["rerun", run, "dry_run=true"]) == 0
    typed = [w for w in shlex.split(capsys.readouterr().out) if "dataset.name=" in w]
    (parsed,) = OverridesParser.create().parse_overrides(typed)
    assert parsed.value() == DATASET
    shown = {"md": markdown(DATASET), "csv": str(cell(DATASET)), "json": DATASET}
    shown["latex"] = latex(DATASET)
    for style, expected in shown.items():
        assert main(["table", sweep, f"format={style}", "rows=baseline", "cols=dataset"]) == 0
        assert expected in capsys.readouterr().out
    assert main(["report", sweep]) == 0
    page = Page((outputs / "train" / "report.html").read_text())
    assert " ".join(DATASET.split()) in page.text


def test_wandb_is_given_them_shortened(outputs, monkeypatch, capsys):
    import wandb
    from wandb_file import read_runs

    from aspire.reporting import wandb_sync
    from aspire.reporting.wandb_run import TAG, Place

    monkeypatch.setenv("WANDB_MODE", "offline")
    run, *_ = (p.parent for p in sorted(outputs.glob("train/*/*/none/*/result.json")))
    wandb_sync.write_run(run, Place(), sweep="s" * 300)
    wandb.teardown()  # what was written a moment ago is on disk only now
    assert "failed" not in capsys.readouterr().err
    (written,) = read_runs(run)
    assert DATASET in written.tags
    assert max(map(len, written.tags)) <= TAG
    assert written.config["dataset"] == DATASET


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
