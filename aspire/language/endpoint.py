"""One OpenAI-compatible endpoint: the key, the retries, and what went wrong in words.

The key is read from the environment when the first question is asked, handed to the official
client, and taken out of every text that leaves this module.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from aspire.errors import ConfigError, ServiceError

RETRIED = frozenset((408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529))

_LONGEST = 500  # characters of a server's complaint that are repeated


class NoAnswerError(Exception):
    """All attempts at one question failed; the last reason is the text."""


@dataclass(frozen=True)
class Backoff:
    """How often and after which waits a question is put again.

    Args:
        attempts: times a question is sent at most.
        first, longest: seconds before the second attempt, and at most; doubled in between. Each
            wait is drawn between half of that and all of it, so that clients do not march in step.
            A longer ``Retry-After`` of the server is heeded, up to ``patience``.
        patience: longest wait a server may ask for, in seconds.
    """

    attempts: int = 6
    first: float = 1.0
    longest: float = 30.0
    patience: float = 120.0

    def wait(self, attempt: int, asked: float | None) -> float:
        """Seconds to wait after the given number of attempts."""
        own = min(self.longest, self.first * 2.0 ** (attempt - 1)) * random.uniform(0.5, 1.0)
        return max(own, min(asked or 0.0, self.patience))


@dataclass
class Usage:
    """What was sent and what came back; counted across threads."""

    requests: int = 0
    retries: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, **counts: int) -> None:
        with self._lock:
            for name, number in counts.items():
                setattr(self, name, getattr(self, name) + number)


class Endpoint:
    """Answers chats by POST to ``<base_url>/chat/completions``.

    Args:
        base_url: of the API, without a key in it.
        key_env: name of the environment variable that holds the key; None where none is needed.
        timeout: seconds until an attempt is given up.
        backoff: retries on 408, 409, 425, 429, 5xx, timeouts and lost or cut connections.
        sleep: waits; for tests.

    Raises:
        ConfigError: when ``base_url`` is no http address, or holds a user, password or query.
    """

    def __init__(
        self,
        base_url: str,
        key_env: str | None,
        timeout: float,
        backoff: Backoff,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(
                f"extractor.base_url={base_url} is no address; expected for example "
                "http://localhost:11434/v1 (Ollama), http://localhost:8000/v1 (vLLM) or "
                "https://api.openai.com/v1."
            )
        if parts.username or parts.password or parts.query:
            raise ConfigError(
                "extractor.base_url holds a user, a password or a query. Addresses are written to "
                "files: put the key in an environment variable and its name in extractor.key_env."
            )
        self.base_url = base_url.rstrip("/")
        self.key_env = key_env
        self.timeout = timeout
        self.backoff = backoff
        self._sleep = sleep

    def open(self) -> None:
        """Read the key and make the client, before threads share them.

        Raises:
            ConfigError: when one of them is missing.
        """
        self.usage.add(requests=0)
        assert self._client is not None

    @cached_property
    def usage(self) -> Usage:
        """What was asked so far."""
        return Usage()

    def ask(self, messages: Sequence[Mapping[str, str]], request: Mapping[str, Any]) -> str:
        """The text of the answer; "" where the model said nothing.

        Raises:
            NoAnswerError: when every attempt failed in a way that may pass.
            ServiceError: when the endpoint refuses: the key, the model or the request is wrong.
        """
        import openai

        reason = ""
        for attempt in range(1, self.backoff.attempts + 1):
            asked: float | None = None
            self.usage.add(requests=1, retries=int(attempt > 1))
            try:
                completion = self._client.chat.completions.create(messages=messages, **request)
                return self._text_of(completion)
            except openai.APIStatusError as error:
                reason = self.scrub(f"HTTP {error.status_code}: {error.message}")[:_LONGEST]
                if error.status_code not in RETRIED or "insufficient_quota" in reason:
                    raise self._refused(error.status_code, reason) from None
                asked = _retry_after(error.response.headers)
            except openai.APIError as error:  # timeouts, lost connections
                cause = f" ({type(error.__cause__).__name__})" if error.__cause__ else ""
                reason = self.scrub(f"{type(error).__name__}: {error.message}{cause}")[:_LONGEST]
            except ValueError as error:  # a body that is no JSON, or holds no answer
                reason = self.scrub(f"{type(error).__name__}: {error}")
            if attempt < self.backoff.attempts:
                self._sleep(self.backoff.wait(attempt, asked))
        raise NoAnswerError(f"{self.backoff.attempts} attempts; the last: {reason}")

    def scrub(self, text: str) -> str:
        """A text without the key, whoever put it there."""
        return text.replace(self._key, "[key]") if self._key else text

    def _text_of(self, completion: Any) -> str:
        choices = getattr(completion, "choices", None)
        if not choices or choices[0].message is None:
            raise ValueError(f"no answer in {str(completion)[:200]}")
        if completion.usage is not None:
            used = completion.usage
            self.usage.add(
                tokens_in=used.prompt_tokens or 0, tokens_out=used.completion_tokens or 0
            )
        message = choices[0].message
        return self.scrub(message.content or getattr(message, "refusal", None) or "")

    def _refused(self, status: int, reason: str) -> ServiceError:
        hints = {
            401: f"Check the key in {self.key_env}."
            if self.key_env
            else "It wants a key: set extractor.key_env to the environment variable that holds it.",
            403: f"Check what the key in {self.key_env} may do.",
            404: "Check extractor.model and extractor.base_url.",
            429: "The account has no quota left; the same command continues when it has.",
        }
        hint = hints.get(
            status, "Check extractor.model, extractor.request and extractor.response_format."
        )
        return ServiceError(f"{self.base_url} refused a question: {reason}\n{hint}")

    @cached_property
    def _key(self) -> str:
        if self.key_env is None:
            return ""
        key = os.environ.get(self.key_env, "").strip()
        if not key:
            raise ConfigError(
                f"{self.key_env} is not set. Put the key of {self.base_url} in that environment "
                "variable; extractor.key_env=null where none is needed (Ollama, vLLM); or use "
                "extractor=spacy, extractor=gguf or extractor=replay, which need none."
            )
        return key

    @cached_property
    def _client(self) -> Any:
        try:
            from openai import OpenAI
        except ImportError:
            raise ConfigError(
                "extractor=openai needs the client: pip install 'aspire-shortcuts[llm]'"
            ) from None
        return OpenAI(
            base_url=self.base_url,
            api_key=self._key or "none",  # the client insists on one
            timeout=self.timeout,
            max_retries=0,  # ours: bounded, with waits that can be set
        )


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds a server asks to wait; a date instead of a number is left to our own waits."""
    try:
        return max(0.0, float(headers.get("retry-after", "")))
    except ValueError:
        return None
