"""aspire discover with a classifier from elsewhere: what is said before anything is edited."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from aspire.cli import main

COLOURS = {"blue": (0, 0, 200), "green": (0, 200, 0), "red": (200, 0, 0)}  # class -> of its images


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASPIRE_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """30 images of three classes, and how they are called on the command line."""
    return [*dataset(tmp_path, COLOURS), "logger=none", "classifier.preprocessing.size=8"]


def dataset(root: Path, colours: dict[str, Any], number: int = 10) -> list[str]:
    rng = np.random.default_rng(0)
    for name, colour in colours.items():
        (root / "images" / name).mkdir(parents=True)
        for i in range(number):
            pixels = np.clip(np.array(colour) + rng.integers(0, 50, (8, 8, 3)), 0, 255)
            path = root / "images" / name / f"{i}.png"
            Image.fromarray(pixels.astype(np.uint8)).save(path)
    files = [p.relative_to(root / "images") for p in (root / "images").rglob("*.png")]
    rows = [f"{f.as_posix()},a square on a lawn" for f in files]
    (root / "captions.csv").write_text("\n".join(["img_filename,caption", *rows]))
    data = ["dataset=folder", "dataset.root=images", "segmenter=grabcut_centre"]
    return [*data, "captioner=replay", "captioner.file=captions.csv"]


class ByColour(nn.Module):
    """Mean of a channel an output: blue, green, red, times a weight each."""

    def __init__(self, order: tuple[int, ...] = (2, 1, 0)) -> None:
        super().__init__()
        self.fc = nn.Linear(3, len(order))
        with torch.no_grad():
            self.fc.weight.copy_(9 * torch.eye(3)[list(order)])
            self.fc.bias.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x.mean((2, 3)))


def script(module: nn.Module, name: str = "net.pt") -> list[str]:
    torch.jit.trace(module.eval(), torch.zeros(2, 3, 8, 8)).save(name)
    return ["classifier=torchscript", f"classifier.path={name}"]


def stages(tmp_path: Path) -> set[str]:
    return {
        p.parent.parent.name for p in (tmp_path / "outputs/artifacts").glob("*/*/manifest.json")
    }


def test_another_order_stops_before_the_first_caption(
    tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    net = script(ByColour((0, 2, 1)))  # red, blue, green
    assert main(["discover", *net, *words]) == 2
    told = capsys.readouterr()
    assert "classifier: right on 0 of 21 train images" in told.out
    assert "21 of 21 would be right with 'classifier.names=[red,blue,green]'" in told.err
    assert "classifier.anyway=true" in told.err
    assert stages(tmp_path) == {"examine"}


def test_the_order_that_was_advised_is_right(
    tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    net = script(ByColour((0, 2, 1)))
    main(["discover", *net, "classifier.names=[red,blue,green]", *words])
    told = capsys.readouterr()
    assert {"examine", "caption"} <= stages(tmp_path)
    assert "(100.0 %; guesses as frequent: 33.3 %)" in told.out
    assert "right of each class: blue " in told.out


class Broken(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3)) / 0


def test_outputs_that_are_not_finite(
    tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["discover", *script(Broken()), *words]) == 3
    assert "outputs of the classifier for" in capsys.readouterr().err
    assert stages(tmp_path) == set()


class Constant(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3)) * 0 + torch.tensor([2.0, 0.0, 0.0])


def test_a_network_that_guesses_is_not_analysed_without_a_word(
    tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    net = script(Constant())
    assert main(["discover", *net, *words]) == 2
    assert "nothing is said of its shortcuts. Is it trained" in capsys.readouterr().err
    assert stages(tmp_path) == {"examine"}
    main(["discover", *net, *words, "classifier.anyway=true"])
    assert "nothing is said of its shortcuts. Is it trained" in capsys.readouterr().out


def test_numbers_are_not_in_the_order_of_counting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    colours = {str(i): (80 * (i % 3), 80 * (i // 3 % 3), 80 * (i // 9)) for i in range(12)}
    words = dataset(tmp_path, colours, 5)

    class Nearest(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            centres = (torch.tensor(list(colours.values())) + 25) / 255
            return -99 * ((x.mean((2, 3))[:, None] - centres[None]) ** 2).sum(-1)

    plain = ["classifier.preprocessing.size=8", "classifier.preprocessing.mean=[0,0,0]"]
    plain += ["classifier.preprocessing.std=[1,1,1]", "logger=none"]
    assert main(["discover", *script(Nearest()), *plain, *words]) == 2
    told = capsys.readouterr()
    assert "classes in this order: 0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9" in told.out
    advised = "classifier.names=[0,1,2,3,4,5,6,7,8,9,10,11]"
    assert advised in told.err
    main(["discover", *script(Nearest()), *plain, *words, advised])
    assert "(100.0 %; guesses" in capsys.readouterr().out


MODULE = """
from torch import nn
class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc = nn.Linear(3, width)
    def forward(self, x):
        return {"logits": self.fc(x.mean((2, 3))), "features": x}
"""


def test_own_network_from_the_working_folder(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("own_net.py").write_text(textwrap.dedent(MODULE))
    state = {f"model._orig_mod.{k}": v.half() for k, v in ByColour().state_dict().items()}
    # as Lightning writes a compiled network
    torch.save({"state_dict": {**state, "loss.weight": torch.ones(3)}, "epoch": 3}, "net.ckpt")
    own = ["classifier=pytorch", "classifier.path=net.ckpt", "classifier.network=own_net.Net"]
    main(["discover", *own, "classifier.arguments={width: 3}", *words])
    assert "(100.0 %; guesses" in capsys.readouterr().out
    assert main(["discover", *own, "classifier.arguments={width: 4}", *words]) == 2
    assert "other shape: fc.bias (3,) in the file, (4,) in the network" in capsys.readouterr().err


def test_the_examination_is_kept(tmp_path: Path, waterbirds_folder: Path) -> None:
    """On images with captions, to the end."""

    class Squares(nn.Module):
        """Landbirds are red squares, waterbirds yellow: the redder channel mean less the green."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            yellow = ((x[:, 0] > 0.75) & (x[:, 1] > 0.7)).float().mean((1, 2))
            return torch.stack([0.01 - yellow, yellow - 0.01], 1) * 100

    torch.jit.trace(Squares(), torch.zeros(2, 3, 24, 24)).save("net.pt")
    net = ["classifier=torchscript", "classifier.path=net.pt", "classifier.preprocessing.size=24"]
    net += ["classifier.preprocessing.crop=1", "classifier.preprocessing.mean=[0,0,0]"]
    net += ["classifier.preprocessing.std=[1,1,1]"]
    data = ["dataset=waterbirds", f"dataset.root={waterbirds_folder}", "logger=none"]
    assert main(["discover", *net, *data]) == 0
    (folder,) = (tmp_path / "outputs/discover").iterdir()
    kept = json.loads((folder / "result.json").read_text())["discovery"]["0"]["examination"]
    assert (kept["images"], kept["right"], kept["order"]) == (40, 40, None)
    assert kept["confusion"] == [[0, 0, 20], [1, 1, 20]]
    assert "right on 40 of 40 unedited images (100.0 %)" in (folder / "report.html").read_text()
