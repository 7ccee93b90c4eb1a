"""A sampler that other processes can import: it writes down who made what."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aspire.generation.base import GenerationRequest
from aspire.generation.text_to_image import TextToImage


class Noting(TextToImage):
    """A line an image, in a file named after the process; dies where it is told to."""

    notes: Path
    dies_at: str = ""

    def sample(self, requests: Sequence[GenerationRequest]) -> list[Any]:
        for request in requests:
            with (self.notes / str(os.getpid())).open("a") as file:
                file.write(f"{request.img_id}\n")
            if request.img_id == self.dies_at:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().sample(requests)
