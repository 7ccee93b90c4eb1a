"""A network of the user's own, handed over as a Python object: to be trained, or to be examined."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from aspire.classification.classifier import Classifier
from aspire.classification.external import External, Gives, Mapped, pick
from aspire.classification.external_file import TorchNetwork
from aspire.classification.predictor import Request
from aspire.data.images import Pixels
from aspire.data.transforms import Preprocessing
from aspire.errors import ConfigError, last_line
from aspire.identity import Json, digest_of
from aspire.own_code import code_of
from aspire.own_objects import described, name_of
from aspire.values import Count

Transform = Preprocessing | Callable[[Any], Tensor]


class OwnNetwork:
    """Builds classifiers of a network of the user's own, see :class:`.backbones.Model`.

    Args:
        network: a class or function that makes the network, called with ``num_classes=K`` where it
            has a parameter of that name, else with nothing: then the run's seed decides its first
            weights. Or a network, whose weights are where each training begins.
        transform: how images become its input, (B, 3, size, size) float32. It gives (B, K) logits.

    Raises:
        ConfigError: for something else, or without a :class:`Preprocessing`.
    """

    def __init__(self, network: nn.Module | Callable[..., nn.Module], transform: Any) -> None:
        if not callable(network):
            raise ConfigError(
                f"model is a {name_of(network)}; expected a torch.nn.Module, or the class or "
                "function that makes one, or a name such as 'small_cnn'."
            )
        if not isinstance(transform, Preprocessing):
            given = "is not given" if transform is None else f"is a {name_of(transform)}"
            raise ConfigError(
                f"transform {given}. Training draws random crops and flips itself; expected what "
                "your network takes: transform=aspire.Preprocessing(size=224, mean=(0.485, 0.456, "
                "0.406), std=(0.229, 0.224, 0.225))."
            )
        self.network = network
        self.transform = transform
        self.__wrapped__ = network  # whose name is this one's

    def identity(self) -> Json:
        """What it is and where it begins, without its code."""
        return {"network": described(self.network), "preprocessing": self.transform.to_dict()}

    def preprocessing(self) -> Preprocessing:
        return self.transform

    def build(self, num_classes: int) -> Classifier:
        """A classifier around the network.

        Raises:
            ConfigError: when it cannot be made, or does not give (B, K) logits.
        """
        network = self._made(num_classes)
        name, size = name_of(self.network), self.transform.size
        linear: list[tuple[str, nn.Linear, Tensor]] = []
        hooks = [
            module.register_forward_hook(
                lambda module, _, out, path=path: linear.append((path, module, out))
            )
            for path, module in network.named_modules()
            if isinstance(module, nn.Linear) and path
        ]
        try:
            with torch.no_grad():
                outputs = network.eval()(torch.zeros(2, 3, size, size))
        except Exception as error:  # whatever a network of somebody else's does
            raise ConfigError(
                f"model={name} does not take a batch of shape (2, 3, {size}, {size}): "
                f"{last_line(error)} Is transform.size the side that it expects?"
            ) from error
        finally:
            for hook in hooks:
                hook.remove()
        network.train()
        shape = tuple(getattr(outputs, "shape", ()))
        if shape != (2, num_classes):
            raise ConfigError(
                f"model={name} answers two images with {shape or type(outputs).__name__}; expected "
                f"(2, {num_classes}): a logit for each class. A class or function with a parameter "
                "num_classes is told how many there are."
            )
        return OwnClassifier(network, *_head_among(linear, outputs))

    def unwrapped(self, classifier: Classifier) -> nn.Module:
        """The network as the user wrote it, with the weights of the classifier."""
        network = classifier.backbone
        if isinstance(classifier, OwnClassifier) and classifier.path:
            _put(network, classifier.path, classifier.head)
        return network

    def _made(self, num_classes: int) -> nn.Module:
        if isinstance(self.network, nn.Module):
            return copy.deepcopy(self.network).float()
        name = name_of(self.network)
        try:
            takes = "num_classes" in inspect.signature(self.network).parameters
            made = self.network(**({"num_classes": num_classes} if takes else {}))
        except Exception as error:  # the user's own code
            raise ConfigError(
                f"model={name} cannot be made: {type(error).__name__}: {last_line(error)} It is "
                "called with num_classes where it has that parameter, else with nothing; bind "
                "others with functools.partial."
            ) from error
        if not isinstance(made, nn.Module):
            raise ConfigError(f"model={name} gives a {name_of(made)}; expected a torch.nn.Module.")
        return made


class OwnClassifier(Classifier):
    """A user's network, its last linear layer apart where its outputs are those of one.

    Args:
        network: (B, 3, S, S) -> (B, K); its head is taken out.
        path: of the head within it, "" for none.
        head: its last layer.
    """

    def __init__(self, network: nn.Module, path: str, head: nn.Linear) -> None:
        nn.Module.__init__(self)
        if path:
            _put(network, path, nn.Identity())
        self.path = path
        self.backbone = network
        self.head = head

    def feature_maps(self, x: Tensor) -> Tensor:
        if not hasattr(self.backbone, "forward_features"):
            raise ConfigError(
                f"This baseline looks at what the last convolution sees, and {name_of(self)} "
                f"cannot tell: expected methods forward_features(x) and forward_head(maps, "
                f"pre_logits=True) of {name_of(self.backbone)}, as every timm network has them."
            )
        return super().feature_maps(x)


class _NoHead(nn.Identity):
    """In place of a last linear layer, of a network that ends with something else."""

    def __getattr__(self, name: str) -> Any:
        if name in ("weight", "bias", "in_features", "out_features"):
            raise ConfigError(
                "This baseline trains the last layer anew, and the outputs of your network are not "
                "those of an nn.Linear with a bias. End it with one, or take another baseline."
            )
        return super().__getattr__(name)


def _head_among(
    linear: Sequence[tuple[str, nn.Linear, Tensor]], outputs: Tensor
) -> tuple[str, nn.Linear]:
    """Path and module of the linear layer whose outputs those of the network are."""
    for path, module, out in reversed(linear):
        if out is outputs and module.bias is not None:
            return path, module
    return "", _NoHead()  # type: ignore[return-value]


def _put(network: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(network.get_submodule(parent), name, module)


class OwnModule:
    """A trained network of the user's own, whose shortcuts are looked for.

    Args:
        module: in evaluation (B, 3, H, W) -> (B, M) class scores. It is copied, not changed.
        transform: :class:`Preprocessing`, or a function as torchvision has them: a PIL image in
            RGB -> (3, H, W) float32.
        classes, names, gives, output, batch_size, anyway: see
            :class:`~aspire.classification.external_file.FileClassifier`.

    Raises:
        ConfigError: without a transform.
    """

    def __init__(
        self,
        module: nn.Module,
        transform: Transform | None,
        classes: Mapped | None = None,
        names: Sequence[str | int] | None = None,
        gives: Gives = "logits",
        output: str | int | None = None,
        batch_size: Count = 32,
        anyway: bool = False,
    ) -> None:
        if not callable(transform) and not isinstance(transform, Preprocessing):
            raise ConfigError(
                f"transform={transform!r}: how do images become the input of "
                f"{name_of(module)}? Expected a function from a PIL image to a (3, H, W) tensor, "
                "such as torchvision's, or aspire.Preprocessing(size=224)."
            )
        self.module = self.__wrapped__ = module
        self.transform = transform
        self.classes = classes
        self.names = names
        self.gives: Gives = gives
        self.output = output
        self.batch_size = batch_size
        self.anyway = anyway

    def classifier(self, request: Request) -> External:
        return External(self, request)

    def output_names(self) -> tuple[str, ...] | None:
        return tuple(map(str, self.names)) if self.names else None

    def digest(self) -> str:
        code = code_of([self.module, self.transform])
        how = self.transform
        transform = how.to_dict() if isinstance(how, Preprocessing) else described(how)
        return digest_of([described(self.module), transform, code, str(self.output)])

    def load(self, device: Any) -> Any:
        module = copy.deepcopy(self.module).to(device).eval()
        if isinstance(self.transform, Preprocessing):
            settings = {**self.transform.to_dict()}
            return TorchNetwork(module, settings, device, Path(name_of(module)), self.output)
        return _Transformed(module.float(), self.transform, device, self.output)


class _Transformed:
    """A module behind a function that makes tensors of PIL images."""

    def __init__(
        self, module: nn.Module, transform: Callable[[Any], Tensor], device: Any, output: Any
    ) -> None:
        self.module = module
        self.transform = transform
        self.device = device
        self.output = output

    def __call__(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        try:
            views = [self.transform(Image.fromarray(pixels)) for pixels in images]
            batch = torch.stack([torch.as_tensor(v) for v in views]).float()
        except Exception as error:  # the user's own code
            raise ConfigError(
                f"transform={name_of(self.transform)}: {type(error).__name__}: {last_line(error)} "
                "Expected a function from a PIL image in RGB to a tensor (3, H, W), of one size "
                "for all images."
            ) from error
        try:
            with torch.inference_mode():
                outputs = self.module(batch.to(self.device))
        except Exception as error:
            raise ConfigError(
                f"{name_of(self.module)} does not take a batch of shape {tuple(batch.shape)}, "
                f"which transform gives: {last_line(error)}"
            ) from error
        result: NDArray[np.float32] = pick(outputs, self.output).float().cpu().numpy()
        return result
