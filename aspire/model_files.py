"""Which files of the hub a configuration loads: are they here, how large are they, whose licence?

Everything goes through the cache of ``huggingface_hub``, so that a model keeps its id, and its
commit its place in the identity, on a machine that never had a network.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from aspire.errors import ServiceError
from aspire.pretrained import Checkpoint

State = Literal["here", "incomplete", "missing", "with the package", "a folder", "a file"]
_SETTINGS = {".json", ".txt", ".model", ".jinja"}
_WEIGHTS = (".safetensors", ".bin")  # in this order
# Parts of a pipeline without weights, by the end of their class; and those that are never loaded.
_LIGHT = ("Tokenizer", "TokenizerFast", "Scheduler", "Processor", "FeatureExtractor")
_LEFT_OUT = {"safety_checker", "feature_extractor"}


@dataclass(frozen=True)
class HubFile:
    """A file of a repository: its name there, its bytes, and whether it is here."""

    name: str
    size: int
    here: bool


def checkpoints_of(backend: object) -> list[Checkpoint]:
    """Every checkpoint that an object or one within it loads, each once, in order.

    An object that holds none but fetches all the same says so with a method ``fetches``.
    """
    found: dict[tuple[str, str], Checkpoint] = {}
    for checkpoint in _within(backend, set()):
        found.setdefault((checkpoint.model, checkpoint.revision), checkpoint)
    return list(found.values())


def _within(node: Any, seen: set[int]) -> Iterator[Checkpoint]:
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, Checkpoint):
        yield node
    elif isinstance(node, dict):
        for value in node.values():
            yield from _within(value, seen)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _within(value, seen)
    elif hasattr(node, "__dict__") and not isinstance(node, type):
        if hasattr(node, "fetches"):
            yield from node.fetches()
        yield from _within(vars(node), seen)


def state(checkpoint: Checkpoint, cache: Path | None = None) -> State:
    """Where a checkpoint is; asks no network.

    Args:
        checkpoint: any.
        cache: of ``huggingface_hub``; None for its own.

    Raises:
        ConfigError: for a folder or file that does not exist.
    """
    if checkpoint.file is not None:
        return "a file"
    if checkpoint.folder is not None:
        return "with the package" if "/" not in checkpoint.model else "a folder"
    folder = snapshot(checkpoint, cache)
    if folder is None:
        return "missing"
    return "here" if complete(folder) else "incomplete"


def snapshot(checkpoint: Checkpoint, cache: Path | None = None) -> Path | None:
    """The folder of its commit in the cache, or None; it need not be complete."""
    from huggingface_hub import try_to_load_from_cache

    for head in ("model_index.json", "config.json", "pytorch_lora_weights.safetensors"):
        found = try_to_load_from_cache(
            checkpoint.model, head, cache_dir=cache, revision=checkpoint.revision
        )
        if isinstance(found, str):
            return Path(found).parent
    return None


def complete(folder: Path) -> bool:
    """Whether a snapshot has weights for each of its parts, as its own indices name them."""
    index = folder / "model_index.json"
    if not index.is_file():
        return _has_weights(folder)
    return all(
        _has_weights(folder / part) if heavy else any((folder / part).glob("*"))
        for part, heavy in _parts(_mapping(index)).items()
    )


def _parts(index: dict[str, Any]) -> dict[str, bool]:
    """Part of a pipeline that is loaded -> whether it has weights."""
    return {
        name: not str(value[1]).endswith(_LIGHT)
        for name, value in index.items()
        if isinstance(value, list) and len(value) == 2 and value[1] and name not in _LEFT_OUT
    }


def _has_weights(folder: Path) -> bool:
    for ending in _WEIGHTS:
        for index in folder.glob(f"*{ending}.index.json"):
            named = _mapping(index).get("weight_map")
            shards = set(map(str, named.values())) if isinstance(named, dict) else {""}
            return all((folder / Path(shard).name).is_file() for shard in shards)
        if any(folder.glob(f"*{ending}")):
            return True
    return False


def _mapping(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def wanted(names: Iterable[str]) -> list[str]:
    """Those of a repository's files that are loaded: settings, words, and weights in one format.

    Other formats, precisions and copies of the same weights stay behind; so does the safety
    checker within a pipeline, which is never loaded.

    >>> wanted(["config.json", "model.safetensors", "pytorch_model.bin", "model.fp16.safetensors"])
    ['config.json', 'model.safetensors']
    >>> wanted(["model_index.json", "v1-5.safetensors", "vae/a.json", "vae/x.bin", "onnx/b.json"])
    ['model_index.json', 'vae/a.json', 'vae/x.bin']
    """
    names = list(names)
    pipeline = "model_index.json" in names
    folders: dict[str, list[str]] = {}
    for name in names:
        folder, _, file = name.rpartition("/")
        folders.setdefault(folder, []).append(file)
    found = []
    for folder, files in folders.items():
        if folder in _LEFT_OUT or "/" in folder or (folder and not pipeline):
            continue
        if folder in ("onnx", "openvino", "flax"):
            continue
        kept = [f for f in files if Path(f).suffix in _SETTINGS or f == "README.md"]
        if not (pipeline and not folder):
            kept += _weights_of(files)
        found += [f"{folder}/{f}" if folder else f for f in kept]
    return sorted(found)


def _weights_of(files: Sequence[str]) -> list[str]:
    """Weights in the first format there is, without their smaller or other versions."""
    lora = [f for f in files if f == "pytorch_lora_weights.safetensors"]
    if lora:
        return lora
    for ending in _WEIGHTS:
        plain = re.compile(rf"(?:pytorch_|diffusion_pytorch_)?[a-z]+(?:-\d+-of-\d+)?\{ending}")
        if found := [f for f in files if plain.fullmatch(f)]:
            return found
    return [f for f in files if f.endswith(_WEIGHTS)]


def files_on_hub(checkpoint: Checkpoint, cache: Path | None = None) -> list[HubFile]:
    """The files of it that are loaded, as the hub lists them.

    Raises:
        ServiceError: when it is not reached or does not know the model.
    """
    from huggingface_hub import snapshot_download

    try:
        listed = snapshot_download(
            checkpoint.model, revision=checkpoint.revision, cache_dir=cache, dry_run=True
        )
    except Exception as error:  # hub, network and authentication errors of many classes
        raise checkpoint.missing(error) from None
    files = {f.filename: HubFile(f.filename, int(f.file_size or 0), f.is_cached) for f in listed}
    return [files[name] for name in wanted(files)]


def fetch(checkpoint: Checkpoint, files: Sequence[HubFile], cache: Path | None = None) -> Path:
    """Bring these files into the cache; what is there already, whole or in part, is kept.

    Returns:
        The folder of the commit.

    Raises:
        ServiceError: when the hub is not reached, or what came is not a whole model.
    """
    from huggingface_hub import snapshot_download

    try:
        folder = Path(
            snapshot_download(
                checkpoint.model,
                revision=checkpoint.revision,
                cache_dir=cache,
                allow_patterns=[re.sub(r"([*?[])", r"[\1]", f.name) for f in files],
            )
        )
    except Exception as error:  # as above
        raise checkpoint.missing(error) from None
    if not complete(folder):
        raise ServiceError(
            f"The model {checkpoint.model} (revision {checkpoint.revision}) has no weights that "
            f"can be read, or not all of them: {', '.join(f.name for f in files)}. Expected "
            "weights as save_pretrained writes them (.safetensors or .bin)."
        )
    return folder


def licence(checkpoint: Checkpoint, cache: Path | None = None) -> str:
    """The licence that the model's card names, from the cache or the hub; "" where none does.

    Raises:
        ServiceError: when the card is neither here nor to be had.
    """
    from huggingface_hub import HfApi, ModelCard

    folder = snapshot(checkpoint, cache)
    try:
        if folder is not None and (folder / "README.md").is_file():
            card = ModelCard.load(folder / "README.md").data
        else:
            info = HfApi().model_info(checkpoint.model, revision=checkpoint.revision, timeout=20)
            card = info.card_data
    except Exception as error:  # as above, and yaml's
        raise checkpoint.missing(error) from None
    named = [getattr(card, key, None) for key in ("license_name", "license")]
    return str(next((n for n in named if n), ""))
