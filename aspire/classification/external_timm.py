"""``classifier=timm``: a classifier of timm, by name or from a local checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from aspire.classification.external import External, Gives, Mapped, needed_file
from aspire.classification.external_file import TorchNetwork
from aspire.classification.predictor import Request
from aspire.classification.tensor_file import fill, read_tensors, without_prefix
from aspire.errors import ConfigError, ServiceError, did_you_mean
from aspire.identity import digest_of
from aspire.pretrained import Checkpoint
from aspire.stored.seals import file_digest
from aspire.values import Count, Side


class TimmClassifier:
    """A timm network with its head, and the preprocessing its weights were trained with.

    Args:
        name: as in timm, with or without a tag of weights (``resnet50.a1_in1k``).
        path: local weights (.safetensors, .pth, .pt) in place of timm's download; the number of
            outputs is read from them.
        classes: class of the dataset -> its outputs, by number or name.
        names: of the outputs in order; None for ImageNet's where there are 1000.
        image_size: input side in pixels; None for the size of the weights.
        batch_size: images at once; does not change a result.
        anyway: look for shortcuts though it is no better than guessing.
    """

    gives: Gives = "logits"

    def __init__(
        self,
        name: str | None = None,
        path: str | None = None,
        classes: Mapped | None = None,
        names: Sequence[str | int] | None = None,
        image_size: Side | None = None,
        batch_size: Count = 32,
        anyway: bool = False,
    ) -> None:
        if not name:
            raise ConfigError(
                "classifier.name is not set; expected the name of a timm network: "
                "classifier=timm classifier.name=resnet50.a1_in1k"
            )
        self.name = name
        self.path = needed_file(path, "weights of timm", "timm") if path else None
        self.classes = classes
        self.names = names
        self.image_size = image_size
        self.batch_size = batch_size
        self.anyway = anyway

    def classifier(self, request: Request) -> External:
        return External(self, request)

    def digest(self) -> str:
        """Local weights by content; downloaded ones by their content too, hence downloaded here."""
        if self.path is not None:
            weights: str = file_digest(self.path)
        else:
            weights = _state_digest(self._model)
        return digest_of([self.name, weights, self._preprocessing])

    def output_names(self) -> tuple[str, ...] | None:
        if self.names:
            return tuple(map(str, self.names))
        from timm.data import ImageNetInfo

        info = ImageNetInfo()  # "imagenet-1k", whose order all 1000-output networks of timm share
        if self._num_outputs != info.num_classes():
            return None
        return tuple(info.index_to_description(i) for i in range(info.num_classes()))

    def load(self, device: Any) -> TorchNetwork:
        return TorchNetwork(
            self._model.to(device).eval(), self._preprocessing, device, Path(self.name)
        )

    @property
    def _base(self) -> str:
        """The name without the tag of weights."""
        return self.name.split(".")[0]

    @cached_property
    def _preprocessing(self) -> dict[str, Any]:
        config = self._config
        return {
            "size": self.image_size or config.input_size[-1],
            "mean": tuple(config.mean),
            "std": tuple(config.std),
            "crop": config.crop_pct or 0.875,
            "interpolation": "bicubic" if config.interpolation == "bicubic" else "bilinear",
        }

    @cached_property
    def _config(self) -> Any:
        import timm

        base = self._base
        if not timm.is_model(base):
            near = did_you_mean(base, timm.list_models())
            raise ConfigError(f"classifier.name={self.name}: unknown to timm.{near}")
        try:
            return timm.get_pretrained_cfg(self.name, allow_unregistered=False)
        except RuntimeError:
            known = ", ".join(timm.list_pretrained(f"{base}.*"))
            raise ConfigError(
                f"classifier.name={self.name}: no such weights. timm has {known}."
            ) from None

    def fetches(self) -> list[Checkpoint]:
        """What timm downloads, for :mod:`aspire.model_files`."""
        if self.path is not None or not self._config.hf_hub_id:
            return []
        return [Checkpoint(self._config.hf_hub_id, instead="classifier.path=FILE")]

    @cached_property
    def _state(self) -> dict[str, Any]:
        """The tensors of the local file."""
        import timm
        import torch

        assert self.path is not None
        with torch.device("meta"):  # names alone
            names = timm.create_model(self._base, pretrained=False).state_dict()
        return without_prefix(read_tensors(self.path), names)

    @cached_property
    def _num_outputs(self) -> int:
        if self.path is None:
            return int(self._config.num_classes)
        head = self._config.classifier
        key = f"{head if isinstance(head, str) else head[0]}.weight"  # distilled ones have two
        if key not in self._state:
            there = ", ".join(list(self._state)[-3:])
            raise ConfigError(
                f"classifier.path={self.path} does not fit {self.name}: it has no '{key}', so no "
                f"classes. Its last tensors are {there}."
            )
        return int(self._state[key].shape[0])

    @cached_property
    def _model(self) -> Any:
        import timm

        _ = self._config  # a wrong name is answered first
        if self.path is None:
            try:
                return timm.create_model(self.name, pretrained=True)
            except Exception as error:
                raise ServiceError(
                    f"The weights of {self.name} could not be fetched: {error}\nWithout a network "
                    "give local ones: classifier.path=FILE (safetensors or pth)."
                ) from None
        model = timm.create_model(self.name, pretrained=False, num_classes=self._num_outputs)
        fill(model, self._state, self.path, self.name)
        return model


def _state_digest(model: Any) -> str:
    import hashlib

    from safetensors.torch import save

    state = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    return hashlib.sha256(save(state)).hexdigest()
