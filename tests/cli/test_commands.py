"""The command line: help, near names, exit codes, and what a sweep does."""

import json
import shutil
import subprocess
import sys
from itertools import zip_longest
from pathlib import Path

import pandas as pd
import pytest
from hydra.core.global_hydra import GlobalHydra
from imported import heavy_imports_of

from aspire.cli import main
from aspire.cli._app import compose_config
from aspire.cli._overrides import initialized
from aspire.cli._verbs import VERBS
from aspire.confdir import conf_dir
from aspire.data.images import read_image
from aspire.errors import ConfigError

TINY = ["dataset.scale=0.02", "fit.steps=4", "fit.evaluations=2", "logger=none"]


@pytest.fixture(autouse=True)
def _outputs(tmp_path, monkeypatch, tiny_data):
    monkeypatch.setenv("ASPIRE_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("ASPIRE_DATA", str(tiny_data))


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from aspire.cli import main; main(['--help']); "
        "print(sorted({m.split('.')[0] for m in sys.modules} & "
        "{'torch', 'hydra', 'omegaconf', 'pandas', 'numpy', 'rich', 'PIL'}))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.splitlines()[-1] == "[]"
    assert all(f"  {verb} " in out.stdout for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_its_own_name(verb, capsys):
    assert main([verb, "--help"]) == 0
    assert f"aspire {verb}" in capsys.readouterr().out


def test_an_experiment_does_not_change_what_an_arm_is():
    with pytest.raises(ConfigError, match=r"augmentation=edits takes personaliser=edits, exp"):
        compose_config("train", ["experiment=quickstart", "augmentation=edits"])
    typed = ["personaliser=edits", "generator=edits"]
    for words in (["augmentation=edits"], ["experiment=quickstart", "augmentation=edits", *typed]):
        _, chosen = compose_config("train", words)
        assert (chosen["personaliser"], chosen["generator"]) == ("edits", "edits")
    compose_config("train", ["experiment=quickstart", "augmentation=duplicates"])
    compose_config("train", ["augmentation=edits", "personaliser=lora", "generator=text_to_image"])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["trian"], "no such verb. Did you mean train?"),
        (["train", "baseline=gropdro"], "Did you mean groupdro? Choices: "),
        (["train", "basline=erm"], "basline: no such key. Did you mean baseline?"),
        (["train", "optimizer.lrr=1"], "optimizer.lrr: no such key. Did you mean optimizer.lr?"),
        (["train", "fit.stps=3"], "Did you mean fit.steps?"),
        (["train", "-m", "dataset=waterbird,mini_waterbirds"], "Did you mean waterbirds?"),
        (["train", "hydra.rn.dir=x"], "Did you mean hydra.run.dir?"),
        (["train", "-m", "baseline=glob(zz*)"], "no choice matches. Choices: afr, "),
        (["train", "-m", "baseline=glob(*)", "fit.stps=3"], "Did you mean fit.steps?"),
        (["train", "waterbirds"], "waterbirds: expected KEY=VALUE"),
        (["train", "filter=[near_unifrm]"], "Did you mean near_uniform?"),
        (["run", "seds=[0]"], "Did you mean seeds?"),
        (["run", "seeds=[0,0]"], "expected distinct whole numbers"),
        (["run", "arms=[nonne]", *TINY], "augmentation=nonne: no such choice. Did you mean none?"),
        (["train", *TINY, "fit.steps=7"], "Try fit.steps=8"),
        (["train", "fit.selection=val_worst", *TINY], "Did you mean val_worst_"),
        (
            ["train", "baseline=groupdro", "baseline.eta=-1", *TINY],
            "baseline.eta=-1: expected a number of at least 0",
        ),
        (["train", "augmentation=aspire", "augmentation.share=2"], "expected a number between 0"),
        (["train", "dataset.scale=-1"], "dataset.scale=-1"),
        (["train", "optimizer.lr=fast", *TINY], "optimizer.lr=fast: expected a number above 0"),
        (["table", "nowhere"], "no finished training run below it"),
        (["table", "format=xls", "."], "expected"),
        (["evaluate", "nowhere"], "no result.json in it"),
        (["report", "nowhere"], "nowhere"),
        (["data", "shwo"], "Did you mean show?"),
    ],
)
def test_mistakes_are_answered_with_what_to_type(words, expected, capsys):
    assert main(words) == 2
    assert expected in capsys.readouterr().err


def test_missing_dataset_folder_is_a_data_error(capsys):
    assert main(["train", "dataset=waterbirds", "dataset.root=/nowhere"]) == 3
    assert "dataset.root=/nowhere: no such folder" in capsys.readouterr().err


def test_a_sweep_keeps_going_and_makes_one_folder_per_job(tmp_path, capsys):
    words = ["train", "-m", "seed=0,1", "baseline=erm,groupdro", "baseline.eta=-1"]
    assert main([*words[:-1], *TINY]) == 0
    results = list((tmp_path / "outputs" / "train").rglob("result.json"))
    assert len(results) == 4
    assert {json.loads(p.read_text())["seed"] for p in results} == {0, 1}
    for path in results:
        assert (path.parent / "config.yaml").is_file()
        assert len(list(path.parent.glob("checkpoints/*/metrics.csv"))) == 1
    capsys.readouterr()
    assert main(["table", str(tmp_path / "outputs" / "train"), "format=csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3  # head and two arms


def test_seed_0_is_a_seed_and_a_finished_run_is_found_again(capsys):
    assert main(["train", *TINY, "seed=0"]) == 0
    first = capsys.readouterr().out
    assert main(["train", *TINY]) == 0
    second = capsys.readouterr().out
    assert "train        run" in first
    assert "train        hit" in second
    # Where and how fast is not part of a run's identity.
    assert main(["train", *TINY, "trainer.num_workers=1", "trainer.threads=1"]) == 0
    assert "train        hit" in capsys.readouterr().out


def test_a_user_s_own_choice_needs_no_fork(tmp_path, capsys):
    own = tmp_path / "mine" / "baseline"
    own.mkdir(parents=True)
    (own / "patient.yaml").write_text("_target_: aspire.baselines.groupdro.GroupDRO\neta: 0.5\n")
    words = ["train", "--config-dir", str(tmp_path / "mine"), "--cfg", "job"]
    assert main([*words, "baseline=patient", "baseline.eta=0.25"]) == 0
    assert "eta: 0.25" in capsys.readouterr().out
    assert main([*words, "baseline=patent"]) == 2
    assert "Did you mean patient?" in capsys.readouterr().err


def test_a_finished_job_is_answered_without_what_trains(tmp_path, monkeypatch):
    assert main(["train", *TINY]) == 0
    (path,) = (tmp_path / "outputs" / "train").rglob("result.json")
    # how fast the machine is stands beside the result, never in it
    assert json.loads((path.parent / "environment.json").read_text())["yardstick"]["product"] > 0
    assert "yardstick" not in path.read_text()
    # composed once with the choices, to compare the keys, and by Hydra to learn the mode and to run
    composed = []
    with initialized():
        loader = type(GlobalHydra.instance().config_loader())
    real = loader.load_configuration

    def counted(self, config_name, overrides, *args, **options):
        composed.append(list(overrides))
        return real(self, config_name, overrides, *args, **options)

    monkeypatch.setattr(loader, "load_configuration", counted)
    assert main(["train", *TINY]) == 0
    assert composed == [["logger=none"], TINY, [*TINY, "hydra.mode=RUN"]]
    said, heavy = heavy_imports_of(["train", *TINY])
    assert "train        hit" in said
    assert heavy == set()


def test_evaluate_agrees_with_the_run(tmp_path, capsys):
    assert main(["train", *TINY]) == 0
    (path,) = (tmp_path / "outputs" / "train").rglob("result.json")
    assert main(["evaluate", str(path.parent)]) == 0
    (judged,) = (tmp_path / "outputs" / "evaluate").glob("*.json")
    judged = json.loads(judged.read_text())["metrics"]["test"]
    assert judged == json.loads(path.read_text())["metrics"]["test"]
    # The table beside it has a row for each image, from which the same follows by hand.
    (table,) = (tmp_path / "outputs" / "evaluate").glob("*.csv")
    table = pd.read_csv(table)
    right = table["class"] == table["predicted"]
    assert right.mean() == pytest.approx(judged["acc"])
    by_group = right.groupby(table["group"]).mean()
    assert by_group.min() == pytest.approx(judged["worst_group_acc"])


def test_predict_says_of_pictures_without_labels_what_the_run_says(tmp_path, capsys):
    assert main(["train", *TINY]) == 0
    (path,) = (tmp_path / "outputs" / "train").rglob("result.json")
    assert main(["evaluate", str(path.parent)]) == 0
    (judged,) = (tmp_path / "outputs" / "evaluate").glob("*.csv")
    judged = pd.read_csv(judged)
    folder = tmp_path / "photos" / "below"
    folder.mkdir(parents=True)
    for number, source in enumerate(judged["path"][:6]):
        shutil.copy(source, folder / f"{number}{Path(source).suffix}")
    (folder / "broken.png").write_bytes(b"no picture")
    capsys.readouterr()
    to = tmp_path / "said.parquet"
    assert main(["predict", str(path.parent), str(tmp_path / "photos"), f"to={to}"]) == 0
    out = capsys.readouterr().out
    assert "6 pictures, 1 left out" in out
    assert "broken.png" in out
    said = pd.read_parquet(to)
    assert [Path(p).stem for p in said["path"]] == list("012345")
    assert said["predicted"].tolist() == judged["predicted"][:6].tolist()
    classes = ["p_landbird", "p_waterbird"]
    assert said[classes].to_numpy() == pytest.approx(judged[classes].to_numpy()[:6], abs=1e-5)
    assert said[classes].sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-5)

    for words, expected in [
        ([str(tmp_path / "none")], "no such file or folder"),
        ([str(folder / "broken.png")], "none of 1 files is a picture"),
        ([str(folder), "to=said.xlsx"], "ends in .csv or .parquet"),
    ]:
        assert main(["predict", str(path.parent), *words]) in (2, 3)
        assert expected in capsys.readouterr().err
    words = ["dataset=folder", f"dataset.root={folder}"]
    assert main(["evaluate", str(path.parent), *words]) == 3
    assert "aspire predict RUN FOLDER" in capsys.readouterr().err


def test_no_spurious_feature_is_a_result(tmp_path, capsys):
    words = ["run", "seeds=[0]", "score.min_support=100000", *TINY]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "not run: erm + aspire, seed 0: no spurious feature found" in out
    (result,) = (tmp_path / "outputs" / "run").glob("*/result.json")
    content = json.loads(result.read_text())
    assert [a["arm"] for a in content["arms"]] == ["erm"]
    assert content["missing"][0]["reason"] == "no spurious feature found"
    assert (result.parent / "report.html").is_file()


def test_doctor_finds_this_installation_ready(capsys):
    assert main(["doctor", "--json", "network=false"]) == 0
    checks = json.loads(capsys.readouterr().out)
    assert {c["status"] for c in checks} <= {"ok", "note"}


def test_every_choice_composes_with_every_verb_that_takes_it():
    folders = sorted(p for p in conf_dir().iterdir() if p.is_dir())
    groups = {f.name: sorted(p.stem for p in f.glob("*.yaml")) for f in folders}
    groups.pop("space")  # of aspire tune alone, tests/cli/test_tune.py
    # These choose in other groups too. Of all others one each is taken at a time.
    alone = {group: groups.pop(group) for group in ("augmentation", "experiment", "hparams")}
    rows = zip_longest(*groups.values())
    together = [{g: c for g, c in zip(groups, row, strict=True) if c} for row in rows]
    together += [{group: choice} for group, choices in alone.items() for choice in choices]
    needed = {"paper": "dataset=waterbirds", "image_text": "captioner.model=a/model"}
    for choices in together:
        words = [f"{group}={choice}" for group, choice in choices.items()]
        words += [needed[choice] for choice in choices.values() if choice in needed]
        cfg, chosen = compose_config("train", words)
        for group, choice in choices.items():
            assert chosen[group] in (choice, f"['{choice}']", f"[{choice}]"), (group, choice)
        assert Path(str(cfg.paths.outputs)).name == "outputs"


def test_a_key_never_reaches_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef0123456789abcdef01234567")
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert main(["train", *(w for w in TINY if w != "logger=none")]) == 0
    written = [p for p in (tmp_path / "outputs").rglob("*") if p.is_file()]
    assert any(p.suffix == ".wandb" for p in written)
    assert not [p for p in written if b"0123456789abcdef0123456789abcdef01234567" in p.read_bytes()]


def test_a_finished_run_is_selected_anew_without_training(tmp_path, capsys):
    words = ["train", "dataset.scale=0.02", "fit.steps=12", "fit.evaluations=6", "logger=none"]
    assert main([*words, "fit.selection=val_acc"]) == 0
    (path,) = (tmp_path / "outputs" / "train").rglob("result.json")
    result = json.loads(path.read_text())
    history = {int(row["step"]): row for row in result["history"]["erm"]}
    capsys.readouterr()
    for rule, file in result["selectable"].items():
        assert main(["evaluate", str(path.parent), "split=val", f"selection={rule}"]) == 0
        found = [
            json.loads(p.read_text())
            for p in (tmp_path / "outputs" / "evaluate").glob("*.json")
            if json.loads(p.read_text())["selection"] == rule
        ]
        (one,) = found
        step = int(file.split("step-")[1].split(".")[0])
        assert one["metrics"]["val"]["acc"] == pytest.approx(history[step]["val/acc"])
    assert main(["evaluate", str(path.parent), "selection=oracle_test"]) == 2
    assert "cannot be selected by it. Expected one of val_worst_group" in capsys.readouterr().err


def test_a_finished_sweep_is_shown_under_other_rules_without_training(
    tmp_path, capsys, caplog, monkeypatch
):
    words = ["-m", "baseline=erm,dfr", "seed=0,1", "dataset.scale=0.02", "fit.steps=12"]
    words += ["fit.evaluations=6", "fit.selection=val_acc", "logger=none"]
    words += [f"hydra.sweep.dir={tmp_path / 'one'}"]
    assert main(["train", *words]) == 0
    paths = list((tmp_path / "outputs" / "train").rglob("result.json"))
    results = [json.loads(p.read_text()) for p in paths]
    erm = [r for r in results if r["baseline"] == "erm"]
    assert (len(erm), len(results)) == (2, 4)
    trained = {p.parent: sorted(p.parent.rglob("*")) for p in paths}
    monkeypatch.setattr("aspire.experiment.Experiment.train", None)
    folder = str(tmp_path / "one")
    asked = ["table", folder, "split=val", "metric=acc", "format=json"]
    for again in (False, True):
        for rule in ("val_acc", "val_worst_class", "last"):
            capsys.readouterr()
            if again:  # what was judged once is read
                monkeypatch.setattr("aspire.cli.evaluate.judged", None)
                monkeypatch.setattr("aspire.cli._reselect.judged", None)
            assert main([*asked, f"selection={rule}"]) == 0
            out = capsys.readouterr().out
            (row,) = (r for r in json.loads(out) if r["arm"] == "erm")
            # the evaluation that the rule would have taken, from the curve
            expected = []
            for result in erm:
                history = {int(r["step"]): r["val/acc"] for r in result["history"]["erm"]}
                step = int(result["selectable"][rule].split("step-")[1].split(".")[0])
                expected.append(history[step])
            assert row["selection"] == rule
            assert row["acc"]["mean"] == pytest.approx(sum(expected) / 2)
            # the last layer of DFR has no curve: nothing else could have been selected
            told = "its last layer was made after training (dfr)" in caplog.text
            assert told == (rule != "val_acc")
            caplog.clear()
    assert {f: sorted(f.rglob("*")) for f in trained} == trained
    assert main(["table", folder, "selection=val_wrst_group"]) == 2
    assert "Did you mean val_worst_group" in capsys.readouterr().err


def test_a_generated_image_is_made_again_from_its_record(tmp_path, capsys):
    found = ["score.min_support=2", "score.min_donors=2", "score.max_q=1", "score.min_effect=0"]
    few = [*TINY, *found, "filter=[]", "fit.steps=8"]
    assert main(["generate", *few]) == 0
    (first, *_) = sorted((tmp_path / "outputs" / "artifacts" / "generate").glob("*/files/*/*.png"))
    capsys.readouterr()
    assert main(["generate", "again", str(first), *few]) == 0
    out = capsys.readouterr().out
    assert "largest difference 0 of 255" in out
    (again,) = (tmp_path / "outputs" / "again").glob("*.png")
    assert (read_image(again) == read_image(first)).all()
    # other images, other settings, no image at all
    for words, expected in (
        ([str(first), *few, "dataset.seed=1"], "made for other images"),
        ([str(first), *few, "generator.max_object=0.6"], "[0.01, 0.7] then, [0.01, 0.6] now"),
        (["generated-999-00000", *few], "none of 1 generated sets"),
        ([*few], "which image?"),
    ):
        assert main(["generate", "again", *words]) != 0
        assert expected in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["-m", "--cfg", "job"], "expected one of them"),
        (["--info", "all", "--multirun"], "expected one of them"),
        (["--resolve"], "expected --cfg job beside it"),
    ],
)
def test_options_that_hydra_does_not_take_together(options, expected, capsys):
    assert main(["train", "seed=0,1" if len(options) > 1 else "seed=0", *options]) == 2
    assert expected in capsys.readouterr().err
