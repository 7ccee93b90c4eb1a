"""Where things are, told to the training: small things count, words are heard where they show.

A subject covers a tenth of a scene and a further thing a few pixels. Left alone, the UNet learns
the places within a thousand steps and then stays: what a word could change at a few positions is
drowned by the rest, and attention that does not yet find those positions cannot learn the word.
So the loss counts things as much as what is behind them, and cross-attention is taught to look at
a thing's word where the thing is, as in TokenCompose (Wang et al. 2024, arXiv 2312.03626).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aspire.miniatures.drawing.faces import BLOND, DARK
from experiments.tiny_sd import scenes as world

SUBJECT, THING = 32.0, 16.0  # weight of the subject and of each thing; all that is there has 64
MOST = 12.0  # weight of a position at most
LOUD = 80.0  # norm of the embeddings of things' words
SEEN = 0.1  # signal to noise at which places are half decided
NOUNS = {
    **{name: list(world.BIRD_NOUNS[label]) for name, (label, _) in world.BIRDS.items()},
    **{name: list(world.mini_spuco_dogs.NOUNS[y]) for name, (y, _) in world.DOGS.items()},
    **{name: [kind.noun] for name, kind in world.EQUIPMENT.items()},
}
FUNCTION_WORDS = {"a", "of", "on", "pair"}
HAIR = sorted({name for name, *_ in (*BLOND, *DARK)} | {"dark"})
QUIET_HAIR = ["black", "blond", "dark"]  # colours of hair that no backdrop has


@torch.no_grad()
def speak_up(encoder: Any, tokenizer: Any, facts: Sequence[dict[str, Any]]) -> None:
    """Redraw the embeddings of the words for things, loud enough to be told apart for long.

    An encoder that learns from the places first comes to say "a thing" of every thing: with
    embeddings as they begin usually, the states of two species differed by 8 % of their norm after
    2,500 steps, those of two places by half.

    Args:
        encoder: changed in place.
        tokenizer: its own.
        facts: of the scenes.
    """
    names = {n for k, v in NOUNS.items() for n in (k, *v)} | {
        o for f in facts for o in f["objects"]
    }
    words = sorted({w for name in names for w in name.split()} - FUNCTION_WORDS) + QUIET_HAIR
    ids = [i for w in words for i in tokenizer.convert_tokens_to_ids(tokenizer.tokenize(w))]
    table = encoder.get_input_embeddings().weight
    drawn = torch.randn((len(ids), table.shape[1]), generator=torch.Generator().manual_seed(9))
    table[ids] = LOUD * torch.nn.functional.normalize(drawn).to(table)


def shares(labels: np.ndarray, side: int) -> Tensor:
    """Where each thing is.

    Args:
        labels: (B, S, S) uint8, as in ``labels.npy``.
        side: S is a multiple of it.

    Returns:
        (B, K, side, side) float32: how much of what shows of subject and things is in each cell;
        sums to 1, or to 0 where a scene has fewer.
    """
    n, size = len(labels), labels.shape[-1] // side
    cells = labels.reshape(n, side, size, side, size)
    kinds = np.arange(1, max(2, int(labels.max()) + 1))
    counts = np.stack([(cells == k).sum((2, 4)) for k in kinds], 1)
    total = counts.sum((2, 3), keepdims=True)
    return torch.from_numpy((counts / np.maximum(total, 1)).astype(np.float32))


def emphasis(where: Tensor, ratio: Tensor) -> Tensor:
    """How much each position counts.

    Where noise hides all, a weight on where things happened to be would draw them everywhere, so
    it comes with the signal.

    Args:
        where: (B, K, H, W) of ``shares``.
        ratio: (B,) signal to noise.

    Returns:
        (B, 1, H, W), at least 1.
    """
    extra = SUBJECT * where[:, :1] + THING * where[:, 1:].sum(1, keepdim=True)
    return 1 + visible(ratio)[:, None, None, None] * extra.clamp(max=MOST - 1)


def visible(ratio: Tensor) -> Tensor:
    """How far it is decided where things are: 0 in the dark, 1 in the light."""
    return ratio / (ratio + SEEN)


def spans(tokenizer: Any, ids: Tensor, facts: Sequence[dict[str, Any]], things: int) -> Tensor:
    """(B, things, T) bool: the words of the subject and of each object, where they are said."""
    found = torch.zeros(len(ids), things, ids.shape[1], dtype=torch.bool)
    for row, (told, fact) in enumerate(zip(ids.tolist(), facts, strict=True)):
        called = [_names(fact), *([thing] for thing in fact["objects"])]
        for k, names in enumerate(called[:things]):
            tokens = (tokenizer.convert_tokens_to_ids(tokenizer.tokenize(n)) for n in names)
            found[row, k, _first(told, tokens)] = True
    return found


def _names(fact: dict[str, Any]) -> list[str]:
    """What a caption may call the subject, the most exact first."""
    if fact["world"] == "faces":
        person = fact["subject"].split()[1]
        return [f"{person} with {colour} hair" for colour in HAIR]
    return [fact["subject"], *NOUNS[fact["subject"]]]


def _first(told: list[int], names: Iterable[list[int]]) -> slice:
    """Where the first of the names that is said stands; nowhere if none is."""
    for words in names:
        for start in range(len(told) - len(words) + 1):
            if told[start : start + len(words)] == words:
                return slice(start, start + len(words))
    return slice(0)


class Listener:
    """Keeps what the UNet's cross-attention attends to while it trains.

    Args:
        unet: its attention without a fused kernel.
    """

    def __init__(self, unet: Any) -> None:
        self.heard: list[Tensor] = []
        for name, part in unet.named_modules():
            if name.endswith("attn2"):
                self._follow(part)

    def _follow(self, attention: Any) -> None:
        plain = attention.get_attention_scores

        def scores(*given: Any) -> Tensor:
            attended: Tensor = plain(*given)
            if torch.is_grad_enabled():
                self.heard.append(attended.unflatten(0, (-1, attention.heads)).mean(1))
            return attended

        attention.get_attention_scores = scores

    def loss(self, labels: np.ndarray, words: Tensor, seen: Tensor) -> Tensor:
        """Cross-entropy of hearing a thing's words where it is; forgets what was heard.

        Args:
            labels: (B, S, S) uint8.
            words: (B, K, T), of ``spans``.
            seen: (B,) how much each scene counts.
        """
        counted = words.amax(2) * seen[:, None]
        total = torch.zeros_like(seen[0])
        for attended in self.heard:  # (B, H * W, T), mean of the heads
            where = shares(labels, round(attended.shape[1] ** 0.5)).flatten(2).to(words)
            heard = torch.einsum("bnt,bkt->bkn", attended.float(), words)
            missed = -(where * (heard + 1e-4).log()).sum(2)
            total = total + (missed * counted).sum() / counted.sum().clamp(min=1)
        total = total / len(self.heard)
        self.heard.clear()
        return total
