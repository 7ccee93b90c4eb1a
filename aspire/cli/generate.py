"""``aspire generate``: personalise, generate, filter; and one image again."""

from __future__ import annotations

import cv2
from omegaconf import DictConfig

from aspire.cli._app import build
from aspire.cli._show import show_groups
from aspire.cli.jobs import Job
from aspire.console import console
from aspire.errors import ConfigError, did_you_mean
from aspire.generation.regenerate import origin_of, regenerate
from aspire.pipeline.generating import count_reasons, wordings_of
from aspire.stored.files import write_atomic
from aspire.text import file_name


def job(cfg: DictConfig) -> None:
    """Make the augmented set and say what was kept, or make one image again."""
    actions = {"set": augmented_set, "again": again}
    if cfg.action not in actions:
        raise ConfigError(
            f"aspire generate {cfg.action}: no such action."
            f"{did_you_mean(str(cfg.action), list(actions))} Type aspire generate, or aspire "
            "generate again IMAGE."
        )
    actions[cfg.action](Job("generate", cfg))


def augmented_set(work: Job) -> None:
    """Personalise, generate and filter."""
    show_groups(work.experiment.dataset)
    made = work.experiment.generate(int(work.cfg.seed))
    console.show(
        "\nkept {} of {} images (rejected: {})\n[bold]images[/bold]     {}\n"
        "[bold]decisions[/bold]  {}\n[bold]next[/bold]       aspire train augmentation=aspire",
        len(made.kept),
        len(made.images.records),
        count_reasons(made.decisions.records),
        made.images.folder,
        made.decisions.folder / "records.jsonl",
    )


def again(work: Job) -> None:
    """Make one image from its record, and hold it against the file that was kept."""
    if work.cfg.image is None:
        raise ConfigError(
            "aspire generate again: which image? Give its file or img_id, for example aspire "
            "generate again generated-000-00017."
        )
    made = origin_of(str(work.cfg.image), work.outputs / "artifacts")
    record, dataset, pipeline = made.record, work.experiment.dataset, work.experiment.pipeline
    if made.dataset != pipeline.dataset_digest:
        raise ConfigError(
            f"{record.img_id} was made for other images than those of {dataset.name} in "
            f"{dataset.root}. Give the dataset=... words it was generated with."
        )
    sampler = build(work.cfg.generator)(root=dataset.root, refs=pipeline.refs)
    pixels, difference = regenerate(
        made, dataset.class_names[record.y], sampler, wordings_of(pipeline)[record.y]
    )
    file = work.outputs / "again" / f"{file_name(record.img_id)}-{made.file.stem[:12]}.png"
    ok, png = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    assert ok
    write_atomic(file, png.tobytes())
    rows = {
        "image": record.img_id,
        "class": dataset.class_names[record.y],
        "prompt": record.prompt,
        "negative": record.negative_prompt,
        "seed": str(record.seed),
        "made from": ", ".join(p for p in record.parents if p),
        "kept file": str(made.file),
        "again": f"{file} (largest difference {difference} of 255 grey levels)",
    }
    for name, value in rows.items():
        if value:
            console.show("[bold]{:<10}[/bold] {}", name, value)
