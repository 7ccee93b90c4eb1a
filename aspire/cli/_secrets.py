"""Keys and passwords do not belong into a configuration: whatever is configured is written down."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from aspire.errors import ConfigError

VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_SECRET = re.compile(r"(?i)(api_?key|access_?key|token|secret|passw|credential|authorization)")
# What the keys of well-known services begin with.
_KEYS = re.compile(r"\b(sk-|hf_|gh[pousr]_|github_pat_|xox[abp]-|AKIA|AIza|gsk_)[\w-]{20,}")
_SHORTEST = 12  # characters of a variable's value that is looked for


def refuse_secrets(settings: Iterable[tuple[str, Any]]) -> None:
    """See that no value is a secret, before anything is written.

    Args:
        settings: dotted keys and their values.

    Raises:
        ConfigError: naming the key and what to type, without repeating the value.
    """
    known = {
        value: name
        for name, value in os.environ.items()
        if len(value) >= _SHORTEST and (_SECRET.search(name) or name.endswith("_KEY"))
    }
    for key, value in settings:
        if reason := _reason(key, value, known):
            raise ConfigError(f"{key}: {reason} Nothing was written.")


def typed(words: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Key and value of overrides; of a sweep each value."""
    for word in words:
        key, _, value = word.lstrip("+~").partition("=")
        for part in {value, *value.strip("[]()").split(",")}:
            plain = part.strip().strip("'\"")
            if plain != "null" and (part != value or "," not in value):
                yield key, plain


def _reason(key: str, value: Any, known: Mapping[str, str]) -> str:
    """Why a value is not allowed there, or ""."""
    if not isinstance(value, str) or not value:
        return ""
    name = key.rpartition(".")[2]
    if name.endswith("_env"):
        if VARIABLE.fullmatch(value):
            return ""
        return (
            "expected the name of an environment variable in capitals, such as OPENAI_API_KEY, and "
            f"not what is in it. Type: export OPENAI_API_KEY=...; then {key}=OPENAI_API_KEY."
        )
    for secret, variable in known.items():
        if secret in value:
            return (
                f"this is the value of {variable}, and whatever is configured is written into "
                "result files. Leave it in the variable."
            )
    if _KEYS.search(value) or (_SECRET.fullmatch(name) and value != "???"):
        return (
            "this looks like a key or password, and whatever is configured is written into result "
            "files. Put it into an environment variable (for an extractor: its name in "
            "extractor.key_env; W&B and the Hugging Face hub read WANDB_API_KEY and HF_TOKEN)."
        )
    if "://" in value and _in_url(value):
        return (
            "a URL with a user, password or key in it. Expected the address alone, with the key in "
            "the environment variable that extractor.key_env names."
        )
    return ""


def _in_url(value: str) -> bool:
    try:
        url = urlsplit(value)
        parts = parse_qsl(url.query, keep_blank_values=True) + parse_qsl(url.fragment)
        return bool(url.username or url.password) or any(
            _SECRET.search(name) or name.lower() in ("key", "sig", "auth") for name, _ in parts
        )
    except ValueError:
        return True
