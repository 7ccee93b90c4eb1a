"""Classifiers that were made elsewhere: what all kinds of them share.

Each kind gives its logits for a batch and the names of its outputs, where it knows them. Here they
become the probabilities of the dataset's classes.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aspire.classification.predictor import Request, finite
from aspire.data.images import Pixels
from aspire.errors import ConfigError, did_you_mean
from aspire.identity import digest_of

Mapped: TypeAlias = "Mapping[str, Sequence[int | str] | int | str]"
Gives = Literal["logits", "probabilities"]


class Network(Protocol):
    """One loaded classifier."""

    def __call__(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        """(N, M) outputs for N images."""
        ...


class ExternalKind(Protocol):
    """How one kind of classifier is found, named and loaded. Construction is cheap."""

    classes: Mapped | None
    gives: Gives
    batch_size: int
    anyway: bool

    def digest(self) -> str:
        """Hash of everything the outputs depend on: weights by content, and preprocessing."""
        ...

    def output_names(self) -> tuple[str, ...] | None:
        """Names of the outputs in order, where the classifier brings them."""
        ...

    def load(self, device: Any) -> Network:
        """The classifier, ready to answer."""
        ...


class External:
    """Probabilities of the dataset's classes from a classifier with outputs of its own.

    The probability of a class is the sum over the outputs mapped to it, divided by the sum over
    all mapped outputs: what the classifier believes, given that it is one of these classes. A
    single output for two classes is that of the second, or of the one in ``classifier.names``.

    Args:
        kind: the classifier.
        request: for what it is wanted.

    Raises:
        ConfigError: when the outputs cannot be matched with the classes.
    """

    def __init__(self, kind: ExternalKind, request: Request) -> None:
        self.kind = kind
        self.request = request
        names = self._names = kind.output_names()
        self._columns = None if kind.classes is None else _mapped(kind.classes, names, request)
        if self._columns is None and names is not None:
            self._columns = _same_names(names, request.class_names)
        mapping = None if self._columns is None else [list(c) for c in self._columns]
        self.digest = digest_of(
            {
                "outputs": kind.digest(),
                "mapping": mapping,
                "gives": kind.gives,
                "classes": len(request.class_names),
            }
        )
        self._network: Network | None = None
        if names is None:  # so that a wrong number of outputs is said before any other work
            self([np.zeros((64, 64, 3), np.uint8)])

    def __call__(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        if not images:
            return np.zeros((0, len(self.request.class_names)), np.float32)
        if self._network is None:
            self._network = self.kind.load(self.request.device())
        size = self.kind.batch_size
        outputs = np.concatenate(
            [self._network(images[i : i + size]) for i in range(0, len(images), size)]
        ).astype(np.float64)
        if len(outputs) != len(images) or outputs.ndim not in (1, 2):
            raise ConfigError(
                f"The classifier answers {len(images)} images with shape {outputs.shape}; expected "
                "one row of class scores an image. Is it a classifier?"
            )
        finite(outputs)
        return self._probabilities(outputs.reshape(len(images), -1)).astype(np.float32)

    def _probabilities(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        names = self.request.class_names
        if self.kind.gives == "logits":
            _check_logits(outputs)
        if outputs.shape[1] == 1 and len(names) == 2:
            one = outputs[:, 0]
            outputs = np.stack([0 * one if self.kind.gives == "logits" else 1 - one, one], axis=1)
        elif self._names is not None and outputs.shape[1] != len(self._names):
            raise ConfigError(
                f"The classifier has {outputs.shape[1]} outputs, classifier.names names "
                f"{len(self._names)} ({some(self._names)}). Expected a name for each, in order."
            )
        columns = self._columns
        if columns is None:
            if outputs.shape[1] != len(names):
                raise ConfigError(_count_differs(outputs.shape[1], None, names))
            columns = tuple((i,) for i in range(len(names)))
        if (largest := max(i for c in columns for i in c)) >= outputs.shape[1]:
            raise ConfigError(
                f"classifier.classes names output {largest}; the classifier has "
                f"{outputs.shape[1]} outputs, 0 to {outputs.shape[1] - 1}."
            )
        if self.kind.gives == "logits":
            shifted = outputs - outputs.max(axis=1, keepdims=True)
            outputs = np.exp(shifted)
        elif (outputs < 0).any() or (outputs > 1 + 1e-4).any():
            raise ConfigError(
                "classifier.gives=probabilities: the classifier gives numbers outside 0 to 1. "
                "Expected classifier.gives=logits."
            )
        summed = np.stack([outputs[:, list(c)].sum(axis=1) for c in columns], axis=1)
        # a row that gives no mapped class anything is undecided
        total = summed.sum(axis=1, keepdims=True)
        even = np.full_like(summed, 1 / len(names))
        np.divide(summed, total, out=even, where=total > 0)
        return even

    def reorder(self, order: Sequence[int]) -> str:
        """What to type so that class y gets the outputs that class ``order[y]`` has now."""
        names = self.request.class_names
        columns = self._columns or tuple((i,) for i in range(len(names)))
        moved = {name: columns[i] for name, i in zip(names, order, strict=True)}
        if self._names is not None and len(self._names) == 1:
            return typed(f"classifier.names=[{word(names[order.index(0)])}]")
        outputs = sorted(i for c in columns for i in c)
        if self.kind.classes is None and outputs == list(range(len(names))):
            called = {c[0]: name for name, c in moved.items()}
            listed = ",".join(word(called[i]) for i in outputs)
            return typed(f"classifier.names=[{listed}]")
        pairs = (f"{word(n)}: [{', '.join(map(str, c))}]" for n, c in moved.items())
        return typed(f"classifier.classes={{{', '.join(pairs)}}}")


def _check_logits(outputs: NDArray[np.float64], enough: int = 8) -> None:
    """Refuse probabilities that are called logits: the answers would be the same, only even.

    Raises:
        ConfigError: when the outputs for several images can hardly be anything else.
    """
    if len(outputs) < enough or (outputs < 0).any() or (outputs > 1).any():
        return
    if outputs.shape[1] == 1 or np.allclose(outputs.sum(axis=1), 1, atol=1e-3):
        sums = "" if outputs.shape[1] == 1 else " that add up to 1 for each image"
        raise ConfigError(
            f"classifier.gives=logits, but the classifier gives numbers from 0 to 1{sums}. They "
            "look like probabilities: classifier.gives=probabilities."
        )


def _mapped(
    classes: Mapped, names: tuple[str, ...] | None, request: Request
) -> tuple[tuple[int, ...], ...]:
    """Outputs of each class of the dataset, as ``classifier.classes`` says."""
    wanted = request.class_names
    classes = {str(name): outputs for name, outputs in classes.items()}  # {0: ...} is a name too
    for given in classes:
        if given not in wanted:
            raise ConfigError(
                f"classifier.classes names the class '{given}'; the dataset has "
                f"{', '.join(wanted)}.{did_you_mean(given, wanted)}"
            )
    columns = []
    taken: dict[int, str] = {}
    for name in wanted:
        if name not in classes:
            raise ConfigError(
                f"classifier.classes does not say which outputs are '{name}'. Expected every "
                f"class of the dataset ({', '.join(wanted)}): {_example(wanted, len(wanted))}"
            )
        value = classes[name]
        listed = [value] if isinstance(value, int | str) else list(value)
        if not listed:
            raise ConfigError(f"classifier.classes.{name} is empty; expected at least one output.")
        outputs = tuple(_index(v, names) for v in listed)
        for output in outputs:
            if taken.setdefault(output, name) != name:
                raise ConfigError(
                    f"classifier.classes gives output {output} to both '{taken[output]}' and "
                    f"'{name}'; expected each output at most once."
                )
        columns.append(outputs)
    return tuple(columns)


def _index(output: int | str, names: tuple[str, ...] | None) -> int:
    """Number of an output given by number or name."""
    if isinstance(output, int):
        if output < 0 or (names is not None and output >= len(names)):
            count = f"{len(names)} outputs" if names else "outputs from 0"
            raise ConfigError(f"classifier.classes names output {output}; there are {count}.")
        return output
    if names is None:
        raise ConfigError(
            f"classifier.classes names the output '{output}', but this classifier does not bring "
            "names. Expected numbers from 0, or the names in classifier.names=[...]."
        )
    wanted = output.lower()
    for i, name in enumerate(names):
        # "tench, Tinca tinca" is both of these names
        if wanted in (name.lower(), *(part.strip().lower() for part in name.split(","))):
            return i
    raise ConfigError(
        f"classifier.classes names the output '{output}'; the classifier has "
        f"{some(names)}.{did_you_mean(output, names)}"
    )


def _same_names(names: tuple[str, ...], wanted: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
    """Without a mapping: the outputs by name where the names are the same, else in order."""
    lower = [n.lower() for n in names]
    if len(names) == 1 and len(wanted) == 2:
        known = [n.lower() for n in wanted]
        if lower[0] in known:
            return ((1,), (0,)) if lower[0] == known[0] else ((0,), (1,))
    if sorted(lower) == sorted(n.lower() for n in wanted):
        return tuple((lower.index(n.lower()),) for n in wanted)
    nameless = all(n.lower().removeprefix("label_").isdigit() for n in names)
    if len(names) == len(wanted) and nameless:
        return tuple((i,) for i in range(len(wanted)))
    if len(names) == len(wanted):
        raise ConfigError(
            f"The classifier tells {some(names)} apart, the dataset holds {some(wanted)}. Say "
            f"which is which: {_example(wanted, len(wanted))}"
        )
    raise ConfigError(_count_differs(len(names), names, wanted))


def _count_differs(number: int, names: tuple[str, ...] | None, wanted: tuple[str, ...]) -> str:
    named = f" ({some(names)})" if names else ""
    counts = (
        f"The classifier has {number} output{'s' * (number != 1)}{named}, the dataset "
        f"{len(wanted)} classes ({some(wanted)})."
    )
    if number < len(wanted):
        return (
            f"{counts} Expected an output for each class (for two classes a single one will do): "
            "give a classifier of these classes, or a dataset of those that it tells apart."
        )
    return (
        f"{counts} Say which outputs are which class, by number or name; several are added up: "
        f"{_example(wanted, number)}"
    )


def _example(wanted: tuple[str, ...], number: int) -> str:
    """Outputs of the first classes, as many as there may be."""
    each = 2 if number >= 2 * len(wanted) else 1
    pairs = ", ".join(
        f"{word(n)}: [{', '.join(map(str, range(each * i, each * (i + 1))))}]"
        for i, n in enumerate(wanted[:3])
    )
    return typed(f"classifier.classes={{{pairs}{', ...' if len(wanted) > 3 else ''}}}")


def word(text: str) -> str:
    r"""A name as it is typed in a list or mapping of an override.

    >>> print(word("dog"), word("10"), word("it's"))
    dog 10 'it\'s'
    """
    if re.fullmatch(r"0|[1-9]\d*|[A-Za-z_][\w/.-]*", text):
        return text
    return "'" + text.replace("'", "\\'") + "'"


def typed(override: str) -> str:
    """An override as it is typed in a shell.

    >>> print(typed("a=[b,c]"))
    'a=[b,c]'
    """
    return shlex.quote(override)


def some(names: Sequence[str], number: int = 5) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - number} more" if len(names) > number else ""
    return ", ".join(names[:number]) + more


def pick(outputs: Any, wanted: str | int | None = None) -> Any:
    """The class scores among what a network returns.

    Args:
        outputs: a tensor or array, a mapping or object of them by name, or a sequence of them.
        wanted: name or number of the one to take; None for ``logits``, or the only one there is.

    Raises:
        ConfigError: naming what there is, with what to type.
    """
    if hasattr(outputs, "shape"):
        return outputs
    if hasattr(outputs, "items"):
        there = {str(k): v for k, v in outputs.items() if hasattr(v, "shape")}
    elif isinstance(outputs, tuple | list):
        there = {str(i): v for i, v in enumerate(outputs) if hasattr(v, "shape")}
    else:
        there = {k: v for k, v in vars(outputs).items() if hasattr(v, "shape")}
    if wanted is None and "logits" in there:
        wanted = "logits"
    if wanted is None and len(there) == 1:
        (wanted,) = there
    if wanted is not None and str(wanted) in there:
        return there[str(wanted)]
    listed = ", ".join(f"{k} {tuple(v.shape)}" for k, v in there.items()) or "no tensor"
    given = "" if wanted is None else f"classifier.output={wanted}: no such output. "
    first = next(iter(there), "NAME")
    raise ConfigError(
        f"{given}The classifier returns a {type(outputs).__name__} of {listed}. Say which of them "
        f"are the class scores: classifier.output={first}"
    )


def needed_file(path: str | Path | None, what: str, choice: str) -> Path:
    """The file a classifier is in.

    Raises:
        ConfigError: when none is given, or there is none.
    """
    if not path:
        raise ConfigError(
            f"classifier.path is not set; expected {what}: classifier={choice} classifier.path=FILE"
        )
    file = Path(path)
    if not file.is_file():
        raise ConfigError(f"classifier.path={file}: no such file; expected {what}.")
    return file
