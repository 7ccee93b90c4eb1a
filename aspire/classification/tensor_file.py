"""Files of weights as training scripts write them: what is in them, and what else they may be."""

from __future__ import annotations

import pickle
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from aspire.errors import ConfigError, last_line
from aspire.pretrained import differences

# Where training scripts put the tensors among other things, in the order they are looked for.
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "weights")


class NoTensorsError(ConfigError):
    """A file that is no file of weights.

    Args:
        path: the file.
        why: what it is instead.
        instead: what to give or type.
    """

    def __init__(
        self,
        path: Path,
        why: str,
        instead: str = "what torch.save(model.state_dict(), FILE) writes",
    ) -> None:
        self.why = why
        super().__init__(
            f"classifier.path={path} holds no weights that can be used: {why}. Expected {instead}."
        )


def is_torchscript(path: Path) -> bool:
    """Whether ``torch.jit.save`` has written it: its archive holds code."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any("/code/" in n or n.endswith("constants.pkl") for n in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def read_tensors(path: Path) -> dict[str, Any]:
    """The tensors of a safetensors file, or of one that ``torch.save`` has written, on the CPU.

    Nothing in it is executed. Tensors in half precision are made float32.

    Raises:
        NoTensorsError: when it holds anything but tensors by name, saying what it is.
    """
    import torch

    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            content: Any = load_file(path)
        except (SafetensorError, OSError) as error:
            raise NoTensorsError(path, f"{last_line(error)} (is the file whole?)") from None
    elif is_torchscript(path):
        raise NoTensorsError(
            path, "it is a TorchScript file", f"classifier=torchscript classifier.path={path}"
        )
    else:
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:
            raise NoTensorsError(
                path,
                "it holds Python objects besides tensors, for example a whole pickled module, and "
                "those would run code when they are read",
            ) from None
        except Exception as error:  # torch has one for each way in which a file may be broken
            raise NoTensorsError(path, f"{last_line(error)} (is the file whole?)") from None
    state = _unwrapped(content)
    if state is None:
        found = f"a {type(content).__name__}"
        if isinstance(content, Mapping):
            found += f" with {', '.join(map(str, list(content)[:5])) or 'nothing in it'}"
        raise NoTensorsError(path, f"it holds {found}, no tensors by name")
    half = (torch.float16, torch.bfloat16)
    return {k: v.float() if v.dtype in half else v for k, v in state.items()}


def _unwrapped(content: Any) -> dict[str, Any] | None:
    """The tensors by name, wherever they are."""
    import torch

    if not isinstance(content, Mapping):
        return None
    for key in WRAPPERS:
        if isinstance(content.get(key), Mapping):
            return _unwrapped(content[key])
    found = {str(k): v for k, v in content.items() if isinstance(v, torch.Tensor)}
    return found if found and len(found) == len(content) else None


def without_prefix(state: Mapping[str, Any], wanted: Iterable[str]) -> dict[str, Any]:
    """The tensors under the names that a network has for them.

    Wrappers put a common prefix before all names: ``module.`` (DataParallel), ``_orig_mod.``
    (torch.compile), ``model.`` (Lightning), or several. Where there is one, what does not begin
    with it belongs to something else (a loss, a metric) and is left out.

    Args:
        wanted: names that the network has.

    >>> without_prefix({"model.fc.weight": 1, "loss.weight": 2}, ["fc.weight"])
    {'fc.weight': 1}
    """
    names = set(wanted)
    found: Counter[str] = Counter()
    for key in state:
        parts = key.split(".")
        for i in range(len(parts)):
            if ".".join(parts[i:]) in names:
                found["".join(f"{p}." for p in parts[:i])] += 1
    if not found:
        return dict(state)
    # on a tie the shortest
    prefix = max(found, key=lambda p: (found[p], -len(p)))
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def fill(network: Any, state: Mapping[str, Any], path: Path, name: str) -> None:
    """Give a network its tensors, all of them and no others.

    Raises:
        ConfigError: naming tensors that are missing, are too many, or have another shape.
    """
    own = network.state_dict()
    state = without_prefix(state, own)
    # older files have no counters of batches in them, and nothing depends on those
    counters = {k for k in own if k.endswith("num_batches_tracked")}
    missing = [k for k in own if k not in state and k not in counters]
    unexpected = [k for k in state if k not in own]
    shapes = [
        f"{k} {tuple(state[k].shape)} in the file, {tuple(own[k].shape)} in the network"
        for k in own
        if k in state and state[k].shape != own[k].shape
    ]
    if found := differences({"missing": missing, "unexpected": unexpected, "other shape": shapes}):
        raise ConfigError(f"classifier.path={path} does not fit {name}: {found}")
    network.load_state_dict({**{k: own[k] for k in counters}, **state})
