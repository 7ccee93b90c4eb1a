"""``aspire models`` against a stand-in of the hub on this machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from huggingface_hub import constants, is_offline_mode

from aspire import pretrained
from aspire.cli import discover, main, train
from aspire.model_files import checkpoints_of, complete, state
from aspire.pretrained import Checkpoint

COMMIT = "1234567890" * 4
BLIP = "Salesforce/blip-image-captioning-large"
REPOSITORIES = {
    BLIP: {
        "README.md": b"---\nlicense: bsd-3-clause\n---\n# BLIP",
        "config.json": b"{}",
        "vocab.txt": b"a",
        "model.safetensors": bytes(3_000_000),
        "pytorch_model.bin": bytes(10),
        "tf_model.h5": bytes(10),
    },
    "some/one": {"config.json": b"{}", "flax_model.msgpack": bytes(9)},
}


class Hub(ThreadingHTTPServer):
    """Lists repositories and hands out files as the hub does; remembers which."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.sent: list[tuple[str, str]] = []
        self.cache = Path()


class Answer(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *args: Any) -> None:
        """Quiet."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].strip("/")
        listing = path.startswith("api/models/")
        repository = "/".join(path.removeprefix("api/models/").split("/")[:2])
        files = REPOSITORIES.get(repository)
        name = path.rpartition(f"resolve/{COMMIT}/")[2]
        if files is None or not (listing or name in files):
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound" if files is None else "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if "/tree/" in path:
            rows = [{"type": "file", "path": f, "oid": f, "size": len(files[f])} for f in files]
            body = json.dumps(rows).encode()
        elif listing:
            body = json.dumps(
                {
                    "id": repository,
                    "sha": COMMIT,
                    "siblings": [{"rfilename": f, "size": len(b)} for f, b in files.items()],
                    "cardData": {"license": "bsd-3-clause"},
                }
            ).encode()
        else:
            body = files[name]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command == "GET":
            if not listing:
                self.server.sent.append((repository, name))
            self.wfile.write(body)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub()
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    server.cache = tmp_path / "cache/models--Salesforce--blip-image-captioning-large"
    pretrained._commit.cache_clear()
    yield server
    pretrained._commit.cache_clear()
    server.shutdown()
    server.server_close()


def listed(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    assert main(["models", *words, "format=json"]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def test_what_is_missing_is_listed_fetched_and_then_here(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (row,) = listed(capsys, "list", "captioner=blip")
    assert (row["model"], row["for"], row["where"]) == (BLIP, "captioner=blip", "missing")
    assert row["instead"] == "captioner=dataset for given captions"
    assert hub.sent == []

    assert main(["models", "fetch", "cache", "captioner=blip"]) == 0
    out = capsys.readouterr().out
    assert "1 models, 3.0 MB to fetch" in out
    assert "HF_HUB_OFFLINE=1 aspire discover captioner=blip" in out
    names = {name for _, name in hub.sent}
    assert names == {"README.md", "config.json", "vocab.txt", "model.safetensors"}

    (row,) = listed(capsys, "list", "captioner=blip")
    assert (row["where"], row["commit"]) == ("here", COMMIT)
    assert row["bytes"] == sum(len(REPOSITORIES[BLIP][name]) for name in names)
    assert listed(capsys, "licences", "captioner=blip")[0]["licence"] == "bsd-3-clause"
    assert Checkpoint(BLIP).commit == COMMIT  # what a job is named by, without asking the hub
    sent = len(hub.sent)
    assert main(["models", "fetch", "cache", "captioner=blip"]) == 0
    assert "1 models, 0 kB to fetch" in capsys.readouterr().out
    assert len(hub.sent) == sent


def test_a_folder_for_a_machine_without_network(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = tmp_path / "usb"
    assert main(["models", "fetch", str(taken), "captioner=blip"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "HF_HUB_CACHE=" in out
    assert state(Checkpoint(BLIP)) == "missing"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(taken))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert listed(capsys, "list", "captioner=blip")[0]["where"] == "here"
    (taken / "models--Salesforce--blip-image-captioning-large/snapshots" / COMMIT
     / "model.safetensors").unlink()  # fmt: skip
    assert listed(capsys, "list", "captioner=blip")[0]["where"] == "incomplete"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["fetch", "captioner.model=no/body"], "The model no/body (revision main) is not on this"),
        (["fetch", "captioner.model=some/one"], "has no weights that can be read"),
    ],
)
def test_a_model_that_cannot_be_had_is_named(
    words: list[str], expected: str, hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", words[0], "cache", "captioner=blip", *words[1:]]) == 5
    assert expected in capsys.readouterr().err


def test_offline_names_what_is_missing_and_else_asks_nobody(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(discover, "job", lambda cfg: asked.append(is_offline_mode()))
    words = ["captioner=blip", "offline=true"]
    assert main(["discover", *words, "top=3"]) == 2
    said = capsys.readouterr().err
    assert "1 of 1 models that this configuration loads are not on this machine" in said
    assert f"{BLIP} for captioner=blip: missing; or captioner=dataset for given captions" in said
    assert "aspire models fetch cache captioner=blip\n" in said
    assert (asked, hub.sent) == ([], [])

    assert main(["models", "fetch", "cache", "captioner=blip"]) == 0
    assert main(["discover", *words]) == 0
    assert main(["discover", "captioner=blip"]) == 0
    assert asked == [True, False]
    (hub.cache / "snapshots" / COMMIT / "model.safetensors").unlink()
    assert main(["discover", *words]) == 2
    assert f"{BLIP} for captioner=blip: incomplete, 0 kB of it here" in capsys.readouterr().err


def test_offline_asks_for_nothing_that_the_job_does_not_load(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done: list[str] = []
    monkeypatch.setattr(train, "job", lambda cfg: done.append(str(cfg.offline)))
    words = ["captioner=blip", "offline=true"]
    assert main(["train", *words]) == 0  # trains on the real images alone
    assert main(["train", *words, "groups=discovered"]) == 2
    assert main(["train", *words, "augmentation=aspire"]) == 2
    assert done == ["True"]
    assert "next" not in capsys.readouterr().out
    assert listed(capsys, "list", *words)[0]["where"] == "missing"


def test_wrong_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "fetsch"]) == 2
    assert "no such action. Did you mean fetch?" in capsys.readouterr().err
    assert main(["models", "fetch"]) == 2
    assert "aspire models fetch DIR" in capsys.readouterr().err


def test_what_comes_with_the_package_and_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert listed(capsys, "list") == []
    words = ["personaliser=tiny_sd", "generator=tiny_sd"]
    rows = listed(capsys, "list", *words)
    assert {r["model"] for r in rows} == {"tiny-sd", "tiny-sd-fast", "tiny-sd-vae"}
    assert {r["where"] for r in rows} == {"with the package"}
    assert "NOTICE" in listed(capsys, "licences", *words)[0]["licence"]


def test_models_within_models_and_those_of_timm() -> None:
    from aspire.classification.backbones import TimmModel
    from aspire.editing.grounded_segmenter import GroundedSegmenter
    from aspire.editing.grounding_dino import GroundingDino
    from aspire.editing.sam import Sam

    both = GroundedSegmenter(GroundingDino("a/dino"), Sam("a/sam", "v1"))
    assert [(c.model, c.revision) for c in checkpoints_of(both)] == [
        ("a/dino", "main"), ("a/sam", "v1"),
    ]  # fmt: skip
    (found,) = checkpoints_of(TimmModel("resnet50.a1_in1k"))
    assert found.model == "timm/resnet50.a1_in1k"
    assert checkpoints_of(TimmModel("resnet50.a1_in1k", weights="none")) == []


def test_a_pipeline_and_shards_are_complete_when_every_part_is_there(tmp_path: Path) -> None:
    index = {
        "_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"],
        "scheduler": ["diffusers", "PNDMScheduler"], "safety_checker": ["x", "SafetyChecker"],
        "vae": [None, None],
    }  # fmt: skip
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    for part, file in (("scheduler", "scheduler_config.json"), ("unet", "config.json")):
        (tmp_path / part).mkdir()
        (tmp_path / part / file).write_text("{}")
    assert not complete(tmp_path)
    shards = {"weight_map": {"a": "x-1.safetensors", "b": "x-2.safetensors"}}
    (tmp_path / "unet/x.safetensors.index.json").write_text(json.dumps(shards))
    (tmp_path / "unet/x-1.safetensors").touch()
    assert not complete(tmp_path)
    (tmp_path / "unet/x-2.safetensors").touch()
    assert complete(tmp_path)
