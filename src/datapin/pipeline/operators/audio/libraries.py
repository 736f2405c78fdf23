"""The libraries of recordings: an extra, since nobody else needs them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from datapin.base.errors import Usage


@lru_cache(maxsize=1)
def need_libraries() -> None:
    """Raises Usage, with the command that installs them, where they are missing."""
    try:
        import soundfile  # noqa: F401  # the wheel brings libsndfile; without a wheel that may be missing: OSError
        import soxr  # noqa: F401
    except (ImportError, OSError) as error:
        said = str(error).splitlines()[0]
        raise Usage(
            f"kind: audio needs soundfile and soxr, which cannot be loaded: {said}", "pip install 'datapin[audio]'"
        ) from None


@lru_cache(maxsize=1)
def environment() -> Mapping[str, str]:
    """What may change decoded, resampled or transformed samples."""
    import numpy as np
    import soundfile
    import soxr

    return {
        "libsndfile": str(soundfile.__libsndfile_version__),
        "libsoxr": str(soxr.__libsoxr_version__),
        "soxr": str(soxr.__version__),
        "numpy": np.__version__,
    }
