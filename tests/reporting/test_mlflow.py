"""MLflow's run of a job: continued by the next attempt, failed with it, and never in its way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning.loggers.mlflow as lightning
from mlflow.tracking import MlflowClient

from aspire.errors import ConfigError
from aspire.reporting.closing import close_jobs
from aspire.reporting.loggers import finish_phase, mlflow_logger
from aspire.session import new_session


def logger(folder: Path, phase: str = "train", **kwargs: Any) -> Any:
    return mlflow_logger(
        folder=folder,
        name="mini-jtt-none-s0",
        group="mini-jtt-none",
        tags=["mini", "jtt"],
        config={
            "seed": 0, "labels": {"baseline": "jtt", "augmentation": "none"},
            "optimizer": {"lr": 0.1, "api_key": "sk-1"},
        },
        run_id=f"0123456789ab-{phase}",
        local=str(folder / "mlflow.db"),
        **kwargs,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file:{tmp_path}/store")
    new_session()
    return f"file:{tmp_path}/store"


def test_an_attempt_that_fails_is_continued_by_the_next(tmp_path: Path, store: str) -> None:
    first = logger(tmp_path, "erm")
    first.log_metrics({"val/acc": 0.25, "epoch": 0}, 4)  # counted from 0
    finish_phase(failed=True)
    client = MlflowClient(store)
    assert client.get_run(first.run_id).info.status == "FAILED"

    second = logger(tmp_path, "train")
    assert second.run_id == first.run_id
    assert logger(tmp_path, "train") is second
    second.log_metrics({"val/acc": 0.5, "val/group/gull, (left)/acc": 1.0, "val/ece": None}, 4)
    close_jobs()  # no result was left
    run = client.get_run(first.run_id)
    assert run.info.status == "FAILED"
    assert run.data.metrics == {
        "erm/val/acc": 0.25, "val/acc": 0.5, "val/group/gull_ _left_/acc": 1.0,
    }  # fmt: skip
    assert client.get_metric_history(first.run_id, "val/acc")[0].step == 5
    assert run.data.params["settings/optimizer/lr"] == "0.1"
    assert "sk-1" not in str(run.to_dictionary())


def test_a_server_that_does_not_answer_costs_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    found = logger(tmp_path, tracking_uri="http://127.0.0.1:9")
    found.log_metrics({"val/acc": 0.5}, 0)
    close_jobs()
    (line,) = [s for s in capsys.readouterr().err.splitlines() if s.startswith("MLflow")]
    assert line.startswith("MLflow: starting a run failed (MlflowException: ")
    assert line.endswith("The job is not affected.")


def test_without_mlflow_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lightning, "_MLFLOW_AVAILABLE", False)
    with pytest.raises(ConfigError, match=r"logger=mlflow needs .* pip install -e '\.\[mlflow\]'"):
        logger(tmp_path)


def test_the_store_of_none_is_a_file_of_outputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aspire.reporting import mlflow_logger as module

    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    opened: list[str] = []

    class Noted:
        phase = ""

    monkeypatch.setattr(
        module, "open_mlflow", lambda about, uri, experiment: opened.append(uri) or Noted()
    )
    logger(tmp_path)
    assert opened == [f"sqlite:///{tmp_path.as_posix()}/mlflow.db"]
