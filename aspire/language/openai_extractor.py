"""Phrases by a language model behind an OpenAI-compatible endpoint: vLLM, Ollama, or hosted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

from aspire.errors import AspireError, ConfigError, ServiceError
from aspire.identity import Json
from aspire.language.answers import VERSION, read_answer, schema
from aspire.language.base import Phrases, Unreadable
from aspire.language.endpoint import Endpoint, NoAnswerError
from aspire.language.prompts import load_prompt
from aspire.values import Count, EnvName, Natural, NonNegative, Positive

_CHARACTERS_PER_TOKEN = 4.0  # of English text, about
_TOKENS_PER_MESSAGE = 4  # what a chat format adds
_TOKENS_OUT = 45  # of an answer, about

FORMATS: dict[str, dict[str, Json] | None] = {
    "json_schema": {
        "type": "json_schema",
        "json_schema": {"name": "phrases", "strict": True, "schema": schema()},
    },
    "json_object": {"type": "json_object"},
    "none": None,
}


class DryRun(AspireError):  # noqa: N818 (it is no error)
    """The price was asked for, and nothing else."""

    exit_code = 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """What asking about some captions would take, about; ``usd`` is None without prices."""

    captions: int
    tokens_in: int
    tokens_out: int
    usd: float | None

    def __str__(self) -> str:
        price = "price unknown (set extractor.price)" if self.usd is None else f"${self.usd:.2f}"
        return (
            f"{self.captions:,} different captions, about {self.tokens_in:,} tokens in and "
            f"{self.tokens_out:,} out: {price}"
        )


class OpenAIExtractor:
    """Asks one chat per caption, several at once.

    A caption that is not answered after all attempts is ``no_answer``, if a trial question shows
    that the endpoint still lives; otherwise the run stops, and the same command continues it. An
    answer that cannot be read is shown to the model once more, ``repairs`` times.

    Args:
        base_url, key_env, timeout, max_retries: see :class:`aspire.language.endpoint.Endpoint`.
        model: its name there.
        revision: anything that tells two models of one name apart; part of the identity.
        prompt: see :func:`aspire.language.prompts.load_prompt`.
        response_format: "json_schema", "json_object" or "none", whatever the endpoint knows.
        request: sent with every question as it stands (temperature, seed, max_tokens, ...).
        repairs: times an unreadable answer is asked again, telling what was wrong.
        concurrency: questions at once; never changes an answer.
        price: {"input": USD, "output": USD} per million tokens, or None.
        max_usd: refuse to begin above this estimate; None for no limit.
        dry_run: print the estimate and a filled prompt, ask nobody.

    Raises:
        ConfigError: for an address, format, price or number that cannot work.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        key_env: EnvName | None = "OPENAI_API_KEY",
        revision: str | None = None,
        prompt: str = "phrases",
        response_format: Literal["json_schema", "json_object", "none"] = "json_schema",
        request: Mapping[str, Any] | None = None,
        repairs: Natural = 1,
        concurrency: Count = 8,
        timeout: Positive = 60.0,
        max_retries: Natural = 5,
        price: Mapping[str, NonNegative] | None = None,
        max_usd: NonNegative | None = None,
        dry_run: bool = False,
    ) -> None:
        if price is not None and set(price) != {"input", "output"}:
            raise ConfigError(
                "extractor.price needs input and output: USD per million tokens, such as "
                "'extractor.price={input: 0.15, output: 0.6}'."
            )
        if max_usd is not None and price is None:
            raise ConfigError("extractor.max_usd needs extractor.price to know what is spent.")
        self.endpoint = Endpoint(base_url, key_env, timeout, max_retries)
        self.model = model
        self.revision = revision
        self.prompt = load_prompt(prompt)
        self.response_format = response_format
        self.request = dict(request or {})
        self.repairs = repairs
        self.concurrency = concurrency
        self.price = price
        self.max_usd = max_usd
        self.dry_run = dry_run

    def identity(self) -> Mapping[str, Json]:
        """Address, model, prompt and request; no key, no price, no retries."""
        return {
            "extractor": "openai",
            "base_url": self.endpoint.base_url,
            "model": self.model,
            "revision": self.revision,
            **self.prompt.identity(),
            "response_format": self.response_format,
            "request": self.request,
            "repairs": self.repairs,
            "answers": VERSION,
        }

    def extract(
        self, captions: Sequence[str], class_words: Sequence[Sequence[str]]
    ) -> Iterator[Phrases | Unreadable]:
        """See :class:`aspire.language.base.Extractor`; lazy, in order.

        Raises:
            ConfigError: when the key or the client is missing.
            ServiceError: when the endpoint refuses or is down.
        """
        self.endpoint.open()
        with ThreadPoolExecutor(self.concurrency) as pool:
            asked = [
                pool.submit(self._phrases, caption, words)
                for caption, words in zip(captions, class_words, strict=True)
            ]
            try:
                for answer in asked:
                    yield answer.result()
            finally:  # after an error nothing more is asked
                for answer in asked:
                    answer.cancel()

    def estimate(self, captions: Sequence[str], class_words: Sequence[Sequence[str]]) -> Estimate:
        """Tokens and price of asking about each of these captions once, without retries."""
        tokens_in = 0.0
        for caption, words in zip(captions, class_words, strict=True):
            for message in self.prompt.messages(caption, words):
                tokens_in += len(message["content"]) / _CHARACTERS_PER_TOKEN + _TOKENS_PER_MESSAGE
        tokens_out = _TOKENS_OUT * len(captions)
        usd = None
        if self.price is not None:
            usd = (tokens_in * self.price["input"] + tokens_out * self.price["output"]) / 1e6
        return Estimate(len(captions), round(tokens_in), tokens_out, usd)

    def quote(self, captions: Sequence[str], class_words: Sequence[Sequence[str]]) -> None:
        """See :class:`aspire.language.base.Priced`."""
        if not captions:
            return
        estimate = self.estimate(captions, class_words)
        what = f"{self.model} at {self.endpoint.base_url}: {estimate}"
        if self.dry_run:
            sample = self.prompt.messages(captions[0], class_words[0])[-1]["content"]
            raise DryRun(
                f"Dry run, nothing was asked. {what}; finished captions are not asked again.\n"
                f"The first question after the instructions of {self.prompt.name}.yaml:\n{sample}"
            )
        if self.max_usd is not None and estimate.usd is not None and estimate.usd > self.max_usd:
            raise ConfigError(
                f"{what}, which is above extractor.max_usd={self.max_usd}. Raise it, or use "
                "extractor=spacy, extractor=gguf or a smaller model."
            )

    def _phrases(self, caption: str, words: Sequence[str]) -> Phrases | Unreadable:
        messages = self.prompt.messages(caption, words)
        try:
            for left in range(self.repairs, -1, -1):
                raw = self.endpoint.ask(messages, self._arguments())
                found = read_answer(raw, caption, words)
                if left == 0 or isinstance(found, Phrases):
                    break
                messages += [
                    {"role": "assistant", "content": raw or "(nothing)"},
                    {"role": "user", "content": self.prompt.repair},
                ]
            return found
        except NoAnswerError as error:
            self._check_alive(error)
            return Unreadable(str(error), "no_answer")

    def _check_alive(self, error: NoAnswerError) -> None:
        """Tell a caption that cannot be answered from an endpoint that is down.

        Raises:
            ServiceError: when a trial question is not answered either.
        """
        trial = self.prompt.messages("a dog on a beach", ("dog",))
        try:
            self.endpoint.ask(trial, self._arguments())
        except NoAnswerError:
            raise ServiceError(
                f"{self.endpoint.base_url} does not answer: {error}\nWhat is finished is kept: the "
                "same command continues. Is the server running, and extractor.base_url right? For "
                "a slow or crowded one raise extractor.timeout or extractor.max_retries, or "
                "lower extractor.concurrency."
            ) from None

    def _arguments(self) -> dict[str, Any]:
        chosen = FORMATS[self.response_format]
        return {
            "model": self.model,
            **({"response_format": chosen} if chosen else {}),
            **self.request,
        }
