"""Histograms of oriented gradients, batched in NumPy; integers until the last step, so that no batch size,
processor or summation order can show in the result."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from datapin.base.errors import OperatorRefused
from datapin.pipeline.operators.operator import Float32, UInt8

BLOCK_CELLS = 2
_CLIP = 0.2  # L2-Hys: normalise, clip, normalise again
_REACH = 255  # gradients of 8-bit samples lie in [-255, 255]
_SIDE = 2 * _REACH + 1
_UNIT = 256  # votes are counted in 1/256 grey level
_FLOOR = float(_UNIT * _UNIT)  # keeps flat blocks from being blown up: one grey level


def hog(images: UInt8, cell_px: int, bins: int = 9) -> Float32:
    """Histograms of oriented gradients, Dalal & Triggs 2005: unsigned bins, shared votes, L2-Hys blocks of 2x2 cells.

    `images` is uint8 [n, height, width, channels]; of several channels the one with the steepest gradient counts.
    The result is float32 [n, d], d = (height/cell - 1) · (width/cell - 1) · 4 · bins; rows independent of the batch.
    Raises OperatorRefused if a side is not a multiple of `cell_px`, or shorter than two cells.
    """
    count, height, width = images.shape[:3]
    if height % cell_px or width % cell_px or min(height, width) < BLOCK_CELLS * cell_px:
        raise OperatorRefused(
            "hog",
            f"an image has {width} x {height} pixels, expected sides that are multiples of cell = {cell_px}"
            f" and at least {BLOCK_CELLS * cell_px}; set resize",
        )
    rows, columns = height // cell_px, width // cell_px
    gradient = _gradient_index(images)
    nearest, votes_nearest, votes_next = _vote_tables(bins)
    cell_row = np.arange(height) // cell_px
    cell_column = np.arange(width) // cell_px
    cell = (np.arange(count)[:, None, None] * rows + cell_row[:, None]) * columns + cell_column
    first = nearest[gradient]
    second = np.where(first + 1 == bins, 0, first + 1)
    slots = count * rows * columns * bins
    # Sums of integers below 2**53 are exact in double precision, in any order.
    histogram = np.bincount((cell * bins + first).ravel(), votes_nearest[gradient].ravel(), slots)
    histogram += np.bincount((cell * bins + second).ravel(), votes_next[gradient].ravel(), slots)
    cells = histogram.reshape(count, rows, columns, bins)
    blocks = np.concatenate(
        [cells[:, y : rows - 1 + y, x : columns - 1 + x] for y in range(BLOCK_CELLS) for x in range(BLOCK_CELLS)],
        axis=-1,
    )
    return _l2_hys(blocks).reshape(count, -1)


def _gradient_index(images: UInt8) -> npt.NDArray[np.int32]:
    """Per pixel one number for the gradient (across, down), into the vote tables. Zero on the border."""
    wide = images.astype(np.int32)
    across = np.zeros_like(wide)
    down = np.zeros_like(wide)
    across[:, :, 1:-1] = wide[:, :, 2:] - wide[:, :, :-2]
    down[:, 1:-1] = wide[:, 2:] - wide[:, :-2]
    index = (down + _REACH) * _SIDE + across + _REACH
    if images.shape[3] == 1:
        return index[..., 0]
    steepest = np.argmax(across * across + down * down, axis=3)
    return np.take_along_axis(index, steepest[..., None], axis=3)[..., 0]


@lru_cache(maxsize=4)
def _vote_tables(bins: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """For every possible gradient: its lower bin, the votes for it, and the votes for the next bin."""
    down, across = np.meshgrid(np.arange(-_REACH, _REACH + 1), np.arange(-_REACH, _REACH + 1), indexing="ij")
    angle = np.arctan2(down, across) % np.pi
    place = angle / (np.pi / bins) - 0.5
    lower = np.floor(place)
    share = np.rint((place - lower) * _UNIT) / _UNIT
    magnitude = np.rint(np.sqrt(down * down + across * across) * _UNIT)
    votes_next = np.rint(magnitude * share)
    nearest = (lower.astype(np.int64) % bins).ravel()
    return nearest, (magnitude - votes_next).ravel(), votes_next.ravel()


def _l2_hys(blocks: npt.NDArray[np.float64]) -> Float32:
    clipped = np.minimum(blocks / np.sqrt(_sum_of_squares(blocks) + _FLOOR), _CLIP)
    return (clipped / np.sqrt(_sum_of_squares(clipped) + 1e-10)).astype(np.float32)


def _sum_of_squares(blocks: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    # Term by term: NumPy's own sum picks its order by the memory layout, which depends on the batch.
    total = np.zeros(blocks.shape[:-1])
    for term in range(blocks.shape[-1]):
        total += blocks[..., term] * blocks[..., term]
    return total[..., None]
