"""What Windows and macOS ask for: names, UTF-8, no links, processes that are spawned."""

from __future__ import annotations

import ast
import os
import pickle
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
import yaml
from commands import FORKS
from hydra.utils import instantiate

from aspire.cli.rerun import _share
from aspire.confdir import conf_dir
from aspire.data.datamodule import GroupDataModule
from aspire.data.image_table import ImageTable
from aspire.data.pixels import PixelSource, open_cache
from aspire.data.random_views import RandAugment
from aspire.data.table import Dataset, Split
from aspire.data.transforms import Preprocessing
from aspire.values import Below

ROOT = Path(__file__).parents[1]
SMALL = Preprocessing(size=16, crop=1.0, mean=(0.5,) * 3, std=(0.25,) * 3)


def text_calls(path: Path) -> list[tuple[int, str, ast.Call]]:
    """(line, method, call) of everything that reads or writes text as the system encodes it."""
    calls = [n for n in ast.walk(ast.parse(path.read_bytes())) if isinstance(n, ast.Call)]
    found = []
    for call in calls:
        name = call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)
        words = {k.arg for k in call.keywords}
        modes = [a.value for a in call.args if isinstance(a, ast.Constant)]
        given = {"read_text": 1, "write_text": 2}.get(name, 9)
        text = name == "open" and any(str(m) in ("r", "w", "a", "x") for m in modes)
        if (given < 9 or text) and "encoding" not in words and len(call.args) < given:
            found.append((call.lineno, name, call))
    return found


def test_text_is_utf_8_on_every_system() -> None:
    found = {
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in (ROOT / "aspire").rglob("*.py")
        if re.search(rb"(read_text|write_text|open)\(", path.read_bytes())
        for line, name, _ in text_calls(path)
    }
    assert found == set()


def test_a_rerun_needs_no_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(1314, "A required privilege is not held by the client")

    monkeypatch.setattr(os, "symlink", refuse)
    there = tmp_path / "outputs/artifacts/caption/abc"
    there.mkdir(parents=True)
    (there / "records.jsonl").write_text("{}\n", "utf-8")
    _share(tmp_path / "outputs", tmp_path / "again")
    copy = tmp_path / "again/artifacts/caption/abc/records.jsonl"
    assert copy.read_text("utf-8") == "{}\n"
    assert not (tmp_path / "again/artifacts").is_symlink()


def test_images_are_loaded_by_a_spawned_process(waterbirds: Dataset, tmp_path: Path) -> None:
    """As on Windows and macOS nothing but what is pickled is there; FORKS only has the imports."""
    train, val = (ImageTable.of(waterbirds, s) for s in (Split.TRAIN, Split.VAL))

    cache = open_cache(tmp_path / "cache", "key", train.paths, SMALL.stored_side)

    def loaded(workers: int) -> list[torch.Tensor]:
        pixels = PixelSource(SMALL.stored_side, [cache])
        data = GroupDataModule(
            train, [val], SMALL, 8, 2, seed=4, num_workers=workers, pixels=pixels,
            change=RandAugment(),
        )  # fmt: skip
        loader = data.train_dataloader()
        if workers:
            loader.multiprocessing_context = FORKS
        loader.sampler.set_epoch(0)
        return [batch.image for batch in loader]

    for here, there in zip(loaded(0), loaded(1), strict=True):
        torch.testing.assert_close(here, there, rtol=0, atol=0)


@pytest.mark.parametrize(
    "path", sorted((conf_dir() / "dataset").glob("*.yaml")), ids=lambda p: p.stem
)
def test_every_dataset_can_be_sent_to_another_process(path: Path, tmp_path: Path) -> None:
    own = {"on_bad", "duplicates", "thorough", "sources", "published", "licence", "homepage"}
    node = {k: v for k, v in yaml.safe_load(path.read_text("utf-8")).items() if k not in own}
    node = {k: str(tmp_path) if "${" in str(v) else v for k, v in node.items()}
    where = {"metadata": str(tmp_path / "x.csv"), "repo": "me/x", "root": str(tmp_path)}
    node |= dict([next((k, v) for k, v in where.items() if k in node)])
    reader = instantiate(node, _convert_="all")
    assert vars(pickle.loads(pickle.dumps(reader))).keys() == vars(reader).keys()


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("images/a b..png", True),
        ("..a/b", True),
        ("/etc/passwd", False),
        ("../a", False),
        ("a/../../b", False),
        ("a/..", False),
        (r"..\..\a", False),  # leads out on Windows
        (r"a\b", False),
        (r"C:\a", False),
        ("c:a", False),
    ],
)
def test_a_file_of_a_record_lies_below_its_folder_on_every_system(name: str, taken: bool) -> None:
    if taken:
        assert msgspec.convert(name, Below) == name
    else:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(name, Below)
