"""The looks of many assets: computed on all cores, each asset once, and remembered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datapin.pipeline.mapping.context import StageContext
from datapin.pipeline.mapping.map import MapPlan, Rows, decode_results, map_rows
from datapin.pipeline.mapping.work import ExtractFeatures
from datapin.pipeline.operators.images.looks import LOOK, Looks
from datapin.pipeline.record.fingerprint import memo_key

_BATCH_ASSETS = 64


@dataclass(frozen=True, slots=True)
class SeenLooks:
    """For each row the hash of its pixels as seen, of its samples as operators hash them, its perceptual hash.

    All zero where there is a problem: no image.
    """

    pixels: npt.NDArray[np.uint8]  # [n, 32]
    samples: npt.NDArray[np.uint8]  # [n, 32]
    perceptual: npt.NDArray[np.uint64]
    problems: pa.Array  # string, null where there is an image

    @property
    def is_image(self) -> npt.NDArray[np.bool_]:
        """Which rows have a look."""
        seen: npt.NDArray[np.bool_] = ~self.problems.is_valid().to_numpy(zero_copy_only=False)
        return seen


def looks_of(rows: Rows, context: StageContext, *, title: str) -> SeenLooks:
    """The looks of every row's asset. Raises AssetsMissing, DamagedAsset, StorageFailed, WorkersLost."""
    operator = Looks()
    computation = ExtractFeatures(operator, context.store.root)
    key = memo_key(operator.fingerprint, operator.environment)
    plan = MapPlan(computation, key, makes_assets=False, title=title, batch_assets=_BATCH_ASSETS)
    looks = np.zeros(len(rows), dtype=LOOK)
    problems: list[pa.Array] = []
    start = 0
    for mapped in map_rows(rows.chunks(), plan, context, context.engine(), total=len(rows)):
        count = len(mapped.rows)
        looks[start : start + count] = decode_results(mapped.values, LOOK)
        problems.append(mapped.problems)
        start += count
    joined = pa.concat_arrays(problems) if problems else pa.array([], pa.string())
    return SeenLooks(looks["pixels"].copy(), looks["samples"].copy(), looks["perceptual"].copy(), joined)
