"""A new background by cut and paste: the class object on the scene of another training image."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from aspire.data.images import Pixels
from aspire.data.loaded import LoadedImage
from aspire.editing.base import Inpainter, Mask, Restyled, RestyleRequest
from aspire.pipeline.stage import Json


class CompositionRestyler:
    """Pastes the kept object on the donor's scene, the donor's own object painted over.

    Args:
        inpainter: fills the place of the donor's object where the pasted one does not cover it.
        feather: width in pixels of the soft rim, outside the object, so that the cut does not
            show; the object's own pixels stay bit-equal.
        grow_donor: pixels by which the donor's object is widened before it is painted over, since
            annotated masks rarely reach the very edge.
        donor_candidates: of so many donors drawn at random the one is taken whose own object the
            pasted one covers best, since less has to be painted over then.
    """

    def __init__(
        self,
        inpainter: Inpainter,
        feather: int = 2,
        grow_donor: int = 4,
        donor_candidates: int = 8,
    ) -> None:
        self.inpainter = inpainter
        self.feather = feather
        self.grow_donor = grow_donor
        self.donor_candidates = donor_candidates

    def identity(self) -> Mapping[str, Json]:
        return {
            "restyler": "composition",
            "feather": self.feather,
            "grow_donor": self.grow_donor,
            "donor_candidates": self.donor_candidates,
            **self.inpainter.identity(),
        }

    def restyle(self, request: RestyleRequest) -> Restyled | None:
        if not request.donors:
            return None
        rng = np.random.default_rng(request.seed)
        number = min(self.donor_candidates, len(request.donors))
        drawn = rng.choice(len(request.donors), size=number, replace=False)
        best: tuple[float, LoadedImage, Mask] | None = None
        for index in drawn:
            donor = request.donors[int(index)]
            mask = request.find_object(donor)
            if mask is None:  # its object cannot be taken out
                continue
            left = uncovered_share(mask, request.keep)
            if best is None or left < best[0]:
                best = (left, donor, mask)
        if best is None:
            return None
        _, donor, mask = best
        pixels = request.image.pixels
        scene = self.inpainter.inpaint(donor.pixels, dilate(mask, self.grow_donor), request.seed)
        if scene.shape != pixels.shape:
            scene = resize(scene, pixels.shape[0], pixels.shape[1])
        return Restyled(paste(pixels, request.keep, scene, self.feather), donor.ref.img_id)


def uncovered_share(mask: Mask, cover: Mask) -> float:
    """Fraction of the image that is in ``mask`` and not under ``cover``."""
    return float((mask & ~cover).mean() if mask.shape == cover.shape else mask.mean())


def paste(image: Pixels, keep: Mask, scene: Pixels, feather: int) -> Pixels:
    """``image`` where ``keep``, ``scene`` elsewhere, blended over ``feather`` pixels outside.

    Args:
        image, scene: (H, W, 3) uint8.
        keep: (H, W); these pixels come out bit-equal to ``image``.
        feather: width of the blend in pixels; 0 for a hard edge.

    Returns:
        (H, W, 3) uint8.
    """
    import cv2

    if feather <= 0:
        return np.where(keep[..., None], image, scene)
    distance = cv2.distanceTransform((~keep).astype(np.uint8), cv2.DIST_L2, 3)
    alpha = np.clip(1.0 - distance / (feather + 1.0), 0.0, 1.0)[..., None]
    blend = alpha * image.astype(np.float32) + (1.0 - alpha) * scene.astype(np.float32)
    return np.where(keep[..., None], image, np.round(blend).astype(np.uint8))


def dilate(mask: Mask, pixels: int) -> Mask:
    """The mask grown by ``pixels`` in every direction."""
    import cv2

    if pixels <= 0:
        return mask
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return np.asarray(cv2.dilate(mask.astype(np.uint8), kernel)) > 0


def resize(image: Pixels, height: int, width: int) -> Pixels:
    """Area interpolation when shrinking, cubic when growing."""
    import cv2

    shrink = image.shape[0] >= height
    how = cv2.INTER_AREA if shrink else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (width, height), interpolation=how), dtype=np.uint8)
