"""LoRA on the training images and their captions: how the domain looks, whatever the class.

The personalisers of a class learn it from its edited images alone, a few dozen. Where the model has
never seen anything like the data (another camera, another way of drawing), these are too few to
learn that as well, and a word for the class cannot say it. Here low-rank changes of the UNet are
learnt from training images of all classes, each under its own caption, as a model is finetuned on
captioned images (Hu et al. 2021, arXiv 2106.09685, section 4). As captions name scene and objects,
what is learnt is how things look and not what goes with what; as many images are taken of each
scene of each class as there are, up to as many as of the others, so that the rare ones are seen as
often as the frequent ones.

All classes, and runs of all seeds, share what was learnt.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from aspire.generation.base import Captioned, ClassEvidence
from aspire.generation.lora import LoRA
from aspire.generation.pictures import Shown, Subject, subjects_of
from aspire.identity import Json, digest_of
from aspire.records import Picture
from aspire.rng import seed_for
from aspire.stored.seals import file_digest
from aspire.values import Count


class DomainLoRA(LoRA):
    """A low-rank change of the UNet that all classes share; classes go by their own names.

    The pictures of a concept are its class's edited images, as :mod:`image_to_image` wants them.

    Args:
        model: hub id or folder of a Stable Diffusion.
        captioned: training images learnt from, at most.
        **settings: see :class:`LoRA`; ``images``, ``per_feature`` and ``flipped_only`` choose the
            pictures, ``templates``, ``scenes`` and ``per`` have no meaning.
    """

    name: ClassVar[str] = "domain_lora"
    wanting: ClassVar[str] = "captioned training images to learn from"
    remedy: ClassVar[str] = ""

    def __init__(self, model: str, captioned: Count = 400, **settings: Any) -> None:
        super().__init__(model, **settings)
        self.captioned = captioned

    def further_identity(self) -> Mapping[str, Json]:
        return {**super().further_identity(), "captioned": self.captioned}

    def about(self, evidence: ClassEvidence) -> str:
        return ""  # not about the class

    def lessons(self, evidence: ClassEvidence) -> list[tuple[str, Subject]]:
        """One subject without a word: the chosen training images, each with its caption."""
        chosen = evenly(evidence.captioned, self.captioned, self.training.seed)
        shown = tuple(Shown(c.file, caption=c.caption) for c in chosen)
        return [("", Subject("domain", "", shown))]

    def keep(
        self, where: Path, evidence: ClassEvidence, lessons: Sequence[tuple[str, Subject]]
    ) -> tuple[Picture, ...]:
        edited = subjects_of(evidence, self.selection.choose(evidence), False)
        files = [file_digest(s.file) for subject in edited for s in subject.shown]
        own = self.folder / digest_of({"pictures": files, "class": evidence.noun})[:16]
        return super().keep(own, evidence, [("", subject) for subject in edited])


def evenly(images: Sequence[Captioned], number: int, seed: int) -> list[Captioned]:
    """So many images, of each scene of each class as many as of the others while there are any.

    Args:
        images: to choose from.
        number: wanted at most.
        seed: of the choice within a scene of a class.
    """
    cells: dict[tuple[int, str], list[Captioned]] = defaultdict(list)
    for image in images:
        cells[image.y, image.scene].append(image)
    turns: list[tuple[int, int, str, Captioned]] = []
    for (y, scene), cell in sorted(cells.items()):
        order = np.random.default_rng(seed_for(seed, "captioned", y, scene)).permutation(len(cell))
        turns += [(turn, y, scene, cell[i]) for turn, i in enumerate(order)]
    turns.sort(key=lambda t: t[:3])
    return [image for *_, image in turns[:number]]
