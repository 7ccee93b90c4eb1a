"""Damaged artifacts are made again with one line that says so, and never used."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from aspire.errors import DamagedError
from aspire.pipeline.stage import ItemResult, LocalEngine
from aspire.pipeline.store import ArtifactStore
from aspire.records import Caption
from aspire.stored import artifacts, seals
from aspire.stored.artifacts import VERIFIED, verified_lines, verify


class Drawer:
    """A stage that draws an image per item and counts what it was asked."""

    name: ClassVar[str] = "drawer"
    version = 1
    record = Caption

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.stop_after: int | None = None

    def identity(self) -> Mapping[str, Any]:
        return {}

    def item_id(self, item: str) -> str:
        return item

    def run(self, items: Sequence[str], save: Callable[..., str]) -> Iterator[ItemResult[Caption]]:
        for item in items:
            if len(self.asked) == self.stop_after:
                raise KeyboardInterrupt
            self.asked.append(item)
            file = save(np.full((2, 2, 3), int(item), np.uint8))
            yield ItemResult(item, (Caption(img_id=item, text=file),))


def run(root: Path, stage: Drawer) -> Any:
    _another_process()
    return ArtifactStore(root).run(stage, list("1234"), {"dataset": "d"}, LocalEngine(1))


def _another_process() -> None:
    seals._file_digest.cache_clear()
    artifacts._known.clear()


def image(folder: Path) -> Path:
    return next(folder.glob("files/*/*.png"))


def drop_a_line(folder: Path) -> None:
    path = folder / "records.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(True)[:-1]))


def change_a_letter(folder: Path) -> None:
    path = folder / "records.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"1"', b'"9"'))


def flip_a_bit(folder: Path) -> None:
    data = bytearray(image(folder).read_bytes())
    data[-20] ^= 1
    image(folder).write_bytes(bytes(data))


def shape(folder: Path) -> None:
    (folder / "manifest.json").write_text('{"digest": 3}')


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "a line less": drop_a_line,
    "a letter changed": change_a_letter,
    "cut in a line": lambda f: os.truncate(f / "records.jsonl", 30),
    "no records": lambda f: (f / "records.jsonl").unlink(),
    "no rejections": lambda f: (f / "rejected.jsonl").unlink(),
    "empty manifest": lambda f: (f / "manifest.json").write_bytes(b""),
    "half a manifest": lambda f: os.truncate(f / "manifest.json", 40),
    "another shape": shape,
    "no manifest": lambda f: (f / "manifest.json").unlink(),
    "a bit of an image": flip_a_bit,
    "half an image": lambda f: os.truncate(image(f), 20),
    "no image": lambda f: image(f).unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
def test_a_damaged_artifact_is_made_again_and_says_so(damage, tmp_path, caplog):
    before = run(tmp_path, Drawer())
    again = Drawer()
    assert run(tmp_path, again).state == "hit"
    damage(before.folder)
    after = run(tmp_path, again)
    assert (after.state, after.digest, after.records) == ("run", before.digest, before.records)
    assert again.asked == list("1234")
    (line,) = caplog.messages
    assert str(before.folder) in line
    assert line.endswith("It is made again.")
    assert run(tmp_path, Drawer()).state == "hit"


def test_what_has_not_changed_is_not_read_again(tmp_path, monkeypatch):
    folder = run(tmp_path, Drawer()).folder
    _another_process()
    monkeypatch.setattr(artifacts, "is_image", None)  # would be called to read an image
    assert verify(folder)["items"] == 4
    (folder / VERIFIED).unlink()
    assert verify(folder)["items"] == 4  # known to this process
    _another_process()
    with pytest.raises(TypeError):
        verify(folder)


def test_readers_refuse_a_damaged_artifact(tmp_path):
    folder = run(tmp_path, Drawer()).folder
    assert [r.img_id for r in verified_lines(folder, Caption)] == list("1234")
    change_a_letter(folder)
    with pytest.raises(DamagedError, match="the records are not those that were committed"):
        verified_lines(folder, Caption)


@pytest.mark.parametrize("damage", ["letter", "image", "half"])
def test_a_damaged_journal_costs_the_item_and_nothing_else(damage, tmp_path):
    stage = Drawer()
    stage.stop_after = 3
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stage)
    (partial,) = tmp_path.glob("drawer/*.partial")
    journal = partial / "journal.jsonl"
    if damage == "letter":
        journal.write_bytes(journal.read_bytes().replace(b'"img_id":"1"', b'"img_id":"7"'))
    elif damage == "image":
        name = json.loads(journal.read_bytes().split(b"\t")[0])["records"][0]["text"]
        (partial / name).write_bytes(b"PNG")
    else:
        os.truncate(journal, journal.stat().st_size - 3)
    again = Drawer()
    whole = run(tmp_path, again)
    assert len(again.asked) == 2
    assert [r.img_id for r in whole.records] == list("1234")
    assert whole.digest == run(tmp_path / "undisturbed", Drawer()).digest


def test_leftovers_of_killed_processes_go_at_the_next_start(tmp_path):
    folder = run(tmp_path, Drawer()).folder
    gone = folder / f".records.jsonl.{platform.node()}.{2**22 + 1}"
    alive = folder / f".records.jsonl.{platform.node()}.{os.getppid()}"
    elsewhere = folder / ".records.jsonl.another-machine.17"
    old = folder / ".manifest.json.another-machine.17"
    for path in (gone, alive, elsewhere, old):
        path.touch()
    os.utime(old, (0, 0))
    assert run(tmp_path, Drawer()).state == "hit"
    assert [p.exists() for p in (gone, alive, elsewhere, old)] == [False, True, True, False]


@pytest.mark.parametrize("text", ["", "0" * 64, "x", "0" * 63 + "1 0123456789abcdef"])
def test_a_damaged_digest_of_a_dataset_is_made_again(text, waterbirds, tmp_path):
    right = waterbirds.digest(tmp_path)
    (noted,) = tmp_path.glob("*.digest")
    sound = noted.read_text()
    noted.write_text(text)
    assert waterbirds.digest(tmp_path) == right
    assert noted.read_text() == sound
    os.utime(noted, (0, 0))  # older than the images
    noted.write_text(noted.read_text())
    assert waterbirds.digest(tmp_path) == right


def test_a_seal_shows_every_change_and_stays_with_a_folder_that_is_renamed(tmp_path):
    path = tmp_path / "a" / "x.bin"
    seals.write_sealed(path, b"content")
    assert seals.intact(path)
    shutil.move(tmp_path / "a", tmp_path / "b")
    path = tmp_path / "b" / "x.bin"
    assert seals.intact(path)
    path.write_bytes(b"contenT")
    assert not seals.intact(path)
    seals.seal(path)
    assert seals.intact(path)
    assert hashlib.sha256(b"contenT").hexdigest() in (tmp_path / "b" / "x.bin.sha256").read_text()
    (tmp_path / "b" / "x.bin.sha256").unlink()
    assert not seals.intact(path)
