"""The README.md of an exported dataset: what it is, how much, on which terms, how it was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aspire.data.generated import GeneratedImages
from aspire.data.table import Dataset
from aspire.text import markdown, markdown_table, visible
from aspire.version import __version__

LAYOUTS = {
    "folder": "`SPLIT/CLASS/ATTRIBUTE/IMAGE` (ATTRIBUTE `unknown` where it is not known, as of "
    "generated images), masks likewise in `segmentations/`; `metadata.csv` has a row for every "
    "image.",
    "csv": "`metadata.csv` has a row for every image; `images/` and `masks/` hold the files.",
    "hf": "A Hugging Face dataset on disk: `datasets.load_from_disk(FOLDER)`.",
}
COLUMNS = """\
| column | what |
|---|---|
| img_id | unique |
| img_filename, mask_filename | relative to this folder; a mask is 0 on the background, 1 on the \
class object |
| y, class | class, as number and name |
| split | 0 train, 1 val, 2 test, 3 unseen |
| place, attribute | spurious attribute, as number and name; -1 and empty where unknown |
| caption | what the image shows, in words |
| source | real, or generated |
| parent_id, seed, prompt, negative_prompt, scene | of generated images: what they were made from \
and how |
| avoided | of generated images: the features they were made without |"""


@dataclass(frozen=True)
class Card:
    """What there is to say about an export.

    Args:
        dataset, generated: what was exported.
        licence, homepage: of the dataset, where known.
        command: that made the export.
    """

    dataset: Dataset
    generated: GeneratedImages | None
    licence: str | None
    homepage: str | None
    command: str

    def text(self, kind: str, counts: Mapping[tuple[str, str], int]) -> str:
        """The card as Markdown.

        Args:
            kind: folder, csv or hf.
            counts: (split, group) -> images.
        """
        data = self.dataset
        total = sum(counts.values())
        terms = (
            f"Licence of the original images: {self.licence.rstrip('.')}. Its terms hold for this "
            "copy and for images made from it."
            if self.licence
            else "No licence is recorded for the original images: find out before passing them on."
        )
        source = f" Homepage: {self.homepage}" if self.homepage else ""
        return "\n\n".join(
            [
                f"# {markdown(data.name)}, exported by aspire {__version__}",
                f"{total:,} images. Classes: {_listed(data.class_names)}. Spurious attribute "
                f"({markdown(data.spurious_attribute)}): {_listed(data.attribute_names)}. A group: "
                f"{markdown(data.group_definition)}.{source}",
                f"## Layout\n\n{LAYOUTS[kind]}\n\n{COLUMNS}",
                f"## Counts\n\n{self._table(counts)}",
                f"## Terms\n\n{terms}",
                f"## How it was made\n\n{self._made()}\n\n    {visible(self.command)}",
                f"## Reading it back\n\n    {visible(self._back(kind))}\n",
            ]
        )

    def _table(self, counts: Mapping[tuple[str, str], int]) -> str:
        splits = list(dict.fromkeys(split for split, _ in counts))
        order = {name: i for i, name in enumerate(self.dataset.grouper.names)}
        groups = sorted(dict.fromkeys(g for _, g in counts), key=lambda g: order.get(g, len(order)))
        rows = [[markdown(g), *(str(counts.get((s, g), 0)) for s in splits)] for g in groups]
        return markdown_table(["group", *splits], rows)

    def _made(self) -> str:
        if self.generated is None:
            return "The files are copies of the originals, byte by byte."
        g = self.generated
        judged = (
            f"{len(g.records)} of {g.made} passed the filters (decisions {g.filtered})"
            if g.filtered
            else f"all {g.made} of them, none filtered"
        )
        return (
            "The files of source real are copies of the originals, byte by byte. Those of source "
            f"generated were made by aspire (set {g.key}): {judged}. They are labelled with the "
            "class they were made for; nobody has checked them one by one."
        )

    def _back(self, kind: str) -> str:
        names = "".join(
            f" 'dataset.{key}=[{','.join(values)}]'"
            for key, values in (
                ("class_names", self.dataset.class_names),
                ("attribute_names", self.dataset.attribute_names),
            )
        )
        names += f" 'dataset.spurious_attribute={self.dataset.spurious_attribute}'"
        if kind == "csv":
            return f"aspire data show dataset=csv dataset.metadata=FOLDER/metadata.csv{names}"
        return f"aspire data show dataset={kind} dataset.root=FOLDER"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(markdown, names))
