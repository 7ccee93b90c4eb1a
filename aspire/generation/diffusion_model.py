"""What everything that generates by diffusion shares: a Stable Diffusion, and words added to it.

Any checkpoint of diffusers with a UNet will do: Stable Diffusion 1.x, 2.x, XL, and smaller ones of
the same classes. Learnt words are beside the embedding table and not in it, so that nothing that
the model knew before can move.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aspire.errors import ConfigError
from aspire.pretrained import Checkpoint, device_and_dtype

SECOND = "@text_encoder_2"  # ends the keys of what the second encoder of an XL model is told


class Words(nn.Module):
    """An embedding table with a few further rows for learnt tokens.

    Args:
        table: the model's own; frozen.
        ids: token ids of the new rows, all beyond the table or unused in it.
        rows: (len(ids), D) their values; kept in float32, whatever the table's precision.
    """

    def __init__(self, table: nn.Embedding, ids: Sequence[int], rows: Tensor) -> None:
        super().__init__()
        self.table = table  # before `learnt`: the first parameter tells transformers the dtype
        self.learnt = nn.Embedding.from_pretrained(rows.float().clone(), freeze=False)
        self.ids = nn.Buffer(torch.tensor(list(ids)), persistent=False)

    def forward(self, input_ids: Tensor) -> Tensor:
        """(..., L) token ids -> (..., L, D) in the table's precision."""
        same = torch.eq(input_ids[..., None], self.ids)
        new = same.any(-1)
        known = self.table(input_ids.masked_fill(new, 0))
        learnt = self.learnt(same.int().argmax(-1)).to(known.dtype)
        return torch.where(new[..., None], learnt, known)


def load_pipeline(
    kind: str, checkpoint: Checkpoint, device: str, precision: str, **parts: Any
) -> Any:
    """A pipeline of diffusers on its device, frozen, and without a safety checker.

    The checker paints images black; ``filter=safety`` tells the same and keeps the image.

    Args:
        kind: class in diffusers that makes a pipeline of the checkpoint.
        checkpoint: its weights.
        device: "auto", or a device of torch.
        precision: "auto" (bfloat16 on CUDA, else float32) or a dtype of torch.
        parts: components to be used in place of the checkpoint's.
    """
    import diffusers

    where, dtype = device_and_dtype(device)
    if precision != "auto":
        dtype = getattr(torch, precision)
    pipe = checkpoint.load(
        getattr(diffusers, kind),
        dtype=dtype,
        safety_checker=None,
        requires_safety_checker=False,
        **parts,
    )
    if not hasattr(pipe, "unet") or not hasattr(pipe, "text_encoder"):
        raise ConfigError(
            f"{checkpoint.model} is a {type(pipe).__name__}; expected a Stable Diffusion 1.x, 2.x "
            "or XL, which has a UNet and a text encoder."
        )
    pipe.set_progress_bar_config(disable=True)
    for part in pipe.components.values():
        if isinstance(part, nn.Module):
            part.requires_grad_(False).eval()
    return pipe.to(where)


def encoders(pipe: Any) -> list[tuple[str, Any, Any]]:
    """(ending of its keys, tokenizer's attribute, encoder's attribute) of each text encoder."""
    found = [("", "tokenizer", "text_encoder")]
    if getattr(pipe, "text_encoder_2", None) is not None:
        found.append((SECOND, "tokenizer_2", "text_encoder_2"))
    return found


def native_size(pipe: Any) -> int:
    """Side in pixels that the model was trained at."""
    return int(pipe.unet.config.sample_size) * int(pipe.vae_scale_factor)


def conditions(pipe: Any, prompts: Sequence[str], size: int) -> dict[str, Any]:
    """What the UNet is told about images besides their noise; gradients reach the words.

    Args:
        prompts: one an image.
        size: side of the images in pixels.
    """
    encoded = pipe.encode_prompt(
        prompt=list(prompts),
        device=pipe.unet.device,
        num_images_per_prompt=1,
        do_classifier_free_guidance=False,
    )
    told: dict[str, Any] = {"encoder_hidden_states": encoded[0]}
    if pipe.unet.config.addition_embed_type == "text_time":  # XL: size, crop, and size again
        frame = torch.tensor([[size, size, 0, 0, size, size]] * len(prompts))
        told["added_cond_kwargs"] = {
            "text_embeds": encoded[2],
            "time_ids": frame.to(encoded[2]),
        }
    return told


def token_name(words: str) -> str:
    """The token of a class or feature.

    >>> token_name("Bowl of soup")
    '<bowl-of-soup>'
    """
    return f"<{re.sub(r'[^a-z0-9]+', '-', words.lower()).strip('-') or 'it'}>"


@contextmanager
def with_words(pipe: Any, vectors: Mapping[str, Tensor]) -> Iterator[list[Words]]:
    """The pipeline with further words; afterwards it is as before.

    Args:
        vectors: token -> (N, D) vectors; for an XL model also token + ``SECOND``. A token of
            several vectors is spelt out as so many words wherever a prompt has it.

    Yields:
        The modules that hold the vectors, one a text encoder.

    Raises:
        ConfigError: when the vectors are not of the model's width, or a token is a word already.
    """
    before = []
    modules = []
    try:
        for ending, tokenizer_name, encoder_name in encoders(pipe):
            tokenizer, encoder = getattr(pipe, tokenizer_name), getattr(pipe, encoder_name)
            table = encoder.get_input_embeddings()
            before.append((tokenizer_name, tokenizer, encoder, table))
            own = {
                k.removesuffix(SECOND): v
                for k, v in vectors.items()
                if k.endswith(SECOND) == bool(ending)
            }
            names, rows = [], []
            for token, values in own.items():
                if values.shape[-1] != table.embedding_dim:
                    raise ConfigError(
                        f"The token {token} has vectors of {values.shape[-1]}, the text encoder "
                        f"{table.embedding_dim}: it was learnt on another model. Sample with the "
                        "model that was personalised."
                    )
                # diffusers' own spelling of tokens with several vectors
                names += [token, *(f"{token}_{i}" for i in range(1, len(values)))]
                rows.append(values)
            extended = copy.deepcopy(tokenizer)
            known = sorted(set(names) & set(extended.get_vocab()))
            if known:
                raise ConfigError(
                    f"{', '.join(known)}: a word of the model's tokenizer already; name the class "
                    "differently."
                )
            extended.add_tokens(names)
            setattr(pipe, tokenizer_name, extended)
            ids = extended.convert_tokens_to_ids(names)
            words = Words(table, ids, torch.cat(rows)).to(table.weight.device)
            encoder.set_input_embeddings(words)
            _read_end_as_such(encoder, extended)
            modules.append(words)
        yield modules
    finally:
        for tokenizer_name, tokenizer, encoder, table in before:
            setattr(pipe, tokenizer_name, tokenizer)
            encoder.set_input_embeddings(table)


def _read_end_as_such(encoder: Any, tokenizer: Any) -> None:
    """Old configurations take the largest id for the end of the text; new tokens are larger."""
    for module in encoder.modules():
        if getattr(module, "eos_token_id", None) == 2:
            module.eos_token_id = tokenizer.eos_token_id


@contextmanager
def personalised(pipe: Any, weights: Path | None) -> Iterator[None]:
    """The pipeline with what a personaliser learnt; afterwards it is as before.

    Args:
        weights: safetensors with token vectors, LoRA weights in diffusers' format, or both; None
            for the model as it is.
    """
    from contextlib import ExitStack

    from safetensors.torch import load_file

    if weights is None:
        yield
        return
    state = load_file(weights)
    vectors = {k: v for k, v in state.items() if k.startswith("<")}
    adapter = {k: v for k, v in state.items() if not k.startswith("<")}
    with ExitStack() as stack:
        if vectors:
            stack.enter_context(with_words(pipe, vectors))
        if adapter:
            pipe.load_lora_weights(adapter, adapter_name="personal")
            stack.callback(pipe.unload_lora_weights)
        yield
