"""What the personalisers of diffusion models share: from evidence to a concept with weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import msgspec

from aspire.errors import ConfigError
from aspire.generation.base import ClassEvidence
from aspire.generation.contexts import described
from aspire.generation.pictures import TEMPLATES, Selection, Subject, subjects_of
from aspire.generation.settings import Loggers, Training
from aspire.identity import Json, digest_of
from aspire.own_code import code_of
from aspire.pretrained import Checkpoint
from aspire.records import Concept, Picture, Rejected
from aspire.stored.files import write_atomic
from aspire.stored.seals import file_digest
from aspire.values import Count, Fraction, LatentSide, Natural, NonNegative, Positive

if TYPE_CHECKING:  # imports torch
    from aspire.generation.denoising import Learnt, Source


class DiffusionPersonaliser(ABC):
    """Fits a part of a Stable Diffusion to the edited images of a class.

    A kind of personaliser says which part (:meth:`attach`) and which words call it (:meth:`word`).

    Args:
        model: hub id or folder of a Stable Diffusion 1.x, 2.x or XL.
        revision: commit, tag or branch of a hub model.
        folder: where what was learnt is kept.
        steps, batch_size, learning_rate, weight_decay, size, seed, micro_batch, checkpointing,
        checkpoint_every, strip_every: see :class:`aspire.generation.settings.Training`.
        images, per_feature, flipped_only: see :class:`aspire.generation.pictures.Selection`.
        min_images: a class with fewer is rejected.
        templates: what is said about an image, with ``{}`` for the learnt word; None for the 27
            of textual inversion.
        scenes: also name the scene that an edit has put there.
        flip: probability of an image's mirror image.
        per: "class" for one subject a class, "feature" for one a class and feature.
        max_contexts: scenes kept for sampling, strongest first.
        precision: of the frozen parts: "auto" (bfloat16 on CUDA, else float32) or a dtype.
        device: "auto", or a device of torch.
    """

    name: ClassVar[str]
    speaks: ClassVar[bool] = True
    wanting: ClassVar[str] = "edited images to learn from"
    remedy: ClassVar[str] = "; try personaliser.flipped_only=false"

    def __init__(
        self,
        model: str,
        revision: str = "main",
        folder: str | Path = "outputs/personalised",
        steps: Count = 1000,
        batch_size: Count = 4,
        learning_rate: Positive = 2e-3,
        weight_decay: NonNegative = 1e-2,
        size: LatentSide | None = None,
        seed: Natural = 0,
        micro_batch: Count | None = None,
        checkpointing: bool = True,
        checkpoint_every: Count = 100,
        strip_every: Natural = 100,
        images: Count = 35,
        per_feature: Sequence[int] = (15, 10),
        flipped_only: bool = True,
        min_images: Count = 3,
        templates: Sequence[str] | None = None,
        scenes: bool = False,
        flip: Fraction = 0.5,
        per: Literal["class", "feature"] = "class",
        max_contexts: Count = 40,
        precision: str = "auto",
        device: str = "auto",
    ) -> None:
        self.templates = tuple(templates) if templates else TEMPLATES
        without = [t for t in self.templates if "{}" not in t]
        if without:
            raise ConfigError(
                f"personaliser.templates: {without[0]!r} has no {{}} for the class's words."
            )
        self.checkpoint = Checkpoint(
            model, revision, "choose personaliser=composition", pipeline=True
        )
        self.folder = Path(folder)
        self.training = Training(
            steps,
            batch_size,
            learning_rate,
            weight_decay,
            size,
            seed,
            micro_batch,
            checkpointing,
            checkpoint_every,
            strip_every,
        )
        self.selection = Selection(images, tuple(per_feature), flipped_only)
        self.min_images = min_images
        self.scenes = scenes
        self.flip = flip
        self.per = per
        self.max_contexts = max_contexts
        self.precision = precision
        self.device = device
        self.loggers: Loggers | None = None

    # --- what a kind of personaliser says ---------------------------------------------------

    @abstractmethod
    def further_identity(self) -> Mapping[str, Json]:
        """What changes the result besides the settings all share."""

    @abstractmethod
    def word(self, subject: Subject) -> str:
        """What stands for a subject in a prompt."""

    @abstractmethod
    def attach(
        self, pipe: Any, subjects: Sequence[tuple[str, Subject]], noun: str
    ) -> AbstractContextManager[Learnt]:
        """The pipeline with what is to be learnt, while the context lasts.

        Args:
            pipe: frozen.
            subjects: word of each, and what shows it.
            noun: of the class.
        """

    def further_sources(self, pipe: Any, noun: str, folder: Path) -> list[Source]:
        """What is learnt from besides the pictures."""
        return []

    def about(self, evidence: ClassEvidence) -> str:
        """What is learnt, in a word: the class."""
        return evidence.noun

    def lessons(self, evidence: ClassEvidence) -> list[tuple[str, Subject]]:
        """Word of each subject, and what shows it."""
        chosen = self.selection.choose(evidence)
        return [(self.word(s), s) for s in subjects_of(evidence, chosen, self.per == "feature")]

    # --- what all share ---------------------------------------------------------------------

    def log_to(self, loggers: Loggers) -> None:
        """Show losses and samples while it learns; see :class:`aspire.generation.base.Loggable`."""
        self.loggers = loggers

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "loggers": None}  # they belong to the process that made them

    def identity(self) -> Mapping[str, Json]:
        return {"personaliser": self.name, **self._learning(), "max_contexts": self.max_contexts}

    def _learning(self) -> dict[str, Json]:
        """What changes the weights."""
        return {
            **self.checkpoint.identity(),
            **self.training.identity(),
            "selection": [
                self.selection.images,
                list(self.selection.per_feature),
                self.selection.flipped_only,
                self.min_images,
            ],
            "templates": list(self.templates),
            "scenes": self.scenes,
            "flip": self.flip,
            "per": self.per,
            **self.further_identity(),
            **({"code": code} if (code := code_of(self)) else {}),
        }

    def personalise(self, evidence: ClassEvidence) -> Concept | Rejected:
        concept = described(evidence, self.max_contexts)
        if isinstance(concept, Rejected):
            return concept
        lessons = self.lessons(evidence)
        number = sum(len(subject.shown) for _, subject in lessons)
        if number < self.min_images:
            detail = (
                f"{evidence.name}: {number} {self.wanting}, at least {self.min_images} are needed"
                f"{self.remedy}"
            )
            return Rejected(item_id=concept.concept_id, reason="too_few_images", detail=detail)
        where = self.folder / self._key(evidence, lessons)
        pictures = self.keep(where, evidence, lessons)
        effect = self._learn(where, evidence, lessons)
        return msgspec.structs.replace(
            concept,
            tokens=tuple(word for word, _ in lessons if word),
            pictures=pictures,
            weights=f"{where.name}/learned.safetensors",
            weights_sha256=file_digest(where / "learned.safetensors"),
            effect=effect,
        )

    def _key(self, evidence: ClassEvidence, lessons: Sequence[tuple[str, Subject]]) -> str:
        """Short hash of all that changes the weights."""
        return digest_of(
            {
                "personaliser": self.name,
                **self._learning(),
                "class": self.about(evidence),
                "subjects": [
                    [word, s.caption or s.scene, file_digest(s.file)]
                    for word, subject in lessons
                    for s in subject.shown
                ],
            }
        )[:16]

    def keep(
        self, where: Path, evidence: ClassEvidence, lessons: Sequence[tuple[str, Subject]]
    ) -> tuple[Picture, ...]:
        """The pictures of the concept, copied into a folder of the personalisations."""
        pictures = []
        for index, s in enumerate(s for _, subject in lessons for s in subject.shown):
            name = f"pictures/{index:03d}{s.file.suffix}"
            if not (where / name).is_file():
                write_atomic(where / name, s.file.read_bytes())
            pictures.append(
                Picture(
                    file=f"{where.name}/{name}", edit_id=s.edit_id, img_id=s.img_id, scene=s.scene
                )
            )
        return tuple(pictures)

    def _learn(
        self, where: Path, evidence: ClassEvidence, lessons: Sequence[tuple[str, Subject]]
    ) -> float:
        """Learn in a folder, unless it is finished already; the effect of what was learnt."""
        from aspire.generation.personalising import finished, learn, lock

        with lock(where):
            result = finished(where)
            if result is None:
                pipe = self._pipeline()
                source = self._source(pipe, lessons)
                noun = self.about(evidence)
                further = self.further_sources(pipe, noun, where)
                word, subject = lessons[0]
                prompt = subject.shown[0].caption or self.templates[0].format(word)
                with self.attach(pipe, lessons, noun) as learnt:
                    result = learn(
                        where,
                        pipe,
                        learnt,
                        [source, *further],
                        self.training,
                        prompt,
                        self.loggers,
                    )
        return float(result["effect"])

    def _pipeline(self) -> Any:
        from aspire.generation.diffusion_model import load_pipeline

        return load_pipeline(
            "AutoPipelineForText2Image", self.checkpoint, self.device, self.precision
        )

    def _source(self, pipe: Any, subjects: Sequence[tuple[str, Subject]]) -> Source:
        from aspire.generation.denoising import Source, encode
        from aspire.generation.diffusion_model import native_size

        size = self.training.size or native_size(pipe)
        mean, std = encode(pipe, [s.file for _, subject in subjects for s in subject.shown], size)
        captions = []
        for word, subject in subjects:
            for s in subject.shown:
                scene = f", {s.scene}" if self.scenes and s.scene else ""
                said = [t.format(word) + scene for t in self.templates]
                captions.append([s.caption] if s.caption else said)
        return Source("pictures", mean, std, captions, flip=self.flip)
