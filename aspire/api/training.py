"""``aspire.train``: one classifier, by a baseline's name or with own parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aspire.api.audited import audited_by
from aspire.api.calls import job_of
from aspire.api.runs import Run
from aspire.api.words import calling
from aspire.cli._app import build
from aspire.errors import ConfigError
from aspire.stored.config import read_network

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor, nn

    from aspire.api.audited import Transform
    from aspire.baselines.base import Baseline, Objective
    from aspire.data.table import Dataset, Reader
    from aspire.data.transforms import Preprocessing
    from aspire.discovery.base import Score
    from aspire.editing.base import Inpainter, Restyler, Segmenter
    from aspire.generation.base import Filter, Personaliser, Sampler
    from aspire.language.base import Captioner, Extractor


def train(
    dataset: str | Path | pd.DataFrame | Dataset | Reader,
    *,
    baseline: str | Baseline | None = None,
    objective: Objective | Callable[[Tensor, Tensor], Tensor] | None = None,
    model: str | nn.Module | Callable[..., nn.Module] | None = None,
    transform: Preprocessing | None = None,
    augmentation: str = "none",
    classifier: str | Path | Run | nn.Module | None = None,
    classifier_transform: Transform | None = None,
    captioner: str | Captioner | None = None,
    extractor: str | Extractor | None = None,
    segmenter: str | Segmenter | None = None,
    inpainter: str | Inpainter | None = None,
    restyler: str | Restyler | None = None,
    score: str | Score | None = None,
    personaliser: str | Personaliser | None = None,
    generator: str | Callable[..., Sampler] | None = None,
    filters: Sequence[str | Filter] | None = None,
    decisions: str | Path | None = None,
    seed: int = 0,
    outputs: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Run:
    """Train a classifier and judge every group; a finished run is found and not trained again.

    The same settings on the command line, ``aspire train``, are the same run.

    Args:
        dataset: what :func:`aspire.load_dataset` gives or takes.
        baseline: the name of a method (``"erm"``, the default, ``"groupdro"``, ``"jtt"``, ...), or
            an object with ``needs`` and ``run(ctx)``.
        objective: in place of a baseline: a loss of your own, ``loss(logits, y)`` of logits (B, K)
            and classes (B,) to a scalar, or an :class:`aspire.Objective` that sees the whole batch
            (its groups where its class says ``needs = aspire.Needs(train_groups=True)``).
        model: the name of a backbone (``"small_cnn"``, the default, ``"efficientnet_lite0"``,
            ``"resnet50"``); a class or function that makes a network, called with ``num_classes=K``
            where it has a parameter of that name, so that the seed decides its first weights; or a
            network, trained on from the weights it has.
        transform: what a network of your own takes: ``aspire.Preprocessing(size=224)``.
        augmentation: ``"none"``, or ``"aspire"`` for generated images without the shortcuts that
            discovery finds, or another arm of ``aspire list augmentation``.
        classifier, classifier_transform: whose shortcuts those are, as ``model`` and ``transform``
            of :func:`aspire.discover`; by default those of an ERM of the same network.
        captioner, extractor, segmenter, inpainter, restyler, score, personaliser, generator: who
            works in the stages: the name of a choice, or an object.
        filters: which generated images are thrown out: names and objects.
        decisions: a file of ``aspire review``: it is trained on images generated as a person
            judged the features, and on those that they did not drop. Part of which run this is.
        seed: everything random follows from it.
        outputs: below which everything is kept; ``./outputs`` by default.
        settings: any key of the command line: ``{"fit.steps": 1000, "optimizer.lr": 0.01}``.

    Returns:
        The run: ``.metrics``, ``.model``, ``.predict(images)``, ``.folder``.

    Raises:
        ConfigError: for a name, key or value there is not, with the nearest right one; for an
            object that lacks what is asked of it, or cannot be told from another.
        DataError: when the dataset cannot be read.

    >>> train("mini_waterbirds", baseline="groupdor")
    Traceback (most recent call last):
    aspire.errors.ConfigError: baseline=groupdor: no such choice. Did you mean groupdro? ...
    """
    with calling(outputs or ""):
        if objective is not None:
            if baseline is not None:
                raise ConfigError("Both baseline and objective are given; expected one of them.")
            from aspire.baselines.own_loss import OwnObjective

            method: Any = OwnObjective(objective)
        else:
            method = baseline
        parts: dict[str, Any] = {
            "baseline": method, "augmentation": augmentation, "captioner": captioner,
            "extractor": extractor, "segmenter": segmenter, "inpainter": inpainter,
            "restyler": restyler, "score": score, "personaliser": personaliser,
            "generator": generator, "filter": filters,
        }  # fmt: skip
        own, words = audited_by(classifier, classifier_transform, settings)
        if isinstance(model, str) or model is None:
            if transform is not None:
                raise ConfigError(
                    "transform is given and no network of your own: a backbone brings the "
                    "preprocessing that its weights were trained with."
                )
            parts["model"] = model
        else:
            from aspire.classification.own_network import OwnNetwork

            own["model"] = OwnNetwork(model, transform)
        work = job_of(
            "train",
            dataset,
            parts,
            words,
            seed=seed,
            outputs=outputs,
            decisions=decisions,
            own=own,
        )
        trained = work.experiment.train(work.recipe())
        if (network := work.own.get("model")) is not None:
            return Run(trained, lambda: network)
        node = read_network(trained.folder)
    return Run(trained, lambda: build(node))
