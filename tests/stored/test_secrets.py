"""Keys and passwords are refused before anything is written, and never repeated."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from aspire.cli import main
from aspire.cli._secrets import refuse_secrets, typed
from aspire.confdir import conf_dir
from aspire.errors import ConfigError
from aspire.stored.config import walk

KEY = "sk-hunter2"
LONG = "sk-proj-hunter2hunter2hunter2"


@pytest.mark.parametrize(
    ("word", "said"),
    [
        (f"extractor.key_env={KEY}", "expected the name of an environment variable in capitals"),
        (f"extractor.key_env='{KEY}'", "expected the name of an environment variable"),
        (f"++captioner.other_env={KEY}", "captioner.other_env: expected the name"),
        (f"extractor.key_env={KEY},OPENAI_API_KEY", "expected the name of an environment variable"),
        (
            f"extractor.base_url=https://me:{KEY}@host/v1",
            "a URL with a user, password",
        ),
        (f"extractor.base_url='https://host/v1?api_key={KEY}'", "a URL with a user, password or"),
        (f"extractor.base_url='https://host/v1?x=1&sig={KEY}'", "a URL with a user, password or"),
        (f"logger.wandb.entity={LONG}", "logger.wandb.entity: this looks like a key or password"),
        (f"+logger.wandb.api_key={KEY}", "logger.wandb.api_key: this looks like a key or password"),
        ("+extractor.request.token=abc", "extractor.request.token: this looks like a key"),
        ("dataset.name=the-key-of-hunter2", "this is the value of ANY_API_KEY"),
        ("extractor.model='${oc.env:ANY_API_KEY}'", "extractor.model: this is the value of ANY_"),
        ("'hydra.run.dir=x/the-key-of-hunter2'", "this is the value of ANY_API_KEY"),
    ],
)
def test_secrets_are_refused_without_repeating_them(word, said, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("ASPIRE_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("ANY_API_KEY", "the-key-of-hunter2")
    words = ["train", "extractor=openai", "dataset=waterbirds", "dataset.root=nowhere"]
    assert main([*words, word.strip("'") if word.startswith("'hydra") else word]) == 2
    out, err = capfd.readouterr()
    assert said in err
    assert err.rstrip().endswith("Nothing was written.")
    assert "hunter2" not in out + err
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("extractor.key_env", "OPENAI_API_KEY"),
        ("extractor.key_env", None),
        ("extractor.base_url", "http://localhost:11434/v1"),
        ("extractor.base_url", "https://host/v1?version=2"),
        ("dataset.root", "/data/sk-learn/hf_waterbirds"),
        ("captioner.model", "owner/risk-assessment-of-everything-there-is"),
        ("extractor.request.max_tokens", 256),
        ("personaliser.token", "???"),
    ],
)
def test_what_is_no_secret_passes(key: str, value: object) -> None:
    refuse_secrets([(key, value)])


def test_nothing_that_ships_is_refused() -> None:
    for path in conf_dir().rglob("*.yaml"):
        refuse_secrets(walk(yaml.safe_load(path.read_text()), path.stem))


def test_each_value_of_a_sweep_is_looked_at() -> None:
    assert set(typed(["a=1,null,'x y'", "~b", "++c=[u,v]"])) == {
        ("a", "1"), ("a", "x y"), ("b", ""), ("c", "u"), ("c", "v"),
    }  # fmt: skip


def test_a_secret_in_a_file_of_ones_own_is_refused_too(tmp_path: Path, monkeypatch, capfd) -> None:
    monkeypatch.setenv("ASPIRE_OUTPUTS", str(tmp_path / "outputs"))
    own = tmp_path / "conf" / "extractor"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text(f"_target_: mine.Extractor\nkey_env: {KEY}\n")
    words = ["train", "extractor=mine", "dataset=waterbirds", "dataset.root=nowhere"]
    assert main([*words, "--config-dir", str(tmp_path / "conf")]) == 2
    err = capfd.readouterr().err
    assert "extractor.key_env: expected the name of an environment variable" in err
    assert KEY not in err
    assert not (tmp_path / "outputs").exists() or not list((tmp_path / "outputs").rglob("*.*"))
    with pytest.raises(ConfigError):
        refuse_secrets([("x_env", "lower_case")])
