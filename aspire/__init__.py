"""ASPIRE: find the shortcuts an image classifier takes, and train them away.

Nothing heavy is imported here, so that ``import aspire`` and ``aspire --help`` answer at once: a
name is looked up when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from aspire.version import __version__ as __version__

if TYPE_CHECKING:
    from aspire import metrics as metrics
    from aspire.api.datasets import LoadedDataset as LoadedDataset
    from aspire.api.datasets import load_dataset as load_dataset
    from aspire.api.discovering import Findings as Findings
    from aspire.api.discovering import discover as discover
    from aspire.api.generating import GeneratedImages as GeneratedImages
    from aspire.api.generating import generate as generate
    from aspire.api.runs import Run as Run
    from aspire.api.runs import load_run as load_run
    from aspire.api.runs import results as results
    from aspire.api.training import train as train
    from aspire.baselines.base import Needs as Needs
    from aspire.baselines.base import Objective as Objective
    from aspire.baselines.base import StepOutput as StepOutput
    from aspire.data.table import Dataset as Dataset
    from aspire.data.table import Split as Split
    from aspire.data.transforms import Preprocessing as Preprocessing
    from aspire.errors import AspireError as AspireError

# Name -> where it is; what a type checker reads above says the same (tests/api/test_names.py).
_PLACES = {
    "AspireError": "aspire.errors",
    "Dataset": "aspire.data.table",
    "Findings": "aspire.api.discovering",
    "GeneratedImages": "aspire.api.generating",
    "LoadedDataset": "aspire.api.datasets",
    "Needs": "aspire.baselines.base",
    "Objective": "aspire.baselines.base",
    "Preprocessing": "aspire.data.transforms",
    "Run": "aspire.api.runs",
    "Split": "aspire.data.table",
    "StepOutput": "aspire.baselines.base",
    "discover": "aspire.api.discovering",
    "generate": "aspire.api.generating",
    "load_dataset": "aspire.api.datasets",
    "load_run": "aspire.api.runs",
    "metrics": "aspire.metrics",
    "results": "aspire.api.runs",
    "train": "aspire.api.training",
}
__all__ = ["__version__", *_PLACES]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'aspire' has no attribute {name!r}")
    module = import_module(_PLACES[name])
    found = module if module.__name__ == f"aspire.{name}" else getattr(module, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
