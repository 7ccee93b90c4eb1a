"""GIT, the captioner of the paper (Wang et al. 2022, https://arxiv.org/abs/2205.14100)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from aspire.data.images import Pixels
from aspire.language.pretrained_captioner import PretrainedCaptioner


class GitCaptioner(PretrainedCaptioner):
    """Captions by a generative image-to-text transformer.

    The authors' script feeds GIT images without normalisation and passes ``num_beams=5`` to
    the decoding of tokens, where it does nothing; here images are normalised as GIT was
    trained, and beams are beams.
    """

    name: ClassVar[str] = "git"

    def model_class(self) -> Any:
        from transformers import GitForCausalLM

        return GitForCausalLM

    def inputs(self, images: list[Pixels]) -> Mapping[str, Any]:
        return {"pixel_values": self._processor(images=images, return_tensors="pt").pixel_values}
