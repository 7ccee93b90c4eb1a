"""Phrases by a chat model of transformers, with decoding that cannot leave the JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from aspire.errors import ConfigError
from aspire.identity import Json
from aspire.language.answers import VERSION, grammar, read_answer
from aspire.language.base import Phrases, Unreadable
from aspire.language.prompts import load_prompt
from aspire.pretrained import Checkpoint, device_and_dtype
from aspire.values import Count


class ChatExtractor:
    """Asks a local language model about several captions at once, greedily.

    xgrammar masks at each step the tokens that would leave the JSON asked for, in which phrases
    are spans of the row's own caption.

    Args:
        model: id on the hub, or a folder as ``save_pretrained`` writes it.
        revision: commit, tag or branch of an id.
        prompt: see :func:`aspire.language.prompts.load_prompt`.
        max_new_tokens: longest answer, in tokens.
        batch_size: captions at once; bounds memory, never changes an answer.
        device: "auto", "cpu", "cuda", ...
    """

    def __init__(
        self,
        model: str,
        revision: str = "main",
        prompt: str = "phrases",
        max_new_tokens: Count = 160,
        batch_size: Count = 16,
        device: str = "auto",
    ) -> None:
        self.checkpoint = Checkpoint(model, revision, "extractor=spacy, which needs none")
        self.prompt = load_prompt(prompt)
        self.max_new_tokens = max_new_tokens
        self.batch_size = batch_size
        self.device = device

    def identity(self) -> Mapping[str, Json]:
        """Checkpoint, prompt and length of answers.

        Raises:
            ConfigError, ServiceError: see :class:`aspire.pretrained.Checkpoint`.
        """
        return {
            "extractor": "transformers_chat",
            **self.checkpoint.identity(),
            **self.prompt.identity(),
            "max_new_tokens": self.max_new_tokens,
            "answers": VERSION,
        }

    def extract(
        self, captions: Sequence[str], class_words: Sequence[Sequence[str]]
    ) -> Iterator[Phrases | Unreadable]:
        """See :class:`aspire.language.base.Extractor`; lazy by the batch.

        Raises:
            ConfigError: when xgrammar is missing, or the model has no chat template.
            ConfigError, ServiceError: when the model cannot be loaded.
        """
        questions = list(zip(captions, class_words, strict=True))
        for start in range(0, len(questions), self.batch_size):
            batch = questions[start : start + self.batch_size]
            for raw, (caption, words) in zip(self._ask(batch), batch, strict=True):
                yield read_answer(raw, caption, words)

    def _ask(self, batch: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
        import torch
        from xgrammar.contrib.hf import LogitsProcessor

        grammars = [self._compiler.compile_grammar(grammar(*question)) for question in batch]
        inputs = self._tokenizer.apply_chat_template(
            [self.prompt.messages(*question) for question in batch],
            add_generation_prompt=True,
            padding=True,
            return_tensors="pt",
            return_dict=True,
        ).to(self._model.device)
        with torch.inference_mode():
            tokens = self._model.generate(
                **inputs,
                max_new_tokens=self.max_new_tokens,
                do_sample=False,
                logits_processor=[LogitsProcessor(grammars)],
                pad_token_id=self._tokenizer.pad_token_id,
            )
        written = tokens[:, inputs["input_ids"].shape[1] :]
        texts: list[str] = self._tokenizer.batch_decode(written, skip_special_tokens=True)
        return texts

    @cached_property
    def _model(self) -> Any:
        from transformers import AutoModelForCausalLM

        device, dtype = device_and_dtype(self.device)
        return self.checkpoint.load(AutoModelForCausalLM, dtype=dtype).to(device).eval()

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        tokenizer = self.checkpoint.load(AutoTokenizer, padding_side="left")
        if tokenizer.chat_template is None:
            raise ConfigError(
                f"extractor.model={self.checkpoint.model} has no chat template. Take a model that "
                'was trained to chat (its name often ends in "-Instruct" or "-it").'
            )
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        return tokenizer

    @cached_property
    def _compiler(self) -> Any:
        try:
            import xgrammar
        except ImportError:
            raise ConfigError(
                "extractor=transformers_chat needs xgrammar: pip install "
                "'aspire-shortcuts[local-llm]'"
            ) from None
        # The last layer may be wider than the tokenizer's vocabulary.
        width = self._model.get_output_embeddings().weight.shape[0]
        info = xgrammar.TokenizerInfo.from_huggingface(self._tokenizer, vocab_size=width)
        return xgrammar.GrammarCompiler(info, max_threads=1)
