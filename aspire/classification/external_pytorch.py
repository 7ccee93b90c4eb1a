"""``classifier=pytorch``: weights in a file, and the network that they are for in your own code."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from aspire.classification.external_file import FileClassifier, TorchNetwork
from aspire.classification.tensor_file import fill, read_tensors
from aspire.errors import ConfigError, did_you_mean, last_line
from aspire.identity import digest_of
from aspire.own_code import code_digests


class PyTorch(FileClassifier):
    """A state dict and the class or function that makes its network.

    Args:
        network: dotted path of what makes the network, ``my_module.MyNet`` or
            ``torchvision.models.resnet18``; modules of the working folder are found. Its source is
            part of the classifier's identity.
        arguments: it is called with.
        path, further: see :class:`~aspire.classification.external_file.FileClassifier`.

    Raises:
        ConfigError: without a network, or when it is not found.
    """

    choice = "pytorch"
    holds = "a state dict (.pt, .pth, .ckpt, .safetensors)"

    def __init__(
        self,
        path: str | None = None,
        network: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        **further: Any,
    ) -> None:
        super().__init__(path, **further)
        if not network:
            raise ConfigError(
                "classifier.network is not set; expected the dotted path of your class: "
                "classifier.network=my_module.MyNet 'classifier.arguments={width: 64}'"
            )
        self.network = str(network)
        self.arguments = dict(arguments or {})
        self.make = _found(self.network)

    def digest(self) -> str:
        code = code_digests([self.network])
        return digest_of([super().digest(), self.network, self.arguments, code])

    def load(self, device: Any) -> TorchNetwork:
        import torch

        state = read_tensors(self.path)
        try:
            module = self.make(**self.arguments)
        except Exception as error:  # the user's own code
            raise ConfigError(
                f"classifier.network={self.network} cannot be made with classifier.arguments="
                f"{self.arguments}: {type(error).__name__}: {last_line(error)}"
            ) from error
        if not isinstance(module, torch.nn.Module):
            raise ConfigError(
                f"classifier.network={self.network} gives a {type(module).__name__}; expected a "
                "torch.nn.Module."
            )
        fill(module, state, self.path, self.network)
        return TorchNetwork(
            module.to(device).eval(), self.preprocessing, device, self.path, self.output
        )


def _found(target: str) -> Any:
    """What a dotted path names.

    Raises:
        ConfigError: with the reason.
    """
    module_name, _, name = target.rpartition(".")
    if not module_name:
        raise ConfigError(
            f"classifier.network={target}: expected MODULE.NAME, for example my_module.MyNet."
        )
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever the user's module does
        raise ConfigError(
            f"classifier.network={target}: the module {module_name} cannot be imported: "
            f"{type(error).__name__}: {last_line(error)} Modules are looked for where python looks "
            "for them, and in the working folder."
        ) from error
    if not callable(made := getattr(module, name, None)):
        raise ConfigError(
            f"classifier.network={target}: {module_name} has no class or function {name}."
            f"{did_you_mean(name, [n for n in vars(module) if not n.startswith('_')])}"
        )
    return made
