"""A default that is typed is a default; the quickstart is a choice that can be seen."""

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from aspire.cli import main, usage
from aspire.cli import run as run_verb
from aspire.cli._app import compose_config, plain
from aspire.cli._words import quoted
from aspire.cli.jobs import Job
from aspire.confdir import conf_dir
from aspire.stored.config import leaves

VERBS = ("run", "quickstart", "train", "discover", "generate")
SMALL = ["dataset.scale=0.02", "logger=none"]


class StopEarlyError(Exception):
    """Enough was seen."""


@pytest.fixture
def folder_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_data: Path) -> Any:
    """The folder that a command line of ``run`` leads to; nothing is trained."""
    monkeypatch.setenv("ASPIRE_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("ASPIRE_DATA", str(tiny_data))
    found: list[Path] = []
    real = run_verb._folder

    def remember(*args: Any) -> Path:
        found.append(real(*args))
        raise StopEarlyError

    monkeypatch.setattr(run_verb, "_folder", remember)

    def find(*words: str) -> str:
        with pytest.raises(StopEarlyError):
            main([*words, *SMALL])
        return found[-1].name

    return find


def typed_defaults(verb: str) -> list[str]:
    """Every group and every key of a verb, with what it is anyway."""
    cfg, chosen = compose_config(verb, SMALL)
    words = [f"{g}={c}" for g, c in chosen.items() if (conf_dir() / g).is_dir() and c != "None"]
    for key, _ in leaves(OmegaConf.to_container(cfg, resolve=False)):
        value = plain(OmegaConf.select(cfg, key))
        if not isinstance(value, dict) and not key.endswith("_target_"):
            words.append(f"{key}={quoted(value)}")
    return words


@pytest.mark.parametrize("verb", VERBS)
def test_typing_every_default_changes_nothing(verb: str) -> None:
    words = typed_defaults(verb)
    assert {"dataset=mini_waterbirds", "baseline=erm", "fit.steps=300", "seed=0"} <= set(words)
    assert compose_config(verb, [*words, *SMALL]) == compose_config(verb, SMALL)


def test_typing_defaults_leaves_the_folder_of_a_run_as_it_is(folder_of: Any) -> None:
    plain_run = folder_of("run")
    assert folder_of("run", *typed_defaults("run")) == plain_run
    assert folder_of("run", "dataset=mini_waterbirds") == plain_run
    assert folder_of("run", "generator=tiny_sd") != plain_run


def test_the_quickstart_is_the_run_with_its_experiment(
    folder_of: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = folder_of("quickstart")
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("aspire run experiment=quickstart")
    assert folder_of("run", "experiment=quickstart") == quick
    assert folder_of("quickstart", "dataset=mini_waterbirds", "arms=[none,aspire]") == quick
    assert folder_of("run") != quick
    assert capsys.readouterr().out.splitlines()[0].startswith("aspire run experiment=quickstart")


def test_only_the_quickstart_generates_with_the_model_of_the_package() -> None:
    own = "aspire.generation.textual_inversion.TextualInversion"
    quick, _ = compose_config("quickstart", ["experiment=quickstart"])
    assert quick.personaliser._target_ == own
    for words in ([], ["seeds=[0]"], ["dataset=mini_waterbirds"], ["arms=[none,aspire]"]):
        cfg, chosen = compose_config("run", words)
        assert (chosen["personaliser"], chosen["generator"]) == ("composition", "composition")
        assert cfg.personaliser._target_ != own


def test_help_and_next_steps_name_the_quickstart(capsys: pytest.CaptureFixture[str]) -> None:
    assert "  aspire quickstart " in usage()
    assert main(["quickstart", "--help"]) == 0
    assert "aspire quickstart: aspire run experiment=quickstart" in capsys.readouterr().out
    assert main(["run", "--help"]) == 0
    assert "aspire quickstart" in capsys.readouterr().out


def test_the_quickstart_is_of_no_other_experiment(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["quickstart", "experiment=mini_table"]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "aspire quickstart is aspire run experiment=quickstart" in told
    assert "experiment=mini_table" in told


@pytest.mark.parametrize(
    ("arm", "typed", "kept"),
    [
        ("edits", ["personaliser=composition", "generator=composition"], {"generator": "edits"}),
        ("undiscovered", ["score=effect"], {"score": "random", "personaliser": "none"}),
        ("unpersonalised", ["personaliser=lora", "personaliser.rank=4"], {"personaliser": "none"}),
        ("edits", ["experiment=quickstart"], {"personaliser": "edits", "generator": "edits"}),
        ("aspire", ["generator=edits"], {"generator": "edits"}),
    ],
)
def test_an_arm_of_a_comparison_stays_that_arm(
    arm: str, typed: list[str], kept: dict[str, str]
) -> None:
    cfg, _ = compose_config("run", typed)
    _, chosen = compose_config("train", Job("run", cfg, typed).words(augmentation=arm))
    assert {group: chosen[group] for group in kept} == kept


def test_the_values_of_an_arm_win_too() -> None:
    typed = ["fit.augment=true"]
    job = Job.of("run", typed)
    assert not compose_config("train", job.words(augmentation="fixed_views"))[0].fit.augment
    assert compose_config("train", job.words(augmentation="aspire"))[0].fit.augment


def test_a_setting_that_only_the_typed_arm_has_stays_with_it() -> None:
    """What is discovered with is trained in the arm ``none``, whose generator has no such key."""
    job = Job.of("train", ["augmentation=swaps", "generator.max_covered=0.9", "fit.steps=20"])
    cfg, chosen = compose_config("train", job.words(augmentation="none"))
    assert (chosen["generator"], cfg.fit.steps) == ("composition", 20)
    assert "max_covered" not in cfg.generator
    assert compose_config("train", job.words(baseline="jtt"))[0].generator.max_covered == 0.9
