"""The arms of a comparison: what each takes away, by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evidence import effect, feature, landbirds, ref

from aspire.cli import main
from aspire.cli._app import build, compose_config
from aspire.cli.jobs import Job
from aspire.confdir import conf_dir
from aspire.data.images import png_bytes
from aspire.editing.base import Segmentation
from aspire.errors import ConfigError
from aspire.generation.base import ClassEvidence, GenerationRequest, Sampled
from aspire.generation.contexts import in_usual_scenes
from aspire.generation.edited import EditedImages, EditSampler
from aspire.generation.quota import images_wanted
from aspire.generation.scene_labels import scene_parents
from aspire.generation.unpersonalised import Unpersonalised
from aspire.records import (
    Concept,
    Context,
    Rejected,
    SyntheticImage,
)

ARMS = sorted(p.stem for p in (conf_dir() / "augmentation").glob("*.yaml"))


def evidence(**changes: Any) -> ClassEvidence:
    """Landbirds lean on the forest; only the lake moved the classifier."""
    values: dict[str, Any] = {
        "effects": (effect("forest", "lake"), effect("desert", "sea", number=1)),
        "scenes": {
            "forest": (ref("a"), ref("b")),
            "lake": (ref("l2", 1), ref("l1", 1), ref("l3", 1)),
            "sea": (ref("s1", 1),),
            "desert": (ref("d1"),),
        },
        "phrases": {
            "a": frozenset({"forest"}),
            "b": frozenset({"forest"}),
            "l1": frozenset({"lake"}),
            "l2": frozenset({"lake", "boat"}),
            "l3": frozenset({"lake", "forest"}),  # shows the spurious feature too
            "s1": frozenset({"sea"}),
            "d1": frozenset({"desert"}),
        },
    }
    return landbirds(**(values | changes))


# --- unpersonalised ---------------------------------------------------------------------------


def test_unpersonalised_takes_free_scenes_as_often_as_the_class_shows_them() -> None:
    scenes = evidence().scenes
    seen = {
        **scenes,
        "lake": (ref("l2", 0), ref("l1", 1), ref("l3", 0)),
        "desert": (ref("d1"),) * 2,
    }
    concept = Unpersonalised().personalise(evidence(scenes=seen))
    assert isinstance(concept, Concept)
    assert concept.contexts == (  # landbirds: 2 in the desert, 1 by the lake, none by the sea
        Context(phrase="desert", weight=0.666667, donors=("d1", "d1")),
        Context(phrase="lake", weight=0.333333, donors=("l1", "l2")),  # of any class
    )


def test_anywhere_every_free_scene_is_as_often() -> None:
    concept = Unpersonalised(even=True).personalise(evidence())
    assert isinstance(concept, Concept)
    third = round(1 / 3, 6)
    assert concept.contexts == (
        Context(phrase="desert", weight=third, donors=("d1",)),
        Context(phrase="lake", weight=third, donors=("l1", "l2")),
        Context(phrase="sea", weight=third, donors=("s1",)),
    )
    # as for a class that shows none
    nothing = {k: v for k, v in evidence().scenes.items() if k != "desert"}
    lonely, alike = (Unpersonalised(even=e).personalise(evidence(scenes=nothing)) for e in (0, 1))
    assert lonely == alike
    assert concept.objects == ("a", "b")
    assert (concept.tokens, concept.pictures, concept.weights) == ((), (), None)
    few = Unpersonalised(1, 1, even=True).personalise(evidence())
    assert isinstance(few, Concept)
    assert few.contexts == (Context(phrase="desert", weight=1.0, donors=("d1",)),)


def test_unpersonalised_asks_the_effects_nothing() -> None:
    swapped = (
        effect("forest", "sea", after=0.0),
        effect("forest", "lake", after=1.0, number=1),
    )
    assert Unpersonalised().personalise(evidence(effects=swapped)) == Unpersonalised().personalise(
        evidence()
    )


def test_unpersonalised_classes_that_cannot_be() -> None:
    none = Unpersonalised().personalise(evidence(features=()))
    nowhere = Unpersonalised().personalise(evidence(scenes={"forest": (ref("a"),)}))
    assert isinstance(none, Rejected)
    assert isinstance(nowhere, Rejected)
    assert (none.reason, nowhere.reason) == ("no_spurious_feature", "no_context")


# --- edits ------------------------------------------------------------------------------------


@pytest.fixture
def edited(tmp_path: Path) -> ClassEvidence:
    """Six edits of the forest; two of the desert, which is not spurious; one that brings another
    spurious feature, one that leaves it. Each is another grey."""
    effects = [effect("forest", "lake" if i < 4 else None, number=i) for i in range(6)]
    effects += [effect("desert", "lake", number=i) for i in range(6, 8)]
    effects += [effect("forest", "jungle", number=8), effect("forest", "lake", number=9)]
    files = {}
    for i, e in enumerate(effects):
        files[e.edit_id] = tmp_path / "edit" / "key" / f"{i}.png"
        files[e.edit_id].parent.mkdir(parents=True, exist_ok=True)
        files[e.edit_id].write_bytes(png_bytes(np.full((4, 4, 3), 10 * i, np.uint8)))
    return evidence(
        features=(feature("forest"), feature("jungle"), feature("desert", spurious=False)),
        effects=tuple(effects),
        edited=files,
        phrases={"i0": frozenset({"forest", "stone"}), "i9": frozenset({"forest", "jungle"})},
    )


class Corner:
    """A segmenter that finds every class object in the first pixel."""

    def identity(self) -> dict[str, str]:
        return {"segmenter": "corner"}

    def segment_class_object(self, images: Any, words: Any) -> list[Segmentation]:
        return [Segmentation(np.arange(16).reshape(4, 4) == 0) for _ in images]


def edits_in(folder: Path) -> EditSampler:
    refs = {f"i{n}": ref(f"i{n}") for n in range(10)}
    return EditSampler(folder, refs, folder, Corner())


def test_every_edit_of_a_found_feature_once_and_nothing_else(
    edited: ClassEvidence, tmp_path: Path
) -> None:
    concept = EditedImages(tmp_path).personalise(edited)
    assert isinstance(concept, Concept)
    assert sorted(p.edit_id for p in concept.pictures) == [f"e{i}" for i in range(6)]
    assert [p.edit_id for p in concept.pictures] != [f"e{i}" for i in range(6)]  # shuffled
    assert all(p.file.startswith("edit/key/") for p in concept.pictures)
    sampler = edits_in(tmp_path)
    assert sampler.available(concept) == 6
    asked = [
        GenerationRequest(f"generated-000-{n:05d}", concept, "landbird", seed=n) for n in range(7)
    ]
    made = sampler.sample(asked)
    assert isinstance(made[6], Rejected)
    assert (made[6].reason, made[6].detail) == ("no_more_edits", "6 edits in all")
    for image, picture in zip(made, concept.pictures, strict=False):
        assert isinstance(image, Sampled)
        assert (image.pixels == 10 * int(picture.edit_id[1:])).all()
        assert image.parents == (picture.img_id, "")
        shown = ", lake" if int(picture.edit_id[1:]) < 4 else ""
        assert image.prompt == f"a photo of a landbird{shown}"
        assert image.mask is not None
        assert np.argwhere(image.mask).tolist() == [[0, 0]]
    (again,) = sampler.sample(asked[3:4])  # by itself
    assert isinstance(again, Sampled)
    assert isinstance(made[3], Sampled)
    assert (again.pixels == made[3].pixels).all()


def test_edits_of_another_folder_are_refused(edited: ClassEvidence, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"the edits are not below it, but in .*key"):
        EditedImages(tmp_path / "elsewhere").personalise(edited)
    none = EditedImages(tmp_path).personalise(evidence(features=()))
    never = EditedImages(tmp_path).personalise(replace(edited, effects=edited.effects[8:]))
    assert [r.reason for r in (none, never) if isinstance(r, Rejected)] == [
        "no_spurious_feature", "no_edit",
    ]  # fmt: skip


# --- how many ---------------------------------------------------------------------------------


def concept(y: int, *avoided: str) -> Concept:
    return Concept(concept_id=f"{y:03d}", y=y, objects=(), contexts=(), avoided=avoided)


LAND, WATER = frozenset({"forest", "bird"}), frozenset({"lake"})
SHOWN = {0: [LAND] * 16 + [WATER] * 4, 1: [LAND] * 5 + [WATER] * 7}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"per_real": 0.5}, {0: 10, 1: 7}),
        ({"per_real": 2, "amount": "per_real"}, {0: 30, 1: 28}),  # 40 and 28, at most 30
        ({"per_real": 0.5, "amount": "even"}, {0: 8, 1: 8}),  # 17 of two classes, and 8.5 to even
        # 16 landbirds with the forest and 4 without; 7 waterbirds with the lake and 5 without
        ({"per_real": 2, "amount": "balance"}, {0: 12, 1: 2}),
    ],
)
def test_amounts_by_hand(settings: dict[str, Any], expected: dict[int, int]) -> None:
    concepts = [concept(0, "forest", "desert"), concept(1, "lake")]
    settings = {"max_per_class": 30, **settings}
    assert images_wanted(settings, concepts, SHOWN, [20, 14], object()) == expected


SCENES = {"forest": ["a", "b", "x"], "desert": ["c"], "lake": ["d", "e"]}


@pytest.mark.parametrize(
    ("avoided", "expected"),
    [
        # scenes among them: in these, each as often, whoever shows them
        (("boat", "desert", "forest"), [("desert", 0.5, "c"), ("forest", 0.5, "abx")]),
        (("boat",), None),  # no class is given a boat, so such images would tie it to this one
        # nothing found: anywhere, as often as the data show it
        ((), [("forest", 0.5, "abx"), ("desert", 0.166667, "c"), ("lake", 0.333333, "de")]),
    ],
)
def test_usual_images_show_the_features_or_anything_where_none_is_known(
    avoided: tuple[str, ...], expected: list[tuple[str, float, str]] | None
) -> None:
    usual = in_usual_scenes(concept(0, *avoided), SCENES)
    assert (usual is None) == (expected is None)
    if usual is not None and expected is not None:
        assert [(c.phrase, c.weight, "".join(c.donors)) for c in usual.contexts] == expected
        assert usual.avoided == ()


def test_a_class_that_is_balanced_gets_nothing() -> None:
    settings = {"max_per_class": 30, "per_real": 1, "amount": "balance"}
    assert images_wanted(settings, [concept(1, "forest")], SHOWN, [20, 14], object()) == {1: 0}


def test_a_sampler_is_not_asked_for_more_than_it_has(edited: ClassEvidence, tmp_path: Path) -> None:
    made = EditedImages(tmp_path).personalise(edited)
    assert isinstance(made, Concept)
    settings = {"max_per_class": 30, "per_real": 1.0}
    sampler = edits_in(tmp_path)
    assert images_wanted(settings, [made], SHOWN, [20], sampler) == {0: 6}
    assert images_wanted(settings, [made], SHOWN, [4], sampler) == {0: 4}


# --- groups -----------------------------------------------------------------------------------


def image(scene: str, scene_parent: str = "", y: int = 0) -> SyntheticImage:
    return SyntheticImage(
        img_id="g",
        y=y,
        seed=0,
        prompt="a photo of a bird, 4k",
        parents=("a", scene_parent),
        file="f",
        mask=None,
        scene=scene,
    )


def test_an_image_has_the_group_of_those_that_show_what_it_shows() -> None:
    names = {
        "a": {"forest"}, "b": {"forest"}, "c": {"lake"}, "w1": {"lake"}, "w2": {"lake"},
        "w3": {"sea"}, "x": {"forest"}, "y1": set(),
    }  # fmt: skip
    phrases = {i: frozenset(p) for i, p in names.items()}
    places = {"a": 0, "b": 0, "c": 1, "w1": 1, "w2": 0, "w3": -1, "x": 0, "y1": 1}
    classes = {"a": 0, "b": 0, "c": 0, "w1": 1, "w2": 1, "w3": 1, "x": 1, "y1": 1}
    scenes = {"forest": ["a", "b", "x"], "lake": ["w2", "c", "w1"], "sea": ["w3"]}
    found = scene_parents(
        [
            image("forest", scene_parent="w3"),  # its own parent
            image("lake"),  # two of three images by the lake are at place 1
            image("sea"),  # no image there is annotated: as the next
            image(""),  # the landbird without forest
            image("", y=1),  # w1, w2 and w3 by lake or sea are avoided
        ],
        [concept(0, "forest"), concept(1, "lake", "sea", "forest")],
        scenes,
        phrases,
        places,
        classes,
    )
    assert found == ("w3", "c", "c", "c", "y1")


def test_without_annotation_a_relative_still_tells_the_scene() -> None:
    names, none = {"b": frozenset({"lake"}), "a": frozenset({"forest"})}, {"a": -1, "b": -1}
    args = ({"lake": ["b"], "forest": ["a"]}, names, none, {"a": 0, "b": 1})
    images = [image("lake"), image(""), image("forest")]
    assert scene_parents(images, [concept(0, "forest")], *args) == ("b", "b", "a")
    nobody = scene_parents(images[1:2], [concept(0, "forest", "lake")], *args)
    assert nobody == ("",)


# --- the choices ------------------------------------------------------------------------------

EXCHANGED = {  # what an arm chooses besides
    "edits": {"personaliser": "edits", "generator": "edits"},
    "swaps": {"personaliser": "regions", "generator": "regions"},
    "unpersonalised": {"personaliser": "none"},
    "undiscovered": {"personaliser": "none", "score": "random"},
    "anywhere": {"personaliser": "anywhere", "score": "random"},
}
GROUPS = ("score", "personaliser", "generator", "filter", "baseline", "model", "optimizer")


@pytest.mark.parametrize("arm", ARMS)
def test_an_arm_exchanges_that_and_nothing_else(arm: str) -> None:
    plain, usual = compose_config("train", [])
    cfg, chosen = compose_config("train", [f"augmentation={arm}"])
    expected = {g: EXCHANGED.get(arm, {}).get(g, usual.get(g)) for g in GROUPS}
    assert {g: chosen.get(g) for g in GROUPS} == expected
    assert cfg.fit.augment is (arm != "fixed_views")
    assert cfg.fit.steps == plain.fit.steps
    made = build(cfg.augmentation)
    assert (made.change is not None) == (arm == "randaugment")
    real = ("none", "fixed_views", "randaugment")
    assert made.uses_generated == (arm not in real)


@pytest.mark.parametrize("arm", sorted(EXCHANGED))
def test_what_is_typed_wins_over_the_arm_whatever_the_order(arm: str) -> None:
    typed = ["score=wilson", "personaliser=lora", "generator=text_to_image"]
    for words in ([f"augmentation={arm}", *typed], [*typed, f"augmentation={arm}"]):
        cfg, chosen = compose_config("train", words)
        assert [f"{g}={chosen[g]}" for g in ("score", "personaliser", "generator")] == typed
        assert cfg.generator._target_.endswith(".TextToImage")


def test_arms_stand_over_presets_and_under_what_is_typed() -> None:
    preset = ["dataset=waterbirds", "hparams=paper"]  # which has no random views
    cfg, _ = compose_config("train", [*preset, "augmentation=randaugment"])
    assert cfg.fit.augment is True
    cfg, _ = compose_config("train", ["augmentation=fixed_views", "fit.augment=true"])
    assert cfg.fit.augment is True


def test_thresholds_of_the_score_hold_for_its_random_twin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASPIRE_OUTPUTS", str(tmp_path))
    words = ["score.min_support=7", "score.min_effect=0.2", "augmentation=undiscovered"]
    cfg, _ = compose_config("train", words)
    identity = build(cfg.score).identity()
    assert (identity["score"], identity["min_support"]) == ("random", 7)
    # as an arm of a run too, which leaves out what another choice does not take
    typed = [*words[:2], "personaliser=lora", "personaliser.steps=4"]
    of_run = Job.of("run", typed).words(augmentation="undiscovered")
    assert of_run[:2] == words[:2]
    assert "personaliser.steps=4" not in of_run
    theirs = compose_config("train", words[:2])[0].score
    assert {k: cfg.score[k] for k in theirs if k not in ("_target_", "seed")} == {
        k: theirs[k] for k in theirs if k not in ("_target_", "seed")
    }


# --- with a diffusion model -------------------------------------------------------------------


@pytest.mark.slow
def test_arms_compose_with_a_diffusion_model_and_methods_that_need_groups(
    tiny_sd: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASPIRE_OUTPUTS", str(tmp_path))
    monkeypatch.setenv("ASPIRE_DATA", str(tiny_data))
    words = ["-m", "augmentation=unpersonalised,undiscovered", "baseline=groupdro"]
    words += ["generator=text_to_image", f"generator.model={tiny_sd}", "generator.steps=2"]
    words += ["dataset.scale=0.02", "stage.generate.per_real=0.1", "filter=[]", "logger=none"]
    words += ["score.min_support=2", "score.max_q=1", "score.min_effect=0", "fit.batch_size=16"]
    words += ["fit.steps=8", "fit.evaluations=2", "trainer.threads=1", "score.min_donors=2"]
    assert main(["train", *words]) == 0
    for arm in ("unpersonalised", "undiscovered"):
        (path,) = tmp_path.glob(f"train/*/groupdro/{arm}/*/result.json")
        result = json.loads(path.read_text())
        assert result["generated_digest"]
        assert result["train_images"] > sum(result["group_counts"]["train"].values())
