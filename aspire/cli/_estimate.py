"""How long ``aspire run`` will take on this machine, said before it starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig

from aspire.progress import duration
from aspire.yardstick import Yardstick

# Seconds of each part where the yardstick was Y = 205, taken from whole quickstarts there with two
# threads: trainings, personalising two classes, images of 4 evaluations; and what is left, a seed.
REFERENCE = 205.0
STEP = {"small_cnn": 0.036}  # model -> a training step of 32 images
LEARNING = {"tiny_sd": 0.078, "composition": 0.0}  # personaliser -> a step of one class
CLASS = {"tiny_sd": 1.1, "composition": 0.0}  # personaliser -> loading, encoding, judging
EVALUATION = {"tiny_sd": 0.0058, "composition": 0.0067}  # generator -> an evaluation for one image
SEED = 7.5  # captions, edits, scores, filters
# Other choices cost something else, and nothing is said of them.
KNOWN = {
    "captioner": "dataset",
    "extractor": "spacy",
    "segmenter": "annotations",
    "inpainter": "opencv",
    "restyler": "composition",
    "classifier": "erm",
}


def seconds_at_reference(
    cfg: DictConfig,
    chosen: Mapping[str, str],
    arms: Sequence[tuple[str, str]],
    generating: bool,
    train_images: int,
    classes: int,
) -> float | None:
    """Seconds of a whole run where the yardstick is ``REFERENCE``; None where unknown.

    Args:
        cfg: of the run.
        chosen: group of conf/ -> choice.
        arms: (baseline, augmentation) of each.
        generating: whether any of them trains on generated images.
        train_images, classes: of the dataset.
    """
    model, personaliser = chosen["model"], chosen["personaliser"]
    generator = chosen["generator"]
    known = all(chosen[group] == choice for group, choice in KNOWN.items())
    known &= model in STEP and personaliser in LEARNING and generator in EVALUATION
    if not known or any(baseline != "erm" for baseline, _ in arms):
        return None
    seed = SEED + len(arms) * int(cfg.fit.steps) * STEP[model]
    if generating:
        images = float(cfg.stage.generate.per_real) * train_images
        fast = cfg.generator.get("fast") is not None  # as the samplers take what is not given
        evaluations = int(cfg.generator.get("steps") or (4 if fast else 1))
        if float(cfg.generator.get("guidance") or 0) > 1:
            evaluations *= 2
        seed += images * evaluations * EVALUATION[generator]
        steps = int(cfg.personaliser.get("steps", 0))
        seed += classes * (CLASS[personaliser] + steps * LEARNING[personaliser])
    return len(cfg.seeds) * seed


def expectation(reference: float, here: Yardstick, threads: int) -> str:
    """The same on this machine, in words.

    >>> expectation(202, Yardstick(2, 37.0, 69.0, 31.0, 60.0, 0.1), threads=2)
    'about 10 min on this machine (69 GFLOPS), less what is there already'
    """
    speed = here.of(threads)
    seconds = reference * REFERENCE / speed
    unit = 60 if seconds > 90 else 10
    whole = max(unit, round(seconds / unit) * unit)
    return (
        f"about {duration(whole)} on this machine ({speed:.0f} GFLOPS), less what is there already"
    )


def on_processor(cfg: DictConfig) -> bool:
    """Whether a run trains on the processor."""
    import torch

    wanted: Any = cfg.trainer.accelerator
    return wanted == "cpu" or (wanted == "auto" and not torch.accelerator.is_available())


def threads_of(cfg: DictConfig) -> int:
    """Threads that a run computes with."""
    import torch

    return int(cfg.trainer.threads or torch.get_num_threads())
