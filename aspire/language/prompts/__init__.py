"""The question put to a language model, kept in files with versions."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import yaml

from aspire.errors import ConfigError
from aspire.identity import Json

Message = dict[str, str]  # {"role": "system" | "user" | "assistant", "content": text}


@dataclass(frozen=True, slots=True)
class Prompt:
    """A question about one caption, with worked examples.

    ``user`` holds the places ``{class_object}`` and ``{caption}``; an example is a class object,
    a caption and the JSON that answers it. ``repair`` follows an answer that could not be read.
    """

    name: str
    version: int
    digest: str  # SHA-256 of the file
    system: str
    user: str
    repair: str
    examples: tuple[tuple[str, str, str], ...]

    def identity(self) -> dict[str, Json]:
        """Name, version and content."""
        return {"prompt": self.name, "prompt_version": self.version, "prompt_digest": self.digest}

    def messages(self, caption: str, class_words: Sequence[str]) -> list[Message]:
        """The chat that asks about a caption."""
        chat = [{"role": "system", "content": self.system}]
        for class_object, text, answer in self.examples:
            chat.append({"role": "user", "content": self._ask(text, class_object)})
            chat.append({"role": "assistant", "content": answer})
        chat.append({"role": "user", "content": self._ask(caption, " or ".join(class_words))})
        return chat

    def text(self, caption: str, class_words: Sequence[str]) -> str:
        """The same as running text, for a model that was not trained to chat."""
        parts = [self.system]
        for class_object, text, answer in self.examples:
            parts.append(f"{self._ask(text, class_object)}\nJSON: {answer}")
        parts.append(f"{self._ask(caption, ' or '.join(class_words))}\nJSON:")
        return "\n\n".join(parts)

    def _ask(self, caption: str, class_object: str) -> str:
        # Not str.format: captions may hold braces.
        return self.user.replace("{class_object}", class_object).replace("{caption}", caption)


def load_prompt(name: str) -> Prompt:
    """A prompt that comes with aspire, by name, or one of yours, by the path of its file.

    Raises:
        ConfigError: when there is none, or it lacks a part.
    """
    shipped = resources.files(__name__)
    own = name.endswith((".yaml", ".yml"))
    source = Path(name) if own else shipped.joinpath(f"{name}.yaml")
    if not source.is_file():
        known = sorted(f.name[:-5] for f in shipped.iterdir() if f.name.endswith(".yaml"))
        raise ConfigError(
            f"There is no prompt {name}. Shipped are: {', '.join(known)}. One of your own is given "
            "by the path of its .yaml file; copy aspire/language/prompts/phrases.yaml to start."
        )
    data = source.read_bytes()
    try:
        table = yaml.safe_load(data)
        return Prompt(
            name=Path(name).stem,
            version=int(table["version"]),
            digest=hashlib.sha256(data).hexdigest(),
            system=str(table["system"]),
            user=str(table["user"]),
            repair=str(table["repair"]),
            examples=tuple(
                (str(e["class_object"]), str(e["caption"]), str(e["answer"]))
                for e in table["examples"] or ()
            ),
        )
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"The prompt {source} cannot be read ({type(error).__name__}: {error}). It needs "
            "version, system, user (with {class_object} and {caption}), repair and examples."
        ) from None
