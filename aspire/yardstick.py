"""How fast this machine computes, so that times of different machines can be compared.

The numbers are GFLOPS, billions of floating point operations a second, of two pieces of work that
everything here is made of: an fp32 matrix product of 1024 x 1024 by 1024 x 1024, and a
channels-last 3 x 3 convolution of 32 images of 64 channels and 32 x 32 pixels to 64 channels; each
with one thread and with two. Time is the processor's (of all threads, divided by their number), and
the best of several tries counts, so that other work on the machine disturbs little; where there is
none, it is the time by the clock. ``bf16`` says how many times faster the matrix product is in
bfloat16: below 1 where the processor only imitates it.

A time is stated with Y, the matrix product with two threads, beside it: what takes 10 s at
Y = 140 takes about 20 s at Y = 70. DESIGN section 8 gives its bounds at Y = 70. All of it is the
processor's; of a GPU it says nothing.
"""

from __future__ import annotations

import contextlib
import json
import math
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from aspire.identity import digest_of
from aspire.processes import cores
from aspire.stored.files import write_atomic

Clock = Callable[[], float]
Work = Callable[[], Any]

SIDE = 1024  # of the matrices
IMAGES, CHANNELS, PIXELS, KERNEL = 32, 64, 32, 3  # of the convolution
PRODUCT = 2 * SIDE**3  # operations: a multiplication and an addition each
CONVOLUTION = 2 * IMAGES * PIXELS**2 * CHANNELS**2 * KERNEL**2
SECONDS = 0.3  # each of the five measurements takes at least


@dataclass(frozen=True)
class Yardstick:
    """What was measured.

    Args:
        threads: of the second measurement: 2, or 1 where there is no second core.
        product_1, product: GFLOPS of the matrix product with one thread and with ``threads``.
        convolution_1, convolution: the same of the convolution.
        bf16: matrix products in bfloat16 in the time of one in fp32, with ``threads``.
    """

    threads: int
    product_1: float
    product: float
    convolution_1: float
    convolution: float
    bf16: float

    def of(self, threads: int) -> float:
        """GFLOPS of the matrix product with so many threads, two at most."""
        return self.product_1 if threads == 1 else self.product

    def text(self) -> str:
        """All of it in one line."""
        return (
            f"matrix product {self.product_1:.0f} GFLOPS with 1 thread, {self.product:.0f} with "
            f"{self.threads}; convolution {self.convolution_1:.0f} and {self.convolution:.0f}; "
            f"bf16 {self.bf16:.1f} times as fast as fp32"
        )


def yardstick(folder: Path | None = None, again: bool = False) -> Yardstick:
    """This machine's, measured once a process at most.

    Args:
        folder: where it is kept for other processes, under the processor, the number of its cores
            and the version of torch.
        again: measure although it is kept, and keep that.
    """
    path = folder / f"yardstick-{_machine()}.json" if folder else None
    known = None if again else _read(path)
    found = known or _measured()
    if path is not None and known != found:
        with contextlib.suppress(OSError):  # outputs that can only be read
            write_atomic(path, json.dumps(asdict(found), indent=1).encode())
    return found


def read_yardstick(content: Any) -> Yardstick | None:
    """One from stored values, or None where they are none: positive numbers and nothing else."""
    names = [f.name for f in fields(Yardstick)]
    if not isinstance(content, dict) or sorted(content) != sorted(names):
        return None
    numbers = content.values()
    if not all(isinstance(v, int | float) and math.isfinite(v) and v > 0 for v in numbers):
        return None
    return Yardstick(**content)


def measure(spent: Clock = time.process_time) -> Yardstick:
    """Measure now, in about two seconds; the number of threads is afterwards what it was.

    Args:
        spent: seconds of the processor, from any beginning.
    """
    import torch
    from torch.nn.functional import conv2d

    left, right = torch.ones(SIDE, SIDE), torch.ones(SIDE, SIDE)
    low_left, low_right = left.bfloat16(), right.bfloat16()
    images = torch.ones(IMAGES, CHANNELS, PIXELS, PIXELS).to(memory_format=torch.channels_last)
    kernel = torch.ones(CHANNELS, CHANNELS, KERNEL, KERNEL).to(memory_format=torch.channels_last)

    def product() -> Any:
        return left @ right

    def convolution() -> Any:
        return conv2d(images, kernel, padding=KERNEL // 2)

    before = torch.get_num_threads()
    threads = min(2, cores())
    try:
        with torch.inference_mode():
            seconds = {}
            for number in (1, threads):
                torch.set_num_threads(number)
                seconds[number] = (
                    shortest(product, number, spent),
                    shortest(convolution, number, spent),
                )
            low = shortest(lambda: low_left @ low_right, threads, spent)
    finally:
        torch.set_num_threads(before)
    return Yardstick(
        threads=threads,
        product_1=gflops(PRODUCT, seconds[1][0]),
        product=gflops(PRODUCT, seconds[threads][0]),
        convolution_1=gflops(CONVOLUTION, seconds[1][1]),
        convolution=gflops(CONVOLUTION, seconds[threads][1]),
        bf16=max(0.01, round(seconds[threads][0] / low, 2)),
    )


def shortest(work: Work, threads: int, spent: Clock, wall: Clock = time.monotonic) -> float:
    """Seconds of the fastest try, of two at least and as many as ``SECONDS`` by the wall hold.

    Args:
        threads: that ``work`` keeps busy; the time spent is theirs together.
        spent: seconds of the processor.
        wall: seconds by the clock.
    """
    began = wall()
    tries: list[float] = []
    while len(tries) < 2 or wall() - began < SECONDS:
        start = spent()
        work()
        tries.append((spent() - start) / threads)
    return min(tries)


def gflops(operations: int, seconds: float) -> float:
    """Billions of operations a second, to one decimal.

    >>> gflops(2 * 1024**3, 0.02)
    107.4
    """
    return round(operations / seconds / 1e9, 1)


@cache
def _measured() -> Yardstick:
    return measure()


def _read(path: Path | None) -> Yardstick | None:
    try:
        return read_yardstick(json.loads(path.read_bytes())) if path is not None else None
    except (OSError, ValueError):  # not there yet, or damaged: measured again
        return None


@cache
def _machine() -> str:
    return digest_of([_processor(), cores(), version("torch")])[:12]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
