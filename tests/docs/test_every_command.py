"""Every command of the documentation is run: cut short, on tiny data, with its own words."""

from __future__ import annotations

import _thread
import re
import shlex
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.request import urlopen

import pytest
import sklearn.datasets
import timm
import tiny_diffusion
import tiny_models
import torch
import yaml
from celeba_faces import write_txt
from commands import FORKS, Command, together
from hub_server import HubServer, Stored, hub_at
from huggingface_hub import constants
from PIL import Image
from safetensors.torch import save_file
from torch import nn

import aspire
from aspire import pretrained
from aspire.cli import main, rerun, review
from aspire.cli._verbs import VERBS
from aspire.cli.launchers import slots
from aspire.data.table import Dataset
from aspire.reporting import dashboard, wandb_sync
from aspire.reporting.review import Review
from aspire.stored.decisions import Judge

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def lines_of(page: Path) -> Iterator[str]:
    """What is typed: lines of ``sh`` blocks and indented ones, and code within a sentence."""
    text = page.read_text("utf-8").replace(" \\\n", " ")
    fence = re.compile(r"^```(.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    blocks = [block for kind, block in fence.findall(text) if kind == "sh"]
    text = fence.sub("", text)
    blocks += re.findall(r"^ {4}((?:aspire|pip) .*)$", text, re.MULTILINE)
    for block in blocks:
        yield from (line.split("  #")[0].strip() for line in block.splitlines())
    for span in re.findall(r"`([^`]+)`", text):
        if re.search(r"\baspire [a-z]+ ", " ".join(span.split())):  # a verb alone is a name
            yield " ".join(span.split())


def commands() -> list[str]:
    """Each once, without what stands around it, as in ``eval "$(aspire completion bash)"``."""
    begin = r"^torchrun .*|\baspire [a-z].*?(?=\)\"| \||$)"
    found = [re.search(begin, line) for page in PAGES for line in lines_of(page)]
    return sorted({match[0] for match in found if match})


# --- what the words of the documentation stand for ---------------------------------------------

BIRDS = "data/waterbird_complete95_forest2water2"
RUN = "outputs/train/mini_waterbirds/erm/aspire/small_cnn-s0-*"
# Text of a command -> what takes its place. A star is the first folder of that name that was made.
STANDS_FOR = {
    "outputs/run/mini_waterbirds-01234567": "outputs/run/mini_waterbirds-*",
    "outputs/discover/mini_waterbirds-0123abcd": "outputs/discover/mini_waterbirds-*",
    "outputs/train/mini_waterbirds/erm/aspire/small_cnn-s0-0123456789ab": RUN,
    "outputs/tune/...": "outputs/tune/mini_celeba/*",
    "review DIR": "review outputs/run/mini_waterbirds-*",
    "review FOLDER": "review outputs/discover/mini_waterbirds-*",
    "status DIR": "status outputs/sweeps/mini_table",
    "RUN RUN": f"{RUN} outputs/train/mini_waterbirds/erm/none/small_cnn-s0-*",
    "rerun RUN": "rerun outputs/train/mini_waterbirds/erm/none/small_cnn-s0-*",
    "RUN": RUN,
    "OWNER/NAME": "me/classifier",
    "run ... decisions": "run decisions",
    "decisions=FILE": "decisions=decisions.json",
    "hparams=FILE": "hparams=by_hand.yaml",
    "dataset=waterbirds dataset.root=DIR": f"dataset=waterbirds dataset.root={BIRDS}",
    "dataset.root=DIR": "dataset.root=photos",
    "dataset.metadata=FILE": f"dataset.metadata={BIRDS}/table.csv",
    "classifier.path=FILE": "classifier.path=scripted.pt",
    "from=FILE": "from=img_align_celeba.zip",
    "dir=DIR": "dir=copy",
    "model=DIR": "model=models/sd",  # the personaliser's and the generator's
    "glob(*)": "glob(*mix*)",  # two of seventeen: integration/test_all_baselines.py trains all
    "dataset.scale=0.2 ": "dataset.scale=0.02 ",
    "dataset.scale=0.5 ": "dataset.scale=0.02 ",
    "seed=0,1,2 -m": "seed=0 -m",
    "seed=0,1,2": "seed=0,1",
    "n_trials=8": "n_trials=2",
    "nproc-per-node 4": "nproc-per-node 2",
    "devices=4": "devices=2",
}

# Of the drawn Waterbirds; aspire data verify compares the counts.
GROUPS = ("landbird/land", "landbird/water", "waterbird/land", "waterbird/water")
COUNTS = {"train": (16, 4, 4, 16), "val": (4, 4, 4, 4), "test": (4, 4, 4, 4)}
PUBLISHED = [
    f"{split}:{{{','.join(f'{g}:{n}' for g, n in zip(GROUPS, counts, strict=True))}}}"
    for split, counts in COUNTS.items()
]
LEARNS = "aspire (train|run|discover|generate|tune|quickstart)(?!.* --(help|cfg))"
# What commands with such words are given besides, where they do not say it themselves.
SHORT = {
    "experiment=mini_table": "dataset=mini_waterbirds baseline=erm,groupdro",
    "experiment=ablation": "dataset=mini_waterbirds seed=0 baseline=erm augmentation=none,replace",
    "experiment=main_table": "dataset=waterbirds seed=0 baseline=erm augmentation=none",
    "submitit": "dataset=waterbirds,celeba hydra.launcher.cluster=debug",
    "personaliser=|quickstart": "personaliser.steps=2 personaliser.min_images=1 "
    "personaliser.flipped_only=false personaliser.strip_every=0 generator.steps=2 "
    "stage.generate.max_per_class=4",
    "=paper": "model=small_cnn",
    "model=(resnet|eff)|torchrun": "fit.steps=2",
    "model=resnet": "model.weights=none",
    "jtt.*=paper": "baseline.enlarged=false",
    "captioner=blip": "stage.extract.max_rejected=1",
    "classifier=": "classifier.anyway=true",
    "engine=ray": "stage.edit.seed=1",  # so that there are edits to make
    "balance": "stage.edit.images_per_class=24",
    # Its one kind of scene must be no shortcut, or there is none to draw a class in.
    "celeba.*tiny_sd": "stage.edit.images_per_class=24 score.min_effect=-0.1",
    "infrared": "dataset.scale=0.01",
    "inpainter=diffusion": "inpainter.steps=2",
    "per_real=2": "stage.generate.max_per_class=10",
    "swaps": "stage.generate.max_rejected=1",  # what is found here covers the objects
    "aspire tune": "n_trials=1",
    "aspire (run|quickstart)": "seeds=[0]",
    "data download": "dataset.root=got "
    "dataset.sources=[{name:birds.tar,urls:[HUB/me/birds/resolve/main/birds.tar],unpack:true,into:.}]",
    "data verify": f"dataset.published={{{','.join(PUBLISHED)}}}",
    "aspire push": "yes=true overwrite=true",
    "dataset=mini_celeba": "dataset.scale=0.001",
    f"({LEARNS}|data (show|preview|export))(?!.*(dataset=[^m]|main_table))": "dataset.scale=0.02",
    LEARNS: "model.image_size=32 fit.steps=20 fit.evaluations=1 fit.batch_size=16 logger=none "
    "trainer.threads=1 score.min_support=2 score.min_donors=2 score.max_q=1 score.min_effect=-1 "
    "stage.edit.images_per_class=6 stage.generate.per_real=0.3 stage.filter.min_kept=0",
}

# Programs of others in the documentation, and why no test of this file runs them.
OTHERS = {
    "pip": "fetches from PyPI",
    "docker": "wants a Docker, and fetches",
    "hf": "asks for an account",
    "export": "sets what the stand-in of the hub sets: where its client keeps models",
    "sphinx-build": "test_site.py",
    "pytest": "is this",
}

# Commands whose results others name: they are typed before all others, in this order.
FIRST = (
    "aspire train experiment=mini_table",
    "aspire run",
    "aspire discover dataset.scale=0.2 top=5",
    "aspire tune -m baseline=erm,jtt,groupdro dataset=mini_celeba sampler=random",
    "aspire push outputs/run/mini_waterbirds-01234567 me/birds-without-water licence=cc-by-4.0",
    "aspire push outputs/train/mini_waterbirds/erm/aspire/small_cnn-s0-0123456789ab "
    "me/birds-classifier licence=apache-2.0",
    "aspire models fetch cache captioner=blip segmenter=grounded_sam",
)


def first_made(pattern: str) -> str:
    return str(min(Path().glob(pattern), key=lambda path: path.stat().st_ctime))


def shortened(command: str) -> list[str]:
    """The words of a command after ``aspire``."""
    for text, other in STANDS_FOR.items():
        command = command.replace(text, other)
    command = re.sub(r"outputs/\S*\*[^/\s]*", lambda match: first_made(match[0]), command)
    words = shlex.split(command)
    words = words[words.index("aspire") + 1 :]
    for text, more in SHORT.items():
        if re.search(text, command):
            typed = {key_of(word) for word in words}
            more = more.replace("HUB", constants.ENDPOINT)
            words += [word for word in more.split() if key_of(word) not in typed]
    flags = [word for word in words if word.startswith("-")]
    return [words[0], *flags, *(w for w in words[1:] if w not in flags)]  # as Hydra wants them


def key_of(word: str) -> str:
    return word.partition("=")[0]


# --- the working folder ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, tiny_data: Path, waterbirds: Dataset
) -> Iterator[None]:
    """The working folder, with what commands name and what those of FIRST have left."""
    folder = tmp_path_factory.mktemp("documentation")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("ASPIRE_OUTPUTS", "outputs")
        patch.setenv("ASPIRE_DATA", str(folder / "data"))
        patch.setattr(slots, "SPAWN", FORKS)
        write_data(tiny_data, waterbirds)
        write_files()
        with hub_at(folder / "cache", patch) as hub:
            publish(hub)
            for command in FIRST:
                assert main(shortened(command)) == 0, command
            decide(Path(first_made("outputs/run/*")), Path("decisions.json"))
            yield
        pretrained._commit.cache_clear()
        if "ray" in sys.modules:
            sys.modules["ray"].shutdown()


def write_data(drawn: Path, waterbirds: Dataset) -> None:
    """Miniatures, benchmarks in their own layout, and photographs."""
    Path("data").mkdir()
    for name in ("mini_waterbirds", "mini_celeba"):
        (drawn / name).mkdir(parents=True, exist_ok=True)
        Path("data", name).symlink_to(drawn / name)
    birds = shutil.copytree(waterbirds.root, BIRDS)
    columns = ["img_filename", "y", "split", "place", "caption", "mask_filename"]
    waterbirds.table[columns].to_csv(f"{birds}/table.csv", index=False)
    shutil.make_archive("birds", "tar", birds)
    write_txt(Path("data/celeba"))
    shutil.make_archive("img_align_celeba", "zip", "data/celeba/celeba", "img_align_celeba")
    source = Path(sklearn.datasets.__file__).parent / "images"
    for name, file in (("cat", "flower.jpg"), ("dog", "china.jpg")):
        Path("photos", name).mkdir(parents=True)
        with Image.open(source / file) as image:
            for i in range(6):
                left, top = 150 * (i % 3), 120 * (i // 3)
                part = image.crop((left, top, left + 240, top + 240)).resize((96, 96))
                part.save(f"photos/{name}/{i}.jpg")


MY_MODULE = """
from torch import nn

class MyNet(nn.Sequential):
    def __init__(self):
        super().__init__(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
"""


def write_files() -> None:
    """A network of somebody's in three forms, and values as docs/tuning.md writes them by hand."""
    Path("my_module.py").write_text(MY_MODULE)
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    torch.save(net.state_dict(), "weights.pt")
    torch.jit.trace(net, torch.zeros(1, 3, 8, 8)).save("scripted.pt")
    text = (ROOT / "docs/tuning.md").read_text("utf-8")
    Path("by_hand.yaml").write_text(text.split("```yaml\n")[1].split("```")[0])


def publish(hub: HubServer) -> None:
    """What commands fetch: models as their classes with random weights, and an archive."""
    pretrained._commit.cache_clear()
    folder = Path("models")
    sd = tiny_diffusion.stable_diffusion(folder / "sd")
    kind = "StableDiffusionInpaintPipeline"
    inpainting = tiny_diffusion.stable_diffusion(folder / "inpainting", kind, {"in_channels": 9})
    tiny_diffusion.light_vae().save_pretrained(folder / "taesd")
    (folder / "lite").mkdir()
    lite = timm.create_model("efficientnet_lite0").state_dict()
    save_file(lite, folder / "lite/model.safetensors")
    models = {
        "Salesforce/blip-image-captioning-large": tiny_models.blip(folder / "blip"),
        "IDEA-Research/grounding-dino-tiny": tiny_models.grounding_dino(folder / "dino"),
        "facebook/sam-vit-huge": tiny_models.sam(folder / "sam"),
        "stable-diffusion-v1-5/stable-diffusion-inpainting": inpainting,
        "CompVis/stable-diffusion-v1-4": sd,
        "latent-consistency/lcm-lora-sdv1-5": tiny_diffusion.lora_of(sd, folder / "lcm"),
        "madebyollin/taesd": folder / "taesd",
        "timm/efficientnet_lite0.ra_in1k": folder / "lite",
    }
    for name, path in models.items():
        files = {f.relative_to(path).as_posix(): f for f in path.rglob("*") if f.is_file()}
        hub.repositories[f"models/{name}"] = stored = Stored(private=False)
        stored.commit({name: file.read_bytes() for name, file in files.items()})
    hub.repositories["models/me/birds"] = stored = Stored(private=False)
    stored.commit({"birds.tar": Path("birds.tar").read_bytes()})


def decide(folder: Path, file: Path) -> None:
    """Somebody's word on what was found."""
    review = Review(folder, file)
    y, kind, phrase = next(key for key, found in review.features.items() if found.spurious)
    review.take(Judge(y=y, kind=kind, phrase=phrase, found=True, verdict="reject"))


# --- they are run ------------------------------------------------------------------------------


def test_all_of_them_are_found() -> None:
    """Those of each verb, and the tables hold no row of a command that is gone."""
    told = commands()
    assert len(told) > 100
    assert {shlex.split(c)[1] for c in told if c.startswith("aspire")} == {*VERBS, "completion"}
    assert {*FIRST} <= {*told}
    for text in (*STANDS_FOR, *SETTING):
        assert any(text in command for command in told), text
    for text in SHORT:
        assert any(re.search(text, command) for command in told), text


def test_other_programs_are_few() -> None:
    others = {
        program
        for page in PAGES
        for line in lines_of(page)
        for program in re.findall(r"(?:^|&& )(\w[\w-]*)", line)
    }
    assert others == {"aspire", "torchrun", "eval", *OTHERS}


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("command", commands())
def test_it_runs(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind, prepare in SETTING.items():
        if kind in command:
            prepare(monkeypatch)
    start = together if command.startswith("torchrun") else main
    assert start(shortened(command)) == 0, capsys.readouterr().err


def page_of_a_review(patch: pytest.MonkeyPatch) -> None:
    """A browser that looks at the page; then somebody presses Ctrl-C."""

    def look(address: str) -> None:
        try:
            urlopen(address).close()
        finally:
            _thread.interrupt_main()

    patch.setattr(review, "has_screen", lambda: True)
    patch.setattr("webbrowser.open", lambda a: threading.Timer(0.2, look, [a]).start())


def account_of_wandb(patch: pytest.MonkeyPatch) -> None:
    """Logged in to a server that answers; only what is sent is not sent."""
    patch.setenv("WANDB_API_KEY", "a" * 40)
    patch.setenv("WANDB_BASE_URL", constants.ENDPOINT)
    patch.setattr(wandb_sync, "upload", lambda runs, place: None)
    patch.setattr(dashboard, "save", lambda report: "https://wandb")


def cluster_of_ray(patch: pytest.MonkeyPatch) -> None:
    """One of this machine, with a core and what Ray takes for a GPU; it ends with the module."""
    ray = pytest.importorskip("ray")
    patch.setenv("RAY_AUTH_MODE", "disabled")
    patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    if not ray.is_initialized():
        ray.init(address="local", num_cpus=1, num_gpus=1, include_dashboard=False)


def fork_for_a_rerun(patch: pytest.MonkeyPatch) -> None:
    """In place of a new Python: ``python -m aspire WORDS``."""

    def run(words: list[str], check: bool) -> Any:
        return SimpleNamespace(returncode=Command(words[3:], Path()).end().code)

    patch.setattr(rerun, "subprocess", SimpleNamespace(run=run))


def one_generated_set(patch: pytest.MonkeyPatch) -> None:
    """In which an id is that of one image."""
    patch.setenv("ASPIRE_OUTPUTS", "again")
    assert main(shortened("aspire generate")) == 0


# What commands with such words find around them.
SETTING: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "aspire generate again": one_generated_set,
    "aspire review": page_of_a_review,
    "aspire rerun": fork_for_a_rerun,
    "aspire wandb": account_of_wandb,
    "=ray": cluster_of_ray,
}


# --- and what is written in Python; the example of the README runs in test_notebooks.py ---------


def examples_of(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)


def test_no_other_page_has_examples() -> None:
    pages = [str(page.relative_to(ROOT)) for page in PAGES]
    counts = {page: len(examples_of(page)) for page in pages if examples_of(page)}
    assert counts == {"README.md": 1, "docs/hub.md": 1, "docs/python.md": 2}


@pytest.mark.usefixtures("world")
def test_the_example_of_the_hub() -> None:
    names: dict[str, Any] = {"aspire": aspire}
    exec(examples_of("docs/hub.md")[0], names)
    assert set(names["data"].class_names) == {"landbird", "waterbird"}
    assert len(names["run"].predict("photos/")) == 12


@pytest.mark.usefixtures("world")
def test_the_example_of_decisions(capsys: pytest.CaptureFixture[str]) -> None:
    words = (word.split("=") for word in SHORT[LEARNS].split())
    how = {"settings": {key: yaml.safe_load(value) for key, value in words}}
    short = {
        f.__name__: partial(f, **how) for f in (aspire.discover, aspire.generate, aspire.train)
    }
    names: dict[str, Any] = {
        "aspire": SimpleNamespace(**short),
        "birds": aspire.load_dataset("mini_waterbirds", scale=0.02),
        "run": aspire.load_run(first_made(RUN)),
    }
    before, written, after = examples_of("docs/python.md")[1].partition('decisions.json"')
    exec(before + written, names)
    decide(names["found"].folder, names["decisions"])
    exec(after.partition("\n")[2], names)
    assert "(a person)" in capsys.readouterr().out
    assert names["again"].result["augmentation"] == "aspire"
