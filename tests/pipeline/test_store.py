"""The artifact store: what is kept, what is redone, and what survives a kill."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np
import pytest

from aspire.cli import main
from aspire.data.images import read_image
from aspire.errors import AspireError
from aspire.identity import digest_of
from aspire.own_code import code_of
from aspire.pipeline.stage import ItemResult, LocalEngine
from aspire.pipeline.store import ArtifactStore
from aspire.records import Caption, Edit, Rejected
from aspire.stored.files import write_atomic

ITEMS = [f"item-{i:02d}" for i in range(10)]
UPSTREAM = {"dataset": "d0"}


class Writer:
    """A stage that writes an image per item, rejects some, and remembers what it was asked."""

    name: ClassVar[str] = "writer"
    version = 1
    record = Caption

    def __init__(
        self,
        word: str = "one",
        fail_at: str | None = None,
        reject: Sequence[str] = (),
        pause: float = 0.0,
    ) -> None:
        self.word = word
        self.fail_at = fail_at
        self.reject = reject
        self.pause = pause
        self.done: list[str] = []
        self.calls = 0

    def identity(self) -> Mapping[str, Any]:
        return {"word": self.word}

    def item_id(self, item: str) -> str:
        return item

    def run(self, items: Sequence[str], save: Callable[..., str]) -> Iterator[ItemResult[Caption]]:
        self.calls += 1
        for item in items:
            if item == self.fail_at:
                raise OSError("killed")
            time.sleep(self.pause)
            self.done.append(item)
            if item in self.reject:
                rejected = Rejected(item_id=item, reason="no_luck", detail="it rained")
                yield ItemResult(item, rejected=(rejected,))
                continue
            file = save(np.full((2, 2, 3), int(item[-2:]), np.uint8))
            yield ItemResult(item, (Caption(img_id=item, text=f"{self.word} {file}"),))


class Versioned(Writer):
    version = 2


def run(
    root: Path,
    stage: Any,
    items: Sequence[str] = ITEMS,
    upstream: Mapping[str, str] = UPSTREAM,
    batch_size: int = 4,
    **options: Any,
) -> Any:
    return ArtifactStore(root).run(stage, items, upstream, LocalEngine(batch_size), **options)


def test_second_call_is_a_hit_and_never_runs_the_stage(tmp_path: Path) -> None:
    first = run(tmp_path, Writer())
    again = Writer()
    second = run(tmp_path, again)
    assert (first.state, second.state) == ("run", "hit")
    assert again.calls == 0
    assert second.records == first.records
    assert second.digest == first.digest


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_batch_size_changes_neither_key_nor_content(tmp_path: Path, batch_size: int) -> None:
    first = run(tmp_path / "a", Writer(), batch_size=4)
    other = run(tmp_path / "b", Writer(), batch_size=batch_size)
    assert (other.key, other.digest) == (first.key, first.digest)


def test_key_changes_with_identity_version_and_upstream(tmp_path: Path) -> None:
    keys = [
        run(tmp_path, Writer()).key,
        run(tmp_path, Writer(word="two")).key,
        run(tmp_path, Versioned()).key,
        run(tmp_path, Writer(), upstream={"dataset": "d1"}).key,
        run(tmp_path, Writer(), upstream={"dataset": "d0", "caption": "c"}).key,
    ]
    assert len(set(keys)) == 5


def test_key_is_the_hash_of_the_manifest_s_specification(tmp_path: Path) -> None:
    spec: dict[str, Any] = {
        "identity": {"word": "one"},
        "stage": "writer",
        "upstream": UPSTREAM,
        "version": 1,
    }
    spec["code"] = code_of(Writer())  # the stage is no part of the package
    assert list(spec["code"]) == [__name__]
    text = json.dumps(spec, sort_keys=True, separators=(",", ":"))
    artifact = run(tmp_path, Writer())
    assert artifact.key == hashlib.sha256(text.encode()).hexdigest()[:16]
    assert artifact.folder == tmp_path / "writer" / artifact.key


def test_files_are_named_by_their_content_and_shared(tmp_path: Path) -> None:
    class Same(Writer):
        def run(self, items: Sequence[str], save: Callable[..., str]) -> Iterator[Any]:
            for item in items:
                file = save(np.full((2, 2, 3), 9, np.uint8))
                yield ItemResult(item, (Caption(img_id=item, text=file),))

    artifact = run(tmp_path, Same())
    names = {r.text for r in artifact.records}
    assert len(names) == 1
    path = artifact.path(names.pop())
    assert path.stem == hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.parent.name == path.stem[:2]
    assert (read_image(path) == 9).all()


def test_order_of_items_does_not_change_the_digest(tmp_path: Path) -> None:
    forward = run(tmp_path / "a", Writer(reject=ITEMS[3:5]))
    backward = run(tmp_path / "b", Writer(reject=ITEMS[3:5]), items=ITEMS[::-1])
    assert forward.digest == backward.digest
    assert [r.img_id for r in backward.records] == ITEMS[:3] + ITEMS[5:]


@pytest.mark.parametrize("done", [0, 1, 5, 9])
def test_killed_run_goes_on_after_the_finished_items(tmp_path: Path, done: int) -> None:
    whole = run(tmp_path / "whole", Writer(reject=ITEMS[2:3]))
    killed = Writer(fail_at=ITEMS[done], reject=ITEMS[2:3])
    with pytest.raises(OSError, match="killed"):
        run(tmp_path / "cut", killed)
    assert not list((tmp_path / "cut").glob("writer/*/manifest.json"))
    after = Writer(reject=ITEMS[2:3])
    resumed = run(tmp_path / "cut", after)
    assert after.done == ITEMS[done:]
    assert resumed.resumed == done
    assert (resumed.key, resumed.digest) == (whole.key, whole.digest)
    assert resumed.records == whole.records
    assert not list((tmp_path / "cut").glob("writer/*.partial"))


@pytest.mark.parametrize("lost", [1, 10, 60])
def test_half_a_journal_line_costs_one_item(tmp_path: Path, lost: int) -> None:
    whole = run(tmp_path / "whole", Writer())
    with pytest.raises(OSError, match="killed"):
        run(tmp_path / "cut", Writer(fail_at=ITEMS[6]))
    (journal,) = (tmp_path / "cut").glob("writer/*.partial/journal.jsonl")
    journal.write_bytes(journal.read_bytes()[:-lost])
    after = Writer()
    resumed = run(tmp_path / "cut", after)
    assert after.done == ITEMS[5:]
    assert resumed.digest == whole.digest


def test_killed_twice(tmp_path: Path) -> None:
    for item in (ITEMS[2], ITEMS[7]):
        with pytest.raises(OSError, match="killed"):
            run(tmp_path / "cut", Writer(fail_at=item))
    after = Writer()
    resumed = run(tmp_path / "cut", after)
    assert after.done == ITEMS[7:]
    assert resumed.digest == run(tmp_path / "whole", Writer()).digest


def test_too_many_rejected_names_count_reason_and_first_and_keeps_the_work(tmp_path: Path) -> None:
    with pytest.raises(AspireError) as caught:
        run(tmp_path, Writer(reject=ITEMS[4:8]), max_rejected=0.3)
    text = str(caught.value)
    assert "writer: 4 of 10 items gave nothing (no_luck 4); at most 30% are accepted" in text
    assert "The first: item-04: no_luck it rained" in text
    assert "stage.writer.max_rejected" in text
    (journal,) = tmp_path.glob("writer/*.partial/journal.jsonl")
    assert str(journal.parent) in text
    assert len(journal.read_bytes().splitlines()) == 10
    after = Writer(reject=ITEMS[4:8])
    artifact = run(tmp_path, after, max_rejected=0.4)
    assert after.done == []
    assert artifact.reasons() == {"no_luck": 4}


@pytest.mark.parametrize("stage", ["caption", "extract", "generate"])
def test_the_setting_that_is_named_is_there(stage: str) -> None:
    """Of the stages whose rejections are limited."""
    assert main(["train", f"stage.{stage}.max_rejected=0.9", "--cfg", "job"]) == 0


def test_item_with_a_record_and_a_rejection_is_not_empty(tmp_path: Path) -> None:
    class Both(Writer):
        def run(self, items: Sequence[str], save: Callable[..., str]) -> Iterator[Any]:
            for item in items:
                caption = Caption(img_id=item, text="x")
                yield ItemResult(item, (caption,), (Rejected(item_id=item, reason="half"),))

    artifact = run(tmp_path, Both(), max_rejected=0.0)
    assert len(artifact.records) == len(artifact.rejected) == 10


def test_manifest_counts(tmp_path: Path) -> None:
    artifact = run(tmp_path, Writer(reject=ITEMS[:3]))
    manifest = json.loads(artifact.path("manifest.json").read_text())
    assert (manifest["items"], manifest["records"]) == (10, 7)
    assert manifest["rejected"] == {"no_luck": 3}
    assert manifest["identity"] == {"word": "one"}
    assert manifest["digest"] == artifact.digest


def test_digest_covers_records_and_rejections(tmp_path: Path) -> None:
    digests = {
        run(tmp_path / "a", Writer()).digest,
        run(tmp_path / "b", Writer(word="two")).digest,
        run(tmp_path / "c", Writer(reject=ITEMS[:1])).digest,
    }
    assert len(digests) == 3


def test_folder_without_manifest_is_made_anew(tmp_path: Path) -> None:
    artifact = run(tmp_path, Writer())
    artifact.path("manifest.json").unlink()
    artifact.path("leftover.txt").write_text("x")
    again = run(tmp_path, Writer())
    assert again.state == "run"
    assert again.digest == artifact.digest
    assert not again.path("leftover.txt").exists()


def test_store_reports_every_artifact(tmp_path: Path) -> None:
    seen: list[Any] = []
    for _ in range(2):
        store = ArtifactStore(tmp_path, on_done=seen.append)
        store.run(Writer(), ITEMS, UPSTREAM, LocalEngine())
    assert [a.state for a in seen] == ["run", "hit"]


def test_no_items_give_an_empty_artifact(tmp_path: Path) -> None:
    artifact = run(tmp_path, Writer(), items=[])
    assert artifact.records == ()
    assert run(tmp_path, Writer(), items=[]).state == "hit"


def test_records_refuse_an_unknown_kind_of_edit() -> None:
    edit = Edit(
        edit_id="1", img_id="1", y=0, kind="remove_object", phrase="p", replacement=None,
        donor=None, file="f", mask="m", edited_share=0.5,
    )  # fmt: skip
    line = msgspec.json.encode(edit)
    assert msgspec.json.decode(line, type=Edit) == edit
    with pytest.raises(msgspec.ValidationError, match="kind"):
        msgspec.json.decode(line.replace(b"remove_object", b"repaint"), type=Edit)


def test_two_threads_on_one_key_do_the_work_once(tmp_path: Path) -> None:
    stage = Writer(pause=0.005)
    artifacts: list[Any] = []
    work = [
        threading.Thread(target=lambda: artifacts.append(run(tmp_path, stage))) for _ in range(3)
    ]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert sorted(stage.done) == ITEMS
    assert sorted(a.state for a in artifacts) == ["hit", "hit", "run"]
    assert len({a.digest for a in artifacts}) == 1


def test_digest_of_refuses_nan_and_ignores_the_order_of_keys() -> None:
    assert digest_of({"a": 1, "b": 2}) == hashlib.sha256(b'{"a":1,"b":2}').hexdigest()
    assert digest_of({"b": 2, "a": 1}) == digest_of({"a": 1, "b": 2})
    assert digest_of([1, 2]) != digest_of([2, 1])
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest_of({"a": float("nan")})


def test_write_atomic_makes_folders_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    write_atomic(path, b"old")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert [p.name for p in path.parent.iterdir()] == ["b.txt"]
