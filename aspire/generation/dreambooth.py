"""DreamBooth with prior preservation (Ruiz et al. 2023, arXiv 2208.12242), on LoRA weights.

A rare word before the class's noun stands for the class as it looks in this domain, and the model
is kept from forgetting what else the noun means by images of its own making::

    loss = mse(noise in "a photo of a sks bird") + weight * mse(noise in "a photo of a bird")

Deviation: low-rank changes of the attention layers are learnt instead of the whole UNet.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from aspire.generation.lora import LoRA
from aspire.generation.pictures import Subject
from aspire.identity import Json
from aspire.rng import seed_for
from aspire.stored.files import write_atomic
from aspire.values import Count, NonNegative

if TYPE_CHECKING:
    from aspire.generation.denoising import Source


class DreamBooth(LoRA):
    """LoRA with a rare word and images of the class that the model made before.

    Args:
        rare_word: stands before the class's noun.
        prior_images: how many are made.
        prior_weight: of their loss.
        prior_steps: denoising steps each.
        prior_batch: made at once.
        **settings: see :class:`LoRA` and :class:`DiffusionPersonaliser`.
    """

    name: ClassVar[str] = "dreambooth"

    def __init__(
        self,
        model: str,
        rare_word: str = "sks",
        prior_images: Count = 100,
        prior_weight: NonNegative = 1.0,
        prior_steps: Count = 50,
        prior_batch: Count = 8,
        **settings: Any,
    ) -> None:
        super().__init__(model, **settings)
        self.rare_word = rare_word
        self.prior_images = prior_images
        self.prior_weight = prior_weight
        self.prior_steps = prior_steps
        self.prior_batch = prior_batch

    def further_identity(self) -> Mapping[str, Json]:
        return {
            **super().further_identity(),
            "rare_word": self.rare_word,
            "prior": [self.prior_images, self.prior_weight, self.prior_steps],
        }

    def word(self, subject: Subject) -> str:
        return f"{self.rare_word} {subject.noun}"

    def further_sources(self, pipe: Any, noun: str, folder: Path) -> list[Source]:
        from aspire.generation.denoising import Source, encode
        from aspire.generation.diffusion_model import native_size

        if not self.prior_images:
            return []
        size = self.training.size or native_size(pipe)
        prompt = f"a photo of a {noun}"
        files = [folder / "prior" / f"{i:05d}.png" for i in range(self.prior_images)]
        todo = [i for i, file in enumerate(files) if not file.is_file()]
        for start in range(0, len(todo), self.prior_batch):
            self._make(pipe, prompt, size, {i: files[i] for i in todo[start:][: self.prior_batch]})
        mean, std = encode(pipe, files, size)
        return [Source("prior", mean, std, [[prompt]] * len(files), self.prior_weight, self.flip)]

    def _make(self, pipe: Any, prompt: str, size: int, files: Mapping[int, Path]) -> None:
        import numpy as np
        import torch

        from aspire.data.images import png_bytes

        seed = self.training.seed
        made = pipe(
            prompt=[prompt] * len(files),
            generator=[
                torch.Generator().manual_seed(seed_for(seed, "prior", index)) for index in files
            ],
            height=size,
            width=size,
            num_inference_steps=self.prior_steps,
            output_type="np",
        )
        for file, image in zip(files.values(), made.images, strict=True):
            write_atomic(file, png_bytes(np.round(image * 255).clip(0, 255).astype(np.uint8)))
