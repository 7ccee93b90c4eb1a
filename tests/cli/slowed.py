"""Backends that are the real ones with a pause, so that a test can kill them in the middle.

Each call is written to $ASPIRE_TEST_CALLS; $ASPIRE_TEST_PAUSE is the pause in seconds.
"""

import os
import time
from pathlib import Path

from aspire.editing.composition import CompositionRestyler
from aspire.generation.filters import NearUniform
from aspire.language.dataset_captioner import DatasetCaptioner


def note(kind, name):
    time.sleep(float(os.environ["ASPIRE_TEST_PAUSE"]))
    with Path(os.environ["ASPIRE_TEST_CALLS"]).open("a") as log:
        log.write(f"{kind} {name}\n")


class SlowCaptioner(DatasetCaptioner):
    def caption(self, images):
        for image in images:
            note("caption", image.ref.img_id)
        return super().caption(images)


class SlowRestyler(CompositionRestyler):
    def restyle(self, requests):
        for request in requests:
            if request.source != request.target and request.source:  # no control, no generation
                note("edit", request.image.ref.img_id)
        return super().restyle(requests)


class SlowNearUniform(NearUniform):
    def measure(self, images, classifier):
        for image in images:
            note("measure", image.img_id)
        return super().measure(images, classifier)
