"""The ranges that configured values may have, for the annotations of constructors.

:mod:`aspire.checking` holds a configuration against them before anything is built.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

Natural = Annotated[int, Meta(ge=0)]
Count = Annotated[int, Meta(ge=1)]
Several = Annotated[int, Meta(ge=2)]
Side = Annotated[int, Meta(ge=16, le=4096)]  # of an image, in pixels
LatentSide = Annotated[int, Meta(ge=8, le=4096, multiple_of=8)]  # of what a diffusion model makes
NonNegative = Annotated[float, Meta(ge=0)]
NonNegatives = Annotated[Sequence[NonNegative], Meta(min_length=1)]
Positive = Annotated[float, Meta(gt=0)]
Positives = Annotated[Sequence[Positive], Meta(min_length=1)]
AtLeastOne = Annotated[float, Meta(ge=1)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
PositiveFraction = Annotated[float, Meta(gt=0, le=1)]
Difference = Annotated[float, Meta(ge=-1, le=1)]  # of two fractions
FractionBelowOne = Annotated[float, Meta(ge=0, lt=1)]
OpenFraction = Annotated[float, Meta(gt=0, lt=1)]
Correlation = Annotated[float, Meta(gt=0.5, le=1)]  # of a drawn shortcut
DrawnSide = Annotated[int, Meta(ge=32, le=512)]  # of a drawn image
# Of a file or folder below the one that it is relative to, on every system: with slashes, no drive.
Below = Annotated[str, Meta(pattern=r"^(?!/)(?!.*[\\:])(?!(.*/)?\.\.(/|$)).+$")]
EnvName = Annotated[
    str,
    Meta(
        pattern="^[A-Z_][A-Z0-9_]*$",
        description="the name of an environment variable, in capitals",
        extra={"secret": True},  # whoever types the key itself does not want to read it again
    ),
]
