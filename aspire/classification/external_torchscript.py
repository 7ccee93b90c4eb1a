"""``classifier=torchscript``: a scripted or traced module in one file."""

from __future__ import annotations

import warnings
from typing import Any

from aspire.classification.external_file import FileClassifier, TorchNetwork
from aspire.classification.tensor_file import NoTensorsError, is_torchscript, read_tensors
from aspire.errors import ConfigError, last_line


class TorchScript(FileClassifier):
    """A TorchScript file: (B, 3, size, size) float32 in, (B, M) out.

    TorchScript can run code of its own: load only files you trust.

    Args and errors: see :class:`~aspire.classification.external_file.FileClassifier`.
    """

    choice = "torchscript"
    holds = "a file of torch.jit.save"

    def load(self, device: Any) -> TorchNetwork:
        import torch

        if not is_torchscript(self.path):
            try:
                read_tensors(self.path)
            except NoTensorsError as error:
                what = f"{error.why}."
            else:
                what = (
                    "it is a state dict, which has no network in it. Give your network too: "
                    f"classifier=pytorch classifier.path={self.path} "
                    "classifier.network=my_module.MyNet."
                )
            raise ConfigError(
                f"classifier.path={self.path} is no TorchScript file: {what} TorchScript is what "
                "torch.jit.script(model).save(FILE) or torch.jit.trace(...).save(FILE) writes."
            )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # the file exists all the same
                module = torch.jit.load(self.path, map_location=device).eval()
        except Exception as error:  # an archive may be broken in many ways
            raise ConfigError(
                f"classifier.path={self.path} cannot be read: {last_line(error)} Is the file whole?"
            ) from None
        return TorchNetwork(module, self.preprocessing, device, self.path, self.output)
