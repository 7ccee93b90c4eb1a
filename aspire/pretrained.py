"""Weights made elsewhere: which exactly, loading them, and what to say when they are not there.

For a file or folder on this machine the identity is what is in it, so that moving it changes
nothing and changing it does. For an id on the hub it is the commit, resolved once and then loaded
as such, so that a moving branch cannot change a result behind a run's back.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from aspire.errors import ConfigError, ServiceError
from aspire.identity import Json
from aspire.quiet import quiet_loading
from aspire.single_file import ENDINGS, settings_beside, settings_of, unfilled
from aspire.stored.results import read_any
from aspire.stored.seals import file_digest as file_digest
from aspire.stored.seals import remember_digests as remember_digests

WEIGHTS = Path(__file__).with_name("weights")
_COMMIT = re.compile(r"[0-9a-f]{40}")
# What transformers and diffusers read, and by which of it a snapshot on this machine is known.
_READ = {".json", ".safetensors", ".bin", ".txt", ".model", ".jinja"}
_HEADS = ("config.json", "model_index.json", "pytorch_lora_weights.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """A model of transformers or a pipeline of diffusers, on the hub, in a folder or in one file.

    A file holds no settings. They are those in a folder of its name beside it, or else of the
    repository on the hub that diffusers takes for weights of these shapes.

    Args:
        model: id (``owner/name``), folder, file of a whole Stable Diffusion (.safetensors), or name
            of one that comes with the package (``aspire/weights``).
        revision: commit, tag or branch on the hub; means nothing for a folder.
        instead: what to type when the user would rather do without this model.
        pipeline: whether it is a pipeline of diffusers, not a single model.
    """

    model: str
    revision: str = "main"
    instead: str = ""
    pipeline: bool = False

    def identity(self) -> dict[str, Json]:
        """What was pinned: the commit of an id, the SHA-256 of a folder's files or of a file.

        Raises:
            ConfigError: when a folder or file does not exist or is of another kind.
            ServiceError: when a branch or tag is not on this machine and the hub is not reached.
        """
        if self.file is not None:
            return {"file": file_digest(self.file), "settings": self._settings.identity()}
        if self.folder is not None:
            self._check(self.folder)
            return {"files": _digest_of_folder(self.folder)}
        return {"model": self.model, "revision": self.commit}

    @property
    def file(self) -> Path | None:
        """The single file, or None for a folder or an id."""
        path = Path(self.model).expanduser()
        if path.suffix not in ENDINGS or path.is_dir():
            return None
        if not path.is_file():
            raise ConfigError(
                f"The model file {self.model} does not exist. Give a file that holds a whole "
                "Stable Diffusion (.safetensors), a folder as save_pretrained writes it, or an id "
                "of the hub (owner/name)."
            )
        if not self.pipeline:
            raise ConfigError(
                f"The model {self.model} is a file; expected a folder as save_pretrained writes "
                "it, or an id of the hub (owner/name). Only a Stable Diffusion may be one file."
            )
        return path

    @property
    def _settings(self) -> Checkpoint:
        """Where the settings of a single file are.

        Raises:
            ServiceError: when they are not on this machine and cannot be fetched.
        """
        assert self.file is not None
        if (beside := settings_beside(self.file)) is not None:
            return Checkpoint(str(beside), pipeline=True)
        settings = Checkpoint(settings_of(self.file))
        try:
            _commit(settings.model, settings.revision)
        except Exception as error:  # as in ``commit``
            raise ServiceError(
                f"The model file {self.file} holds weights alone. Their settings are those of "
                f"{settings.model}, which are not on this machine and could not be fetched: "
                f"{_first_line(error)}\nWhere there is a network: huggingface-cli download "
                f"{settings.model} --include '*.json' '*.txt'. Or put model_index.json and what it "
                f"names into the folder {self.file.with_suffix('')}, or give the model as a folder "
                "(StableDiffusionPipeline.from_single_file(FILE).save_pretrained(DIR))."
            ) from None
        return settings

    def _check(self, folder: Path) -> None:
        """Refuse a folder that is not of this kind before anything else is done."""
        heads = [h for h in _HEADS if (folder / h).is_file()]
        if self.pipeline and "model_index.json" not in heads:
            raise ConfigError(
                f"The model folder {self.model} holds no pipeline of diffusers: it has no "
                "model_index.json. Expected a whole Stable Diffusion, as "
                "StableDiffusionPipeline.save_pretrained writes it."
            )
        if not heads:
            raise ConfigError(
                f"The model folder {self.model} holds no model: it has no config.json. Expected a "
                "folder as save_pretrained writes it."
            )

    @property
    def folder(self) -> Path | None:
        """The folder, or None for an id or a file."""
        path = Path(self.model).expanduser()
        if self.file is not None:
            return None
        if path.is_dir():
            return path
        packaged = WEIGHTS / self.model
        if "/" not in self.model and packaged.is_dir():
            return packaged
        if path.is_absolute() or self.model.startswith(("./", "../", "~")):
            raise ConfigError(
                f"The model folder {self.model} does not exist. Give a folder as save_pretrained "
                "writes it, or an id of the hub (owner/name)."
            )
        return None

    def has(self, file: str) -> bool:
        """Whether a file (``/`` between folders) is in it; asks the hub where it is not cached.

        Raises:
            ConfigError, ServiceError: as :meth:`load`.
        """
        if self.folder is not None:
            return (self.folder / file).is_file()
        try:
            return _has(self.model, self.commit, file)
        except ServiceError:
            raise
        except Exception as error:  # hub, network and authentication errors of many classes
            raise self.missing(error) from None

    @property
    def commit(self) -> str:
        """The commit that ``revision`` stands for: on this machine if it is here, else the hub's.

        Raises:
            ServiceError: when neither knows.
        """
        try:
            return _commit(self.model, self.revision)
        except Exception as error:  # hub, network and authentication errors of many classes
            raise self.missing(error) from None

    def load(self, kind: Any, whole: bool = False, **kwargs: Any) -> Any:
        """``kind.from_pretrained`` of it.

        Args:
            kind: class of transformers or diffusers.
            whole: also refuse weights that the model has no place for.
            **kwargs: for ``from_pretrained``.

        Raises:
            ConfigError: when a folder does not hold what is needed; a model of transformers of
                which a part is missing would be filled up with random numbers.
            ServiceError: when the files are neither here nor to be had.
        """
        if self.file is not None:
            return self._load_file(self.file, kind, **kwargs)
        source, where = self.source()
        models = _is_model(kind)
        if models:
            where["output_loading_info"] = True
        try:
            with quiet_loading():
                loaded = kind.from_pretrained(source, **where, **kwargs)
        except Exception as error:  # each format has its own
            raise self.unusable(error, f"model that {kind.__name__} can load") from None
        if not models:
            return loaded
        model, info = loaded
        wrong = {"missing": info["missing_keys"]}
        if whole:
            wrong["unexpected"] = info["unexpected_keys"]
        if found := differences(wrong):
            raise ConfigError(
                f"The weights of {self.model} are not those of a {type(model).__name__}: {found} "
                "What is missing would be random numbers. Expected a model as save_pretrained of "
                "that class writes it."
            )
        return model

    def _load_file(self, file: Path, kind: Any, **kwargs: Any) -> Any:
        """``kind.from_single_file`` of it."""
        settings = self._settings
        where: dict[str, Any] = {"config": settings.model}
        if settings.folder is None:
            where["revision"] = settings.commit
        refused = (
            f"The file {file} holds no model that {kind.__name__} can load with the settings of "
            f"{settings.model}:"
        )
        try:
            with quiet_loading():
                loaded = kind.from_single_file(str(file), **where, **kwargs)
        except NotImplementedError:  # of a part that was never filled
            raise ConfigError(f"{refused} some of its tensors are missing.") from None
        except Exception as error:  # diffusers has many
            raise ConfigError(f"{refused} {_reason(error)}") from None
        if found := differences({"missing": unfilled(loaded)}):
            raise ConfigError(f"{refused} {found}")
        return loaded

    def source(self) -> tuple[str | Path, dict[str, Any]]:
        """What the loaders of transformers and diffusers take: a folder or an id, and how.

        Raises:
            ConfigError, ServiceError: as :meth:`load`.
        """
        if self.folder is not None:
            return self.folder, {"local_files_only": True}
        return self.model, {"revision": self.commit}

    def unusable(self, error: Exception, wanted: str) -> ConfigError | ServiceError:
        """The error of a folder, or of an id, from which nothing could be loaded."""
        if self.folder is None:
            return self.missing(error)
        return ConfigError(f"The folder {self.folder} holds no {wanted}: {_reason(error)}")

    def missing(self, error: Exception) -> ServiceError:
        """The error of a model that is unavailable."""
        hint = f", or {self.instead}" if self.instead else ""
        return ServiceError(
            f"The model {self.model} (revision {self.revision}) is not on this machine and could "
            f"not be fetched: {_first_line(error)}\nWhere there is a network: huggingface-cli "
            f"download {self.model} --revision {self.revision}. Or give a folder that holds it "
            f"instead of its id{hint}."
        )


def _is_model(kind: Any) -> bool:
    """Whether a class of transformers has weights, and tells what became of them."""
    if not str(kind.__module__).startswith("transformers."):
        return False
    from transformers import PreTrainedModel
    from transformers.models.auto.auto_factory import _BaseAutoModelClass

    return issubclass(kind, PreTrainedModel | _BaseAutoModelClass)


def differences(kinds: Mapping[str, Iterable[str]], shown: int = 4) -> str:
    """Names of tensors by what is wrong with them, in one sentence each.

    >>> differences({"missing": ["a", "b"], "unexpected": []})
    'missing: a, b.'
    """
    told = []
    for kind, names in kinds.items():
        listed = sorted(map(str, names))
        more = f" and {len(listed) - shown} more" if len(listed) > shown else ""
        if listed:
            told.append(f"{kind}: {', '.join(listed[:shown])}{more}.")
    return " ".join(told)


def device_and_dtype(device: str = "auto") -> tuple[Any, Any]:
    """Where models run and in what precision: bfloat16 on a GPU that has it, else float32.

    Args:
        device: "auto", or a name torch knows.
    """
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    bf16 = device.startswith("cuda") and torch.cuda.is_bf16_supported()
    return torch.device(device), torch.bfloat16 if bf16 else torch.float32


def content_digest(path: Path, whole: bool = False) -> str:
    """What is in a file, in the folder of a model, or of which weights a run folder is.

    Args:
        whole: every file of a folder counts, not only those that models of transformers and
            diffusers are read from.

    Raises:
        DamagedError: for a run folder whose result cannot be read.
    """
    if path.is_file():
        return file_digest(path)
    if (path / "result.json").is_file():
        return str(read_any(path).get("weights_sha256"))
    return _digest_of_folder(path, whole)


def _digest_of_folder(folder: Path, whole: bool = False) -> str:
    digest = hashlib.sha256()
    files = (p for p in folder.rglob("*") if (whole or p.suffix in _READ) and p.is_file())
    for path in sorted(files):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{file_digest(path)}\n".encode())
    return digest.hexdigest()


@cache
def _commit(model: str, revision: str) -> str:
    if _COMMIT.fullmatch(revision):
        return revision
    from huggingface_hub import HfApi, try_to_load_from_cache

    for head in _HEADS:
        cached = try_to_load_from_cache(model, head, revision=revision)
        if isinstance(cached, str):  # .../snapshots/<commit>/config.json
            return Path(cached).parent.name
    return str(HfApi().model_info(model, revision=revision, timeout=20).sha)


def _reason(error: Exception) -> str:
    """Why loading failed; libraries colour it, and some begin with what is no reason."""
    kind = type(error).__name__
    if kind == "UnpicklingError":
        return "a file holds Python objects besides tensors, which would run code when it is read."
    if kind == "SafetensorError":
        return f"{_first_line(error)} (is the file whole?)"
    return re.sub(r"\x1b\[[0-9;]*m", "", _first_line(error))


@cache
def _has(model: str, commit: str, file: str) -> bool:
    from huggingface_hub import HfApi, try_to_load_from_cache

    if isinstance(try_to_load_from_cache(model, file, revision=commit), str):
        return True
    return bool(HfApi().file_exists(model, file, revision=commit))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
