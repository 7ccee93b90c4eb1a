"""The README.md of what is pushed to a hub: what it is, how it was made, its terms and limits.

Text of users is never markup here, and the head is written by a YAML writer.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import yaml

from aspire.data.card import COLUMNS, LAYOUTS
from aspire.text import markdown, markdown_table, visible
from aspire.version import __version__

Json = Mapping[str, Any]
UNKNOWN = "unknown"
# Identifiers that the hub takes for common licences; any other is entered by its name.
IDENTIFIERS = frozenset(
    {"afl-3.0", "agpl-3.0", "apache-2.0", "artistic-2.0", "bigscience-openrail-m", "bsd",
     "bsd-2-clause", "bsd-3-clause", "bsl-1.0", "cc", "cc0-1.0", "cc-by-2.0", "cc-by-3.0",
     "cc-by-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-nd-3.0",
     "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0",
     "cc-by-sa-3.0", "cc-by-sa-4.0", "cdla-permissive-1.0", "cdla-permissive-2.0",
     "cdla-sharing-1.0", "creativeml-openrail-m", "ecl-2.0", "epl-2.0", "eupl-1.1", "gpl",
     "gpl-2.0", "gpl-3.0", "isc", "lgpl", "lgpl-2.1", "lgpl-3.0", "mit", "mpl-2.0", "odbl",
     "odc-by", "openrail", "openrail++", "pddl", "unknown", "unlicense", "wtfpl", "zlib"}
)  # fmt: skip


def dataset_card(repo: str, made: Json, licence: str) -> str:
    """Of generated images, and of the real ones where they go along.

    Args:
        repo: ``owner/name``.
        made: ``about`` of its manifest: ``name``, ``class_names``, ``counts`` (split -> group ->
            images), ``made`` of the generated ones.
        licence: a name, or "unknown".
    """
    from_, total = (
        made["made"],
        sum(n for groups in made["counts"].values() for n in groups.values()),
    )
    head = {
        **_licence(licence),
        "pretty_name": visible(f"{made['name']}: generated images"),
        "task_categories": ["image-classification"],
        "tags": ["aspire", "spurious-correlations", "group-robustness", "synthetic"],
        "size_categories": [size_category(total)],
        "configs": [{"config_name": "default", "data_files": ["metadata.csv", "images/**"]}],
    }
    real = "images of it and generated ones" if made["real"] else "generated images alone"
    avoided = markdown_table(
        ["class", "made without", "kept"],
        [
            [markdown(c["class"]), markdown(", ".join(c["avoided"]) or "-"), str(c["kept"])]
            for c in from_["classes"]
        ],
    )
    return "\n\n".join(
        [
            _head(head) + f"# {markdown(made['name'])}: images without the shortcut",
            f"{total:,} images: {real}. Classes: {_listed(made['class_names'])}. The generated "
            f"ones show each class without the features that a classifier trained on "
            f"{markdown(made['name'])} was shown to lean on. Made by aspire {__version__}.",
            f"## Groups\n\n{_counts(made['counts'])}\n\nThe group of a generated image is not "
            f"annotated. Spurious attribute ({markdown(made['spurious_attribute'])}): "
            f"{_listed(made['attribute_names'])}.",
            f"## How it was made\n\n{avoided}\n\n{from_['kept']} of {from_['of']} images passed "
            f"the filters{_reasons(from_['reasons'])}. {_decided(from_['decisions'])} Every row of "
            "`metadata.csv` names the prompt, the seed, the real images it was made from and the "
            "features avoided; `aspire.json` names the digests of the classifier, of each stage "
            f"and of every file.\n\n{_command(from_['command'])}",
            f"## Terms\n\n{_terms(licence)} {_original(made['original_licence'])}",
            "## Limits\n\n"
            "- They are labelled with the class they were made for; filters looked at them, and "
            "nobody has checked each.\n"
            "- What was avoided is what was found: other shortcuts may be in them, those of the "
            "generator too.\n"
            "- They are meant for training beside real images. Numbers on a test split that is "
            "drawn from them say nothing about photographs.\n"
            "- Parts of real images may be in them, where they were composed or inpainted.",
            f'## Reading it back\n\n```python\nimport aspire\n\naspire.load_dataset("hf://{repo}")'
            "  # or aspire train dataset=hub "
            f'dataset.repo={repo}\n```\n\nWithout aspire, `datasets.load_dataset("{repo}")` has '
            "images and columns; masks are files in `masks/`.",
            f"## Layout\n\n{LAYOUTS['csv']}\n\n{COLUMNS}\n\n"
            "`file_name` is `img_filename` once more.\n",
        ]
    )


def model_card(repo: str, result: Json, licence: str, others: Sequence[Json], command: str) -> str:
    """Of the classifier of a training run.

    Args:
        repo: ``owner/name``.
        result: of the run.
        licence: a name, or "unknown".
        others: results of runs that differ in their seed alone.
        command: that made it; "" where it is not known.
    """
    head = {
        **_licence(licence),
        "pipeline_tag": "image-classification",
        "library_name": "aspire",
        "tags": ["aspire", "spurious-correlations", "group-robustness"],
        "metrics": ["accuracy"],
    }
    generated = result["generated_digest"] is not None
    mixture = " and generated images without the shortcut" if generated else ""
    own = ", model=YourNetwork" if result.get("own_network") else ""
    return "\n\n".join(
        [
            _head(head) + f"# {markdown(result['model'])} trained on {markdown(result['dataset'])} "
            f"({markdown(result['baseline'])}, {markdown(result['augmentation'])})",
            f"An image classifier. Classes: {_listed(result['class_names'])}. Trained with aspire "
            f"{__version__}.",
            f"## Accuracy\n\n{_accuracies(result['metrics'])}\n\nn is the number of images. A "
            "group is a class with a value of the spurious attribute: "
            f"{_listed(result.get('attribute_names', []))}.",
            f"## Selection\n\nOf {result['steps']} optimiser steps the checkpoint after step "
            f"{result['selected_step']} was taken, by the rule {_code(result['selection'])}. "
            f"What the method was told: {markdown(result['needs'])}.",
            f"## Seeds\n\n{_seeds(result, others)}",
            f"## Training data\n\n{markdown(result['dataset'])} (digest "
            f"{_code(result['dataset_digest'][:12])}), {result['train_images']} training "
            f"images{mixture}. Its settings are in `result.json` under "
            f"`identity`.\n\n{_command(command)}",
            f"## Terms\n\n{_terms(licence)} The licence of the training data, and of the weights "
            "it began with, may say more.",
            "## Intended use\n\nTo study what classifiers lean on, to compare methods, and as a "
            "start for a classifier of the same classes on images like those it was trained on.",
            "## Limits\n\n"
            "- The numbers hold for images like those of the test split. The worst group above is "
            "the worst of those that are annotated.\n"
            "- Shortcuts that nobody has annotated or found may be left: look for them on your "
            "images with `aspire discover`.\n"
            "- It has an answer for every picture, also of what is none of its classes.\n"
            "- Not examined for decisions about people.",
            f'## Using it\n\n```python\nimport aspire\n\nrun = aspire.load_run("hf://{repo}"{own})\n'
            'run.predict("photos/")  # a DataFrame with the probabilities\n'
            "run.model, run.preprocessing  # plain PyTorch\n```\n\nOr `aspire discover "
            f"classifier=hub classifier.repo={repo}`. The weights are `model.safetensors`, the "
            "network is described in `config.yaml`, the numbers are in `result.json`.\n",
        ]
    )


def size_category(images: int) -> str:
    """As the hub calls sizes.

    >>> size_category(999), size_category(1000), size_category(2_000_000)
    ('n<1K', '1K<n<10K', '1M<n<10M')
    """
    bounds = [(10**3, "1K"), (10**4, "10K"), (10**5, "100K"), (10**6, "1M"), (10**7, "10M")]
    if images < bounds[0][0]:
        return "n<1K"
    for (_, low), (high, name) in pairwise(bounds):
        if images < high:
            return f"{low}<n<{name}"
    return "n>10M"


def _head(values: Json) -> str:
    text = yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True, width=10**6)
    return f"---\n{text}---\n\n"


def _licence(name: str) -> dict[str, str]:
    """The hub takes identifiers; what is none is another licence, by a short name."""
    if name.lower() in IDENTIFIERS:
        return {"license": name.lower()}
    short = re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.")
    return {"license": "other", "license_name": short or "see-the-card"}


def _terms(licence: str) -> str:
    if licence == UNKNOWN:
        return "**Licence: unknown.** Nobody has said on which terms it may be used: ask first."
    return f"Licence: {markdown(licence)}."


def _original(licence: str | None) -> str:
    if not licence:
        return (
            "No licence is recorded for the real images that they were made from: find out before "
            "passing them on."
        )
    return (
        f"Licence of the real images that they were made from: {markdown(licence.rstrip('.'))}. "
        "Its terms may hold for images made from them."
    )


def _counts(counts: Mapping[str, Mapping[str, int]]) -> str:
    groups = list(dict.fromkeys(g for of_split in counts.values() for g in of_split))
    rows = [[markdown(g), *(str(c.get(g, 0)) for c in counts.values())] for g in groups]
    return markdown_table(["group", *counts], rows)


def _reasons(reasons: Mapping[str, int]) -> str:
    told = ", ".join(f"{markdown(reason)} {number}" for reason, number in reasons.items())
    return f" (rejected: {told})" if told else ""


def _decided(decisions: str | None) -> str:
    if decisions is None:
        return "No person has sorted them."
    return f"A person has looked through them with `aspire review` (decisions `{decisions[:12]}`)."


def _code(text: str) -> str:
    """A word in a span of code, which a backtick would end."""
    return f"`{visible(text).replace('`', chr(39))}`"


def _command(command: str) -> str:
    return f"    {visible(command)}" if command else "The command that made it is not recorded."


def _accuracies(metrics: Mapping[str, Json]) -> str:
    splits = [s for s in ("val", "test", "unseen") if metrics.get(s)]
    names = list(dict.fromkeys(g for s in splits for g in metrics[s].get("groups") or {}))
    rows = []
    for name in names:
        cells = [metrics[s].get("groups", {}).get(name) or {} for s in splits]
        rows.append(
            [markdown(name), *(f"{_percent(c.get('acc'))} ({c.get('n', 0)})" for c in cells)]
        )
    for key, what in (
        ("worst_group_acc", "worst group"), ("worst_class_acc", "worst class"),
        ("acc_adjusted", "adjusted to the training shares"), ("acc", "all"),
    ):  # fmt: skip
        if any(metrics[s].get(key) is not None for s in splits):
            rows.append([f"**{what}**", *(_percent(metrics[s].get(key)) for s in splits)])
    return markdown_table(["group", *(f"{s} % (n)" for s in splits)], rows)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def _seeds(result: Json, others: Sequence[Json]) -> str:
    """How the number of this seed stands among those of the others."""
    worst = [r["metrics"]["test"].get("worst_group_acc") for r in (result, *others)]
    known = [100 * w for w in worst if w is not None]
    mine = f"This is seed {result['seed']}"
    if len(known) < 2:
        return f"{mine}, and the only one: how much another would differ is not known."
    return (
        f"{mine} of {len(known)} with the same settings. Worst group on test over all of them: "
        f"{statistics.fmean(known):.1f} ± {statistics.stdev(known):.1f} (mean and sample standard "
        "deviation)."
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(markdown, names)) or "not annotated"
