"""LoRA: low-rank changes of the attention layers (Hu et al. 2021, arXiv 2106.09685).

A frozen weight W becomes W + B A with B (out, r) and A (r, in); B starts at zero, so the model
starts as it was. Only A and B are learnt, in float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from aspire.generation.diffusion_personaliser import DiffusionPersonaliser
from aspire.generation.pictures import Subject
from aspire.identity import Json
from aspire.values import Count

if TYPE_CHECKING:
    from torch import Tensor

    from aspire.generation.denoising import Learnt

_UNET = ("to_q", "to_k", "to_v", "to_out.0")
_TEXT = ("q_proj", "k_proj", "v_proj", "out_proj")


class LoRA(DiffusionPersonaliser):
    """A low-rank change of the UNet, called by the class's own noun.

    Args:
        rank: r.
        text_encoder: change the text encoder as well.
        **settings: see :class:`DiffusionPersonaliser`.
    """

    name: ClassVar[str] = "lora"

    def __init__(
        self, model: str, rank: Count = 4, text_encoder: bool = False, **settings: Any
    ) -> None:
        super().__init__(model, **settings)
        self.rank = rank
        self.text_encoder = text_encoder

    def further_identity(self) -> Mapping[str, Json]:
        return {"rank": self.rank, "text_encoder": self.text_encoder}

    def word(self, subject: Subject) -> str:
        return subject.noun

    @contextmanager
    def attach(
        self, pipe: Any, subjects: Sequence[tuple[str, Subject]], noun: str
    ) -> Iterator[Learnt]:
        import torch
        from diffusers.utils.state_dict_utils import convert_state_dict_to_diffusers
        from peft import LoraConfig
        from peft.utils import get_peft_model_state_dict

        from aspire.generation.denoising import Learnt

        targets = {"unet": _UNET}
        if self.text_encoder:
            targets["text_encoder"] = _TEXT
        frozen = {
            f"{part}.{name}": value
            for part in targets
            for name, value in getattr(pipe, part).named_parameters()
        }
        parameters = {}
        with torch.random.fork_rng():
            torch.manual_seed(self.training.seed)  # of A
            for part, names in targets.items():
                module = getattr(pipe, part)
                # alpha = r: the change is B A itself
                module.add_adapter(
                    LoraConfig(r=self.rank, lora_alpha=self.rank, target_modules=list(names))
                )
                for name, parameter in module.named_parameters():
                    if "lora_" in name:
                        parameter.data = parameter.data.float()
                        parameter.requires_grad_(True)
                        parameters[f"{part}.{name}"] = parameter

        @contextmanager
        def without() -> Iterator[None]:
            for part in targets:
                getattr(pipe, part).disable_adapters()
            try:
                yield
            finally:
                for part in targets:
                    getattr(pipe, part).enable_adapters()

        def state() -> dict[str, Tensor]:
            found = {}
            for part in targets:
                layers = get_peft_model_state_dict(getattr(pipe, part))
                for name, value in convert_state_dict_to_diffusers(layers).items():
                    found[f"{part}.{name}"] = value
            return found

        try:
            yield Learnt(parameters, state, without, frozen)
        finally:
            pipe.unload_lora_weights()
