"""``result.json`` by a schema: what does not fit is a damaged file and never half a table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import msgspec

from aspire.errors import DamagedError
from aspire.stored.decisions import History
from aspire.stored.files import own_file
from aspire.stored.notes import note
from aspire.values import Below

Json = dict[str, Any]
Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=0)]


class GroupResult(msgspec.Struct):
    """Accuracy in a group, None without an image of it."""

    acc: Fraction | None
    n: Count


class SplitResult(msgspec.Struct):
    """What :class:`aspire.classification.metrics.GroupMetrics` says of a split."""

    acc: Fraction
    groups: dict[str, GroupResult] = {}
    worst_group_acc: Fraction | None = None
    worst_group: str | None = None
    worst_class_acc: Fraction | None = None
    worst_class: str | None = None
    classes: dict[str, GroupResult] = {}
    acc_adjusted: Fraction | None = None
    acc_balanced: Fraction | None = None


class _Splits(msgspec.Struct):
    test: SplitResult
    val: SplitResult | None = None
    unseen: SplitResult | None = None


class TrainingResult(msgspec.Struct):
    """Of a training run, as far as anything reads it again."""

    dataset: str
    dataset_digest: str
    class_names: list[str]
    baseline: str
    augmentation: str
    model: str
    seed: int
    needs: str
    selection: str
    metrics: _Splits
    weights_sha256: str
    identity: dict[str, Any]
    generated_digest: str | None
    key: str = ""
    attribute_names: list[str] = []
    selected_step: int | None = None
    selectable: dict[str, Below] = {}
    steps: Count = 0
    train_images: Count = 0
    history: dict[str, list[dict[str, float]]] = {}
    warnings: list[str] = []


class _Dataset(msgspec.Struct):
    name: str
    class_names: list[str]
    digest: str
    class_counts: dict[str, dict[str, Count]] = {}


class _Grouped(_Dataset, kw_only=True):
    group_counts: dict[str, dict[str, Count]]


class _Artifact(msgspec.Struct):
    folder: Below
    digest: str
    records: Count
    rejected: dict[str, Count]


class _Truth(msgspec.Struct):
    y: Count
    attribute: str
    true: list[str]
    precision: dict[str, float | None]
    recall: dict[str, float | None]


class _Examination(msgspec.Struct):
    images: Count
    of: Count
    right: Count
    by_guessing: float
    by_chance: bool
    order: list[Count] | None
    confusion: list[tuple[Count, Count, Count]]  # label, answer, images


class _Discovery(msgspec.Struct):
    score: _Artifact
    discover: _Artifact
    features: list[dict[str, Any]]
    without: list[dict[str, Any]]
    truth: list[_Truth] = []
    examination: _Examination | None = None  # of results of old
    found: _Artifact | None = None  # before a person decided


class _Generation(msgspec.Struct):
    personalise: _Artifact
    generate: _Artifact
    filter: _Artifact
    kept: Count
    reasons: dict[str, Count]
    measure: _Artifact | None = None
    nearest: _Artifact | None = None
    filtered: _Artifact | None = None  # before a person sorted


class _Gap(msgspec.Struct):
    arm: str
    seed: int
    reason: str


class _Classifier(msgspec.Struct):
    choice: str
    digest: str
    settings: dict[str, Any]


class _ArmRun(msgspec.Struct):
    seed: int
    folder: Below
    metrics: _Splits


class _Arm(msgspec.Struct):
    arm: str
    baseline: str
    augmentation: str
    needs: str
    selection: str
    steps: Count
    runs: list[_ArmRun]


class WholeResult(msgspec.Struct, kw_only=True):
    """What those of ``aspire run`` and ``aspire discover`` share."""

    aspire: str
    dataset: _Dataset
    settings: dict[str, Any]
    stages: dict[str, _Artifact]
    discovery: dict[str, _Discovery]
    overrides: list[str] = []
    decisions: History | None = None  # that were obeyed


class RunResult(WholeResult, kw_only=True):
    """Of ``aspire run``."""

    dataset: _Grouped
    arms: list[_Arm]
    missing: list[_Gap]
    seeds: list[int]
    generation: dict[str, _Generation]


class DiscoveryResult(WholeResult, kw_only=True):
    """Of ``aspire discover``."""

    splits: list[str]
    seed: int
    classifier: _Classifier
    overrides: list[str]
    call: str = ""  # in Python


def read_training(folder: Path) -> Json:
    """The ``result.json`` of a training run.

    Raises:
        DamagedError: when it is not there, cut short, or of another shape; with the reason.
    """
    content = read_any(folder)
    if "weights_sha256" not in content:
        raise DamagedError(f"{Path(folder) / 'result.json'}: not of a training run.")
    return content


def damage(folder: Path) -> str:
    """Why the ``result.json`` in a folder cannot be used, or "" where it can."""
    try:
        read_any(folder)
    except DamagedError as error:
        return str(error)
    return ""


def read_mapping(path: Path) -> Json:
    """A JSON file that only adds to what is shown: empty where it is missing or damaged."""
    try:
        content = json.loads(own_file(path).read_bytes())
    except FileNotFoundError:
        return {}
    except DamagedError as error:
        note(f"Left out: {error}")
        return {}
    except (OSError, ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        note(f"{path} is damaged; what it says is left out.")
        return {}
    return content


def read_any(folder: Path) -> Json:
    """The ``result.json`` of whatever is in the folder, by the schema of its kind.

    Raises:
        DamagedError: as :func:`read_training`.
    """
    path = Path(folder) / "result.json"
    try:
        stat = own_file(path).stat()
    except OSError as error:
        raise DamagedError(f"{path} cannot be read: {error.strerror or error}.") from None
    content = _read(path, stat.st_size, stat.st_mtime_ns)
    if isinstance(content, str):
        raise DamagedError(f"{path} is damaged: {content}.")
    return json.loads(content)  # type: ignore[no-any-return]  # of its own for every caller


@lru_cache(maxsize=4096)
def _read(path: Path, size: int, modified: int) -> bytes | str:
    """The text, or what is wrong with it; looked at again when size or time have changed."""
    try:
        data = path.read_bytes()
        content = json.loads(data)
    except OSError as error:
        return str(error.strerror or error)
    except (ValueError, RecursionError) as error:
        return f"no JSON ({error})" if size else "empty"
    if not isinstance(content, dict):
        return f"a {type(content).__name__} where keys and values were expected"
    whole = RunResult if "arms" in content else DiscoveryResult
    kinds: Mapping[str, type] = {"weights_sha256": TrainingResult, "discovery": whole}
    kind = next((k for key, k in kinds.items() if key in content), None)
    if kind is None and "metrics" in content:  # the one key that says what it is has gone
        kind = TrainingResult
    try:
        if kind is not None:
            msgspec.convert(content, kind)
    except (msgspec.ValidationError, RecursionError) as error:
        return str(error)
    return data
