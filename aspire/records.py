"""The typed records that travel between stages.

Each is an immutable struct of JSON types. Decoding is strict: an unknown, missing or mistyped
field is an error naming the field. Files are named relative to the folder of the artifact (or
dataset) that owns them.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from aspire.values import Below


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of everything a stage takes or gives."""


class ImageRef(Record, frozen=True):
    """One image of a dataset, with what is annotated about it."""

    img_id: str
    file: str  # relative to the dataset's root
    y: int  # class index
    caption: str | None = None
    mask: str | None = (
        None  # label map relative to the root: 0 background, 1 class object, 2.. objects
    )
    objects: dict[str, int] = {}  # phrase -> value in the label map
    photograph: str | None = None  # what its scene was cut from, where images are known to share it


class Answer(Record, frozen=True):
    """What a classifier says of an image, and how sure it is."""

    img_id: str
    y: int  # labelled class
    predicted: int
    p: float  # probability of the predicted class


class Caption(Record, frozen=True):
    """What an image shows, in words."""

    img_id: str
    text: str


class Region(Record, frozen=True):
    """A part of an image as cells of a grid that is laid over all of it."""

    side: int  # cells in a row, and rows
    cells: str  # a bit for each, row by row, as hexadecimal digits


class Extraction(Record, frozen=True):
    """The phrases of one caption, or the visual concepts of one image.

    ``foreground`` never holds the class object. ``background`` is the one scene the caption
    names, ``alternative`` another scene to move the class object to; both None together where
    the caption names no background.
    """

    img_id: str
    foreground: tuple[str, ...]
    background: str | None
    alternative: str | None
    # where each of them is, when that is known already: what was found by looking
    regions: dict[str, Region] | UnsetType = UNSET


class Crop(Record, frozen=True):
    """A part of an image to show, in fractions of its width and height."""

    img_id: str
    box: tuple[float, float, float, float]  # left, top, right, bottom


class Part(Record, frozen=True):
    """A cluster that a concept is made of."""

    cluster: int  # row of the class's centres
    radius: float  # largest squared distance from the centre


class VisualConcept(Record, frozen=True):
    """Parts of images that look alike, and go along with a class."""

    name: str  # its nearest words with a question mark
    y: int  # the class it was found in
    parts: tuple[Part, ...]
    scene: bool  # whether it is what the class object stands before
    own: float  # share of the class's images that show it, in [0, 1]
    others: float  # of the other classes' images
    crops: tuple[Crop, ...]


class ConceptSpace(Record, frozen=True):
    """What concepts are told apart by, learnt from the images of a dataset."""

    mean: tuple[float, ...]  # (C,) of the network's features
    scale: tuple[float, ...]  # (C,)
    basis: tuple[tuple[float, ...], ...]  # (D, C)
    centres: tuple[tuple[tuple[float, ...], ...], ...]  # of each class (K, D)
    concepts: tuple[VisualConcept, ...]


EditKind = Literal["remove_object", "change_background"]

EditReason = Literal[
    "no_box",
    "low_score",
    "mask_too_large",
    "empty_mask",
    "failed",
    "no_object_mask",
    "no_donor",
]
"""Why an edit did not happen: the ``reason`` of the edit stage's ``Rejected`` records."""


class Edit(Record, frozen=True):
    """One edited image: the original without ``phrase``.

    Pixels where ``mask`` is 0 are bit-equal to the original.
    """

    edit_id: str
    img_id: str
    y: int
    kind: EditKind
    phrase: str  # what was taken away
    replacement: str | None  # the scene put in its place; None for a removal
    donor: str | None  # img_id of the image the new scene comes from
    file: Below
    mask: Below  # 255 where pixels may have changed
    edited_share: float  # fraction of pixels that may have changed, in [0, 1]
    # the same round trip without taking the phrase away: a hole of the same shape elsewhere, or
    # the same scene from another source; None where none could be made
    control: str | None = None
    # the photograph that shows the new scene, the donor itself or what it was cut from; None where
    # the new content was made for this image alone
    photograph: str | None = None


class Effect(Record, frozen=True):
    """What one edit did to a classifier that was right about the original."""

    edit_id: str
    img_id: str
    y: int
    kind: EditKind
    phrase: str
    replacement: str | None
    p_before: float  # probability of the true class, in [0, 1]
    p_after: float
    predicted_after: int
    p_control: float | None = None  # after the edit's control; None without one
    predicted_control: int | None = None
    photograph: str | None = None  # of the edit

    @property
    def cluster(self) -> str:
        """What the edit shares with others of its feature: the photograph, else its image."""
        return self.img_id if self.photograph is None else self.photograph

    @property
    def flipped(self) -> bool:
        """Whether the classifier changed its mind."""
        return self.predicted_after != self.y

    @property
    def drop(self) -> float:
        """Fall of the true class's probability, in [-1, 1]."""
        return self.p_before - self.p_after

    @property
    def net_drop(self) -> float | None:
        """The drop without what the control edit dropped too, in [-1, 1]; None without one."""
        return None if self.p_control is None else self.p_control - self.p_after


class PhraseGroup(Record, frozen=True):
    """Phrases that say the same, under the one that is said most often."""

    phrase: str
    members: tuple[str, ...]  # sorted; ``phrase`` is one of them


class SpuriousFeature(Record, frozen=True):
    """One phrase tied to one class, with the evidence for it.

    Rates and drops are over edits of correctly classified images; None where there is nothing to
    take them over.
    """

    feature_id: str  # "<y>/<rank>"
    y: int
    rank: int  # 1 is the strongest of the class
    kind: EditKind
    phrase: str
    support: int  # edits
    flips: int
    flip_rate: float  # flips / support; 0 without support
    score: float  # what the chosen score says; larger is stronger
    mean_drop: float
    spurious: bool  # passed the thresholds of the score
    examples: tuple[str, ...]  # edit_ids, largest drop first
    members: tuple[str, ...] = ()  # the phrases that were counted together
    interval: tuple[float, float] = (0.0, 1.0)  # 95 % Wilson interval of the flip rate
    controls: int = 0  # edits that have a control edit
    control_rate: float | None = None  # control edits that flipped / controls
    control_drop: float | None = None  # mean drop under the control edits
    p_value: float | None = None
    q_value: float | None = None  # the same, corrected over all features of all classes
    donors: int | None = None  # photographs that the edits' new scenes are from; None without any


class Context(Record, frozen=True):
    """A scene to place a class in, and the training images that show it."""

    phrase: str
    weight: float  # sampling probability; sums to 1 over a concept
    donors: tuple[str, ...]  # img_ids


class Picture(Record, frozen=True):
    """One edited image that a personaliser learnt from, kept beside what it learnt."""

    file: Below  # relative to the personalisations' folder
    edit_id: str
    img_id: str
    scene: str | None  # the scene it shows, where the edit put one there


class Patch(Record, frozen=True):
    """A part of an image that is replaced by the same part of another one."""

    donor: str  # img_id of the other
    masks: tuple[Below, ...]  # 255 in the part, together; relative to the personalisations' folder


class Swap(Record, frozen=True):
    """An image in which regions change places with those of others, one after the other."""

    img_id: str
    patches: tuple[Patch, ...]


class Concept(Record, frozen=True):
    """What a personaliser has learnt about one class: how it looks and where to put it."""

    concept_id: str
    y: int
    objects: tuple[str, ...]  # img_ids whose class object may be used
    contexts: tuple[Context, ...]  # scenes free of the class's spurious features
    avoided: tuple[str, ...]  # the spurious phrases
    tokens: tuple[str, ...] = ()  # words that call what was learnt, one of them in a prompt
    pictures: tuple[Picture, ...] = ()
    weights: Below | None = None  # safetensors, relative to the personalisations' folder
    weights_sha256: str | None = None
    effect: float | None = None  # relative change of the noise prediction through the weights
    swaps: tuple[Swap, ...] = ()  # images to be made of it, in this order


class SyntheticImage(Record, frozen=True):
    """One generated image and everything needed to make it again."""

    img_id: str
    y: int
    seed: int
    prompt: str
    parents: tuple[str, ...]  # img_ids of the real images it was made from
    file: Below
    mask: Below | None  # 255 on the class object, where the generator knows it
    concept_id: str = ""
    negative_prompt: str = ""
    scene: str = ""  # phrase of the scene it was asked to show; "" for none, or not kept then


class FilterDecision(Record, frozen=True):
    """Whether a generated image may be trained on, and why not."""

    img_id: str
    kept: bool
    reason: str | None  # name of the first filter that rejected it
    scores: dict[str, float]


class Neighbour(Record, frozen=True):
    """The real image that a generated one looks most like."""

    img_id: str
    real_id: str
    distance: float  # in [0, 1]; 0 for a copy
    file: Below  # the real image, small


class Rejected(Record, frozen=True):
    """An item a stage could not turn into a record. Counted and kept, never dropped silently.

    An edit that could not be made says which one; the rejections of other stages, and those of old,
    lack these fields.
    """

    item_id: str
    reason: str  # short and countable: "no_background", "no_box"
    detail: str = ""
    img_id: str | UnsetType = UNSET
    kind: EditKind | UnsetType = UNSET
    phrase: str | UnsetType = UNSET


class Measurement(Record, frozen=True):
    """What the filters measured on one generated image, before any decision."""

    img_id: str
    values: dict[str, float | str]  # filter name -> number, or a hash
