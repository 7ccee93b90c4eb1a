"""Masks from networks of the user's: tiny ones, exported here."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aspire.classification.external_onnx import Onnx
from aspire.data.loaded import LoadedImage
from aspire.editing.network_segmenter import OnnxSegmenter, TorchScriptSegmenter
from aspire.errors import ConfigError

PLAIN: dict[str, Any] = {"size": 32, "mean": (0.0,) * 3, "std": (1.0,) * 3}
BRIGHT = np.s_[4:12, 20:30]


@pytest.fixture
def photo(loaded: Callable[..., LoadedImage]) -> LoadedImage:
    """Black, with one white part."""
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[BRIGHT] = 255
    return loaded("photo", pixels)


def onnx_file(
    path: Path, operation: str = "ReduceMean", domain: str = "", scale: float = 1
) -> Path:
    """A network whose map is the mean of the channels, times ``scale``."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, kinds = onnx.helper, onnx.TensorProto
    graph = helper.make_graph(
        [
            helper.make_node(operation, ["image", "axes"], ["mean"], domain=domain),
            helper.make_node("Mul", ["mean", "scale"], ["map"]),
        ],
        "mean",
        [helper.make_tensor_value_info("image", kinds.FLOAT, [1, 3, 32, 32])],
        [helper.make_tensor_value_info("map", kinds.FLOAT, [1, 1, 32, 32])],
        [
            helper.make_tensor("axes", kinds.INT64, [1], [1]),
            helper.make_tensor("scale", kinds.FLOAT, [1], [scale]),
        ],
    )
    sets = [helper.make_opsetid("", 18), *([helper.make_opsetid(domain, 1)] if domain else [])]
    onnx.save(helper.make_model(graph, opset_imports=sets, ir_version=9), path)
    return path


def script(path: Path, function: Callable[[Any], Any], side: int = 32) -> str:
    """The same of any function of a tensor."""
    import torch

    class Net(torch.nn.Module):
        def forward(self, image: Any) -> Any:
            return function(image)

    torch.jit.trace(Net(), torch.zeros(1, 3, side, side), check_trace=False).save(str(path))
    return str(path)


def test_an_onnx_network_says_where_the_object_is(photo: LoadedImage, tmp_path: Path) -> None:
    segmenter = OnnxSegmenter(str(onnx_file(tmp_path / "net.onnx")), **PLAIN)
    (answer,) = segmenter.segment_class_object([photo], [["dog"]])
    wanted = np.zeros((32, 32), bool)
    wanted[BRIGHT] = True
    assert answer.mask is not None
    assert (answer.mask == wanted).all()
    assert answer.score == 1.0
    (phrase,) = segmenter.segment([photo], ["a red ball"])
    assert (phrase.mask, phrase.reason) == (None, "no_box")
    other = OnnxSegmenter(str(onnx_file(tmp_path / "half.onnx", scale=0.5)), **PLAIN)
    assert other.identity()["files"] != segmenter.identity()["files"]


def test_what_is_not_sure_enough(photo: LoadedImage, tmp_path: Path) -> None:
    path = str(onnx_file(tmp_path / "net.onnx", scale=0.4))
    (answer,) = OnnxSegmenter(path, **PLAIN).segment_class_object([photo], [["dog"]])
    assert (answer.reason, answer.detail) == ("low_score", "best probability 0.40, threshold 0.5")


def test_a_channel_for_each_thing(photo: LoadedImage, tmp_path: Path) -> None:
    import torch

    path = script(tmp_path / "net.pt", lambda x: torch.cat([1 - x[:, :1], x[:, :1]], 1))
    segmenter = TorchScriptSegmenter(path, **PLAIN, channels={"sky": 0, "dog": 1})
    (dog,) = segmenter.segment_class_object([photo], [["bulldog", "dog"]])
    sky, boat = segmenter.segment([photo, photo], ["the skies", "a boat"])
    assert dog.mask is not None
    assert dog.mask[BRIGHT].all()
    assert sky.mask is not None
    assert (sky.mask == ~dog.mask).all()
    assert (boat.reason, boat.detail) == ("no_box", "the network has no channel for it")


@pytest.mark.parametrize(
    ("function", "options", "said"),
    [
        (lambda x: x.mean(), {}, r"gives no array for one image; expected one map"),
        (lambda x: x, {}, r"gives \(1, 3, 32, 32\) for one image; expected one map"),
        (lambda x: x[:, :1], {"channels": {"dog": 1}}, r"expected 2 or more channels"),
        (lambda x: x[:, :1] / 0, {}, r"gives values that are not numbers. Check segmenter.mean"),
        (lambda x: x[:, :1] * 9 - 3, {}, r"from -3 to 6, which are no.*segmenter.gives=logits"),
        (lambda x: (x[:, :1], x[:, :1]), {"output": 2}, r"has 2 outputs, numbered from 0 to 1"),
    ],
    ids=["number", "colours", "channels", "nan", "logits", "output"],
)
def test_outputs_that_cannot_be_believed(
    photo: LoadedImage,
    tmp_path: Path,
    function: Callable[[Any], Any],
    options: dict[str, Any],
    said: str,
) -> None:
    path = script(tmp_path / "net.pt", function)
    with pytest.raises(ConfigError, match=said):
        TorchScriptSegmenter(path, **PLAIN, **options).segment_class_object([photo], [["dog"]])


def test_an_input_of_another_size(photo: LoadedImage, tmp_path: Path) -> None:
    path = script(tmp_path / "net.pt", lambda x: x.view(1, 3, 64, 64)[:, :1], side=64)
    with pytest.raises(ConfigError, match=r"does not take a batch of shape \(1, 3, 32, 32\)"):
        TorchScriptSegmenter(path, **PLAIN).segment_class_object([photo], [["dog"]])


def test_logits_are_made_probabilities(photo: LoadedImage, tmp_path: Path) -> None:
    path = script(tmp_path / "net.pt", lambda x: x[:, :1] * 8 - 4)
    segmenter = TorchScriptSegmenter(path, **PLAIN, gives="logits")
    (answer,) = segmenter.segment_class_object([photo], [["dog"]])
    assert answer.mask is not None
    assert answer.mask.sum() == 80
    assert answer.score == pytest.approx(0.982, abs=1e-3)  # 1 / (1 + e^-4)


def test_files_that_are_not_what_they_are_said_to_be(photo: LoadedImage, tmp_path: Path) -> None:
    archive = script(tmp_path / "net.onnx", lambda x: x[:, :1])
    with pytest.raises(ConfigError, match=r"no ONNX file, but an archive.*segmenter=torchscript"):
        OnnxSegmenter(archive, **PLAIN).identity()
    (tmp_path / "text.pt").write_text("no network")
    with pytest.raises(ConfigError, match=r"text.pt is no TorchScript file"):
        TorchScriptSegmenter(str(tmp_path / "text.pt"), **PLAIN).segment_class_object([photo], [[]])
    with pytest.raises(ConfigError, match=r"segmenter.path=None: expected an ONNX file"):
        OnnxSegmenter(None).identity()


def test_operations_of_somebody_elses_are_not_run(tmp_path: Path) -> None:
    path = str(onnx_file(tmp_path / "net.onnx", "Evil", "com.example"))
    with pytest.raises(ConfigError, match=r"operations that are not ONNX's: com.example.Evil"):
        OnnxSegmenter(path, **PLAIN).identity()


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(onnx_file(tmp_path / "net.onnx"))
    for name in [n for n in sys.modules if n.partition(".")[0] == "onnx"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "onnx", None)  # as where it is not installed
    with pytest.raises(ConfigError, match=r"segmenter=onnx needs onnx: pip install .*\[onnx\]"):
        OnnxSegmenter(path, **PLAIN).identity()
    with pytest.raises(ConfigError, match=r"classifier=onnx needs onnx: pip install .*\[onnx\]"):
        Onnx(path, {"size": 32}).digest()
