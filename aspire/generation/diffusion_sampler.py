"""What the samplers of diffusion models share: prompts, seeds, batches, weights of each concept.

Scene, word and noise of an image are drawn from its own seed, the noise by a generator on the CPU:
images start from equal latents whatever their batch or device. Bits of the finished image may
still differ between batch sizes and devices by rounding.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from aspire.data.images import Pixels
from aspire.editing.base import Failure
from aspire.editing.batching import Batches
from aspire.errors import ConfigError
from aspire.generation.base import GenerationRequest, Sampled
from aspire.generation.class_nouns import Wording
from aspire.identity import Json
from aspire.pretrained import Checkpoint
from aspire.records import Concept, ImageRef, Rejected
from aspire.stored.seals import file_digest
from aspire.values import Count, LatentSide, NonNegative

PLACES = ("word", "scene", "class", "kind")  # to fill in in a prompt


@dataclass(frozen=True)
class Plan:
    """One image to make, with all that was drawn for it.

    Args:
        concept: of what.
        prompt, negative_prompt: what it shall show and not show.
        scene: phrase of the scene in the prompt; "" where it names none.
        noise: seed of its latents.
        further: seed of what a sampler draws besides.
    """

    concept: Concept
    prompt: str
    negative_prompt: str
    scene: str
    noise: int
    further: int


class DiffusionSampler(ABC):
    """Makes images with a pipeline of diffusers and what a personaliser learnt for it.

    Args:
        root, refs: the dataset's folder and img_id -> image; given by the pipeline.
        model: hub id or folder; the one that was personalised.
        revision: commit, tag or branch of a hub model.
        folder: where the personaliser keeps what it learnt.
        prompt: with ``{word}`` (the learnt one, or a word for the class), ``{scene}``, ``{class}``
            (its noun: "bird") and ``{kind}`` (one of its own words: "owl"; an unlearnt word is the
            noun then); or several such, of which each image takes one.
        negative_prompt: with ``{avoided}`` (the found features); "" for none.
        steps: denoising steps; None for 50, or 4 with ``fast``.
        guidance: classifier-free guidance scale; None for 7.5, or 0 with ``fast``. Up to 1 there is
            no guidance: half the work, and no negative prompt.
        scheduler: name of a scheduler class in diffusers; None for the model's own, or with
            ``fast`` the one that these weights bring, or LCMScheduler.
        fast: weights distilled for a few steps without guidance, hub id or folder: a LoRA for
            ``model`` (LCM-LoRA), or a whole pipeline with the same text encoder (Turbo).
        vae: a lighter autoencoder of the model's latents, hub id or folder; None for its own.
        size: side in pixels, a multiple of 8; None for the size the model was trained at.
        precision: "auto" (bfloat16 on CUDA, else float32) or a dtype of torch.
        device: "auto", or a device of torch.
        batch_size: images at once; halved when memory runs out.
    """

    name: ClassVar[str]
    pipeline: ClassVar[str]  # class in diffusers
    speaks: ClassVar[bool] = True

    def __init__(
        self,
        root: Path,
        refs: Mapping[str, ImageRef],
        model: str,
        revision: str = "main",
        folder: str | Path = "outputs/personalised",
        prompt: str | Sequence[str] = "a photo of a {word}, {scene}",
        negative_prompt: str = "{avoided}",
        steps: Count | None = None,
        guidance: NonNegative | None = None,
        scheduler: str | None = None,
        fast: str | None = None,
        vae: str | None = None,
        size: LatentSide | None = None,
        precision: str = "auto",
        device: str = "auto",
        batch_size: Count = 8,
    ) -> None:
        prompts = (prompt,) if isinstance(prompt, str) else tuple(prompt)
        if not prompts:
            raise ConfigError("generator.prompt=[]: expected a text, or several.")
        for key, text, places in (
            *(("prompt", text, dict.fromkeys(PLACES, "")) for text in prompts),
            ("negative_prompt", negative_prompt, {"avoided": ""}),
        ):
            try:
                text.format(**places)
            except (KeyError, IndexError, ValueError) as error:
                raise ConfigError(
                    f"generator.{key}={text!r}: {error} is no place to fill in; there are "
                    f"{', '.join('{' + p + '}' for p in places)}."
                ) from None
        self.root = Path(root)
        self.refs = refs
        self.checkpoint = Checkpoint(model, revision, "choose generator=composition", pipeline=True)
        self.folder = Path(folder)
        self.prompts = prompts
        self.negative_prompt = negative_prompt
        self.fast = None if fast is None else Checkpoint(fast, instead="leave generator.fast out")
        self.vae = None if vae is None else Checkpoint(vae, instead="leave generator.vae out")
        self.steps = steps or (50 if fast is None else 4)
        self.guidance = (7.5 if fast is None else 0.0) if guidance is None else guidance
        self.scheduler = scheduler
        self.size = size
        self.precision = precision
        self.device = device
        self.batches = Batches(batch_size)
        self._pipe: Any = None
        self._learnt: str | None = None  # SHA-256 of the weights that the pipeline has on
        self._undo = ExitStack()  # takes them off

    def __getstate__(self) -> dict[str, Any]:
        # another process loads them on its own device
        return {**self.__dict__, "_pipe": None, "_learnt": None, "_undo": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = {**state, "_undo": ExitStack()}

    @property
    def batch_size(self) -> int:
        """Images at once."""
        return self.batches.size

    def identity(self) -> Mapping[str, Json]:
        return {
            "sampler": self.name,
            **self.checkpoint.identity(),
            "prompt": self.prompts[0] if len(self.prompts) == 1 else self.prompts,
            "negative_prompt": self.negative_prompt,
            "steps": self.steps,
            "guidance": self.guidance,
            "scheduler": self.scheduler,
            "size": self.size,
            **{
                key: part.identity()
                for key, part in (("fast", self.fast), ("vae", self.vae))
                if part is not None
            },
        }

    @abstractmethod
    def make(self, pipe: Any, plans: Sequence[Plan], size: int) -> list[Sampled | Failure]:
        """Images of one concept, in order.

        Args:
            pipe: with what was learnt of the concept.
            plans: what to make.
            size: side in pixels.
        """

    def sample(self, requests: Sequence[GenerationRequest]) -> list[Sampled | Rejected]:
        """See :class:`aspire.generation.base.Sampler`.

        Raises:
            ConfigError, ServiceError: when the model or what was learnt is unavailable.
        """
        made: dict[int, Sampled | Rejected] = {}
        by_concept: dict[str, list[int]] = {}
        for index, request in enumerate(requests):
            by_concept.setdefault(request.concept.concept_id, []).append(index)
        for rows in by_concept.values():
            plans = [self.plan(requests[row]) for row in rows]
            for row, result in zip(rows, self._of_concept(plans), strict=True):
                made[row] = (
                    Rejected(item_id=requests[row].img_id, reason="failed", detail=result.detail)
                    if isinstance(result, Failure)
                    else result
                )
        return [made[row] for row in range(len(requests))]

    def plan(self, request: GenerationRequest) -> Plan:
        """What is drawn for an image; all of it follows from the request's seed."""
        rng = np.random.default_rng(request.seed)
        concept = request.concept
        weights = np.array([c.weight for c in concept.contexts])
        scene = concept.contexts[int(rng.choice(len(weights), p=weights / weights.sum()))].phrase
        wording = request.wording or Wording.of_name(request.class_name)
        # where a prompt names the kind too, the noun goes with it: "bird crow", not "owl crow"
        named = any("{kind}" in prompt for prompt in self.prompts)
        words = concept.tokens or ((wording.noun,) if named else wording.own)
        word = words[int(rng.integers(len(words)))]
        prompt = self.prompts[0]
        if len(self.prompts) > 1:
            prompt = self.prompts[int(rng.integers(len(self.prompts)))]
        places = {"word": word, "scene": scene, "class": wording.noun}
        if "{kind}" in prompt:
            places["kind"] = wording.own[int(rng.integers(len(wording.own)))]
        return Plan(
            concept,
            prompt.format(**places),
            self.negative_prompt.format(avoided=", ".join(concept.avoided))
            if self.guidance > 1
            else "",
            scene if "{scene}" in prompt else "",
            int(rng.integers(2**62)),
            int(rng.integers(2**62)),
        )

    def weights(self, concept: Concept) -> Path | None:
        """The file with what was learnt of a concept; None where nothing was.

        Raises:
            ConfigError: when it is gone, or not the one that the concept tells of.
        """
        if concept.weights is None:
            return None
        file = self.folder / concept.weights
        if not file.is_file() or file_digest(file) != concept.weights_sha256:
            what = "has changed since" if file.is_file() else "does not exist"
            raise ConfigError(
                f"{file}, which the personaliser wrote, {what}. Set generator.folder to where it "
                f"is, or remove the personalise artifact (outputs/artifacts/personalise) and "
                f"{file.parent}, and run the command again."
            )
        return file

    def _of_concept(self, plans: Sequence[Plan]) -> list[Sampled | Failure]:
        from aspire.generation.diffusion_model import native_size

        pipe = self._load()
        size = self.size or native_size(pipe)
        self._personalise(plans[0].concept)
        return self.batches.map(lambda batch: self.make(pipe, batch, size), plans)

    def _personalise(self, concept: Concept) -> None:
        """Give the pipeline what was learnt of a concept, and leave it for the next batch."""
        from aspire.generation.diffusion_model import personalised

        weights = self.weights(concept)
        wanted = None if weights is None else concept.weights_sha256
        if wanted == self._learnt:
            return
        self._undo.close()
        self._learnt = None
        self._undo.enter_context(personalised(self._load(), weights))
        self._learnt = wanted

    def _load(self) -> Any:
        if self._pipe is None:
            from aspire.generation.diffusion_model import load_pipeline
            from aspire.generation.few_steps import make_fast, replace_vae, set_scheduler

            whole = self.fast is not None and self.fast.has("model_index.json")
            checkpoint = self.fast if self.fast is not None and whole else self.checkpoint
            pipe = load_pipeline(self.pipeline, checkpoint, self.device, self.precision)
            if self.fast is not None and not whole:
                make_fast(pipe, self.fast)
            if self.vae is not None:
                replace_vae(pipe, self.vae)
            if self.scheduler is not None:
                set_scheduler(pipe, self.scheduler)
            self._pipe = pipe
        return self._pipe

    def run(self, pipe: Any, plans: Sequence[Plan], **inputs: Any) -> list[Pixels | Failure]:
        """(H, W, 3) images of the pipeline, in order."""
        import torch

        made = pipe(
            prompt=[p.prompt for p in plans],
            negative_prompt=[p.negative_prompt for p in plans],
            generator=[torch.Generator().manual_seed(p.noise) for p in plans],
            num_inference_steps=self.steps,
            guidance_scale=self.guidance,
            output_type="pt",  # (B, 3, H, W) in [0, 1]; bytes are made where the model is
            **inputs,
        ).images.float()
        whole = made.isfinite().flatten(1).all(1).tolist()
        pixels = (made * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
        return [
            image if finite else Failure("the model gave values that are not numbers")
            for image, finite in zip(pixels.contiguous().cpu().numpy(), whole, strict=True)
        ]
