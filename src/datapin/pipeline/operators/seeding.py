"""Randomness as a function of operator, its version, asset id, copy and seed: no generator, no global state."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

_SCALE = 1.0 / (1 << 32)


def _material(operator: str, version: int, asset_id: str, copy: int, seed: int) -> bytes:
    return f"{operator}/{version}\0{asset_id}\0{copy}\0{seed}".encode()


def random_words(operator: str, version: int, asset_id: str, copy: int, seed: int, count: int) -> list[int]:
    """`count` random 64-bit numbers, from SHAKE-128 over the arguments."""
    raw = hashlib.shake_128(_material(operator, version, asset_id, copy, seed)).digest(8 * count)
    return [int.from_bytes(raw[at : at + 8], "big") for at in range(0, 8 * count, 8)]


def uniforms(operator: str, version: int, asset_id: str, copy: int, seed: int, count: int) -> list[float]:
    """`count` numbers in [0, 1), from SHAKE-128 over the arguments, four bytes each."""
    raw = hashlib.shake_128(_material(operator, version, asset_id, copy, seed)).digest(4 * count)
    return [int.from_bytes(raw[at : at + 4], "big") * _SCALE for at in range(0, 4 * count, 4)]


def raw_stream(operator: str, version: int, asset_id: str, copy: int, seed: int, count: int) -> npt.NDArray[np.uint64]:
    """`count` random 64-bit numbers: Philox keyed by SHAKE-128.

    Only the bit stream is used; NumPy promises to keep that, but not its distributions (NEP 19).
    """
    raw = hashlib.shake_128(_material(operator, version, asset_id, copy, seed)).digest(16)
    bits = np.random.Philox(key=np.frombuffer(raw, dtype="<u8").astype(np.uint64))
    return np.asarray(bits.random_raw(count), dtype=np.uint64)
