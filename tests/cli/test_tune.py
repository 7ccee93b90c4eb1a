"""``aspire tune``, and ``hparams=FILE`` with what it wrote."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from hydra import initialize_config_dir
from omegaconf import OmegaConf

from aspire.checking import problems
from aspire.cli import main
from aspire.cli._app import build, compose_config, plain
from aspire.confdir import conf_dir
from aspire.errors import AspireError, StorageError
from aspire.experiment import Experiment
from aspire.stored.tuned import TunedValues, read_values, write_values
from aspire.tuning.space import Choices, dimensions

TINY = ["dataset.scale=0.02", "logger=none", "fit.steps=2", "fit.evaluations=1"]
BASELINES = sorted(p.stem for p in (conf_dir() / "baseline").glob("*.yaml"))


@pytest.fixture(autouse=True)
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_data: Path) -> Path:
    monkeypatch.setenv("ASPIRE_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("ASPIRE_DATA", str(tiny_data))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path / "outputs"


class Trainings:
    """In place of training: the worst group is best at a learning rate of 0.1."""

    def __init__(self) -> None:
        self.done: list[tuple[float, int]] = []
        self.problems: dict[int, BaseException] = {}  # number of the training -> what happens

    def __call__(self, experiment: Experiment, recipe: Any, said: str = "test") -> Any:
        assert said == "val"  # nothing of the test split is shown
        if problem := self.problems.pop(len(self.done), None):
            raise problem
        lr = recipe.identity["optimizer"]["lr"]
        self.done.append((lr, recipe.seed))
        metrics = {"worst_group_acc": round(max(0.0, 1 - abs(lr - 0.1)), 6), "acc_balanced": 0.5}
        folder = experiment.outputs / "train" / str(len(self.done))
        return SimpleNamespace(folder=folder, result={"metrics": {"val": metrics, "test": None}})


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> Trainings:
    found = Trainings()
    monkeypatch.setattr(Experiment, "train", lambda *args, **how: found(*args, **how))
    return found


def values_of(outputs: Path, baseline: str = "groupdro") -> Path:
    (path,) = outputs.glob(f"tune/*/*/{baseline}.yaml")
    return path


def finished(outputs: Path) -> list[Any]:
    """The trials, as Optuna itself reads them."""
    import optuna

    (journal,) = outputs.glob("tune/*/*/*/journal.log")
    backend = optuna.storages.journal.JournalFileBackend(str(journal))
    storage = optuna.storages.JournalStorage(backend)
    return optuna.load_study(storage=storage, study_name="aspire").get_trials()


# --- searching --------------------------------------------------------------------------------


def test_a_search_that_is_interrupted_ends_with_as_many_trials(
    outputs: Path, trainings: Trainings, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["tune", "baseline=groupdro", "n_trials=4", "dataset.scale=0.02", "logger=none"]
    assert main([*command, "paths.outputs=" + str(outputs / "calm")]) == 0
    calm, trainings.done = trainings.done, []
    trainings.problems[2] = KeyboardInterrupt()
    assert main(command) == 130
    told = capsys.readouterr()
    assert told.err == "error: Interrupted. The same command continues where it stopped.\n"
    assert len(finished(outputs)) == 2
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "2 of 4 trials are finished" in out
    assert "trial 3/4" in out
    assert "trial 2/4" not in out
    assert trainings.done == calm
    assert {seed for _, seed in calm} == {100}
    trials = finished(outputs)
    assert [t.state.name for t in trials] == ["COMPLETE"] * 4
    assert trials[0].params == {
        "optimizer.lr": 0.05, "optimizer.weight_decay": 1e-4,
        "baseline.eta": 0.01, "baseline.adjustment": 0.0,
    }  # fmt: skip
    best = max(trials, key=lambda t: t.value)
    values = read_values(values_of(outputs))
    assert values.values == best.params
    assert values.tuned is not None
    assert (values.tuned.seeds, values.tuned.n_trials) == ([100], 4)
    assert values.tuned.trial == best.number + 1
    assert values.values == read_values(values_of(outputs / "calm")).values
    assert f"hparams={values_of(outputs)} seed=0,1,2" in out
    assert main(command) == 0  # all is done
    assert len(trainings.done) == 4


def test_the_mean_over_seeds_is_what_counts(
    outputs: Path, trainings: Trainings, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["baseline=erm", "seeds=[7,9]", "sampler=random", "n_trials=3", "dataset.scale=0.02"]
    assert main(["tune", *words, "optimizer.weight_decay=0.5", "fit.batch_size=8"]) == 0
    assert [seed for _, seed in trainings.done] == [7, 9, 7, 9, 7, 9]
    assert len({lr for lr, _ in trainings.done}) == 3
    values = read_values(values_of(outputs, "erm"))
    # what was typed is fixed, and part of what the file says
    assert values.values.keys() == {"optimizer.lr", "optimizer.weight_decay", "fit.batch_size"}
    assert (values.values["optimizer.weight_decay"], values.values["fit.batch_size"]) == (0.5, 8)
    assert "optimizer.weight_decay" not in capsys.readouterr().out.split("values")[0]


def test_a_trial_that_fails_counts_and_one_that_the_disk_ends_does_not(
    outputs: Path, trainings: Trainings, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["tune", "baseline=erm", "n_trials=4", "dataset.scale=0.02"]
    trainings.problems = {1: AspireError("The loss became nan at step 3."), 2: StorageError("full")}
    assert main(command) == 6
    assert [t.state.name for t in finished(outputs)] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert main(command) == 4
    told = capsys.readouterr()
    assert "failed: The loss became nan at step 3." in told.out
    assert "1 of 4 trials failed" in told.out
    assert len(trainings.done) == 3
    assert values_of(outputs, "erm").is_file()


def test_where_the_preset_itself_fails_nothing_is_tried(
    outputs: Path, trainings: Trainings, capsys: pytest.CaptureFixture[str]
) -> None:
    trainings.problems = {0: AspireError("baseline=x needs the group of every image.")}
    assert main(["tune", "n_trials=4", "dataset.scale=0.02"]) == 1
    assert "needs the group of every image" in capsys.readouterr().err
    assert finished(outputs) == []


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["baseline=grupdro"], "baseline=grupdro: no such choice. Did you mean groupdro?"),
        (["n_trials=0"], "n_trials=0: expected a whole number of at least 1"),
        (["seeds=[1,1]"], "seeds=[1, 1]: expected distinct whole numbers"),
        (["sampler=grid"], "sampler=grid: expected tpe or random"),
        (["fit.selection=oracle_test"], "looks at the test split, with which nothing may be tuned"),
        (["space.optimizer.lr.around=0.5"], "space.optimizer.lr"),
        (
            ["optimizer.lr=0.1", "optimizer.weight_decay=0"],
            "Every setting that could be tuned is typed. Leave one of these out: optimizer.lr, "
            "optimizer.weight_decay.",
        ),
    ],
)
def test_mistakes(
    words: list[str], why: str, outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tune", "dataset.scale=0.02", *words]) == 2
    assert why in " ".join(capsys.readouterr().err.split())
    assert not (outputs / "tune").exists()


def test_outputs_that_cannot_be_written(
    tmp_path: Path, trainings: Trainings, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    words = ["tune", "dataset.scale=0.02", f"paths.outputs={tmp_path / 'file'}"]
    assert main(words) == 6
    assert "a file is where a folder should be" in capsys.readouterr().err
    assert not trainings.done


def test_every_space_is_one_of_its_method() -> None:
    """The ends of each range are values that the method takes, and each file is of a baseline."""
    assert {p.stem for p in (conf_dir() / "space").glob("*.yaml")} <= set(BASELINES)
    for path in sorted((conf_dir() / "space").glob("*.yaml")):
        own = plain(OmegaConf.load(conf_dir() / "baseline" / path.name))
        found = dimensions(
            plain(OmegaConf.load(path)), {f"baseline.{k}": v for k, v in own.items()}
        )
        for number in range(4):
            tried = {
                key.partition(".")[2]: json.loads(d.texts[number % len(d.texts)])
                if isinstance(d, Choices)
                else (d.low, d.high)[number % 2]
                for key, d in found.items()
            }
            assert list(problems({"baseline": {**own, **tried}})) == [], path
            build({**own, **tried})


# --- hparams=FILE -----------------------------------------------------------------------------


@pytest.fixture
def values_file(tmp_path: Path) -> Path:
    """In a folder with a name that Hydra's grammar does not take without quotes."""
    path = tmp_path / "of mine (2)" / "groupdro.yaml"
    found = TunedValues(
        baseline="groupdro", preset="mini", values={"optimizer.lr": 0.03, "baseline.eta": 0.002}
    )
    write_values(path, found, "by hand")
    return path


def composed(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert main(["train", "--cfg", "job", *words]) == 0, capsys.readouterr().err
    return yaml.safe_load(capsys.readouterr().out)


def test_a_values_file_is_a_preset(
    values_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(values_file.parent)
    for name in (str(values_file), "groupdro.yaml", "./groupdro.yaml"):
        cfg = composed(capsys, f"hparams={name}")
        assert cfg["baseline"]["_target_"].endswith("GroupDRO")
        assert (cfg["optimizer"]["lr"], cfg["baseline"]["eta"]) == (0.03, 0.002)
        assert cfg["fit"]["steps"] == 300  # of the preset below it
    cfg = composed(capsys, f"hparams={values_file}", "baseline.eta=0.5")
    assert (cfg["optimizer"]["lr"], cfg["baseline"]["eta"]) == (0.03, 0.5)


def test_its_values_are_for_its_own_baseline_alone(
    values_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", f"hparams={values_file}", "baseline=jtt", *TINY]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert (
        "has values of groupdro, not of baseline=jtt. To find some: aspire tune baseline=jtt."
        in told
    )
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        word = f"hparams={values_file}"  # as for the ERM whose shortcuts are looked for
        cfg, chosen = compose_config("train", ["baseline=jtt", word])
        assert (cfg.optimizer.lr, cfg.baseline.upweight) == (0.05, 50.0)  # of hparams=mini
        cfg, chosen = compose_config("train", [word])
        assert (chosen["baseline"], cfg.optimizer.lr) == ("groupdro", 0.03)


def test_a_folder_has_the_values_of_several(
    values_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jtt = TunedValues(baseline="jtt", preset="mini", values={"baseline.upweight": 9.0})
    write_values(values_file.with_name("jtt.yaml"), jtt, "by hand")
    folder = f"hparams={values_file.parent}/"
    assert composed(capsys, folder, "baseline=jtt")["baseline"]["upweight"] == 9.0
    assert composed(capsys, folder, "baseline=groupdro")["baseline"]["eta"] == 0.002
    assert main(["train", folder, *TINY]) == 2  # the ERM that nobody typed
    assert "has values of groupdro, jtt, not of baseline=erm" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("baseline: erm\nvalues: {optimizer.lr: -1}\n", "optimizer.lr=-1: expected"),
        ("baseline: erm\nvalues: {baseline.nothing: 1}\n", "baseline.nothing"),
        (
            "baseline: grupdro\nvalues: {}\n",
            "baseline=grupdro: no such choice. Did you mean groupdro?",
        ),
        (
            "baseline: erm\npreset: nobody\nvalues: {}\n",
            "hparams=nobody: no such choice. Choices: mini, paper, unified",
        ),
        ("baseline: erm\nvalues: {baseline._target_: os.getcwd}\n", "at `key` in `$.values`"),
    ],
)
def test_a_file_that_is_none(
    text: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    assert main(["train", f"hparams={path}", *TINY]) == 2
    assert why in " ".join(capsys.readouterr().err.split())


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", f"hparams={tmp_path / 'x.yaml'}"]) == 2
    assert "x.yaml: there is no such file. Expected a preset" in capsys.readouterr().err
    assert main(["tune", f"hparams={tmp_path / 'x.yaml'}"]) == 2


def test_what_was_tuned_is_trained_with(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Really trained: the run of the best trial is what its values give, found and not repeated."""
    assert main(["tune", "baseline=groupdro", "n_trials=1", *TINY]) == 0
    tuned = sorted(outputs.glob("train/*/groupdro/none/*/result.json"))
    assert len(tuned) == 1
    path = values_of(outputs)
    capsys.readouterr()
    assert main(["train", f"hparams={path}", "seed=100", *TINY[:2]]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert f"seed 100: the values of {path} were tuned with it. Report other seeds." in out
    assert sorted(outputs.glob("train/*/groupdro/none/*/result.json")) == tuned
    assert "train hit groupdro + none, seed 100" in out
