"""One OpenAI-compatible endpoint: the key, and what went wrong in words.

The key is read from the environment when the first question is asked, handed to the official
client, and taken out of every text that leaves this module.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from aspire.errors import ConfigError, ServiceError

_LONGEST = 500  # characters of a server's complaint that are repeated


class NoAnswerError(Exception):
    """One question has no answer in spite of all retries; the last reason is the text."""


class Endpoint:
    """Answers chats by POST to ``<base_url>/chat/completions``.

    Args:
        base_url: of the API, without a key in it.
        key_env: name of the environment variable that holds the key; None where none is needed.
        timeout: seconds until an attempt is given up.
        max_retries: of the client, which puts a question again after 408, 409, 429, 5xx, timeouts
            and lost or cut connections; it waits longer each time, and as long as ``Retry-After``
            asks, up to two minutes.

    Raises:
        ConfigError: when ``base_url`` is no http address, or holds a user, password or query.
    """

    def __init__(
        self, base_url: str, key_env: str | None, timeout: float, max_retries: int
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
        self.max_retries = max_retries

    def open(self) -> None:
        """Read the key and make the client, before threads share them.

        Raises:
            ConfigError: when one of them is missing.
        """
        assert self._client is not None

    def ask(self, messages: Sequence[Mapping[str, str]], request: Mapping[str, Any]) -> str:
        """The text of the answer; "" where the model said nothing.

        Raises:
            NoAnswerError: when it failed in a way that may pass, after all retries.
            ServiceError: when the endpoint refuses: the key, the model or the request is wrong.
        """
        import openai

        try:
            completion = self._client.chat.completions.create(messages=messages, **request)
            return self._text_of(completion)
        except openai.APIStatusError as error:
            status = error.status_code
            reason = self.scrub(f"HTTP {status}: {error.message}")[:_LONGEST]
            passing = status in (408, 409, 429) or status >= 500  # what the client tried again
            if not passing or "insufficient_quota" in reason:
                raise self._refused(status, reason) from None
        except openai.APIError as error:  # timeouts, lost connections
            cause = f" ({type(error.__cause__).__name__})" if error.__cause__ else ""
            reason = self.scrub(f"{type(error).__name__}: {error.message}{cause}")[:_LONGEST]
        except ValueError as error:  # a body that is no JSON, or holds no answer
            reason = self.scrub(f"{type(error).__name__}: {error}")
        raise NoAnswerError(f"{reason} (max_retries={self.max_retries})")

    def scrub(self, text: str) -> str:
        """A text without the key, whoever put it there."""
        return text.replace(self._key, "[key]") if self._key else text

    def _text_of(self, completion: Any) -> str:
        choices = getattr(completion, "choices", None)
        if not choices or choices[0].message is None:
            raise ValueError(f"no answer in {str(completion)[:200]}")
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
            max_retries=self.max_retries,
        )
