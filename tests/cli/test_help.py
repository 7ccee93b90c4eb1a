"""What ``--help`` says: about a verb, a key, a section, a group, and what is none of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from aspire.checking import arguments_of
from aspire.cli import main
from aspire.cli._comments import entries, heading
from aspire.cli._help import Page
from aspire.cli._overrides import initialized
from aspire.cli._verbs import VERBS
from aspire.cli.list import choices
from aspire.confdir import conf_dir

YAML = """\
# What this is,
# in two lines.
defaults:
  - override /score: rate  # which
  - optional values: a
a: 1  # first
b: [1,
    2]  # the second,
        # continued
# above
c:
  - "#"
d:  # a section
  e: "x # y"  # in it
  # above f
  f: |
    # text
g: "#"
"""


def test_comments_are_those_beside_a_key_or_above_it(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(YAML)
    assert heading(path) == "What this is, in two lines."
    assert {e.key: (e.value, e.comment) for e in entries(path)} == {
        "score": ("rate", "which"),
        "values": ("a", ""),
        "a": ("1", "first"),
        "b": ("[1, 2]", "the second, continued"),
        "c": ("[#]", "above"),
        "d": (None, "a section"),
        "d.e": ("x # y", "in it"),
        "d.f": ("# text\n", "above f"),
        "g": ("#", ""),
    }


def helped(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(list(words)) == 0
    return " ".join(capsys.readouterr().out.split())


def test_a_verb_shows_what_it_takes_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    table = helped(capsys, "table", "--help")
    assert "aspire table outputs/train/waterbirds format=md" in table
    assert "split=test val | test | unseen (of datasets that have one)" in table
    assert "baseline=" not in table
    assert "GROUP=CHOICE" not in table
    train = helped(capsys, "train", "-h")
    assert "baseline=erm how it is trained: afr, cnc, cutmix," in train
    assert "which generated images are" in train  # several are chosen
    assert "fit.steps=300 optimiser steps, the same in every arm of a comparison" in train
    assert "_target_" not in train


def test_a_key_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    told = helped(capsys, "train", "--help", "fit.batch_size")
    assert told == "fit.batch_size images of a batch default 32 takes a whole number of at least 1"
    told = helped(capsys, "train", "fit.batch_size=8", "--help", "batch_size")
    assert "fit.batch_size images of a batch default 8 " in told  # by its last word alone
    assert "engine.batch_size" in told
    assert helped(capsys, "help", "table", "split") == (
        "split val | test | unseen (of datasets that have one) "
        "default test takes val, test or unseen"
    )
    assert "default ${paths.outputs}/train, here /" in helped(capsys, "help", "table", "dir")
    assert helped(capsys, "help", "seed").startswith("seed everything random follows from it")


def test_a_section_is_its_keys(capsys: pytest.CaptureFixture[str]) -> None:
    told = helped(capsys, "data", "--help", "unpack")
    assert told.startswith("unpack limits, so that no archive fills the disk unpack.max_gb=200")
    assert "download" not in told


def test_a_group_is_its_choices_and_the_keys_of_one(capsys: pytest.CaptureFixture[str]) -> None:
    told = helped(capsys, "train", "--help", "baseline=jtt")
    assert told.startswith("baseline how it is trained baseline=afr AFR (Qiu et al. 2023).")
    assert "keys of baseline=jtt baseline.identify=0.2 length of the first stage" in told
    assert "keys of baseline=erm: none" in helped(capsys, "train", "--help", "baseline")
    # what only a docstring says
    told = helped(capsys, "train", "--help", "filter")
    assert "smallest accepted probability of the" in told
    told = helped(capsys, "train", "hydra/launcher=slots", "--help", "hydra/launcher")
    assert "hydra.launcher.slots=1 jobs at once per device" in told
    # of a file that changes another one
    told = helped(capsys, "train", "--help", "personaliser=tiny_sd")
    assert "personaliser.vectors=1 per token" in told


def test_a_key_of_another_choice_is_explained_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    told = helped(capsys, "train", "--help", "baseline.upweight")
    assert told.startswith(
        "baseline.upweight is a key of baseline=jtt. baseline.upweight weight of"
    )
    assert "default 20.0 takes a number of at least 1" in told


def test_own_choices_are_explained_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "baseline").mkdir()
    content = "# Mine.\n_target_: aspire.baselines.jtt.JTT\nidentify: 0.3  # how long\n"
    (tmp_path / "baseline/own.yaml").write_text(content)
    own = ["--config-dir", str(tmp_path)]
    told = helped(capsys, "train", *own, "--help", "baseline=own")
    assert "baseline=own Mine." in told
    assert "baseline.identify=0.3 how long" in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "--help", "fit.stepps"], "no such key or group. Did you mean fit.steps?"),
        (["train", "--help", "basline"], "no such key or group. Did you mean baseline?"),
        (["train", "--help", "rows"], "It is one of aspire table: aspire table --help rows."),
        (["train", "basline=jtt", "--help"], "basline: no such key. Did you mean baseline?"),
        (["train", "--help", "baseline=jt"], "baseline=jt: no such choice. Did you mean jtt?"),
    ],
)
def test_what_there_is_not(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_everything_that_a_verb_takes_is_explained(verb: str) -> None:
    with initialized():
        page = Page(verb, [])
        assert [k for k in page.keys if not page.meaning(page.explained(k))] == []
        assert [g for g in page.chosen if g not in page.said] == []


def leaves(node: dict[str, Any], key: str, said: dict[str, str]) -> Iterator[str]:
    """Keys that neither a comment, their class, nor a section around them explains."""
    documented = arguments_of(str(node.get("_target_", "")))
    for name, value in node.items():
        full = f"{key}.{name}" if key else name
        if name in ("_target_", "_partial_", "defaults") or said.get(full) or name in documented:
            continue
        if isinstance(value, dict):
            yield from leaves(value, full, said)
        else:
            yield full


def test_every_choice_and_each_of_its_keys_is_explained() -> None:
    apart = {"hparams", "experiment", "paths"}  # values for keys of others
    silent = []
    base = {e.key: e.comment for e in entries(conf_dir() / "base.yaml")}
    for path in sorted(conf_dir().rglob("*.yaml")):
        group = path.relative_to(conf_dir()).parent.as_posix()
        if group.split("/")[0] in apart or group == ".":
            continue
        content = yaml.safe_load(path.read_text("utf-8"))
        if "defaults" in content:  # changes another choice, which explains its keys
            continue
        said = base | {e.key: e.comment for e in entries(path) if e.comment}
        silent += [f"{group}/{path.stem}: {key}" for key in leaves(content, "", said)]
    kinds = {p.name for p in conf_dir().iterdir() if p.is_dir()} - apart
    silent += [f"{k}={c['name']}" for k in sorted(kinds) for c in choices(k) if not c["what"]]
    assert silent == []
