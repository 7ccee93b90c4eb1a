"""Personalisers on a tiny Stable Diffusion: what moves, and what must not."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from aspire.data.images import read_image
from aspire.errors import AspireError, ConfigError
from aspire.generation import personalising
from aspire.generation.base import ClassEvidence
from aspire.generation.denoising import Denoising
from aspire.generation.diffusion_model import conditions, personalised, token_name, with_words
from aspire.generation.diffusion_personaliser import DiffusionPersonaliser
from aspire.generation.dreambooth import DreamBooth
from aspire.generation.lora import LoRA
from aspire.generation.pictures import Selection
from aspire.generation.textual_inversion import TextualInversion
from aspire.generation.unpersonalised import Unpersonalised
from aspire.records import Concept, Rejected

QUICK: dict[str, Any] = {
    "steps": 4, "batch_size": 2, "checkpoint_every": 2, "strip_every": 0, "device": "cpu",
    "checkpointing": False, "images": 4, "per_feature": [3, 1],
}  # fmt: skip
KINDS: list[Any] = [
    (TextualInversion, {"vectors": 2}),
    (LoRA, {"learning_rate": 1e-3}),
    (LoRA, {"learning_rate": 1e-3, "text_encoder": True}),
    (DreamBooth, {"learning_rate": 1e-3, "prior_images": 3, "prior_steps": 1}),
]


def learnt(personaliser: DiffusionPersonaliser, evidence: ClassEvidence) -> dict[str, Any]:
    concept = personaliser.personalise(evidence)
    assert isinstance(concept, Concept)
    assert concept.weights is not None
    return load_file(personaliser.folder / concept.weights)


def all_parameters(pipe: Any) -> dict[str, Any]:
    parts = {n: p for n, p in pipe.components.items() if isinstance(p, torch.nn.Module)}
    return {f"{n}.{k}": v.clone() for n, p in parts.items() for k, v in p.state_dict().items()}


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_all_that_was_there_before_is_bit_equal_afterwards(
    kind: Any, options: Any, tiny_sd: Path, landbirds: ClassEvidence, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    personaliser = kind(str(tiny_sd), folder=tmp_path, **QUICK, **options)
    pipe = personaliser._pipeline()
    before = all_parameters(pipe)
    monkeypatch.setattr(personaliser, "_pipeline", lambda: pipe)
    weights = learnt(personaliser, landbirds)
    after = all_parameters(pipe)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert all(v.dtype == torch.float32 and v.isfinite().all() for v in weights.values())


def test_only_the_new_rows_of_the_embedding_move(
    tiny_sd: Path, landbirds: ClassEvidence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    personaliser = TextualInversion(str(tiny_sd), folder=tmp_path, vectors=2, **QUICK)
    pipe = personaliser._pipeline()
    monkeypatch.setattr(personaliser, "_pipeline", lambda: pipe)
    table = pipe.text_encoder.get_input_embeddings().weight.clone()
    seen: list[Any] = []
    whole = Denoising.training_step

    def watching(self: Denoising, batch: Any, index: int) -> Any:
        words = pipe.text_encoder.get_input_embeddings()
        assert torch.equal(words.table.weight, table)
        assert not words.table.weight.requires_grad
        seen.append(words.learnt.weight.detach().clone())
        return whole(self, batch, index)

    monkeypatch.setattr(Denoising, "training_step", watching)
    (rows,) = learnt(personaliser, landbirds).values()
    start = table[pipe.tokenizer("the", add_special_tokens=False).input_ids]
    assert torch.equal(seen[0], start[:2])
    assert all((a != b).any(1).all() for a, b in zip(seen, [*seen[1:], rows], strict=True))
    assert rows.shape == (2, 32)


@pytest.mark.parametrize(
    ("kind", "options", "steps"),
    [(TextualInversion, {"vectors": 2, "checkpointing": True}, 20), (*KINDS[3], 6)],
)
def test_killed_and_resumed_is_bit_equal_to_undisturbed(
    kind: Any, options: Any, steps: int, tiny_sd: Path, landbirds: ClassEvidence, tmp_path: Path
) -> None:
    half = steps // 2
    settings = {**QUICK, **options, "steps": steps, "checkpoint_every": half}
    whole = learnt(kind(str(tiny_sd), folder=tmp_path / "a", **settings), landbirds)
    seen: list[int] = []
    step = Denoising.training_step

    def dying(self: Denoising, batch: Any, index: int) -> Any:
        seen.append(self.global_step)
        if len(seen) == half + 2:  # one step after the kept state was done in vain
            raise RuntimeError("killed")
        return step(self, batch, index)

    broken = kind(str(tiny_sd), folder=tmp_path / "b", **settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Denoising, "training_step", dying)
        with pytest.raises(RuntimeError, match="killed"):
            broken.personalise(landbirds)
        (last,) = (tmp_path / "b").glob("*/last.ckpt")
        assert torch.load(last, weights_only=True)["global_step"] == half
        resumed = learnt(kind(str(tiny_sd), folder=tmp_path / "b", **settings), landbirds)
    assert seen[half + 2 :] == list(range(half, steps))
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[k], resumed[k]) for k in whole)
    said = [json.loads(p.read_text()) for p in sorted(tmp_path.glob("*/*/result.json"))]
    assert said[0]["loss"] == said[1]["loss"]
    assert said[0]["effect"] == said[1]["effect"]
    assert len(said[0]["loss"]) == steps
    assert not last.exists()


def test_finished_is_not_done_again(
    tiny_sd: Path, landbirds: ClassEvidence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    personaliser = TextualInversion(str(tiny_sd), folder=tmp_path, **QUICK)
    first = personaliser.personalise(landbirds)
    monkeypatch.setattr(personaliser, "_pipeline", lambda: pytest.fail("loaded"))
    assert personaliser.personalise(landbirds) == first


@pytest.mark.parametrize(("kind", "options"), KINDS[:2])
def test_micro_batches_learn_what_the_batch_does(
    kind: Any, options: Any, tiny_sd: Path, landbirds: ClassEvidence, tmp_path: Path
) -> None:
    made = []
    for micro in (None, 1, 2):  # batch 4, and 4 and 2 times accumulated
        settings = {**QUICK, **options, "batch_size": 4, "steps": 3, "micro_batch": micro}
        made.append(learnt(kind(str(tiny_sd), folder=tmp_path / str(micro), **settings), landbirds))
    for other in made[1:]:
        for name, value in made[0].items():
            torch.testing.assert_close(value, other[name], rtol=1e-3, atol=2e-5)


def test_full_memory_halves_the_micro_batch_and_gives_the_same(
    tiny_sd: Path, landbirds: ClassEvidence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**QUICK, "micro_batch": 1}
    expected = learnt(TextualInversion(str(tiny_sd), folder=tmp_path / "a", **settings), landbirds)
    whole = Denoising.training_step

    def narrow(self: Denoising, batch: Any, index: int) -> Any:
        if self.micro_batch > 1 and self.global_step == 3:  # after a checkpoint
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return whole(self, batch, index)

    monkeypatch.setattr(Denoising, "training_step", narrow)
    made = learnt(TextualInversion(str(tiny_sd), folder=tmp_path / "b", **QUICK), landbirds)
    torch.testing.assert_close(made["<landbird>"], expected["<landbird>"], rtol=1e-3, atol=2e-5)

    def never(self: Denoising, batch: Any, index: int) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(Denoising, "training_step", never)
    with pytest.raises(AspireError, match=r"one image of 32 px at once\. Try personalis"):
        learnt(TextualInversion(str(tiny_sd), folder=tmp_path / "c", **QUICK), landbirds)


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_state(
    tiny_sd: Path, landbirds: ClassEvidence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Denoising.predict_noise

    def broken(self: Denoising, draw: Any) -> Any:
        predicted, target = whole(self, draw)
        return predicted * (float("nan") if self.global_step == 3 else 1.0), target

    monkeypatch.setattr(Denoising, "predict_noise", broken)
    with pytest.raises(AspireError, match=r"The loss became nan at step 3 of the personalisation"):
        learnt(TextualInversion(str(tiny_sd), folder=tmp_path, **QUICK), landbirds)
    (last,) = tmp_path.glob("*/last.ckpt")
    state = torch.load(last, weights_only=True)
    assert state["global_step"] == 2
    assert all(v.isfinite().all() for v in state["state_dict"].values())
    assert not list(tmp_path.glob("*/learned.safetensors"))


def test_the_effect_is_measured_and_its_absence_told(
    tiny_sd: Path, landbirds: ClassEvidence, tmp_path: Path
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", module="(?!aspire)")
        concept = TextualInversion(
            str(tiny_sd), folder=tmp_path / "a", learning_rate=0.05, **QUICK
        ).personalise(landbirds)
    assert isinstance(concept, Concept)
    assert concept.effect is not None
    assert concept.effect > 1e-3
    with pytest.warns(UserWarning, match="has no effect: with it the model predicts the same"):
        concept = TextualInversion(
            str(tiny_sd), folder=tmp_path / "b", learning_rate=0.0, **QUICK
        ).personalise(landbirds)
    assert isinstance(concept, Concept)
    assert concept.effect == 0.0


def test_learning_lowers_the_loss_on_what_is_learnt(
    tiny_sd_2: Path, landbirds: ClassEvidence, tmp_path: Path
) -> None:
    settings = {**QUICK, "steps": 15, "learning_rate": 0.02, "checkpoint_every": 15}
    personaliser = LoRA(str(tiny_sd_2), folder=tmp_path, **settings)
    personaliser.personalise(landbirds)
    (folder,) = tmp_path.iterdir()
    result = personalising.finished(folder)
    assert result is not None
    assert result["with"] < result["without"]


def test_strips_show_the_learning_and_change_nothing(
    tiny_sd: Path, landbirds: ClassEvidence, tmp_path: Path
) -> None:
    plain = learnt(TextualInversion(str(tiny_sd), folder=tmp_path / "a", **QUICK), landbirds)
    settings = {**QUICK, "strip_every": 2}
    shown = learnt(TextualInversion(str(tiny_sd), folder=tmp_path / "b", **settings), landbirds)
    assert torch.equal(plain["<landbird>"], shown["<landbird>"])
    strips = sorted((tmp_path / "b").glob("*/strips/*.png"))
    assert [s.name for s in strips] == ["step-000002.png", "step-000004.png"]
    first, last = (read_image(s) for s in strips)
    assert first.shape == (32, 4 * 32, 3)
    assert first.std() > 1
    assert (first != last).any()  # equal seeds, so what differs is what was learnt


def test_an_xl_model_learns_in_both_its_text_encoders(
    tiny_sdxl: Path, landbirds: ClassEvidence, tmp_path: Path
) -> None:
    weights = learnt(TextualInversion(str(tiny_sdxl), folder=tmp_path, **QUICK), landbirds)
    assert set(weights) == {"<landbird>", "<landbird>@text_encoder_2"}


def test_diffusers_itself_reads_what_was_learnt(
    tiny_sd: Path, landbirds: ClassEvidence, tmp_path: Path
) -> None:
    """The independent reader: diffusers' own loaders give the same conditions and predictions."""
    personaliser = TextualInversion(str(tiny_sd), folder=tmp_path, vectors=3, **QUICK)
    rows = learnt(personaliser, landbirds)
    (file,) = tmp_path.glob("*/learned.safetensors")
    prompts = ["a photo of a <landbird>, lake", "a bird", "<landbird>"]
    ours, theirs = personaliser._pipeline(), personaliser._pipeline()
    theirs.load_textual_inversion(dict(rows), token="<landbird>")
    with personalised(ours, file), torch.no_grad():
        found = conditions(ours, prompts, 32)["encoder_hidden_states"]
        expected = conditions(theirs, prompts, 32)["encoder_hidden_states"]
    torch.testing.assert_close(found, expected)
    plain = conditions(ours, prompts, 32)["encoder_hidden_states"]  # restored
    torch.testing.assert_close(plain[1], found[1])
    assert not torch.equal(plain[0], found[0])

    lora = LoRA(str(tiny_sd), folder=tmp_path / "lora", **QUICK)
    learnt(lora, landbirds)
    (file,) = (tmp_path / "lora").glob("*/learned.safetensors")
    theirs = lora._pipeline()
    theirs.load_lora_weights(file.parent, weight_name=file.name, local_files_only=True)
    noise, seen = torch.randn(1, 4, 16, 16), []
    for pipe, weights in ((ours, file), (theirs, None), (ours, None)):
        with personalised(pipe, weights), torch.no_grad():
            seen.append(pipe.unet(noise, 5, **conditions(pipe, ["a bird"], 32)).sample)
    torch.testing.assert_close(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])


def test_a_word_of_another_model_or_of_the_tokenizer_is_refused(tiny_sd: Path) -> None:
    pipe = TextualInversion(str(tiny_sd), device="cpu")._pipeline()
    with (
        pytest.raises(ConfigError, match="vectors of 5, the text encoder 32: it was learnt on ano"),
        with_words(pipe, {"<x>": torch.zeros(1, 5)}),
    ):
        pass
    with (
        pytest.raises(ConfigError, match="a word of the model's tokenizer already"),
        with_words(pipe, {"a": torch.zeros(1, 32)}),
    ):
        pass


def test_the_papers_selection_of_edits(landbirds: ClassEvidence) -> None:
    chosen = Selection(images=5, per_feature=(4, 10)).choose(landbirds)
    assert {p: [e.edit_id for e in c] for p, c in chosen.items()} == {
        "forest": ["e0", "e1", "e2", "e3"],  # the largest drops of the strongest feature
        "boat": ["e6"],  # what is left of 5
    }
    calm = replace(
        landbirds,
        effects=tuple(msgspec.structs.replace(e, predicted_after=0) for e in landbirds.effects[:4]),
    )
    assert Selection().choose(calm) == {}
    assert len(Selection(flipped_only=False).choose(calm)["forest"]) == 4


def test_a_concept_tells_where_everything_is(
    tiny_sd: Path, landbirds: ClassEvidence, tmp_path: Path
) -> None:
    settings = {**QUICK, "images": 35, "per_feature": [15, 10], "per": "feature", "steps": 1}
    concept = TextualInversion(str(tiny_sd), folder=tmp_path, **settings).personalise(landbirds)
    assert isinstance(concept, Concept)
    assert concept.tokens == ("<landbird-without-forest>", "<landbird-without-boat>")
    assert concept.avoided == ("boat", "forest")
    # lakes drop by 0.8, 0.7 and 0.6, seas by 0.75, 0.65 and 0.55
    weights = {c.phrase: c.weight for c in concept.contexts}
    assert weights == pytest.approx({"lake": 2.1 / 4.05, "sea": 1.95 / 4.05}, abs=1e-6)
    assert [p.edit_id for p in concept.pictures] == [f"e{i}" for i in range(8)]
    assert [p.scene for p in concept.pictures][-3:] == ["sea", None, None]
    for picture in concept.pictures:
        original = read_image(landbirds.edited[picture.edit_id])
        assert (read_image(tmp_path / picture.file) == original).all()


def test_classes_that_cannot_be_learnt_are_rejected_with_a_reason(
    tiny_sd: Path, landbirds: ClassEvidence, tmp_path: Path
) -> None:
    personaliser = TextualInversion(str(tiny_sd), folder=tmp_path, **QUICK)
    none = replace(landbirds, features=())
    few = replace(landbirds, edited={"e0": landbirds.edited["e0"]})
    nowhere = replace(landbirds, effects=landbirds.effects[6:])
    reasons = [personaliser.personalise(e) for e in (none, few, nowhere)]
    assert [r.reason for r in reasons if isinstance(r, Rejected)] == [
        "no_spurious_feature", "too_few_images", "no_context",
    ]  # fmt: skip
    assert "1 edited images to learn from, at least 3" in reasons[1].detail
    assert not list(tmp_path.iterdir())
    bird = landbirds.objects[0]
    scenes = {"lake": (bird,), "sea": (bird,), "forest": (bird,)}
    plain = Unpersonalised().personalise(replace(landbirds, scenes=scenes))
    assert isinstance(plain, Concept)
    assert (plain.tokens, plain.weights, len(plain.contexts)) == ((), None, 2)


def test_identity_follows_what_changes_the_result_and_nothing_else(
    tiny_sd: Path, tmp_path: Path
) -> None:
    one = TextualInversion(str(tiny_sd)).identity()
    same = {"folder": tmp_path, "device": "cpu", "micro_batch": 1, "checkpointing": False,
            "checkpoint_every": 7, "strip_every": 0, "precision": "float32"}  # fmt: skip
    assert TextualInversion(str(tiny_sd), **same).identity() == one
    for change in (
        {"steps": 1}, {"batch_size": 2}, {"learning_rate": 1.0}, {"weight_decay": 0.0},
        {"size": 64}, {"seed": 1}, {"images": 3}, {"per_feature": [1]}, {"flipped_only": False},
        {"min_images": 1}, {"templates": ["{}"]}, {"scenes": True}, {"flip": 0.0},
        {"per": "feature"}, {"max_contexts": 1}, {"vectors": 2}, {"initial": "a"},
    ):  # fmt: skip
        assert TextualInversion(str(tiny_sd), **change).identity() != one, change


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"micro_batch": 3}, r"micro_batch=3: expected a divisor of personaliser.batch_size=4"),
        ({"templates": ["a bird"]}, r"'a bird' has no \{\} for the class's words"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(settings: Any, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        TextualInversion("nowhere", **settings)


def test_token_names() -> None:
    assert [token_name(n) for n in ("waterbird", "Bowl of soup", "!!")] == [
        "<waterbird>", "<bowl-of-soup>", "<it>",
    ]  # fmt: skip
    assert np.unique([token_name(n) for n in ("a b", "a-b")]).size == 1
