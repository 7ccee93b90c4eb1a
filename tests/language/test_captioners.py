"""Each captioner with the real model class, random weights, loaded from disk as a user would."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny_models as tiny
from PIL import Image

from aspire.data.loaded import LoadedImage
from aspire.errors import ConfigError, DataError, ServiceError
from aspire.language.blip import BlipCaptioner
from aspire.language.blip2 import Blip2Captioner
from aspire.language.florence2 import Florence2Captioner
from aspire.language.git import GitCaptioner
from aspire.language.image_text import ImageTextCaptioner
from aspire.language.pretrained_captioner import PretrainedCaptioner
from aspire.language.qwen_vl import QwenVLCaptioner
from aspire.language.replay_captioner import ReplayCaptioner
from aspire.pipeline.stage import LocalEngine
from aspire.pipeline.stages.caption import CaptionStage
from aspire.pipeline.store import ArtifactStore
from aspire.records import ImageRef

PROMPT = "name this"
KINDS: dict[str, tuple[Callable[[Path], Path], Callable[..., PretrainedCaptioner]]] = {
    "git": (tiny.git, GitCaptioner),
    "blip": (tiny.blip, BlipCaptioner),
    "blip2": (tiny.blip2, Blip2Captioner),
    "florence2": (tiny.florence2, Florence2Captioner),
    "qwen_vl": (
        tiny.qwen_vl,
        lambda model, **kw: QwenVLCaptioner(
            model, PROMPT, min_pixels=16 * 16, max_pixels=48 * 48, **kw
        ),
    ),
    "image_text": (tiny.qwen_vl, lambda model, **kw: ImageTextCaptioner(model, PROMPT, **kw)),
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[LoadedImage]:
    """Six images of six sizes and textures."""
    root, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    refs = []
    for i, (height, width) in enumerate(
        [(40, 40), (24, 64), (64, 32), (50, 70), (33, 47), (80, 80)]
    ):
        base = rng.integers(0, 255, (2 + i, 2 + i, 3), dtype=np.uint8)
        Image.fromarray(base).resize((width, height)).save(root / f"{i}.png")
        refs.append(ImageRef(img_id=f"i{i}", file=f"{i}.png", y=0))
    return [LoadedImage(ref, root) for ref in refs]


@pytest.fixture(scope="module", params=list(KINDS))
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, Callable[..., PretrainedCaptioner]]:
    build, kind = KINDS[request.param]
    return request.param, build(tmp_path_factory.mktemp(request.param)), kind


def test_a_batch_says_what_single_images_say(made: Any, pictures: list[LoadedImage]) -> None:
    _, folder, kind = made
    together = kind(str(folder), max_new_tokens=8, batch_size=3)
    alone = kind(str(folder), max_new_tokens=8, batch_size=1)
    said = together.caption(pictures)
    assert said == alone.caption(pictures)
    assert said == together.caption(pictures[::-1])[::-1]
    assert len([s for s in said if s]) >= 3
    assert len(set(said)) > 1  # the image is looked at
    assert not any("name this" in (s or "") or "<" in (s or "")[:2] for s in said)


def test_the_identity_is_what_is_in_the_folder(made: Any, tmp_path: Path) -> None:
    name, folder, kind = made
    found = kind(str(folder)).identity()
    assert found["captioner"] == name
    assert json.dumps(found)
    moved = tmp_path / folder.name
    moved.symlink_to(folder)
    assert kind(str(moved)).identity() == found
    assert kind(str(folder), batch_size=1, device="cpu").identity() == found
    assert kind(str(folder), num_beams=2).identity() != found


def test_other_weights_are_another_identity(tmp_path: Path) -> None:
    folder = tiny.git(tmp_path / "git")
    before = GitCaptioner(str(folder)).identity()
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert GitCaptioner(str(folder)).identity() != before


def test_captions_are_kept_as_records(tmp_path: Path, pictures: list[LoadedImage]) -> None:
    captioner = BlipCaptioner(str(tiny.blip(tmp_path / "blip")), max_new_tokens=6)
    stage = CaptionStage(captioner, pictures[0].root)
    refs = [p.ref for p in pictures]
    done = ArtifactStore(tmp_path / "a").run(stage, refs, {}, LocalEngine(4), 1.0)
    said = dict(zip([r.img_id for r in refs], captioner.caption(pictures), strict=True))
    assert {r.img_id: r.text for r in done.records} == {i: t for i, t in said.items() if t}


def test_a_model_that_is_not_here_is_told_with_what_to_type(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    captioner = GitCaptioner("nobody/no-such-model", revision="v9")
    with pytest.raises(ServiceError) as told:
        captioner.identity()
    for part in ("nobody/no-such-model", "v9", "huggingface-cli download", "captioner=dataset"):
        assert part in str(told.value)
    commit = "0123456789abcdef0123456789abcdef01234567"  # pinned: known without asking anybody
    pinned = GitCaptioner("nobody/no-such-model", revision=commit)
    assert pinned.identity()["revision"] == commit
    with pytest.raises(ConfigError, match="does not exist"):
        GitCaptioner(str(tmp_path / "nowhere")).identity()
    (tmp_path / "empty").mkdir()
    image = LoadedImage(ImageRef(img_id="x", file="x.png", y=0), tmp_path)
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png")
    with pytest.raises(ConfigError, match="holds no model that"):
        GitCaptioner(str(tmp_path / "empty")).caption([image])


def test_a_branch_on_this_machine_is_its_commit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commit = "89abcdef0123456789abcdef0123456789abcdef"
    repo = tmp_path / "models--someone--tiny"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text(commit)
    (repo / "snapshots" / commit).mkdir(parents=True)
    (repo / "snapshots" / commit / "config.json").write_text("{}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert GitCaptioner("someone/tiny").identity()["revision"] == commit


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_captions_are_replayed_from_a_file(
    ending: str, tmp_path: Path, pictures: list[LoadedImage]
) -> None:
    table = pd.DataFrame(
        {"img_filename": ["0.png", "2.png", "9.png"], "text": ["a cat", "a dog", "a cow"]}
    )
    file = tmp_path / f"c.{ending}"
    if ending == "csv":
        table.to_csv(file, index=False)
    elif ending == "jsonl":
        table.to_json(file, orient="records", lines=True)
    else:
        table.to_parquet(file)
    captioner = ReplayCaptioner(str(file), caption="text")
    stage = CaptionStage(captioner, pictures[0].root)
    refs = [p.ref for p in pictures]
    done = ArtifactStore(tmp_path / "a").run(stage, refs, {}, LocalEngine(), 1.0)
    assert [(r.img_id, r.text) for r in done.records] == [("i0", "a cat"), ("i2", "a dog")]
    assert done.reasons() == {"no_caption": 4}
    by_key = ReplayCaptioner(str(file), caption="text", key="img_filename")
    assert by_key.caption(pictures) == captioner.caption(pictures)


def test_a_file_that_cannot_be_replayed_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"captioner\.file=FILE"):
        ReplayCaptioner(None).identity()
    with pytest.raises(DataError, match="does not exist"):
        ReplayCaptioner(str(tmp_path / "no.csv")).identity()
    file = tmp_path / "c.csv"
    file.write_text("img_id,captions\n1,a cat\n")
    with pytest.raises(DataError, match=r"no column 'caption'. Did you mean captions"):
        ReplayCaptioner(str(file)).caption([])
    file.write_text("path,caption\n1,a cat\n")
    with pytest.raises(DataError, match="img_id or img_filename"):
        ReplayCaptioner(str(file)).caption([])
    file.write_text("img_id,caption\n1,a cat\n1,a dog\n")
    with pytest.raises(DataError, match="two captions for img_id 1"):
        ReplayCaptioner(str(file)).caption([])
    (tmp_path / "c.txt").write_text("x")
    with pytest.raises(DataError, match=r"\.parquet"):
        ReplayCaptioner(str(tmp_path / "c.txt")).caption([])
