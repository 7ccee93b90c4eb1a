"""The trainer of tiny-sd: what it draws, that it resumes exactly, that its model is a usual one."""

from __future__ import annotations

import shutil
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from aspire.generation.diffusion_model import conditions, load_pipeline
from aspire.generation.pictures import TEMPLATES
from aspire.pretrained import Checkpoint

ROOT = Path(__file__).parents[2]
PIPELINES = [
    "AutoPipelineForText2Image",
    "AutoPipelineForImage2Image",
    "AutoPipelineForInpainting",
]


@pytest.fixture(scope="module")
def tiny() -> Any:
    """The modules of the study."""
    sys.path.insert(0, str(ROOT))
    try:
        from experiments.tiny_sd import (
            common,
            distil,
            evaluate,
            grounding,
            judge,
            loop,
            models,
            reader,
            scenes,
            unet,
            vae,
        )

        yield SimpleNamespace(
            common=common,
            distil=distil,
            evaluate=evaluate,
            grounding=grounding,
            judge=judge,
            loop=loop,
            models=models,
            reader=reader,
            scenes=scenes,
            unet=unet,
            vae=vae,
        )
    finally:
        sys.path.remove(str(ROOT))


@pytest.fixture(scope="module")
def drawn(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A folder with 32 scenes, and the same held out."""
    folder = tmp_path_factory.mktemp("tiny_sd")
    for name, held in (("scenes", False), ("held", True)):
        tiny.scenes.render(folder / name / "0", 32, 0, held, 0.03, "test")
    return folder


def settings(tiny: Any, folder: Path) -> Any:
    return tiny.common.Settings(
        folder=folder, steps=4, batch=4, sheet_every=0, sizes=tiny.models.SMALLEST
    )


@pytest.fixture(scope="module")
def with_latents(tiny: Any, drawn: Path) -> Path:
    """The folder after the short trainings of the VAE and the reader."""
    scenes = tiny.common.Scenes(drawn / "scenes")
    tiny.vae.train_vae(settings(tiny, drawn), scenes)
    tiny.vae.keep_latents(settings(tiny, drawn), scenes)
    tiny.reader.train_reader(settings(tiny, drawn), scenes)
    return drawn


def test_no_word_of_a_caption_is_unknown_or_spelt_in_pieces(tiny: Any, drawn: Path) -> None:
    captions = [f["caption"] for f in tiny.common.Scenes(drawn / "scenes").facts]
    tokenizer = tiny.models.make_tokenizer(captions)
    words = {w.strip(",") for c in captions for w in c.split()}
    assert all(len(tokenizer.tokenize(word)) == 1 for word in words if word.isalpha())
    assert all(len(tokenizer(t.format("owl")).input_ids) <= 12 for t in TEMPLATES)
    spelt = tokenizer.tokenize("Zyx <owl> 7!")
    assert tokenizer.unk_token not in spelt
    assert "".join(spelt).replace("</w>", " ") == "zyx < owl > 7 ! "


def test_training_never_sees_what_is_held_out(tiny: Any, drawn: Path) -> None:
    for name, held in (("scenes", False), ("held", True)):
        for fact in tiny.common.Scenes(drawn / name).facts:
            key = fact["world"], fact["subject"], fact["background"]
            assert tiny.scenes.held_out(*key) == held


def test_a_caption_names_what_the_facts_say(tiny: Any, drawn: Path) -> None:
    for fact in tiny.common.Scenes(drawn / "scenes").facts:
        assert fact["background"] in fact["caption"]
        assert all(thing in fact["caption"] for thing in fact["objects"])


def test_channels_of_mean_0_and_deviation_1_decode_as_before(tiny: Any) -> None:
    torch.manual_seed(0)
    vae = tiny.models.make_vae(tiny.models.SMALLEST).eval()
    images = torch.rand(6, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        latent = vae.encode(images).latent_dist
        before = vae.decode(latent.mean).sample
        tiny.models.standardise(vae, latent.mean.mean((0, 2, 3)), latent.mean.std((0, 2, 3)))
        same = vae.encode(images).latent_dist
        torch.testing.assert_close(vae.decode(same.mean).sample, before, atol=1e-4, rtol=1e-4)
    ones = torch.ones(tiny.models.SMALLEST.latents)
    torch.testing.assert_close(same.mean.std((0, 2, 3)), ones, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(same.mean.mean((0, 2, 3)), 0 * ones, atol=1e-3, rtol=1e-3)
    ratio = latent.std / same.std  # the noise shrinks with the channel
    expected = latent.mean.std((0, 2, 3))[None, :, None, None].expand_as(ratio)
    torch.testing.assert_close(ratio, expected, atol=1e-3, rtol=1e-3)


def test_2_steps_and_2_resumed_are_4_bit_for_bit(tiny: Any, with_latents: Path) -> None:
    scenes, file = tiny.common.Scenes(with_latents / "scenes"), with_latents / "unet" / "state.pt"
    tiny.unet.train_unet(settings(tiny, with_latents), scenes)
    through = torch.load(file)
    shutil.rmtree(file.parent)
    tiny.unet.train_unet(settings(tiny, with_latents), scenes, stop_at=2)
    assert torch.load(file)["step"] == 2
    tiny.unet.train_unet(settings(tiny, with_latents), scenes)
    resumed = torch.load(file)
    assert through["step"] == resumed["step"] == 4
    for key in ("weights", "averages"):
        assert all(torch.equal(a, b) for a, b in zip(through[key], resumed[key], strict=True))


def test_a_training_told_to_stop_keeps_its_last_step(tiny: Any, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    part = torch.nn.Linear(2, 1)
    loop = tiny.loop.Loop(tmp_path, {"part": part}, steps=9, rate=0.1)

    def loss_of(step: int) -> torch.Tensor:
        if step == 2:
            signal.raise_signal(signal.SIGTERM)
        return part(torch.ones(1, 2)).square().sum()

    loop.run(loss_of, lambda _: None, sheet_every=0)
    assert signal.getsignal(signal.SIGTERM) is before
    kept = torch.load(tmp_path / "state.pt")
    assert kept["step"] == 3
    assert all(torch.equal(a, b) for a, b in zip(kept["weights"], loop.weights, strict=True))


@pytest.fixture(scope="module")
def exported(tiny: Any, with_latents: Path) -> Path:
    scenes = tiny.common.Scenes(with_latents / "scenes")
    tiny.unet.train_unet(settings(tiny, with_latents), scenes)
    tiny.unet.export(settings(tiny, with_latents), scenes)
    return with_latents / "tiny-sd"


@pytest.mark.parametrize("kind", PIPELINES)
def test_the_folder_loads_as_any_stable_diffusion(kind: str, exported: Path) -> None:
    from PIL import Image

    pipe = load_pipeline(kind, Checkpoint(str(exported)), "cpu", "auto")
    assert pipe.unet.dtype == torch.float32
    further: dict[str, Any] = {}
    if "Text" not in kind:
        further = {"image": Image.new("RGB", (64, 64), "red"), "strength": 0.5}
    if "Inpainting" in kind:
        further["mask_image"] = Image.new("L", (64, 64), 255)
    made = pipe("an owl", num_inference_steps=2, output_type="np", **further).images
    assert made.shape == (1, 64, 64, 3)
    assert np.isfinite(made).all()
    told = conditions(pipe, ["an owl", "a duck on a lake"], 64)["encoder_hidden_states"]
    assert told.shape[:2] == (2, 32)


def test_the_judge_reads_rendered_scenes_it_was_trained_on(tiny: Any, drawn: Path) -> None:
    scenes = tiny.common.Scenes(drawn / "scenes")
    known = tiny.common.Settings(folder=drawn, steps=80, batch=16, rate=3e-3, cooldown=40)
    tiny.judge.train_judge(known, scenes)
    judge = tiny.judge.load_judge(drawn)
    result = tiny.evaluate.agreement(judge, scenes.images(range(32)), scenes.facts)
    assert result["class"] > 0.8
    assert result["place"] > 0.8
    wrong = tiny.evaluate.agreement(judge, scenes.images(range(32)).flip(0), scenes.facts)
    assert wrong["place"] < 0.4


def test_label_maps_show_the_subject_and_every_object(tiny: Any, drawn: Path) -> None:
    scenes = tiny.common.Scenes(drawn / "scenes")
    for labels, fact in zip(scenes.labels(range(32)), scenes.facts, strict=True):
        shown = np.bincount(labels.ravel(), minlength=2 + len(fact["objects"]))
        assert len(shown) == 2 + len(fact["objects"])
        assert (shown[1:] > 0).all()


def test_small_things_count_as_much_as_large_ones_where_there_is_light(tiny: Any) -> None:
    labels = np.zeros((1, 16, 16), np.uint8)
    labels[0, :8, :8] = 1  # the subject: a quarter
    labels[0, 14:, 14:] = 2  # an object: 4 pixels in one cell
    where = tiny.grounding.shares(labels, 2)
    assert where.tolist() == [[[[1, 0], [0, 0]], [[0, 0], [0, 1]]]]
    bright, dark = torch.tensor([1e6]), torch.tensor([0.0])
    most = tiny.grounding.MOST
    weight = tiny.grounding.emphasis(where, bright)
    torch.testing.assert_close(weight, torch.tensor([[[[most, 1], [1, most]]]]))
    assert (tiny.grounding.emphasis(where, dark) == 1).all()


def test_the_words_of_a_thing_are_found_in_the_caption(tiny: Any) -> None:
    captions = ["a photo of a german shepherd next to a lamp", "a man with red hair and a hat"]
    facts = [
        {"world": "dogs", "subject": "german shepherd", "objects": ["lamp"]},
        {"world": "faces", "subject": "dark man", "objects": ["tie", "hat"]},
    ]
    tokenizer = tiny.models.make_tokenizer(captions)
    ids = tiny.unet.tokens(tokenizer, captions)
    found = tiny.grounding.spans(tokenizer, ids, facts, 3)
    said = [
        [tokenizer.decode(row[mask]).strip() for mask in m]
        for row, m in zip(ids, found, strict=True)
    ]
    assert said == [["german shepherd", "lamp", ""], ["man with red hair", "", "hat"]]


def test_attention_is_scored_by_what_it_hears_where_a_thing_is(tiny: Any) -> None:
    unet = tiny.models.make_unet(tiny.models.SMALLEST)
    listener = tiny.grounding.Listener(unet)
    labels = np.zeros((2, 64, 64), np.uint8)
    labels[0, :16, :8] = 1  # two cells of 8 x 8; of the other scene nothing shows
    words = torch.zeros(2, 1, 32)
    words[0, 0, 3] = 1
    unet(torch.zeros(2, 4, 8, 8), 10, torch.randn(2, 32, 16))
    assert {h.shape for h in listener.heard} == {(2, 64, 32), (2, 16, 32)}
    listener.heard = [torch.full((2, 64, 32), 1 / 32)]
    uniform = listener.loss(labels, words, torch.ones(2))
    assert float(uniform) == pytest.approx(np.log(32), abs=0.01)
    assert listener.heard == []
    listener.heard = [torch.zeros(2, 64, 32)]
    listener.heard[0][0, [0, 8], 3] = 1
    assert float(listener.loss(labels, words, torch.ones(2))) == pytest.approx(0, abs=0.01)


def test_what_is_drawn_is_read_against_what_was_said(tiny: Any) -> None:
    subjects, objects = tiny.judge.SUBJECTS, tiny.judge.OBJECTS
    seen = torch.full((len(subjects),), -30.0)
    seen[[subjects.index("owl"), subjects.index("duck")]] = torch.tensor([np.log(3), 0.0]).float()
    found = torch.full((len(objects), 2, 2), -30.0)
    found[objects.index("lamp"), 1, 1] = 0.0

    def reader(latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """An owl, odds 3 to 1 against a duck; perhaps a lamp."""
        n = len(latents)
        return seen.expand(n, -1), found.expand(n, -1, -1, -1)

    owl = {
        "world": "birds",
        "subject": "owl",
        "background": "lake",
        "named": True,
        "objects": ["lamp"],
    }
    duck = {**owl, "subject": "duck", "objects": []}
    bird = {**duck, "named": False}
    heard = torch.tensor([[True, True], [True, False], [True, False], [False, False]])
    missed = tiny.reader.misread(reader, torch.zeros(4, 1, 2, 2), [owl, duck, bird, owl], heard)
    lamp = np.log(2)  # a logit of 0, whether one was named or not
    # any bird will do for "a bird"; of what was not said nothing is missed
    expected = [np.log(4 / 3) + lamp, np.log(4) + lamp, lamp, 0.0]
    torch.testing.assert_close(missed, torch.tensor(expected).float(), atol=1e-4, rtol=0)


def test_the_student_learns_the_velocity_that_one_ddim_step_needs(tiny: Any) -> None:
    """Asked of diffusers' own scheduler, set as the student samples."""
    scheduler = tiny.models.make_scheduler()
    scheduler.set_timesteps(4)
    assert tuple(scheduler.timesteps.tolist()) == tiny.distil.LEVELS
    start, end = torch.randn((2, 4, 3, 2, 2), generator=torch.Generator().manual_seed(0))
    light = scheduler.alphas_cumprod
    wanted = tiny.distil.velocity(start, end, torch.arange(4), light)
    for row, t in enumerate(scheduler.timesteps):
        one = slice(row, row + 1)
        reached = scheduler.step(wanted[one], t, start[one]).prev_sample
        torch.testing.assert_close(reached, end[one], atol=1e-4, rtol=1e-4)


def test_sizes_fit_the_package(tiny: Any) -> None:
    captions = ["an owl in a forest"]
    sizes, tokenizer = tiny.models.Sizes(), tiny.models.make_tokenizer(captions)
    parts = (
        tiny.models.make_vae(sizes),
        tiny.models.make_unet(sizes),
        tiny.models.make_text_encoder(sizes, tokenizer),
    )
    assert 2 * sum(p.numel() for part in parts for p in part.parameters()) < 31e6  # bytes


@pytest.mark.parametrize("few", [False, True])
def test_the_weights_of_the_package_draw_what_is_said(tiny: Any, few: bool) -> None:
    """Twelve captions, as the judge of the study cannot be asked here: by colour, against noise."""
    arm = tiny.evaluate.Arm(4, 0.0, few=True) if few else tiny.evaluate.Arm(8, 2.5)
    pipe = tiny.evaluate.load(tiny.evaluate.Settings(), arm)
    prompts = [f"a {bird} {place}" for place in ("on the sea", "in a forest")
               for bird in ("cardinal", "crow", "swan")] * 2  # fmt: skip
    made = tiny.unet.sample(pipe, prompts, 0, arm.steps, arm.guidance)
    assert made.shape == (12, 3, 64, 64)
    red, green, blue = made.unflatten(0, (2, 2, 3)).mean((0, 4, 5)).unbind(2)  # place, bird
    assert (blue[0] > blue[1] + 0.2).all()  # the sea against the forest
    assert (red[:, 0] - green[:, 0] > red[:, 1] - green[:, 1]).all()  # cardinal, crow
    assert made.unflatten(0, (2, 2, 3)).amax((3, 4, 5))[..., 2].mean() > 0.6  # a swan is white


@pytest.mark.parametrize(
    ("name", "most"), [("tiny-sd", 32), ("tiny-sd-fast", 6), ("tiny-sd-vae", 2)]
)
def test_the_weights_of_the_package_are_small(name: str, most: float) -> None:
    folder = Checkpoint(name).folder
    assert folder is not None
    assert sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) < most * 2**20
