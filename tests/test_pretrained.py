"""Which weights exactly: by content for files and folders, by commit for ids of the hub."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_diffusion import single_file, stable_diffusion

from aspire import pretrained
from aspire.errors import ConfigError, ServiceError
from aspire.pretrained import Checkpoint
from aspire.stored import seals
from aspire.stored.seals import file_digest, remember_digests

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A pipeline: models in folders, and what nobody loads."""
    root = tmp_path / "pipe"
    for name in ("model_index.json", "unet/config.json", "unet/model.safetensors", "README.md"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(seals, "LARGE", 4)
    remember_digests(tmp_path / "notes")
    yield tmp_path / "notes"
    remember_digests(None)


def test_folder_is_what_it_holds_at_any_depth_wherever_it_lies(
    folder: Path, tmp_path: Path
) -> None:
    one = Checkpoint(str(folder)).identity()
    (folder / "README.md").write_text("read by nobody who loads")
    assert Checkpoint(str(folder), revision="v2").identity() == one
    moved = shutil.move(folder, tmp_path / "elsewhere")
    assert Checkpoint(str(moved)).identity() == one
    (tmp_path / "elsewhere/unet/model.safetensors").write_text("other weights")
    assert Checkpoint(str(moved)).identity() != one


def test_folder_that_is_not_there_is_no_id() -> None:
    with pytest.raises(ConfigError, match=r"\./nothing does not exist\. Give a folder"):
        Checkpoint("./nothing").identity()


@pytest.mark.parametrize(
    ("name", "pipeline", "text"),
    [
        ("sd15.safetensors", True, r"sd15\.safetensors does not exist\. Give a file that holds"),
        ("odd.safetensors", True, "is no whole Stable Diffusion.*there are x"),
        ("odd.safetensors", False, "is a file; expected a folder.*Only a Stable Diffusion may"),
        ("cut.safetensors", True, r"cannot be read.*is the file whole\?"),
        ("old.ckpt", True, r"ends in \.ckpt; expected \.safetensors"),
        ("empty", False, "holds no model: it has no config"),
        ("single", True, "holds no pipeline of diffusers: it has no model_index"),
    ],
)
def test_files_and_folders_of_another_kind_are_refused_before_loading(
    name: str, pipeline: bool, text: str, tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(2)}, tmp_path / "odd.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(b"\x80" * 40)
    (tmp_path / "old.ckpt").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    (tmp_path / "single").mkdir()
    (tmp_path / "single/config.json").write_text("{}")
    with pytest.raises(ConfigError, match=text):
        Checkpoint(str(tmp_path / name), pipeline=pipeline).identity()


def test_a_stable_diffusion_in_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from safetensors.torch import save_file

    file = tmp_path / "sd15.safetensors"
    key = "model.diffusion_model.input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight"
    save_file({key: torch.zeros(4, 768)}, file)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    one = Checkpoint(str(file), pipeline=True)
    with pytest.raises(
        ServiceError, match=r"stable-diffusion-v1-5.*not on this machine.*\n.*folder"
    ):
        one.identity()
    (tmp_path / "sd15").mkdir()
    (tmp_path / "sd15/model_index.json").write_text("{}")
    before = one.identity()

    class Kind:
        @classmethod
        def from_single_file(cls, *args: str, **kwargs: str) -> tuple[object, ...]:
            return args, kwargs

    assert one.load(Kind) == ((str(file),), {"config": str(tmp_path / "sd15")})
    (tmp_path / "sd15/model_index.json").write_text("{ }")
    assert one.identity() != before


def test_the_weights_of_a_single_file_are_those_of_its_folder(tmp_path: Path) -> None:
    """With the real loader, from the names that the first Stable Diffusion had."""
    import torch
    from diffusers import StableDiffusionPipeline
    from safetensors.torch import load_file, save_file

    folder = stable_diffusion(tmp_path / "folder")
    file = single_file(folder, tmp_path / "one.safetensors")
    shutil.copytree(folder, tmp_path / "one", ignore=shutil.ignore_patterns("*.safetensors"))
    one = Checkpoint(str(file), pipeline=True)
    identity = one.identity()
    found, wanted = (c.load(StableDiffusionPipeline) for c in (one, Checkpoint(str(folder))))
    for name in ("unet", "vae", "text_encoder"):
        mine, theirs = (getattr(p, name).state_dict() for p in (found, wanted))
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[k], v) for k, v in theirs.items())
    whole = load_file(file)
    for part, text in (
        ("first_stage_model.decoder.conv_in.bias", "some of its tensors are missing"),
        (
            "cond_stage_model.transformer.text_model.final_layer_norm.weight",
            r"missing: text_encoder\..*final_layer_norm\.weight\.",
        ),
    ):
        save_file({k: v for k, v in whole.items() if k != part}, file)
        with pytest.raises(ConfigError, match=text):
            one.load(StableDiffusionPipeline)
    assert one.identity() != identity


def test_a_model_of_the_package_goes_by_its_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrained, "WEIGHTS", folder.parent)
    assert Checkpoint("pipe").folder == folder
    assert Checkpoint("pipe").identity() == Checkpoint(str(folder)).identity()
    assert Checkpoint("pipe/unet").folder is None  # the owner "pipe" of a model "unet"
    monkeypatch.chdir(folder)
    assert Checkpoint("unet").folder == Path("unet")  # a folder of the user's comes first


def test_commit_is_its_own_name_and_a_branch_needs_the_hub(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert Checkpoint("a/b", COMMIT).identity() == {"model": "a/b", "revision": COMMIT}
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ServiceError, match=r"a/b \(revision main\).*\n.*, or take another\."):
        Checkpoint("a/b", instead="take another").identity()


@pytest.mark.parametrize("head", ["config.json", "model_index.json"])
def test_branch_is_the_commit_of_the_snapshot_on_this_machine(
    head: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    snapshot = tmp_path / "models--a--b" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / head).write_text("{}")
    (tmp_path / "models--a--b/refs").mkdir()
    (tmp_path / "models--a--b/refs/main").write_text(COMMIT)
    look = huggingface_hub.try_to_load_from_cache
    monkeypatch.setattr(
        huggingface_hub,
        "try_to_load_from_cache",
        lambda *args, **kwargs: look(*args, cache_dir=tmp_path, **kwargs),
    )
    pretrained._commit.cache_clear()
    assert Checkpoint("a/b").commit == COMMIT
    pretrained._commit.cache_clear()


def test_file_is_read_again_only_when_it_changed(tmp_path: Path, notes: Path) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(b"weights")
    assert file_digest(path) == hashlib.sha256(b"weights").hexdigest()
    (note,) = notes.iterdir()
    assert note.read_text().split()[0] == file_digest(path)

    seals.write_digest(note, "0" * 64)
    seals._file_digest.cache_clear()  # as in another process
    assert file_digest(path) == "0" * 64
    for damage in ("", "1" * 64, note.read_text().replace("0", "2", 1)):
        note.write_text(damage)
        seals._file_digest.cache_clear()
        assert file_digest(path) == hashlib.sha256(b"weights").hexdigest()
    path.write_bytes(b"stronger")
    assert file_digest(path) == hashlib.sha256(b"stronger").hexdigest()
    os.utime(path, ns=(1, 1))
    assert file_digest(path) == hashlib.sha256(b"stronger").hexdigest()


def test_small_files_leave_no_note(tmp_path: Path, notes: Path) -> None:
    (tmp_path / "a.txt").write_text("abc")
    file_digest(tmp_path / "a.txt")
    assert not notes.exists()
