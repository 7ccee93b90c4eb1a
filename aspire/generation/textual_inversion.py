"""Textual inversion: a new word for a class (Gal et al. 2022, arXiv 2208.01618).

The word's vectors alone are learnt, as the ones that best explain the class's images::

    v* = argmin_v  E [ || eps - eps_theta(z_t, t, c(template with v)) ||^2 ]

Everything else stands still. The paper on ASPIRE learns one token a class so, from at most 35
edited images.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from aspire.errors import ConfigError
from aspire.generation.diffusion_personaliser import DiffusionPersonaliser
from aspire.generation.pictures import Subject
from aspire.identity import Json
from aspire.values import Count

if TYPE_CHECKING:
    from torch import Tensor

    from aspire.generation.denoising import Learnt


class TextualInversion(DiffusionPersonaliser):
    """A token a class (or a class and feature), of one or more vectors.

    Args:
        vectors: per token.
        initial: words whose vectors the token starts from, one after the other; ``{class}`` stands
            for the class's noun. The paper: "the".
        **settings: see :class:`DiffusionPersonaliser`.
    """

    name: ClassVar[str] = "textual_inversion"

    def __init__(
        self, model: str, vectors: Count = 1, initial: str = "the", **settings: Any
    ) -> None:
        super().__init__(model, **settings)
        self.vectors = vectors
        self.initial = initial

    def further_identity(self) -> Mapping[str, Json]:
        return {"vectors": self.vectors, "initial": self.initial}

    def word(self, subject: Subject) -> str:
        from aspire.generation.diffusion_model import token_name

        return token_name(subject.name)

    @contextmanager
    def attach(
        self, pipe: Any, subjects: Sequence[tuple[str, Subject]], noun: str
    ) -> Iterator[Learnt]:
        from aspire.generation.denoising import Learnt
        from aspire.generation.diffusion_model import encoders, with_words

        endings = [ending for ending, _, _ in encoders(pipe)]
        start = {
            word + ending: self._start(pipe, ending, noun)
            for word, _ in subjects
            for ending in endings
        }
        with with_words(pipe, start) as modules:
            first = [m.learnt.weight.detach().clone() for m in modules]

            @contextmanager
            def without() -> Iterator[None]:
                kept = [m.learnt.weight.data for m in modules]
                try:
                    for module, values in zip(modules, first, strict=True):
                        module.learnt.weight.data = values
                    yield
                finally:
                    for module, values in zip(modules, kept, strict=True):
                        module.learnt.weight.data = values

            def state() -> dict[str, Tensor]:
                return {
                    word + ending: part
                    for ending, module in zip(endings, modules, strict=True)
                    for (word, _), part in zip(
                        subjects, module.learnt.weight.split(self.vectors), strict=True
                    )
                }

            yield Learnt(
                parameters={str(i): m.learnt.weight for i, m in enumerate(modules)},
                state=state,
                without=without,
                frozen={str(i): m.table.weight for i, m in enumerate(modules)},
            )

    def _start(self, pipe: Any, ending: str, noun: str) -> Tensor:
        """(vectors, D) of the initial words."""
        from aspire.generation.diffusion_model import encoders

        ((_, tokenizer_name, encoder_name),) = [e for e in encoders(pipe) if e[0] == ending]
        words = self.initial.replace("{class}", noun)
        tokenizer = getattr(pipe, tokenizer_name)
        ids = tokenizer(words, add_special_tokens=False).input_ids
        if not ids:
            raise ConfigError(f"personaliser.initial={self.initial!r}: expected a word.")
        table = getattr(pipe, encoder_name).get_input_embeddings().weight
        rows: Tensor = table[[ids[i % len(ids)] for i in range(self.vectors)]]
        return rows.detach().float()
