"""What W&B is given by a sweep: read back from disk, and with servers that do not work."""

from __future__ import annotations

import json
import shutil
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
import wandb
import yaml
from PIL import Image
from wandb_file import Run, read_runs

from aspire.cli import main
from aspire.reporting import wandb_run
from aspire.session import new_session, session

HERE = Path(__file__).parent
TINY = [
    "dataset.scale=0.02", "fit.steps=4", "fit.evaluations=2", "trainer.threads=1",
    "score.min_support=2", "score.min_donors=2", "score.max_q=1", "score.min_effect=-1",
    "stage.generate.per_real=0.4", "stage.edit.images_per_class=20", "stage.filter.min_kept=0",
]  # fmt: skip
pytestmark = pytest.mark.timeout(900)  # several jobs in one fixture
KEY = "0123456789abcdef0123456789abcdef01234567"
SECRETS = (KEY, "sk-this-is-secret", "hf_this_is_secret")


@pytest.fixture(scope="module")
def environment(tiny_data):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASPIRE_DATA", str(tiny_data))
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_API_KEY", KEY)
        patch.setenv("OPENAI_API_KEY", "sk-this-is-secret")
        patch.setenv("HF_TOKEN", "hf_this_is_secret")
        patch.syspath_prepend(str(HERE))
        yield patch


@pytest.fixture(scope="module")
def sweep(environment, tmp_path_factory) -> Path:
    """An outputs folder: ERM and JTT, without and with ASPIRE, and a job that breaks."""
    outputs = tmp_path_factory.mktemp("wandb") / "outputs"
    environment.setenv("ASPIRE_OUTPUTS", str(outputs))
    words = ["train", "-m", f"hydra.sweep.dir={outputs}/sweeps/mine", *TINY]
    assert main([*words, "baseline=erm,jtt"]) == 0
    assert main([*words, "augmentation=aspire"]) == 0
    assert main([*words, "seed=1", "baseline._target_=breaking.BreakingERM"]) == 1
    return outputs


@pytest.fixture(scope="module")
def runs(sweep) -> list[Run]:
    return read_runs(sweep)


def result_of(run: Run) -> dict:
    return json.loads((run.folder.parents[1] / "result.json").read_text())


def one(runs: list[Run], **wanted) -> Run:
    (found,) = [r for r in runs if all(r.config.get(k) == v for k, v in wanted.items())]
    return found


def test_one_run_per_job_that_says_what_it_is(runs):
    assert Counter((r.config["arm"], r.config["seed"]) for r in runs) == {
        ("erm", 0): 1,
        ("erm + aspire", 0): 1,
        ("jtt", 0): 1,
        ("erm", 1): 1,
    }
    assert len({r.id for r in runs}) == 4
    assert {(r.group, r.job_type) for r in runs} == {("mine", "train")}
    run = one(runs, arm="erm + aspire")
    assert run.name == "mini_waterbirds-erm-aspire-s0"
    assert set(run.tags) == {"mini_waterbirds", "erm", "small_cnn", "aspire", "mine"}
    assert run.config["sweep"] == "mine"
    assert run.config["settings"]["fit"]["steps"] == 4


def test_every_run_is_finished_and_a_failed_job_says_so(runs):
    assert {(r.config["seed"], r.exit_code) for r in runs} == {(0, 0), (1, 1)}
    assert "test/acc" not in one(runs, seed=1).summary


def test_metrics_have_their_fixed_names(runs):
    for run in (r for r in runs if r.exit_code == 0):
        result = result_of(run)
        test = result["metrics"]["test"]
        for name in ("worst_group_acc", "worst_group", "acc", "acc_adjusted", "acc_balanced"):
            assert run.summary[f"test/{name}"] == test[name]
        for name, group in test["groups"].items():
            assert run.summary[f"test/group/{name}/acc"] == group["acc"]
        history = list(result["history"].values())[-1]
        for name in ("val/worst_group_acc", "val/acc", "val/group/landbird/water/acc"):
            values = {int(row["step"]): row[name] for row in history}
            assert run.curve(name) == pytest.approx(values)
            assert name in run.best
            assert run.summary[name]["max"] == pytest.approx(max(values.values()))
        assert run.summary["val/worst_group"] in test["groups"]


def test_an_erm_that_a_method_starts_from_has_names_of_its_own(runs):
    run = one(runs, arm="jtt")
    first = result_of(run)["history"]["erm"]
    assert run.curve("erm/val/acc") == pytest.approx(
        {int(row["step"]): row["val/acc"] for row in first}
    )


def test_digests_of_everything_are_in_the_configuration(runs, sweep):
    plain, run = one(runs, arm="erm", seed=0), one(runs, arm="erm + aspire")
    result = result_of(run)
    assert plain.config["digests"].keys() == {"dataset", "weights"}
    digests = run.config["digests"]
    assert digests["dataset"] == result["dataset_digest"]
    assert digests["generated"] == result["generated_digest"]
    for stage in ("caption", "extract", "edit", "score", "discover", "generate", "filter"):
        manifests = [json.loads(p.read_text()) for p in sweep.glob(f"artifacts/{stage}/*/manif*")]
        assert digests[f"stage/{stage}"] in [m["digest"] for m in manifests]


def test_features_are_a_table(runs, sweep):
    table = one(runs, arm="erm + aspire").table("features")
    (path,) = sweep.glob("artifacts/discover/*/records.jsonl")
    features = [json.loads(line) for line in path.read_text().splitlines()]
    names = ["landbird", "waterbird"]
    got = [(row[0], row[1], row[2], row[6]) for row in table["data"]]
    assert got == [(names[f["y"]], f["rank"], f["phrase"], f["flips"]) for f in features]
    assert "features" not in one(runs, arm="erm", seed=0).summary


def test_generated_images_are_grids_with_reasons(runs, sweep):
    run = one(runs, arm="erm + aspire")
    (path,) = sweep.glob("artifacts/filter/*/records.jsonl")
    decisions = [json.loads(line) for line in path.read_text().splitlines()]
    reasons = Counter(d["reason"] for d in decisions if not d["kept"])
    for reason, number in reasons.items():
        assert run.summary[f"generated/rejected/{reason}/n"] == number
    kept = [k for k in run.summary if k.startswith("generated/kept/") and not k.endswith("/n")]
    assert kept
    assert run.summary["generated/kept/n"] == sum(d["kept"] for d in decisions)
    (path,) = sweep.glob("artifacts/nearest/*/records.jsonl")
    real = {json.loads(line)["real_id"] for line in path.read_text().splitlines()}
    near = [k for k in run.summary if k.startswith("generated/nearest/")]
    assert {k.split("/")[2] for k in near} == {k.split("/")[2] for k in kept}
    said = [c.split("| ")[1].split(",")[0] for k in near for c in run.summary[k]["captions"]]
    assert set(said) == real
    for key in [*kept, *near, *(f"generated/rejected/{r}" for r in reasons)]:
        assert len(run.summary[key]["captions"]) == len(run.images(key))
        for file in run.images(key):
            with Image.open(file) as image:
                image.load()


def test_data_are_artifacts_by_digest_not_copies(runs):
    run = one(runs, arm="erm + aspire")
    result = result_of(run)
    dataset = run.artifacts["dataset-mini_waterbirds"]
    assert dataset["type"] == "dataset"
    assert dataset["metadata"]["digest"] == result["dataset_digest"]
    generated = run.artifacts["generated-mini_waterbirds-s0"]
    assert generated["metadata"]["digest"] == result["generated_digest"]
    assert generated["metadata"]["stages"]["filter"]["records"] > 0
    assert all(size < 100_000 for a in (dataset, generated) for _, size in a["files"])


def test_no_secret_is_written(runs, sweep):
    assert wandb_run.without_secrets({"a": [{"api_key": 1, "b": 2}], "token": 3}) == {
        "a": [{"b": 2}]
    }
    for path in (p for p in sweep.rglob("*") if p.is_file() and "cache" not in p.parts):
        content = path.read_bytes()
        assert not any(secret.encode() in content for secret in SECRETS), path


def test_a_finished_sweep_opens_no_run_again(environment, sweep, runs):
    environment.setenv("ASPIRE_OUTPUTS", str(sweep))
    assert main(["train", "augmentation=aspire", *TINY]) == 0
    assert len(read_runs(sweep)) == len(runs)


# --- later: sync, table, dashboard ---------------------------------------------------------------


def test_jobs_without_wandb_are_written_from_their_results(environment, sweep, tmp_path, capsys):
    environment.setenv("ASPIRE_OUTPUTS", str(tmp_path))
    assert main(["train", "baseline=jtt", "logger=none", *TINY]) == 0
    (folder,) = (tmp_path / "train").glob("*/jtt/*/*")
    assert not read_runs(tmp_path)
    from aspire.reporting.wandb_sync import moved, write_run

    write_run(folder, wandb_run.Place(), "mine")
    wandb.teardown()  # waits until everything is on disk
    (again,) = read_runs(tmp_path)
    before = one(read_runs(sweep), arm="jtt")
    assert again.id == before.id
    for name in ("config", "tags", "name", "group", "exit_code"):
        mine, other = getattr(again, name), getattr(before, name)
        if name == "config":
            mine, other = (
                {k: v for k, v in c.items() if k != "environment"} for c in (mine, other)
            )
        assert mine == other, name
    for name in ("val/acc", "erm/val/acc"):
        assert again.curve(name) == pytest.approx(before.curve(name), abs=1e-6)
    assert not moved(again.folder)


def test_sync_needs_an_account_and_never_asks(environment, sweep, capsys, monkeypatch, tmp_path):
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("HOME", str(tmp_path))
    environment.setenv("ASPIRE_OUTPUTS", str(sweep))
    assert main(["wandb", "sync", str(sweep / "sweeps" / "mine"), "dry_run=true"]) == 0
    assert "4 offline runs to upload" in capsys.readouterr().out
    assert main(["wandb", "sync", str(sweep)]) == 2
    assert "Type wandb login, or set WANDB_API_KEY" in capsys.readouterr().err


def test_runs_of_a_personalisation_are_uploaded_too(sweep, tmp_path, capsys):
    outputs = shutil.copytree(sweep, tmp_path / "outputs")
    run = outputs / "personalised" / "0a1b" / "wandb" / "offline-run-20260101_000000-x"
    run.mkdir(parents=True)
    (run / "run-x.wandb").write_bytes(b"")
    assert main(["wandb", "sync", str(outputs), "dry_run=true"]) == 0
    assert str(run) in capsys.readouterr().out.replace("\n", "")


def test_a_server_that_is_not_there_is_said_at_once(sweep, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    wandb.teardown()
    assert main(["wandb", "sync", str(sweep / "sweeps" / "mine")]) == 5
    assert "http://127.0.0.1:9 does not answer" in capsys.readouterr().err
    wandb.teardown()


def test_a_moved_run_is_written_anew_before_its_upload(sweep, runs, tmp_path):
    from aspire.reporting.wandb_sync import moved, offline_runs, write_again

    before = one(runs, arm="erm + aspire")
    folder = before.folder.parents[1]
    assert not moved(before.folder)
    shutil.copytree(folder, tmp_path / "elsewhere")
    (run,) = offline_runs(tmp_path / "elsewhere")
    assert moved(run)  # W&B would look for its artifacts where they were
    write_again(run, wandb_run.Place(), "mine")
    wandb.teardown()
    (again,) = read_runs(tmp_path)
    assert not moved(again.folder)
    assert again.summary["test/acc"] == before.summary["test/acc"]


def test_the_table_of_a_sweep_is_a_run_with_gains(environment, sweep, runs):
    from aspire.reporting.wandb_sync import write_table

    written = write_table(sweep / "sweeps" / "mine", wandb_run.Place(), ["worst_group_acc", "acc"])
    wandb.teardown()
    (run,) = [r for r in read_runs(sweep / "sweeps") if r.folder == written]
    assert (run.job_type, run.group) == ("table", "mine")
    erm, aspire = (
        result_of(one(runs, arm=arm, seed=0))["metrics"]["test"]["acc"]
        for arm in ("erm", "erm + aspire")
    )
    gain = run.summary["gain/acc/mini_waterbirds/erm + aspire"]
    assert gain == pytest.approx(aspire - erm)
    table = run.table("table")
    assert table["columns"][:2] == ["baseline", "augmentation"]
    arms = {("erm", "none"), ("erm", "aspire"), ("jtt", "none")}
    assert {tuple(row[:2]) for row in table["data"]} == arms


def test_the_dashboard_compares_what_there_is(environment, sweep, capsys, monkeypatch):
    pytest.importorskip("wandb_workspaces")
    monkeypatch.delenv("WANDB_API_KEY")
    environment.setenv("ASPIRE_OUTPUTS", str(sweep))
    assert main(["wandb", "dashboard", str(sweep / "sweeps" / "mine"), "dry_run=true"]) == 0
    spec = json.loads(capsys.readouterr().out)
    assert spec["displayName"] == "ASPIRE: mine"
    grids = [b["metadata"] for b in spec["spec"]["blocks"] if b["type"] == "panel-grid"]
    panels = [p for g in grids for p in g["panelBankSectionConfig"]["panels"]]
    wanted = {m for p in panels for m in p["config"].get("metrics", [])}
    wanted = {m.removeprefix("summary_metrics.") for m in wanted}
    # every panel shows something that a run has, under the name it has there
    known = {k for r in read_runs(sweep) for k in (*r.summary, *(n for h in r.history for n in h))}
    assert wanted <= known
    assert "gain/worst_group_acc/mini_waterbirds/erm + aspire" in wanted
    assert {"test/worst_group_acc", "val/group/waterbird/land/acc"} <= wanted
    media = {k for p in panels for k in p["config"].get("mediaKeys", [])}
    assert media
    assert media <= known
    assert "features" in json.dumps(spec)
    filters = [f for g in grids for s in g["runSets"] for f in s["filters"]["filters"]]
    values = {(f["key"]["name"], f["value"]) for f in filters}
    assert {("sweep", "mine"), ("dataset", "mini_waterbirds"), ("jobType", "table")} <= values


# --- W&B's agents --------------------------------------------------------------------------------


def test_an_agent_drives_the_same_verb(environment, capsys, tmp_path):
    from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

    assert main(["wandb", "sweep", "of=mini_table"]) == 0
    file = yaml.safe_load(capsys.readouterr().out)
    chosen = {k: {"value": v["values"][-1]} for k, v in file["parameters"].items()}
    words = []
    for word in create_sweep_command(list(file["command"])):  # as the agent does
        args = create_sweep_command_args({"args": chosen})
        words += args.get(word[2:-1], [word])
    assert words[:3] == ["${env}", "aspire", "train"]
    assert "baseline=masktune" in words
    environment.setenv("ASPIRE_OUTPUTS", str(tmp_path))
    assert main([*words[2:], "--cfg", "job"]) == 0
    config = yaml.safe_load(capsys.readouterr().out)
    assert config["baseline"]["_target_"].endswith("MaskTune")
    assert main(["wandb", "sweep", "of=mini_tabel"]) == 2
    assert "Did you mean mini_table?" in capsys.readouterr().err


def test_under_an_agent_only_the_wanted_job_has_a_run(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_SWEEP_ID", "abc")
    wanted = wandb_run.Remembered(wanted={"baseline": "erm", "augmentation": "aspire"})
    labels = {"baseline": "erm", "augmentation": "none"}
    about = wandb_run.About(tmp_path, "key", "name", labels=labels)
    with session().replaced(wanted):
        assert wandb_run.start(about, wandb_run.Place()).disabled


def test_an_agent_gets_the_numbers_of_a_job_that_was_finished_before(environment, tmp_path):
    environment.setenv("ASPIRE_OUTPUTS", str(tmp_path))
    assert main(["train", "baseline=erm", "logger=none", *TINY]) == 0
    with pytest.MonkeyPatch.context() as agent:
        agent.setenv("WANDB_SWEEP_ID", "abc")
        assert main(["train", "baseline=erm", *TINY]) == 0
        assert main(["train", "baseline=erm", "logger=none", *TINY]) == 0
    wandb.teardown()
    (run,) = read_runs(tmp_path)
    test = result_of(run)["metrics"]["test"]
    assert run.summary["test/worst_group_acc"] == pytest.approx(test["worst_group_acc"], abs=1e-6)
    assert run.exit_code == 0


# --- servers that do not work --------------------------------------------------------------------


class Refusing(BaseHTTPRequestHandler):
    """Answers as the server's ``answer`` says; None is never."""

    def do_POST(self):
        self.server.asked += 1
        self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.server.answer is None:
            self.server.over.wait()
            return
        self.send_response(self.server.answer)
        self.end_headers()
        self.wfile.write(b'{"errors": [{"message": "go away"}]}')

    do_GET = do_POST  # noqa: N815

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    stub = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    stub.answer, stub.asked, stub.over = None, 0, threading.Event()
    threading.Thread(target=stub.serve_forever, daemon=True).start()
    yield stub
    stub.over.set()
    stub.shutdown()
    stub.server_close()


@pytest.fixture
def online(server, environment, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
    wandb.teardown()  # W&B reads the address of its server once
    with new_session():
        yield server
    wandb.teardown()


def test_a_server_that_hangs_costs_no_job(online, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ASPIRE_OUTPUTS", str(tmp_path))
    assert main(["train", "-m", "seed=0,1", "logger.wandb.timeout=3", *TINY]) == 0
    assert online.asked > 0
    err = capsys.readouterr().err
    assert err.count("W&B: the server cannot be used") == 1  # once, not once a job
    assert "aspire wandb sync" in err
    assert len(list((tmp_path / "train").rglob("result.json"))) == 2
    for _ in range(100):  # W&B's own process may still be writing when the job has ended
        found = read_runs(tmp_path)
        if all(r.exit_code is not None for r in found):
            break
        time.sleep(0.1)
    assert [(r.exit_code, "test/acc" in r.summary) for r in found] == [(0, True), (0, True)]
    assert not list(tmp_path.rglob("wandb/run-*"))  # nothing half-made is left


@pytest.mark.parametrize("answer", [401, 500, "closed"])
def test_a_server_that_refuses_is_replaced_by_the_disk(answer, online, tmp_path, capsys):
    online.answer = answer
    if answer == "closed":
        online.shutdown()
        online.server_close()
    about = wandb_run.About(tmp_path, "abc", "name", labels={"seed": 1})
    started = time.monotonic()
    run = wandb_run.start(about, wandb_run.Place(mode="online", timeout=3))
    run.finish()
    wandb.teardown()  # waits until everything is on disk
    assert time.monotonic() - started < 30
    assert "the server cannot be used" in capsys.readouterr().err
    (found,) = read_runs(tmp_path)
    assert (found.id, found.exit_code, found.config["seed"]) == ("abc", 0, 1)


def test_names_are_as_short_as_wandb_takes_them(monkeypatch, tmp_path):
    given = {}

    def init(**values):
        given.update(values)
        return SimpleNamespace(define_metric=lambda *a, **k: None)

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(Settings=dict, init=init))
    long = "sweep " + "x" * 300
    about = wandb_run.About(
        tmp_path, "k", f"run of {long}", "group", (long, "y" * 65, "ERM"), {}, {}, long
    )
    wandb_run._init(about, wandb_run.Place(), "offline")
    assert (len(given["name"]), len(given["group"])) == (128, 128)
    assert [len(t) for t in given["tags"]] == [3, 64, 64]  # the sweep is a tag once
    assert given["tags"][1].startswith("sweep xxx")
