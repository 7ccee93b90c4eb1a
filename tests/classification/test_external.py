"""Classifiers made elsewhere: tiny random ones, saved to disk and loaded as a user would."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from aspire.classification.external_hf import HfClassifier
from aspire.classification.external_onnx import Onnx
from aspire.classification.external_pytorch import PyTorch
from aspire.classification.external_timm import TimmClassifier
from aspire.classification.external_torchscript import TorchScript
from aspire.classification.predictor import FinishedRun, Request
from aspire.errors import AspireError, ConfigError

SMALL = {"size": 32, "crop": 1.0}


def request_for(*names: str) -> Request:
    def never(*_: Any) -> Any:
        raise AssertionError("nothing is trained for a classifier from elsewhere")

    return Request(names, 0, never, never)


CATS = request_for("cat", "dog")


@pytest.fixture(scope="module")
def images() -> list[Any]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (h, w, 3)).astype(np.uint8) for h, w in ((32, 32), (40, 60))] * 3


def network(outputs: int, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    layers = nn.Conv2d(3, 8, 3, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(8, outputs)).eval()


@pytest.fixture
def scripted(tmp_path: Path) -> Callable[..., Path]:
    def write(outputs: int, name: str = "net.pt", seed: int = 0) -> Path:
        path = tmp_path / name
        torch.jit.script(network(outputs, seed)).save(str(path))
        return path

    return write


def by_hand(net: nn.Module, images: list[Any], size: int = 32) -> Any:
    """Resize, centre, normalise with Pillow and torchvision: the outputs as everybody has them."""
    from PIL import Image
    from torchvision.transforms import v2

    view = v2.Compose(
        [
            v2.Resize(size),
            v2.CenterCrop(size),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    with torch.no_grad():
        return net(torch.stack([view(Image.fromarray(i)) for i in images])).softmax(1).numpy()


# --- torchscript -----------------------------------------------------------------------------


def test_torchscript_gives_the_networks_own_probabilities(
    scripted: Callable[..., Path], images: list[Any]
) -> None:
    predict = TorchScript(str(scripted(2)), SMALL).classifier(CATS)
    found = predict(images)
    assert found.dtype == np.float32
    assert found.sum(axis=1) == pytest.approx(np.ones(6))
    assert found == pytest.approx(by_hand(network(2), images), abs=2e-3)  # Pillow rounds to bytes
    one = TorchScript(str(scripted(2)), SMALL, batch_size=1).classifier(CATS)
    assert one(images) == pytest.approx(found, abs=1e-6)
    assert predict([]).shape == (0, 2)


def test_identity_is_the_content(scripted: Callable[..., Path], tmp_path: Path) -> None:
    first = scripted(2)
    digest = TorchScript(str(first), SMALL).classifier(CATS).digest
    copy = tmp_path / "elsewhere.pt"
    copy.write_bytes(first.read_bytes())
    assert TorchScript(str(copy), SMALL, batch_size=7).classifier(CATS).digest == digest
    others = [
        TorchScript(str(scripted(2, "b.pt", seed=1)), SMALL),
        TorchScript(str(first), {**SMALL, "mean": [0.5, 0.5, 0.5]}),
        TorchScript(str(first), SMALL, classes={"cat": 1, "dog": 0}),
        TorchScript(str(first), SMALL, gives="probabilities"),
    ]
    assert digest not in {o.classifier(CATS).digest for o in others}


def test_many_outputs_are_added_up(scripted: Callable[..., Path], images: list[Any]) -> None:
    path = str(scripted(6))
    full = by_hand(network(6), images)
    classes = {"dog": [1, 4], "cat": 3}
    found = TorchScript(path, SMALL, classes=classes).classifier(CATS)(images)
    cat, dog = full[:, 3], full[:, 1] + full[:, 4]
    assert found[:, 0] == pytest.approx(cat / (cat + dog), abs=2e-3)
    names = ["fish", "poodle", "bird", "tabby, tabby cat", "husky", "car"]
    mapped = {"dog": ["poodle", "Husky"], "cat": "tabby cat"}
    named = TorchScript(path, SMALL, mapped, names)
    assert named.classifier(CATS)(images) == pytest.approx(found)


def test_names_put_the_outputs_in_order(scripted: Callable[..., Path], images: list[Any]) -> None:
    path = str(scripted(2))
    turned = TorchScript(path, SMALL, names=["Dog", "Cat"]).classifier(CATS)(images)
    assert turned == pytest.approx(by_hand(network(2), images)[:, ::-1], abs=2e-3)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, r"has 6 outputs, the dataset 2 classes \(cat, dog\)\. Say which outputs"),
        ({"names": list("abcdef")}, r"has 6 outputs \(a, b, c, d, e and 1 more\)"),
        ({"classes": {"cat": [0]}}, "does not say which outputs are 'dog'"),
        ({"classes": {"cat": [0], "dgo": [1]}}, r"'dgo'; the dataset has cat, dog\. Did you mean"),
        ({"classes": {"cat": [0, 1], "dog": [1]}}, "output 1 to both 'cat' and 'dog'"),
        ({"classes": {"cat": [0], "dog": [9]}}, "names output 9; the classifier has 6 outputs"),
        ({"classes": {"cat": [0], "dog": []}}, r"classes\.dog is empty"),
        ({"classes": {"cat": [0], "dog": "husky"}}, "does not bring names"),
        ({"classes": {"cat": 0, "dog": "x"}, "names": list("abcdef")}, "the output 'x'"),
        ({"classes": {"cat": 0, "dog": 1}, "gives": "probabilities"}, "outside 0 to 1"),
    ],
)
def test_outputs_that_cannot_be_matched_are_refused(
    scripted: Callable[..., Path], images: list[Any], options: dict[str, Any], text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        TorchScript(str(scripted(6)), SMALL, **options).classifier(CATS)(images)


def test_names_of_equal_number_must_be_matched(scripted: Callable[..., Path]) -> None:
    with pytest.raises(ConfigError, match="tells tabby, husky apart, the dataset holds cat, dog"):
        TorchScript(str(scripted(2)), SMALL, names=["tabby", "husky"]).classifier(CATS)
    label = TorchScript(str(scripted(2)), SMALL, names=["LABEL_0", "LABEL_1"])
    assert label.classifier(CATS).digest  # nameless names are taken in order


def test_what_is_no_torchscript_file(tmp_path: Path, images: list[Any]) -> None:
    with pytest.raises(ConfigError, match=r"classifier\.path is not set; expected a file of torch"):
        TorchScript(None, SMALL)
    with pytest.raises(ConfigError, match="no such file"):
        TorchScript(str(tmp_path / "none.pt"), SMALL)
    state = tmp_path / "state.pt"
    torch.save(network(2).state_dict(), state)
    with pytest.raises(ConfigError, match=r"is a state dict, which has no network in it\. Give"):
        TorchScript(str(state), SMALL).classifier(CATS)(images)


@pytest.mark.parametrize(
    ("preprocessing", "text"),
    [
        ({}, r"preprocessing\.size=None: expected the side"),
        ({"size": 32, "men": [0]}, r"preprocessing\.men: no such key\. Did you mean mean"),
        ({"size": 32, "interpolation": "lanczos"}, "expected bilinear or bicubic"),
    ],
)
def test_preprocessing_is_checked(
    scripted: Callable[..., Path], preprocessing: dict[str, Any], text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        TorchScript(str(scripted(2)), preprocessing)


def test_input_of_another_size_names_the_key(tmp_path: Path, images: list[Any]) -> None:
    path = tmp_path / "fixed.pt"
    torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2))).save(str(path))
    with pytest.raises(ConfigError, match=r"Check classifier\.preprocessing\.size"):
        TorchScript(str(path), {"size": 40}).classifier(CATS)(images)


# --- onnx ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dynamic", [True, False])
def test_onnx_agrees_with_torch(tmp_path: Path, images: list[Any], dynamic: bool) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    path, net = tmp_path / "net.onnx", network(2)
    shapes = {"dynamic_shapes": ({0: torch.export.Dim("batch")},)} if dynamic else {}
    example = torch.zeros(4, 3, 32, 32)
    torch.onnx.export(net, (example,), str(path), dynamo=True, verbose=False, **shapes)
    found = Onnx(str(path), SMALL).classifier(CATS)(images)
    torch.jit.script(net).save(str(tmp_path / "net.pt"))
    same = TorchScript(str(tmp_path / "net.pt"), SMALL).classifier(CATS)(images)
    assert found == pytest.approx(same, abs=1e-5)


def test_what_is_no_onnx_file(tmp_path: Path, images: list[Any]) -> None:
    pytest.importorskip("onnxruntime")
    path = tmp_path / "net.onnx"
    path.write_bytes(b"no network")
    with pytest.raises(ConfigError, match="cannot be read"):
        Onnx(str(path), SMALL).classifier(CATS)(images)


def external_onnx(path: Path, location: str, weights: Any = 1.0) -> Path:
    """A graph (B, 3, 32, 32) -> (B, 2) whose weights lie in another file."""
    onnx = pytest.importorskip("onnx")
    helper, kinds = onnx.helper, onnx.TensorProto
    values = np.full((3072, 2), weights, np.float32)
    tensor = helper.make_tensor("w", kinds.FLOAT, values.shape, values.tobytes(), raw=True)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["x"], ["flat"]),
            helper.make_node("MatMul", ["flat", "w"], ["features"]),
            helper.make_node("Neg", ["features"], ["logits"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", kinds.FLOAT, [None, 3, 32, 32])],
        [helper.make_tensor_value_info(n, kinds.FLOAT, [None, 2]) for n in ("features", "logits")],
        [tensor],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path, save_as_external_data=True, location=location, size_threshold=0)
    return path


def test_every_file_that_an_onnx_graph_names_is_its_identity(
    tmp_path: Path, images: list[Any]
) -> None:
    pytest.importorskip("onnxruntime")
    path = external_onnx(tmp_path / "net.onnx", "weights.bin")
    before = Onnx(str(path), SMALL).classifier(CATS).digest
    features = Onnx(str(path), SMALL, output="features").classifier(CATS)
    assert features.digest != before  # and without a word the logits are taken
    values = np.fromfile(tmp_path / "weights.bin", np.float32)
    values[0] = 7
    values.tofile(tmp_path / "weights.bin")
    assert Onnx(str(path), SMALL).classifier(CATS).digest != before
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(
        ConfigError, match=r"weights in weights\.bin beside it, and there is no such"
    ):
        Onnx(str(path), SMALL).digest()


def test_onnx_weights_in_another_place_are_refused(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    path = external_onnx(tmp_path / "net.onnx", "weights.bin")
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[0].external_data[0].value = "../../etc/hostname"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ConfigError, match=r"hostname, which is not in its folder or below"):
        Onnx(str(path), SMALL).digest()


# --- files of weights ------------------------------------------------------------------------


class Own(nn.Module):
    """Stands for a user's class."""

    def __init__(self, outputs: int = 2) -> None:
        super().__init__()
        self.net = network(outputs)

    def forward(self, x: torch.Tensor) -> Any:
        return {"logits": self.net(x)}


OWN = f"{__name__}.Own"


@pytest.mark.parametrize(
    "prefix", ["", "_orig_mod.", "model.", "module.", "model._orig_mod.", "any.thing.else."]
)
def test_any_one_prefix_is_stripped_and_halves_are_cast(
    prefix: str, tmp_path: Path, images: list[Any]
) -> None:
    path = tmp_path / "weights.pt"
    state = {f"{prefix}{k}": v.bfloat16() for k, v in Own().state_dict().items()}
    torch.save(
        {"state_dict": {**state, **({"loss.weight": torch.ones(2)} if prefix else {})}}, path
    )
    found = PyTorch(str(path), OWN, preprocessing=SMALL).classifier(CATS)(images)
    assert found == pytest.approx(by_hand(network(2), images), abs=2e-2)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([torch.zeros(2)], "it holds a list, no tensors by name"),
        ({"a": 1, "b": "x"}, "it holds a dict with a, b, no tensors by name"),
        ({}, "it holds a dict with nothing in it"),
        (torch.zeros(2), "it holds a Tensor"),
        (Own(), "it holds Python objects besides tensors, for example a whole pickled module"),
    ],
)
def test_what_is_no_state_dict_is_named(tmp_path: Path, content: Any, text: str) -> None:
    path = tmp_path / "weights.pt"
    torch.save(content, path)
    with pytest.raises(ConfigError, match=text):
        PyTorch(str(path), OWN, preprocessing=SMALL).classifier(CATS)
    with pytest.raises(ConfigError, match=rf"is no TorchScript file: {text}"):
        TorchScript(str(path), SMALL).classifier(CATS)
    with pytest.raises(ConfigError, match=text):
        TimmClassifier("test_vit", str(path)).classifier(CATS)


def test_weights_of_another_network_are_named(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    state = Own().state_dict()
    gone = state.pop("net.4.bias")
    torch.save({**state, "net.9.bias": gone}, path)
    with pytest.raises(ConfigError, match=r"missing: net\.4\.bias\. unexpected: net\.9\.bias\."):
        PyTorch(str(path), OWN, preprocessing=SMALL).classifier(CATS)


def test_cut_and_mistaken_files(tmp_path: Path, scripted: Callable[..., Path]) -> None:
    whole = scripted(2)
    with pytest.raises(ConfigError, match=r"it is a TorchScript file.*classifier=torchscript"):
        PyTorch(str(whole), OWN, preprocessing=SMALL).classifier(CATS)
    cut = tmp_path / "cut.pt"
    cut.write_bytes(whole.read_bytes()[:500])
    with pytest.raises(ConfigError, match=r"is no TorchScript file: .*is the file whole"):
        TorchScript(str(cut), SMALL).classifier(CATS)
    tensors = tmp_path / "cut.safetensors"
    tensors.write_bytes(b"\x80" * 40)
    with pytest.raises(ConfigError, match=r"is the file whole\?"):
        PyTorch(str(tensors), OWN, preprocessing=SMALL).classifier(CATS)


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (None, r"classifier\.network is not set"),
        ("Net", r"expected MODULE\.NAME"),
        ("no_such_module_here.Net", "ModuleNotFoundError: No module named 'no_such_module_here'"),
        (f"{__name__}.Own2", r"has no class or function Own2\. Did you mean Own\?"),
    ],
)
def test_a_network_that_is_not_there(tmp_path: Path, target: Any, text: str) -> None:
    path = tmp_path / "weights.pt"
    torch.save(Own().state_dict(), path)
    with pytest.raises(ConfigError, match=text):
        PyTorch(str(path), target, preprocessing=SMALL)


def test_arguments_of_a_network(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(Own(3).state_dict(), path)
    assert PyTorch(str(path), OWN, {"outputs": 3}, preprocessing=SMALL).digest()
    with pytest.raises(ConfigError, match="unexpected keyword argument 'width'"):
        PyTorch(str(path), OWN, {"width": 3}, preprocessing=SMALL).classifier(CATS)


# --- timm ------------------------------------------------------------------------------------


def timm_file(folder: Path, outputs: int, wrap: str | None = None) -> Path:
    import timm

    torch.manual_seed(0)
    state = timm.create_model("test_vit", num_classes=outputs).state_dict()
    path = folder / "weights.pth"
    torch.save({wrap: state} if wrap else state, path)
    return path


@pytest.mark.parametrize("wrap", [None, "state_dict"])
def test_timm_reads_the_number_of_outputs_from_the_file(
    tmp_path: Path, images: list[Any], wrap: str | None
) -> None:
    import timm

    path = timm_file(tmp_path, 3, wrap)
    predict = TimmClassifier("test_vit", str(path)).classifier(request_for("a", "b", "c"))
    found = predict(images)
    net = timm.create_model("test_vit", num_classes=3).eval()
    loaded = torch.load(path, weights_only=True)
    net.load_state_dict(loaded[wrap] if wrap else loaded)
    config = timm.data.resolve_model_data_config(net)
    view = timm.data.create_transform(**config, is_training=False)
    from PIL import Image

    with torch.no_grad():
        own = net(torch.stack([view(Image.fromarray(i)) for i in images])).softmax(1).numpy()
    assert found == pytest.approx(own, abs=5e-3)


def test_timm_of_imagenet_is_mapped_by_name(tmp_path: Path, images: list[Any]) -> None:
    path = str(timm_file(tmp_path, 1000))
    with pytest.raises(ConfigError, match=r"has 1000 outputs \(tench.*, the dataset 2 classes"):
        TimmClassifier("test_vit", path).classifier(CATS)
    by_name = TimmClassifier(
        "test_vit", path, {"cat": ["tabby", "Egyptian cat"], "dog": "golden retriever"}
    ).classifier(CATS)
    by_number = TimmClassifier("test_vit", path, {"cat": [281, 285], "dog": 207}).classifier(CATS)
    assert by_name.digest == by_number.digest
    assert by_name(images) == pytest.approx(by_number(images))


def test_timm_names_and_files_that_do_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"classifier\.name is not set"):
        TimmClassifier()
    with pytest.raises(ConfigError, match=r"resnet5: unknown to timm\. Did you mean resnet"):
        TimmClassifier("resnet5").classifier(CATS)
    with pytest.raises(ConfigError, match=r"no such weights\. timm has"):
        TimmClassifier("resnet18.nothing").classifier(CATS)
    path = timm_file(tmp_path, 2)
    with pytest.raises(ConfigError, match="does not fit resnet18"):
        TimmClassifier("resnet18", str(path)).classifier(CATS)


# --- transformers ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hf_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    folder = tmp_path_factory.mktemp("vit")
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        image_size=32, patch_size=8, id2label={0: "husky", 1: "tabby", 2: "poodle"},
        label2id={"husky": 0, "tabby": 1, "poodle": 2},
    )  # fmt: skip
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def test_hf_classifier_with_its_own_labels_and_processor(
    hf_folder: Path, images: list[Any]
) -> None:
    from transformers import pipeline

    classes = {"cat": "tabby", "dog": ["husky", "poodle"]}
    predict = HfClassifier(str(hf_folder), classes=classes, batch_size=4).classifier(CATS)
    found = predict(images)
    from PIL import Image

    ask = pipeline("image-classification", model=str(hf_folder), device="cpu")
    for row, answer in zip(found, ask([Image.fromarray(i) for i in images], top_k=3), strict=True):
        scores = {a["label"]: a["score"] for a in answer}
        assert row[0] == pytest.approx(scores["tabby"], abs=1e-3)
        assert row[1] == pytest.approx(scores["husky"] + scores["poodle"], abs=1e-3)
    assert HfClassifier(str(hf_folder), classes=classes).classifier(CATS).digest == predict.digest
    with pytest.raises(ConfigError, match=r"3 outputs \(husky, tabby, poodle\), the dataset 2"):
        HfClassifier(str(hf_folder)).classifier(CATS)


def test_hf_folders_that_do_not_hold_the_whole_classifier(hf_folder: Path, tmp_path: Path) -> None:
    import pickle
    import shutil

    from safetensors.torch import load_file, save_file

    classes = {"cat": "tabby", "dog": ["husky", "poodle"]}
    folder = tmp_path / "vit"
    shutil.copytree(hf_folder, folder)
    weights = folder / "model.safetensors"
    whole = load_file(weights)

    def refused(text: str) -> None:
        predict = HfClassifier(str(folder), classes=classes).classifier(CATS)
        with pytest.raises(ConfigError, match=text):
            predict([np.zeros((32, 32, 3), np.uint8)])

    head = {k: v for k, v in whole.items() if not k.startswith("classifier")}
    save_file(head, weights, {"format": "pt"})
    refused(r"missing: classifier\.bias, classifier\.weight\. What is missing would be random")
    save_file({**whole, "second_head.weight": torch.ones(2)}, weights, {"format": "pt"})
    refused(r"unexpected: second_head\.weight\.")
    shapes = {**whole, "classifier.weight": torch.zeros(4, 16)}
    save_file(shapes, weights, {"format": "pt"})
    refused("holds no model that AutoModelForImageClassification can load")
    save_file(whole, weights, {"format": "pt"})
    weights.write_bytes(weights.read_bytes()[:3000])
    refused(r"is the file whole\?")
    weights.unlink()
    with (folder / "pytorch_model.bin").open("wb") as file:
        pickle.dump(Exploding(), file)
    refused("holds no model that AutoModelForImageClassification can load")


class Exploding:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> Any:
        return (pytest.fail, ("the pickle was executed",))


def test_hf_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"classifier\.path is not set"):
        HfClassifier()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="empty holds no model that Auto"):
        HfClassifier(str(tmp_path / "empty")).classifier(CATS)


# --- runs of ours ----------------------------------------------------------------------------


def test_a_run_needs_a_folder_and_the_same_classes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"classifier=run classifier\.path=DIR"):
        FinishedRun()
    with pytest.raises(AspireError, match=r"no result\.json in it"):
        FinishedRun(str(tmp_path)).classifier(CATS)
    (tmp_path / "result.json").write_text('{"class_names": ["dog", "cat"]}')
    with pytest.raises(ConfigError, match=r"tells dog, cat apart, the dataset holds cat, dog"):
        FinishedRun(str(tmp_path)).classifier(CATS)
