"""Fixtures for everybody: a tiny Waterbirds folder on disk, and a quiet, one-threaded process."""

from __future__ import annotations

import contextlib
import errno
import functools
import gc
import ipaddress
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

# One thread a process, those that tests start included: workers times threads are the cores.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["WANDB_MODE"] = "disabled"
os.environ.pop("WANDB_API_KEY", None)
os.environ.pop("COLUMNS", None)  # the width of the terminal that pytest was started in

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from quicker_hydra import make_quicker

from aspire.data.table import Dataset
from aspire.data.waterbirds import Waterbirds
from aspire.memory import keep_freed_memory

# A shell ignores Ctrl-C for what it starts in the background, and tests press it.
signal.signal(signal.SIGINT, signal.default_int_handler)

SIZE = 24
SCENES = {0: ("jungle", "forest"), 1: ("lake", "sea")}  # place -> the words of its captions
GREENS = {"jungle": (90, 200, 70), "forest": (30, 110, 40)}
BLUES = {"lake": (60, 120, 220), "sea": (20, 50, 160)}
SQUARES = {0: (200, 60, 40), 1: (240, 220, 60)}  # y -> colour of the class object

# (y, place) -> images; as in Waterbirds, the place nearly gives the class away in train only
COUNTS = {
    0: {(0, 0): 16, (0, 1): 4, (1, 0): 4, (1, 1): 16},
    1: {(0, 0): 4, (0, 1): 4, (1, 0): 4, (1, 1): 4},
    2: {(0, 0): 4, (0, 1): 4, (1, 0): 4, (1, 1): 4},
}


def write_waterbirds(root: Path) -> Path:
    """The layout of Waterbirds with drawn images: a coloured square on land or water."""
    rng = np.random.default_rng(0)
    rows, captions = [], []
    for split, groups in COUNTS.items():
        for (y, place), number in groups.items():
            for index in range(number):
                scene = SCENES[place][index % 2]
                kind = ("landbird", "waterbird")[y]
                name = f"{y:03d}.{kind.title()}/{scene}_{split}_{index:02d}.jpg"
                pixels, mask = draw(scene, y, rng)
                save(root / name, Image.fromarray(pixels), quality=95)
                path = (root / "segmentations" / name).with_suffix(".png")
                save(path, Image.fromarray(mask))
                n = len(rows) + 1
                rows.append((str(n), name, y, split, place, f"/{scene}/{n}.jpg"))
                captions.append((name, f"a {kind} on the {scene}"))
    columns = ["img_id", "img_filename", "y", "split", "place", "place_filename"]
    pd.DataFrame(rows, columns=columns).to_csv(root / "metadata.csv", index=False)
    table = pd.DataFrame(captions, columns=["img_filename", "caption"])
    table.to_csv(root / "captions.csv", index=False)
    return root


def draw(scene: str, y: int, rng: np.random.Generator) -> tuple[Any, Any]:
    """Pixels (SIZE, SIZE, 3) and a one-bit mask of the square."""
    colour = {**GREENS, **BLUES}[scene]
    noise = rng.normal(0, 12, (SIZE, SIZE, 1))
    pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
    side = int(rng.integers(7, 12))
    top, left = rng.integers(2, SIZE - side - 1, 2)
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    mask[top : top + side, left : left + side] = True
    pixels[mask] = SQUARES[y]
    return pixels, mask


def save(path: Path, image: Image.Image, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """No workers for the tests of one file: starting them would take longer than they save."""
    files = {argument.partition("::")[0] for argument in config.args}
    return 0 if len(files) == 1 and Path(files.pop()).is_file() else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests first, so that no worker begins one when the others have nothing left to do."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session", autouse=True)
def _quiet_process() -> Iterator[None]:
    import torch

    from aspire import yardstick

    yardstick.SECONDS = 0.0  # one try of each measurement
    torch.set_num_threads(1)
    keep_freed_memory()
    gc.freeze()  # what all tests import stays; looking through it again and again costs seconds
    yield
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def _quicker_hydra() -> Iterator[None]:
    """Of tests alone: see the helper."""
    with pytest.MonkeyPatch.context() as patch:
        make_quicker(patch)
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_other_machine() -> Iterator[None]:
    """Nothing may count on the network, nor on what somebody's server says."""
    connect = socket.socket.connect

    def here(self: socket.socket, address: Any) -> None:
        host = address[0] if isinstance(address, tuple) else ""
        with contextlib.suppress(ValueError):  # a name, or the path of a local socket
            if ipaddress.ip_address(host).is_global:
                raise OSError(errno.ENETUNREACH, f"no test connects to {host}")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", here)
        yield


@pytest.fixture
def waterbirds_folder(tmp_path: Path) -> Path:
    """40 train, 16 val and 16 test images of 24 x 24, to be changed at will."""
    return write_waterbirds(tmp_path / "waterbirds")


@pytest.fixture(scope="session")
def waterbirds(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The same as a dataset, drawn once; not to be changed."""
    return Waterbirds(write_waterbirds(tmp_path_factory.mktemp("waterbirds"))).read()


@pytest.fixture(scope="session", autouse=True)
def _language_models_once() -> Iterator[None]:
    """Those that are installed: loading one takes as long as most tests that need it."""
    import spacy

    load = spacy.load
    once = functools.cache(load)

    def load_once(name: str, exclude: Sequence[str] = ()) -> Any:
        return (load if "/" in name else once)(name, exclude=tuple(exclude))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spacy, "load", load_once)
        yield


class BackgroundReader:
    """A classifier that takes nothing but the shortcut: blue corners are waterbirds.

    Its probabilities are 0.9 and 0.1. Counts the images it was shown.
    """

    digest = "background-reader"

    def __init__(self) -> None:
        self.shown = 0

    def __call__(self, images: Sequence[Any]) -> Any:
        self.shown += len(images)
        water = [
            i[[0, 0, -1, -1], [0, -1, 0, -1], 2].mean()
            > i[[0, 0, -1, -1], [0, -1, 0, -1], 1].mean()
            for i in images
        ]
        return np.array([[0.1, 0.9] if w else [0.9, 0.1] for w in water], np.float32).reshape(-1, 2)


@pytest.fixture
def background_reader() -> Callable[..., Any]:
    return BackgroundReader()


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all workers of this run of pytest."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    shared.mkdir(exist_ok=True)
    return shared


@pytest.fixture(scope="session")
def tiny_data(session_folder: Path) -> Path:
    """Where the miniatures of all tests are rendered, once; rendering takes a lock itself."""
    return session_folder / "data"
