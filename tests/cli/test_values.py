"""Every configured value is checked by type and range before anything is done."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from aspire.classification.selection import RULES
from aspire.cli import _keys, main
from aspire.cli._keys import Section, keys_of
from aspire.confdir import conf_dir

BETWEEN = "a number between 0 and 1, both excluded, or null"
COUNT = "a whole number of at least 1"
SEED = "a whole number of at least 0"
REFUSED = [
    ("fit.steps=1e1", "fit.steps=10.0", COUNT),
    ("fit.steps=abc", "fit.steps=abc", COUNT),
    ("fit.steps=true", "fit.steps=true", COUNT),
    ("fit.evaluations=0", "fit.evaluations=0", COUNT),
    ("fit.batch_size=0", "fit.batch_size=0", COUNT),
    ("fit.ema=1", "fit.ema=1", BETWEEN),
    ("fit.ema=0.0", "fit.ema=0.0", BETWEEN),
    ("generated_share=1.5", "generated_share=1.5", BETWEEN),
    ("seed=one", "seed=one", SEED),
    ("seed=null", "seed=null", SEED),
    ("seed=1.5", "seed=1.5", SEED),
    ("trainer.devices=two", "trainer.devices=two", f"{COUNT} or auto"),
    ("model.image_size=0", "model.image_size=0", "a whole number from 16 to 4096"),
    ("optimizer.lr=-1", "optimizer.lr=-1", "a number above 0"),
    ("optimizer.lr=inf", "optimizer.lr=Infinity", "a number above 0, and a finite one"),
    ("stage.generate.amount=all", "stage.generate.amount=all", "per_real, even or balance"),
    ("stage.edit.max_mask=2", "stage.edit.max_mask=2", "a number from 0 to 1"),
    ("stage.filter=3", "stage.filter=3", "its keys: min_kept"),
    ("sweep.stale_after=0", "sweep.stale_after=0", "a number above 0"),
    ("dataset.scale=big", "dataset.scale=big", "a number above 0 and of at most 1"),
    ("paths.outputs=null", "paths.outputs=null", "a text"),
    ("filter.duplicate.max_distance=x", "filter.duplicate.max_distance=x", SEED),
]


@pytest.mark.parametrize(("word", "given", "expected"), REFUSED)
def test_a_value_that_cannot_be_is_refused_before_anything_is_written(
    word: str,
    given: str,
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ASPIRE_OUTPUTS", str(tmp_path / "out"))
    assert main(["train", word, "dry_run=true"]) == 2
    assert f"error: {given}: expected {expected}." in capsys.readouterr().err
    assert not (tmp_path / "out" / "train").exists()


def test_what_refers_to_a_wrong_value_is_not_said_again(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["segmenter=grabcut_centre", "segmenter.detector.share=0", "seed=-1", "score=random"]
    assert main(["train", *words]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: seed=-1: expected a whole number of at least 0.",
        "segmenter.detector.share=0: expected a number above 0 and of at most 1.",
    ]


@pytest.mark.parametrize(
    ("verb", "word", "said"),
    [
        ("table", "format=xml", "format=xml: expected rich, md, latex, csv or json."),
        ("table", "stale_after=soon", "stale_after=soon: expected a number above 0."),
        ("sweep", "format=ritch", "format=ritch: expected rich or json. Did you mean rich?"),
        ("evaluate", "split=test", "run is not set: expected the folder of a finished run."),
        ("data", "examples=few", f"examples=few: expected {COUNT}."),
        ("run", "seeds=[0,x]", 'seeds=[0, "x"]: expected a list, each a whole number'),
        ("discover", "top=0", f"top=0: expected {COUNT}."),
        ("doctor", "network=maybe", "network=maybe: expected true or false."),
    ],
)
def test_keys_of_verbs(verb: str, word: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, word]) == 2
    assert said in capsys.readouterr().err


def test_an_address_and_a_key_are_not_taken_for_each_other(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["train", "extractor=openai", "extractor.key_env=sk-hunter2"]) == 2
    err = capsys.readouterr().err
    assert "extractor.key_env: expected the name of an environment variable" in err
    assert "hunter2" not in err


def test_every_key_of_every_verb_has_a_type() -> None:
    groups = {p.name for p in conf_dir().iterdir() if p.is_dir()}
    for verb in (p.stem for p in conf_dir().glob("*.yaml")):
        content = yaml.safe_load((conf_dir() / f"{verb}.yaml").read_bytes())
        typed = {**_hints(keys_of(verb))}
        untyped = content.keys() - typed.keys() - groups - {"defaults", "hydra"}
        assert not untyped, f"{verb}: {untyped}"
    base = OmegaConf.to_container(OmegaConf.load(conf_dir() / "base.yaml"))
    assert isinstance(base, dict)
    for section, kind in (("fit", _keys.Fit), ("stage", _keys.Stage)):
        assert base[section].keys() == _hints(kind).keys()


def _hints(kind: type[Section]) -> dict[str, object]:
    return dict.fromkeys(kind.keys())


def test_the_rules_are_those_there_are() -> None:
    assert set(_keys.Rule.__args__) == set(RULES)
