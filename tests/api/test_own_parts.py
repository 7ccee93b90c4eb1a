"""Networks, losses, baselines, data and backends that are handed over as Python objects."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from blue import Blue, to_tensor
from hydra import compose, initialize_config_dir
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import aspire
from aspire.baselines.erm import CrossEntropy
from aspire.cli import main
from aspire.data.transforms import stack_views

HOW = aspire.Preprocessing(size=24, crop=1.0)
SHORT = {"fit.steps": 2, "fit.evaluations": 1, "fit.batch_size": 8, "trainer.accelerator": "cpu"}


class Net(nn.Module):
    """Its head stands in the middle of its attributes."""

    def __init__(self, num_classes: int, width: int = 4) -> None:
        super().__init__()
        self.say = nn.Linear(4 * width, num_classes)
        self.see = nn.Sequential(nn.Conv2d(3, width, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(2))

    def forward(self, x: Tensor) -> Any:
        return self.say(self.see(x).flatten(1))


class Doubled(Net):
    """Its outputs are those of no linear layer."""

    def forward(self, x: Tensor) -> Any:
        return 2 * super().forward(x)


def smooth(logits: Tensor, y: Tensor) -> Tensor:
    return cross_entropy(logits, y, label_smoothing=0.1)


class Locked:
    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __call__(self, logits: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(logits, y)


class Halved:
    """Half of the steps."""

    needs: ClassVar[aspire.Needs] = aspire.Needs()

    def __init__(self, part: float = 0.5) -> None:
        self.part = part
        self._seen = 0

    def run(self, ctx: Any) -> Any:
        self._seen += 1
        return ctx.fit("train", CrossEntropy(), steps=max(1, round(self.part * ctx.steps)))


class Written:
    """Captions by what a file is called."""

    def identity(self) -> dict[str, str]:
        return {"captioner": "written"}

    def caption(self, images: Sequence[Any]) -> list[str | None]:
        return [
            f"a {'waterbird' if i.ref.y else 'landbird'} on the "
            f"{Path(i.ref.file).name.partition('_')[0]}"
            for i in images
        ]


class Odd:
    """Throws out images whose number is odd."""

    name = "odd"

    def measured(self) -> dict[str, str]:
        return {}

    def thresholds(self) -> dict[str, str]:
        return {}

    def measure(self, images: Sequence[Any], reference: Any) -> list[float | str]:
        return [float(int(image.img_id[-5:]) % 2) for image in images]

    def reject(self, values: Any) -> set[str]:
        return {img_id for img_id, value in values.items() if value == 1}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture(scope="module")
def data(waterbirds: aspire.Dataset) -> aspire.LoadedDataset:
    return aspire.load_dataset(waterbirds)


@pytest.fixture(scope="module")
def train(data: aspire.LoadedDataset, outputs: Path) -> Any:
    def trained(**given: Any) -> aspire.Run:
        return aspire.train(data, outputs=outputs, settings=SHORT, **given)

    return trained


@pytest.fixture(scope="module")
def run(train: Any) -> aspire.Run:
    made: aspire.Run = train(model=Net, transform=HOW, objective=smooth)
    return made


def test_an_own_network_and_loss(run: aspire.Run, train: Any, data: aspire.LoadedDataset) -> None:
    assert [run.result[k] for k in ("baseline", "model", "dataset")] == [
        "smooth",
        "Net",
        "waterbirds",
    ]
    assert set(run.metrics) == {"val", "test"}
    again = train(model=Net, transform=HOW, objective=smooth)
    assert (again.folder, again._trained.state) == (run.folder, "hit")
    # what is predicted is what the network in plain PyTorch says
    files = [data.path(name) for name in data.table["img_filename"][:3]]
    pixels = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    assert type(run.model) is Net
    batch = HOW.normalise(stack_views([HOW.evaluation(p) for p in pixels]))
    expected = run.model(batch).softmax(1)[:, 1].tolist()
    for images in (files, pixels, [Image.fromarray(p) for p in pixels]):
        frame = run.predict(images)
        assert frame["p_waterbird"].tolist() == pytest.approx(expected, abs=1e-5)
    assert frame["path"].tolist() == ["0", "1", "2"]


def test_what_is_another_run(run: aspire.Run, train: Any) -> None:
    torch.manual_seed(0)
    keys = [run.result["key"]]
    for given in (
        {"objective": nn.CrossEntropyLoss()},
        {"objective": nn.CrossEntropyLoss(label_smoothing=0.1)},
        {"model": Doubled, "objective": smooth},  # without a last linear layer
        {"model": Net(2), "objective": smooth},
        {"model": Net(2), "objective": smooth},  # begins with other weights
        {"baseline": Halved()},
        {"baseline": Halved(1.0)},
    ):
        keys.append(train(**{"model": Net, "transform": HOW, **given}).result["key"])
    assert len(set(keys)) == len(keys)


def test_what_a_baseline_remembers_is_no_part_of_it(train: Any) -> None:
    halved = Halved()
    runs = [train(model=Net, transform=HOW, baseline=halved) for _ in range(2)]
    assert runs[0].folder == runs[1].folder
    assert halved._seen == 0
    assert runs[0].result["steps"] == 1


def test_a_run_is_loaded_with_its_network(run: aspire.Run, outputs: Path, data: Any) -> None:
    with pytest.raises(aspire.AspireError) as told:
        aspire.load_run(run.folder)
    assert "trained with a network of your own" in str(told.value)
    assert "model=Net)" in str(told.value)
    loaded = aspire.load_run(run.folder, model=Net)
    image = data.path(data.table["img_filename"][0])
    assert loaded.predict(image).equals(run.predict(image))
    frame = aspire.results(outputs)
    (row,) = frame[frame["key"] == run.result["key"]].to_dict("records")
    assert row["test/acc"] == run.metrics["test"]["acc"]
    assert row["folder"] == str(run.folder)


@pytest.mark.parametrize("verb", ["evaluate", "predict", "rerun"])
def test_the_command_line_says_what_it_cannot_make(
    verb: str, run: aspire.Run, capsys: pytest.CaptureFixture[str], data: Any
) -> None:
    words = [str(data.root)] if verb == "predict" else []
    assert main([verb, str(run.folder), *words]) == 2
    told = capsys.readouterr().err
    assert "was an object of Python, " in told
    assert "aspire.load_run(DIR, model=...)" in told or "dataset=..." in told


def test_the_shortcuts_of_a_network_in_memory(
    data: aspire.LoadedDataset, outputs: Path, tmp_path: Path
) -> None:
    found = aspire.discover(
        Blue(),
        data,
        transform=to_tensor,
        captioner=Written(),
        outputs=outputs,
        settings={"score.min_support": 3, "classifier.batch_size": 7},
    )
    features = found.features
    assert set(features["class"]) == {"landbird", "waterbird"}
    # it is the scene and nothing else: every change of it changes the answer
    scenes = features[features["kind"] == "scene"]
    assert set(scenes["feature"]) <= {"jungle", "forest", "lake", "sea"}
    assert (scenes.loc[scenes["spurious"], "flip_rate"] == 1).all()
    assert scenes["spurious"].any()
    shown = found.groups.set_index("img_id")["shortcut"]
    spurious = features[features["spurious"]]
    for row in spurious.to_dict("records"):
        rows = found.groups[found.groups["class"] == row["class"]]
        there = rows["file"].str.contains(f"/{row['feature']}_")
        assert (shown[rows["img_id"][there]] == "with shortcut").all()
    report = found.report(tmp_path / "deep/report.html")
    text = report.read_text("utf-8")
    assert "aspire.discover(Blue, waterbirds)" in text
    assert f"{__name__}.Written" in text
    assert '<img src="data:image/png' in found._repr_html_()
    # only half of what is generated is kept
    made = aspire.generate(
        Blue(),
        data,
        transform=to_tensor,
        captioner=Written(),
        filters=[Odd()],
        outputs=outputs,
        settings={"score.min_support": 3, "stage.generate.per_real": 0.5},
    )
    odd = made.images["img_id"].str[-1].astype(int) % 2 == 1
    assert made.images["kept"].tolist() == (~odd).tolist()
    assert set(made.images["reason"][odd]) == {"odd"}
    assert len(made) == int((~odd).sum()) > 0


def test_a_name_is_the_run_of_the_command_line(
    tmp_path: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASPIRE_DATA", str(tiny_data))
    monkeypatch.setenv("ASPIRE_OUTPUTS", str(tmp_path))
    words = ["baseline=groupdro", "seed=3", *(f"{k}={v}" for k, v in SHORT.items())]
    assert main(["train", "dataset.scale=0.02", "logger=none", *words]) == 0
    data = aspire.load_dataset("mini_waterbirds", scale=0.02)
    run = aspire.train(data, baseline="groupdro", seed=3, settings=SHORT)
    assert run._trained.state == "hit"
    assert aspire.load_run(run.folder).class_names == ("landbird", "waterbird")
    assert str(run).startswith("<run mini_waterbirds, groupdro, small_cnn, seed 3: test acc 0.")


class ByGroup(aspire.Objective):
    """Remembers which groups it was told."""

    needs = aspire.Needs(train_groups=True)
    told: ClassVar[set[int]] = set()

    def forward(self, net: Any, batch: Any) -> aspire.StepOutput:
        self.told.update(batch.group.tolist())
        logits = net(batch.image)
        return aspire.StepOutput(cross_entropy(logits, batch.y), logits)


def test_an_objective_is_told_the_groups_it_needs(train: Any) -> None:
    run = train(model=Net, transform=HOW, objective=ByGroup())
    assert ByGroup.told <= {0, 1, 2, 3}
    assert ByGroup.told
    assert run.result["needs"] == "train groups"


def test_a_network_is_trained_on_as_a_copy(train: Any) -> None:
    torch.manual_seed(1)
    network = Net(2)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    trained = train(model=network, transform=HOW).model
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())
    assert not torch.equal(trained.say.weight, network.say.weight)
    assert network.training


def test_an_application_on_hydra_may_call_it(tmp_path: Path, tiny_data: Path) -> None:
    (tmp_path / "mine.yaml").write_text("x: 1\n")
    with initialize_config_dir(str(tmp_path), version_base="1.3"):
        data = aspire.load_dataset(
            "mini_waterbirds", scale=0.02, root=tiny_data / "mini_waterbirds", outputs=tmp_path
        )
        assert compose("mine").x == 1
    assert data.name == "mini_waterbirds"


def test_own_data(waterbirds: aspire.Dataset, outputs: Path) -> None:
    columns = ["img_id", "img_filename", "y", "split", "place"]
    frame = pd.DataFrame(waterbirds.table[columns])
    names = {"class_names": ["land", "water"], "attribute_names": ["dry", "wet"]}
    data = aspire.load_dataset(frame, root=waterbirds.root, name="mine", **names)
    assert (data.name, data.class_names, len(data.table)) == ("mine", ("land", "water"), 72)
    assert repr(data).startswith("<dataset mine: 40 train, 16 val, 16 test; classes land, water>")

    class Reader:
        def read(self) -> aspire.Dataset:
            return waterbirds

    assert aspire.load_dataset(Reader()).digest() == waterbirds.digest()
    assert aspire.load_dataset(data) is data
    run = aspire.train(data, outputs=outputs, settings=SHORT)
    assert run.result["dataset"] == "mine"


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "a transform that is missing": ({"model": Net}, "transform is not given"),
    "a function as transform": ({"model": Net, "transform": to_tensor}, "is a .*to_tensor"),
    "a transform for nothing": ({"transform": HOW}, "no network of your own"),
    "no network": ({"model": 3, "transform": HOW}, "model is a builtins.int; expected a torch"),
    "another number of classes": (
        {"model": Net(3), "transform": HOW},
        r"answers two images with \(2, 3\); expected \(2, 2\)",
    ),
    "a network that cannot be made": (
        {"model": nn.Linear, "transform": HOW},
        "model=torch.nn.modules.linear.Linear cannot be made: TypeError",
    ),
    "an unknown baseline": ({"baseline": "jtr"}, "baseline=jtr: no such choice. Did you mean jtt"),
    "a class as baseline": ({"baseline": Halved}, "is a class; expected an object of it: Halved"),
    "no baseline": ({"baseline": Net(2)}, "has no needs and no run"),
    "both": ({"baseline": "erm", "objective": smooth}, "Both baseline and objective"),
    "a loss for each image": (
        {"objective": lambda logits, y: cross_entropy(logits, y, reduction="none")},
        r"gives a tensor of shape \(8,\); expected a single number",
    ),
    "a loss that cannot be told from another": (
        {"objective": Locked()},
        r"objective.lock is a _thread.lock, and two of these cannot be told apart.* identity\(\)",
    ),
    "a key": ({"settings": {"fit.step": 3}}, "fit.step: no such key. Did you mean fit.steps"),
    "a captioner": (
        {"captioner": Odd(), "augmentation": "aspire"},
        "captioner=.*Odd has no identity and no caption.* Expected the name of a choice",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(name: str, data: aspire.LoadedDataset, outputs: Path) -> None:
    given, text = MISTAKES[name]
    with pytest.raises(aspire.AspireError, match=text):
        aspire.train(data, outputs=outputs, **{"settings": SHORT, **given})


@pytest.mark.parametrize(
    ("model", "given", "text"),
    [
        (Blue(), {}, "how do images become the input of .*Blue"),
        (Blue, {"transform": to_tensor}, "model is the class .*Blue.* Call the class first"),
        ("ermm", {}, "model=ermm is neither a classifier.* Did you mean erm"),
        ("erm", {"transform": to_tensor}, "transform is given and no network"),
        (
            Blue(),
            {"transform": lambda image: "x"},
            "TypeError.* Expected a function from a PIL image in RGB",
        ),
        (
            Blue(),
            {"transform": to_tensor, "settings": {"classifier.batchsize": 3}},
            "classifier.batchsize: no such key of a network in memory. Did you mean batch_size",
        ),
        (
            Blue(),
            {"transform": to_tensor, "settings": {"classifier.batch_size": 0}},
            "classifier.batch_size=0: expected a whole number of at least 1",
        ),
        (
            Blue(),
            {"transform": to_tensor, "settings": {"classifier.gives": "logit"}},
            "classifier.gives=logit: expected .*Did you mean logits",
        ),
        (
            Blue(),
            {"transform": to_tensor, "settings": {"classifier.anyway": "maybe"}},
            "classifier.anyway=maybe: expected",
        ),
    ],
)
def test_mistakes_in_discovering(
    model: Any, given: dict[str, Any], text: str, data: aspire.LoadedDataset, outputs: Path
) -> None:
    with pytest.raises(aspire.AspireError, match=text):
        aspire.discover(model, data, outputs=outputs, **given)


@pytest.mark.parametrize(
    ("source", "given", "text"),
    [
        ("celebA", {}, "neither a dataset nor a folder or file here. Did you mean celeba"),
        ("mini_celeba", {"scal": 1}, "dataset.scal: no such key. Did you mean dataset.scale"),
        (3, {}, "dataset is a int; expected a name"),
        (pd.DataFrame(), {"root": "x"}, "class_names is not given. A DataFrame needs"),
    ],
)
def test_mistakes_in_data(source: Any, given: dict[str, Any], text: str) -> None:
    with pytest.raises(aspire.AspireError, match=text):
        aspire.load_dataset(source, **given)
