"""Other rates, by soxr (band-limited, high quality, linear phase)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from datapin.pipeline.operators.audio.reading import MOST_SAMPLES
from datapin.pipeline.operators.operator import AssetBroken


def resampled(samples: npt.NDArray[np.floating], rate: int, wanted: int) -> npt.NDArray[np.floating]:
    """The same sound at another rate; one channel, in one piece, so that no block's end shows. Raises AssetBroken."""
    import soxr

    if rate == wanted:
        return samples
    count = -(-len(samples) * wanted // rate)
    if count > MOST_SAMPLES:
        raise AssetBroken(f"{count} samples at {wanted} per second, expected at most {MOST_SAMPLES}")
    found: npt.NDArray[np.floating] = soxr.resample(samples, rate, wanted, quality="HQ")
    return found
