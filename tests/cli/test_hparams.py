"""The presets hparams=unified, paper and mini, the sources of their values, and the verb."""

import json
import math
import re
from pathlib import Path

import pytest
import torch
from hydra import initialize_config_dir
from omegaconf import OmegaConf

from aspire.cli import main
from aspire.cli._app import build, compose_config, plain
from aspire.cli._comments import entries
from aspire.cli.hparams import PUBLISHED, settings
from aspire.confdir import conf_dir
from aspire.errors import ConfigError
from aspire.training.settings import FitSettings

HPARAMS = conf_dir() / "hparams"
BENCHMARKS = ("waterbirds", "celeba", "spuco_dogs", "hard_imagenet")
BASELINES = sorted(p.stem for p in (conf_dir() / "baseline").glob("*.yaml"))
DATASETS = sorted(p.stem for p in (conf_dir() / "dataset").glob("*.yaml"))
MINIATURES = [d for d in DATASETS if d.startswith("mini_")]

# What a source may say. "ours" is a choice of this project, and says so.
SOURCES = {
    "paper": r"\[[VSR]\]|^no published value; .{10,}|^ours\b.{5,}",
    "unified": r"\[[VSR]\]|^ours: .{5,}|^tuned here",
    "mini": r"^default of |^tuned here",
}


def read(path: Path) -> list[tuple[str, str, str]]:
    """Key, value and the comment beside it, which is its source."""
    return [(e.key, e.value, e.beside) for e in entries(path) if e.value is not None]


@pytest.fixture(autouse=True)
def _outputs(tmp_path, monkeypatch, tiny_data):
    monkeypatch.setenv("ASPIRE_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("ASPIRE_DATA", str(tiny_data))


@pytest.fixture
def hydra():
    """Initialised once for many compositions."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        yield


def files(preset):
    return sorted((HPARAMS / preset).rglob("*.yaml"))


def leaves(node, prefix=""):
    """Key and value of everything in a container, read by another reader than the verb's."""
    for key, value in node.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


# --- sources ----------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", SOURCES)
def test_every_value_names_its_source(preset):
    without = [
        f"{path.relative_to(HPARAMS)}: {key}: {value}  # {source}"
        for path in [HPARAMS / f"{preset}.yaml", *files(preset)]
        for key, value, source in read(path)
        if not re.search(SOURCES[preset], source)
    ]
    assert not without, "values without a source:\n" + "\n".join(without)


def test_no_value_escapes_the_reader():
    for path in (p for preset in SOURCES for p in files(preset)):
        found = {key: value for key, value, _ in read(path)}
        expected = dict(leaves(OmegaConf.to_container(OmegaConf.load(path))))
        assert set(found) == set(expected), path
        for key, value in expected.items():
            assert OmegaConf.create(f"a: {found[key]}").a == value, (path, key)


def test_a_value_without_a_comment_has_no_source(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(
        "# @package _global_\n# head\ndefaults:\n  - override /model: resnet50  # a model\n"
        "fit:\n  steps: 10\n  # not beside it\n  note: 'a # b'  # c # d\n"
        "baseline:\n  grid:\n    [1, 2,\n     3]  # of\n"
    )
    assert list(read(path)) == [
        ("model", "resnet50", "a model"),
        ("fit.steps", "10", ""),
        ("fit.note", "a # b", "c # d"),
        ("baseline.grid", "[1, 2, 3]", "of"),
    ]


def test_every_pair_has_a_preset():
    """A new method or dataset needs its presets; this says which."""
    wanted = [f"paper/{d}/{b}" for d in BENCHMARKS for b in BASELINES]
    wanted += [f"unified/{d}" for d in DATASETS]
    wanted += [f"mini/{b}" for b in BASELINES]
    missing = [w for w in wanted if not (HPARAMS / f"{w}.yaml").is_file()]
    assert not missing
    assert len(files("paper")) == len(BENCHMARKS) * len(BASELINES)


def test_published_settings_are_complete():
    wanted = {f"fit.{k}" for k in ("steps", "evaluations", "batch_size", "selection", "augment")}
    wanted |= {"optimizer.lr", "optimizer.weight_decay"}
    for path in files("paper"):
        node = OmegaConf.to_container(OmegaConf.load(conf_dir() / "baseline" / path.name))
        own = {f"baseline.{k}" for k in node if k != "_target_"}
        found = {key for key, _, _ in read(path)} - {"fit.accumulate", "scheduler.path"}
        if path.parent.name in ("waterbirds", "celeba"):  # whose views somebody has published
            wanted |= {"model.view"}
        else:
            wanted -= {"model.view"}
        assert found == wanted | own, path


def test_steps_are_the_published_epochs():
    """steps = epochs * ceil(images / batch), with the numbers that the comment gives."""
    pattern = r"^((?:\d+ \+ )?\d+) epochs of ([\d,]+) images(?:, 80 %,)? in batches of (\d+)"
    checked = 0
    for path in files("paper"):
        steps, source = next((v, s) for k, v, s in read(path) if k == "fit.steps")
        if match := re.match(pattern, source):
            epochs, images, batch = match.groups()
            images = int(images.replace(",", ""))
            total = sum(int(e) for e in epochs.split("+"))
            assert int(steps) == total * math.ceil(images / int(batch)), path
            published = OmegaConf.load(conf_dir() / "dataset" / f"{path.parent.name}.yaml")
            train = sum(published.published.train.values())
            assert images == (math.floor(0.8 * train) if "80 %" in source else train), path
            checked += 1
    assert checked >= 20


def test_the_protocols_of_the_authors():
    """What `reference/parity` found to be otherwise; the table is in tests/README.md."""
    values = {(s.dataset, s.baseline, s.key): s.value for s in settings("paper")}
    for method in BASELINES:
        assert values["waterbirds", method, "model.view"] == "squash"
        wanted = "squash" if method in ("dfr", "afr") else "178"
        assert values["celeba", method, "model.view"] == wanted
    for dataset in BENCHMARKS:
        assert values[dataset, "jtt", "baseline.enlarged"] == "true"
        assert values[dataset, "dfr", "baseline.base_selection"] == "last"
        assert values[dataset, "afr", "baseline.base_selection"] == "last"
        assert (dataset, "afr", "scheduler.path") in values or dataset != "celeba"
    ssa = [values["waterbirds", "ssa", f"optimizer.{k}"] for k in ("lr", "weight_decay")]
    assert ssa == ["1e-3", "1e-4"]
    assert values["waterbirds", "ssa", "fit.steps"] == "1520"
    read_there = [s for s in settings("paper") if "fairness_ssl" in s.source and "[V]" in s.source]
    assert [s.key for s in read_there if "as group_DRO [V]" not in s.source] == []


@pytest.mark.usefixtures("hydra")
def test_a_pair_with_a_schedule_of_its_own():
    words = ["dataset=celeba", "baseline=afr", "hparams=paper"]
    cfg, _ = compose_config("train", words)
    assert cfg.scheduler.path == "aspire.classification.schedules.cosine_to_hundredth"
    with pytest.raises(ConfigError, match=r"scheduler=cosine would be left out.*scheduler\.path="):
        compose_config("train", [*words, "scheduler=cosine"])


@pytest.mark.usefixtures("hydra")
def test_lff_as_its_authors_ran_it():
    cfg, chosen = compose_config("train", ["experiment=lff_celeba"])
    assert (chosen["dataset"], chosen["baseline"], chosen["model"]) == ("celeba", "lff", "resnet18")
    assert (cfg.optimizer._target_, cfg.optimizer.lr) == ("torch.optim.Adam", 1e-4)
    assert (cfg.fit.frozen, cfg.fit.batch_size, cfg.fit.steps) == (True, 256, 127200)
    build(cfg.optimizer)([torch.nn.Parameter(torch.zeros(1))])


# --- composing --------------------------------------------------------------------------------


@pytest.mark.parametrize("dataset", BENCHMARKS)
@pytest.mark.usefixtures("hydra")
def test_paper_composes_for_every_pair(dataset):
    for baseline in BASELINES:
        words = [f"dataset={dataset}", f"baseline={baseline}", "hparams=paper"]
        cfg, chosen = compose_config("train", words)
        fits(cfg)
        assert (chosen["model"], chosen["scheduler"]) == ("resnet50", "constant")
        takes(cfg, HPARAMS / "paper" / dataset / f"{baseline}.yaml")
        assert cfg.fit.evaluations <= 100


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.usefixtures("hydra")
def test_unified_composes_for_every_dataset(dataset):
    """And, over the datasets, for every method."""
    start = 2 * DATASETS.index(dataset)
    for baseline in (BASELINES[(start + i) % len(BASELINES)] for i in range(2)):
        cfg, chosen = compose_config("train", [f"dataset={dataset}", f"baseline={baseline}"])
        fits(cfg)
        assert chosen["hparams"] == "unified"
        assert chosen["model"] == "small_cnn"  # the same for all methods, as are these:
        takes(cfg, HPARAMS / "unified" / f"{dataset}.yaml")
        assert cfg.baseline == OmegaConf.load(conf_dir() / "baseline" / f"{baseline}.yaml")


@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.usefixtures("hydra")
def test_mini_composes_for_every_method(baseline):
    """And, over the methods, for every miniature."""
    dataset = MINIATURES[BASELINES.index(baseline) % len(MINIATURES)]
    cfg, _ = compose_config("train", [f"dataset={dataset}", f"baseline={baseline}", "hparams=mini"])
    fits(cfg)
    own = dict(leaves(OmegaConf.to_container(OmegaConf.load(HPARAMS / f"mini/{baseline}.yaml"))))
    takes(cfg, HPARAMS / "unified" / f"{dataset}.yaml", but=own)
    takes(cfg, HPARAMS / "mini" / f"{baseline}.yaml")


def takes(cfg, path, but=()):
    """Every value of the file has arrived, unless another file sets it again."""
    for key, value in leaves(OmegaConf.to_container(OmegaConf.load(path))):
        assert key in but or OmegaConf.select(cfg, key) == value, (path, key)


def fits(cfg):
    """The settings fit together and are ones that the method takes."""
    FitSettings(**plain(cfg.fit))
    assert cfg.fit.steps % cfg.fit.evaluations == 0
    build(cfg.baseline)


@pytest.mark.usefixtures("hydra")
def test_the_command_line_wins():
    words = ["dataset=waterbirds", "baseline=groupdro", "hparams=paper"]
    typed = ["fit.steps=8", "fit.augment=true", "optimizer.lr=0.5", "baseline.eta=0.25"]
    cfg, chosen = compose_config("train", [*words, *typed, "model=resnet18", "scheduler=cosine"])
    assert (cfg.fit.steps, cfg.fit.augment, cfg.optimizer.lr) == (8, True, 0.5)
    assert (cfg.baseline.eta, cfg.baseline.adjustment) == (0.25, 0.0)
    assert cfg.fit.batch_size == 128  # what was not typed is the preset's
    assert (chosen["model"], chosen["scheduler"]) == ("resnet18", "cosine")
    assert cfg.model.architecture == "resnet18.tv_in1k"
    assert cfg.scheduler.path.endswith(".cosine")
    cfg, _ = compose_config("train", ["hparams=mini", "baseline=jtt", "baseline.upweight=3"])
    assert (cfg.baseline.upweight, cfg.optimizer.lr) == (3, 0.05)


@pytest.mark.usefixtures("hydra")
def test_unified_is_what_there_is_unless_another_is_asked_for():
    assert compose_config("train", [])[0] == compose_config("train", ["hparams=unified"])[0]


# --- pairs without a preset -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            [],
            "hparams=paper has no values for baseline=erm on dataset=mini_waterbirds, only for "
            "celeba, hard_imagenet, spuco_dogs, waterbirds; take hparams=mini or unified.",
        ),
        (["dataset=csv", "baseline=jtt"], "for baseline=jtt on dataset=csv, only for celeba"),
    ],
)
def test_a_pair_that_nobody_published_is_refused(words, expected, capsys):
    assert main(["train", "hparams=paper", *words]) == 2
    assert expected in " ".join(capsys.readouterr().err.split())
    with pytest.raises(ConfigError, match="only for celeba"):
        compose_config("train", ["hparams=paper", *words])


def test_a_sweep_runs_the_pairs_there_are(capsys):
    """The default choices have no preset either, and are what Hydra composes a sweep with."""
    words = ["train", "-m", "hparams=paper", "dataset=mini_celeba,waterbirds", "baseline=erm,jtt"]
    assert main([*words, "dataset.root=/nowhere"]) in (2, 3)
    err = capsys.readouterr().err
    assert err.count("hparams=paper has no values") == 2  # for the miniature
    assert err.count("dataset.root=/nowhere: no such folder") == 2  # for Waterbirds


def test_presets_of_one_s_own_need_no_fork(tmp_path, capsys):
    mine = tmp_path / "mine"
    own = {
        "dataset/pets.yaml": (conf_dir() / "dataset" / "waterbirds.yaml").read_text(),
        "baseline/patient.yaml": "_target_: aspire.baselines.erm.ERM\n",
        "hparams/paper/pets/erm.yaml": "# @package _global_\nfit: {steps: 44, evaluations: 4}\n",
        "hparams/paper/waterbirds/patient.yaml": "# @package _global_\nfit: {steps: 66}\n",
        "hparams/thorough.yaml": "# @package _global_\nfit: {steps: 5000}\n",
    }
    for name, text in own.items():
        (mine / name).parent.mkdir(parents=True, exist_ok=True)
        (mine / name).write_text(text)

    def steps(*words):
        assert main(["train", "--config-dir", str(mine), "--cfg", "job", *words]) == 0
        return int(re.search(r"^  steps: (\d+)", capsys.readouterr().out, re.M).group(1))

    assert steps("dataset=pets") == 300  # without any preset: conf/base.yaml
    assert steps("dataset=pets", "hparams=paper") == 44
    assert steps("dataset=waterbirds", "baseline=patient", "hparams=paper") == 66
    assert steps("hparams=thorough") == 5000
    assert main(["train", "--config-dir", str(mine), "dataset=pets", "baseline=patient",
                 "hparams=paper"]) == 2  # fmt: skip
    assert "on dataset=pets, only for erm there; take" in capsys.readouterr().err


# --- the verb ---------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [80, 120])
def test_tables_fit_the_terminal(width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    for words in ([], ["paper", "dataset=celeba"], ["mini"]):
        assert main(["hparams", *words]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert max(len(line.rstrip()) for line in lines) <= width, words


def test_everything_at_a_glance(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["hparams"]) == 0
    out = capsys.readouterr().out
    for preset in SOURCES:
        assert f"hparams={preset}: " in out
    assert all(d in out for d in DATASETS)
    assert all(re.search(rf"^{b}\b", out, re.M) for b in BASELINES)
    jtt = out[out.index("\njtt ") :].splitlines()[1:4]
    waterbirds = re.split(r"\s{2,}", jtt[0].strip()).index("22,500 x 64")
    rows = [re.split(r"\s{2,}", line.strip()) for line in jtt]
    assert rows[1][waterbirds - 1] == "1e-5, 1.0"
    assert rows[2][waterbirds - 1] == "published 10/11"


def test_details_give_the_source_of_each_value(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["hparams", "preset=paper", "dataset=waterbirds", "baseline=jtt"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"baseline\.upweight +101\.0 +lambda_up = 100 copies .*jtt README \[V\]", out)
    assert re.search(r"^model +resnet50 ", out, re.M)
    assert "lisa" not in out
    assert main(["hparams", "paper", "baseline=afr", "dataset=waterbirds"]) == 0
    assert "33: 4.0, 4.5, ..., 20.0" in capsys.readouterr().out


def test_for_other_programs(capsys):
    assert main(["hparams", "format=json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert list(content) == ["unified", "paper", "mini"]
    assert content["paper"][-1].keys() == {"dataset", "baseline", "key", "value", "source"}
    assert len(content["paper"]) == len(settings("paper")) > 500
    assert main(["hparams", "mini", "baseline=jtt", "format=md"]) == 0
    assert "| baseline.upweight | " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["ppaer"], "Did you mean paper?"),
        (["paper", "format=xls"], "expected rich, md or json"),
        (["paper", "dataset=csv"], "has nothing for dataset=csv. It has celeba, hard_imagenet"),
        (["paper", "dataset=waterbird"], "Did you mean waterbirds?"),
        (["paper", "baseline=jjt"], "Did you mean jtt?"),
    ],
)
def test_mistakes(words, expected, capsys):
    assert main(["hparams", *words]) == 2
    assert expected in " ".join(capsys.readouterr().err.split())


def test_tags_are_explained_where_they_are_used():
    text = Path(HPARAMS / "paper.yaml").read_text()
    used = {m for p in files("paper") for *_, s in read(p) for m in PUBLISHED.findall(s)}
    assert used <= set(PUBLISHED.findall(text))
