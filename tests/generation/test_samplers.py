"""The samplers on a tiny Stable Diffusion: prompts, seeds, batches, resuming, making again."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import tiny_diffusion as tiny
import torch

from aspire.data.images import png_bytes, read_image
from aspire.editing.base import Segmentation
from aspire.errors import ConfigError
from aspire.generation.base import ClassEvidence, GenerationRequest, Sampled
from aspire.generation.diffusion_sampler import DiffusionSampler
from aspire.generation.image_to_image import ImageToImage
from aspire.generation.inpainting import InpaintAround
from aspire.generation.lora import LoRA
from aspire.generation.regenerate import origin_of, regenerate
from aspire.generation.text_to_image import TextToImage
from aspire.generation.textual_inversion import TextualInversion
from aspire.pipeline.stage import LocalEngine
from aspire.pipeline.stages.generate import GenerateStage, PersonaliseStage
from aspire.pipeline.store import ArtifactStore
from aspire.records import Concept, Context, ImageRef, Rejected
from aspire.rng import seed_for

QUICK: dict[str, Any] = {"steps": 2, "device": "cpu"}
PLAIN = Concept(
    concept_id="000", y=0, objects=("a", "b"), avoided=("boat", "forest"),
    contexts=(Context(phrase="lake", weight=0.75, donors=()),
              Context(phrase="sea", weight=0.25, donors=())),
)  # fmt: skip


class Segments:
    """The left half of every image is the class object."""

    def identity(self) -> Any:
        return {"segmenter": "left half"}

    def segment_class_object(self, images: Sequence[Any], words: Any) -> list[Segmentation]:
        masks = [np.zeros(i.pixels.shape[:2], dtype=bool) for i in images]
        for mask in masks:
            mask[:, : mask.shape[1] // 2] = True
        return [Segmentation(mask=m) for m in masks]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for name in "ab":
        pixels = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        (folder / f"{name}.png").write_bytes(png_bytes(pixels))
    return folder


REFS = {n: ImageRef(img_id=n, file=f"{n}.png", y=0) for n in "ab"}


@pytest.fixture(scope="module")
def learnt(
    tiny_sd: Path, landbirds: ClassEvidence, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Concept]:
    folder = tmp_path_factory.mktemp("personalised")
    settings: dict[str, Any] = {"steps": 3, "strip_every": 0, "learning_rate": 0.05}
    concept = TextualInversion(str(tiny_sd), folder=folder, **settings).personalise(landbirds)
    assert isinstance(concept, Concept)
    return folder, concept


def asked(concept: Concept, number: int, seed: int = 0) -> list[GenerationRequest]:
    return [
        GenerationRequest(f"g{i}", concept, "landbird", seed_for(seed, "generate", 0, i))
        for i in range(number)
    ]


def starting_latents(sampler: DiffusionSampler, requests: Any) -> list[Any]:
    """What the pipeline starts from, one an image."""
    pipe = sampler._load()
    prepare, seen = type(pipe).prepare_latents, []

    def watching(*args: Any, **kwargs: Any) -> Any:
        made = prepare(pipe, *args, **kwargs)
        seen.extend((made[0] if isinstance(made, tuple) else made).clone())
        return made

    pipe.prepare_latents = watching
    sampler.sample(requests)
    return seen


def all_samplers(tiny_sd: Path, photos: Path, folder: Path, **changes: Any) -> list[Any]:
    settings = {"folder": folder, **QUICK, **changes}
    return [
        TextToImage(photos, REFS, str(tiny_sd), **settings),
        ImageToImage(photos, REFS, str(tiny_sd), **settings),
        InpaintAround(photos, REFS, str(tiny_sd), Segments(), **settings),
    ]


def test_thousand_requests_have_thousand_seeds_and_as_many_noises() -> None:
    sampler = TextToImage(Path(), {}, "nowhere")
    requests = asked(PLAIN, 1000)
    assert len({r.seed for r in requests}) == 1000
    assert len({sampler.plan(r).noise for r in requests}) == 1000


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_batch_of_1_and_batch_of_8_start_from_equal_latents(
    kind: int, tiny_sd: Path, photos: Path, learnt: tuple[Path, Concept]
) -> None:
    folder, concept = learnt
    requests = asked(msgspec.structs.replace(concept, objects=("a", "b")), 8)
    images, latents = [], []
    for size in (1, 8):
        sampler = all_samplers(tiny_sd, photos, folder, batch_size=size)[kind]
        images.append([s.pixels for s in sampler.sample(requests)])
        latents.append(starting_latents(sampler, requests))
    assert len(latents[0]) == len(latents[1]) == 8
    for one, other in zip(*latents, strict=True):
        # image to image starts from encoded pictures too, whose last bits follow the batch
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5 if kind == 1 else 0)
    assert len({one.numpy().tobytes() for one in latents[0]}) == 8
    for one, other in zip(*images, strict=True):
        assert np.abs(one.astype(int) - other).max() <= 2


def test_prompts_are_words_times_scenes_without_the_features(
    learnt: tuple[Path, Concept],
) -> None:
    _, concept = learnt
    sampler = TextToImage(Path(), {}, "nowhere")
    plans = [sampler.plan(r) for r in asked(concept, 400)]
    prompts = [p.prompt for p in plans]
    assert set(prompts) == {"a photo of a <landbird>, lake", "a photo of a <landbird>, sea"}
    share = np.mean([p.endswith("lake") for p in prompts])
    assert share == pytest.approx(2.1 / 4.05, abs=0.1)
    assert {p.negative_prompt for p in plans} == {"boat, forest"}
    several = ["a photo of a {word}, {scene}", "{scene} with a {word}"]
    varied = TextToImage(Path(), {}, "x", prompt=several)
    prompts = [varied.plan(r).prompt for r in asked(PLAIN, 400)]
    assert set(prompts) == {
        "a photo of a landbird, lake", "a photo of a landbird, sea",
        "lake with a landbird", "sea with a landbird",
    }  # fmt: skip
    assert np.mean([" with " in p for p in prompts]) == pytest.approx(0.5, abs=0.1)
    plain = TextToImage(Path(), {}, "x", prompt="{class} {word} in {scene}", negative_prompt="")
    plan = plain.plan(asked(PLAIN, 1)[0])
    assert plan.prompt in ("landbird landbird in lake", "landbird landbird in sea")
    assert plan.negative_prompt == ""


def test_the_scene_is_kept_wherever_a_prompt_names_it() -> None:
    first = asked(PLAIN, 1)[0]
    for prompt in (
        "a photo of a {word}, {scene}",
        "{scene}: a {word}",
        "a {word} by a {scene}, 4k",
    ):
        plan = TextToImage(Path(), {}, "x", prompt=prompt).plan(first)
        assert plan.scene in ("lake", "sea")
        assert plan.scene in plan.prompt
    assert TextToImage(Path(), {}, "x", prompt="a photo of a {word}").plan(first).scene == ""


def test_what_was_learnt_changes_the_image_and_leaves_the_model_as_it_was(
    tiny_sd: Path, learnt: tuple[Path, Concept], landbirds: ClassEvidence, tmp_path: Path
) -> None:
    folder, concept = learnt
    lora = LoRA(
        str(tiny_sd), folder=folder, steps=2, strip_every=0, learning_rate=0.05
    ).personalise(landbirds)
    assert isinstance(lora, Concept)
    unlearnt = msgspec.structs.replace(concept, weights=None)
    sampler = TextToImage(tmp_path, {}, str(tiny_sd), folder=folder, **QUICK)
    base = msgspec.structs.replace(lora, weights=None)
    order = (unlearnt, concept, unlearnt, base, lora, base, unlearnt)
    images = [sampler.sample(asked(c, 1))[0].pixels for c in order]
    assert (images[0] == images[2]).all()
    assert (images[0] == images[6]).all()
    assert (images[1] != images[0]).any()
    assert (images[3] == images[5]).all()
    assert (images[4] != images[3]).any()


def test_what_was_learnt_is_put_on_once_for_all_batches(
    tiny_sd: Path, learnt: tuple[Path, Concept], monkeypatch: pytest.MonkeyPatch
) -> None:
    from aspire.generation import diffusion_model

    folder, concept = learnt
    put_on: list[Any] = []
    whole = diffusion_model.personalised

    def noting(pipe: Any, weights: Any) -> Any:
        put_on.append(weights)
        return whole(pipe, weights)

    monkeypatch.setattr(diffusion_model, "personalised", noting)
    sampler = TextToImage(Path(), {}, str(tiny_sd), folder=folder, **QUICK)
    first, again = sampler.sample(asked(concept, 1)), sampler.sample(asked(concept, 1))
    assert len(put_on) == 1
    assert isinstance(first[0], Sampled)
    assert isinstance(again[0], Sampled)
    assert (first[0].pixels == again[0].pixels).all()
    elsewhere = pickle.loads(pickle.dumps(sampler)).sample(asked(concept, 1))
    assert (first[0].pixels == elsewhere[0].pixels).all()
    assert len(put_on) == 2


def test_one_batch_may_hold_several_concepts(tiny_sd: Path, learnt: tuple[Path, Concept]) -> None:
    folder, concept = learnt
    other = msgspec.structs.replace(PLAIN, concept_id="001", y=1)
    sampler = TextToImage(Path(), {}, str(tiny_sd), folder=folder, **QUICK)
    a, b = asked(concept, 2), asked(other, 2, seed=1)
    mixed = sampler.sample([a[0], b[0], a[1], b[1]])
    apart = [*sampler.sample(a), *sampler.sample(b)]
    for one, two in zip([mixed[0], mixed[2], mixed[1], mixed[3]], apart, strict=True):
        assert isinstance(one, Sampled)
        assert isinstance(two, Sampled)
        assert one.prompt == two.prompt
        assert np.abs(one.pixels.astype(int) - two.pixels).max() <= 2


def test_inpainting_keeps_the_object_bit_equal(tiny_sd: Path, photos: Path) -> None:
    sampler = all_samplers(tiny_sd, photos, Path())[2]
    for made in sampler.sample(asked(PLAIN, 3)):
        assert isinstance(made, Sampled)
        original = read_image(photos / f"{made.parents[0]}.png")
        assert made.mask is not None
        assert made.pixels.shape == original.shape
        assert (made.pixels[made.mask] == original[made.mask]).all()
        assert (made.pixels[~made.mask] != original[~made.mask]).mean() > 0.5
    sampler.max_object = 0.1
    (refused,) = sampler.sample(asked(PLAIN, 1))
    assert isinstance(refused, Rejected)
    assert refused.detail == "5 attempts found no usable object"


def test_inpainting_takes_models_of_any_latents(photos: Path, tmp_path: Path) -> None:
    """diffusers refuses 8 channels, though it puts the known part back just as with 4."""
    model = tiny.stable_diffusion(tmp_path, latents=8)
    (made,) = InpaintAround(photos, REFS, str(model), Segments(), **QUICK).sample(asked(PLAIN, 1))
    assert isinstance(made, Sampled)
    original = read_image(photos / f"{made.parents[0]}.png")
    assert (made.pixels[made.mask] == original[made.mask]).all()
    assert (made.pixels[~made.mask] != original[~made.mask]).mean() > 0.5


def test_image_to_image_starts_from_the_edits(tiny_sd: Path, learnt: tuple[Path, Concept]) -> None:
    folder, concept = learnt
    sampler = ImageToImage(Path(), {}, str(tiny_sd), folder=folder, steps=4, strength=0.5)
    made = sampler.sample(asked(concept, 6))
    assert {m.parents[0] for m in made} <= {p.img_id for p in concept.pictures}
    with pytest.raises(ConfigError, match="keeps none; choose personaliser=textual_inversion"):
        sampler.sample(asked(PLAIN, 1))


def test_values_that_are_no_numbers_are_a_reason_and_not_an_image(tiny_sd: Path) -> None:
    sampler = TextToImage(Path(), {}, str(tiny_sd), **QUICK)
    pipe = sampler._load()
    with torch.no_grad():
        pipe.vae.decoder.conv_out.bias.fill_(float("nan"))
    (made,) = sampler.sample(asked(PLAIN, 1))
    assert made == Rejected(
        item_id="g0", reason="failed", detail="the model gave values that are not numbers"
    )


def test_scheduler_size_and_steps_are_the_users(tiny_sd: Path) -> None:
    sampler = TextToImage(
        Path(), {}, str(tiny_sd), scheduler="EulerDiscreteScheduler", size=48, **QUICK
    )
    (made,) = sampler.sample(asked(PLAIN, 1))
    assert isinstance(made, Sampled)
    assert made.pixels.shape == (48, 48, 3)
    assert type(sampler._load().scheduler).__name__ == "EulerDiscreteScheduler"
    wrong = TextToImage(Path(), {}, str(tiny_sd), scheduler="Euler")
    with pytest.raises(ConfigError, match=r"generator\.scheduler=Euler: diffusers has no such"):
        wrong.sample(asked(PLAIN, 1))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"prompt": "a {bird}"}, r"'bird' is no place to fill in; there are \{word\}, \{scene\}"),
        ({"prompt": []}, r"prompt=\[\]: expected a text, or several"),
        ({"prompt": ["a {word}", "a {bird}"]}, r"prompt='a \{bird\}': 'bird' is no place"),
        ({"negative_prompt": "{word}"}, r"negative_prompt='\{word\}': 'word' is no place"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(settings: Any, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        TextToImage(Path(), {}, "nowhere", **settings)


def test_weights_that_are_gone_or_changed_are_named(
    tiny_sd: Path, learnt: tuple[Path, Concept], tmp_path: Path
) -> None:
    folder, concept = learnt
    sampler = TextToImage(tmp_path, {}, str(tiny_sd), folder=tmp_path, **QUICK)
    with pytest.raises(ConfigError, match=r"learned\.safetensors, which the .* does not exist"):
        sampler.sample(asked(concept, 1))
    assert concept.weights is not None
    other = tmp_path / concept.weights
    other.parent.mkdir()
    other.write_bytes((folder / concept.weights).read_bytes() + b" ")
    with pytest.raises(ConfigError, match=r"has changed since\. Set generator\.folder"):
        sampler.sample(asked(concept, 1))


def test_identity_follows_what_changes_the_result(tiny_sd: Path) -> None:
    one = TextToImage(Path(), {}, str(tiny_sd)).identity()
    same: dict[str, Any] = {"folder": "x", "device": "cpu", "batch_size": 1, "precision": "float32"}
    assert TextToImage(Path("y"), REFS, str(tiny_sd), **same).identity() == one
    changes: list[dict[str, Any]] = [
        {"prompt": "{word}"}, {"negative_prompt": ""}, {"steps": 1}, {"guidance": 1.0},
        {"scheduler": "DDIMScheduler"}, {"size": 64},
    ]  # fmt: skip
    for change in changes:
        assert TextToImage(Path(), {}, str(tiny_sd), **change).identity() != one
    half, whole = (ImageToImage(Path(), {}, str(tiny_sd), s).identity() for s in (0.5, 1.0))
    assert half != whole


def test_a_killed_generation_continues_and_every_image_can_be_made_again(
    tiny_sd: Path, landbirds: ClassEvidence, tmp_path: Path
) -> None:
    personaliser = TextualInversion(
        str(tiny_sd), folder=tmp_path / "p", steps=1, strip_every=0, batch_size=1
    )

    def sampler(dies_at: int | None = None) -> TextToImage:
        made = TextToImage(tmp_path, {}, str(tiny_sd), folder=tmp_path / "p", batch_size=2, **QUICK)
        whole, calls = made.make, [0]

        def dying(pipe: Any, plans: Any, size: int) -> Any:
            calls[0] += 1
            if calls[0] == dies_at:
                raise KeyboardInterrupt
            return whole(pipe, plans, size)

        made.make = dying
        return made

    def run(folder: Path, dies_at: int | None = None) -> Any:
        store, engine = ArtifactStore(folder), LocalEngine(64)
        concepts = store.run(PersonaliseStage(personaliser), [landbirds], {}, engine)
        stage = GenerateStage(sampler(dies_at), 0, {0: 7})
        return store.run(
            stage,
            asked(concepts.records[0], 7),
            {"personalise": concepts.digest, "dataset": "of the test"},
            engine,
        )

    undisturbed = run(tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b", dies_at=3)
    resumed = run(tmp_path / "b")
    assert resumed.resumed == 4  # two batches of two
    assert resumed.digest == undisturbed.digest  # records and, by their hashes, all images
    assert len({r.file for r in resumed.records}) == 7

    record = resumed.records[5]
    for name in (record.img_id, resumed.folder / record.file):
        found = origin_of(name, tmp_path / "b")
        assert found.record == record
        pixels, difference = regenerate(found, "landbird", sampler())
        assert pixels.shape == (32, 32, 3)
        assert difference <= 2
    with pytest.raises(ConfigError, match=r"other settings.*\n  steps: 2 then, 3 now"):
        regenerate(found, "landbird", TextToImage(tmp_path, {}, str(tiny_sd), steps=3))
    with pytest.raises(ConfigError, match="none of 1 generated sets"):
        origin_of("generated-9", tmp_path / "b")
