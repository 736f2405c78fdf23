"""Real repositories with Git and DVC, and manifests to pin in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from clones import Clone
from datapin.dvcfiles.tracking.track import track
from pinning import Pin, summary_of, write_shards


@pytest.fixture
def pin(clone: Clone) -> Pin:
    """Write shards with these bytes and pin them."""

    def write_and_track(*contents: bytes, dataset: str = "data/raw", root: Path | None = None) -> str:
        root = root or clone.path
        write_shards(root / dataset, *contents)
        return track(root, dataset, summary_of(*contents))

    return write_and_track
