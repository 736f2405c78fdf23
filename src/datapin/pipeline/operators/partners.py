"""Partners: which second train asset enters a copy, for operators such as mixup and swap noise.

The choice depends on operator, asset, copy, seed and the set of candidates, on no order and no count of workers.
Candidates lie on the circle of their ids; each copy has a point on it, and takes the one with the least hash of the
next few (consistent hashing, Karger et al. 1997; rendezvous hashing, Thaler & Ravishankar 1998). So one asset more
among n gives another partner to about one copy in n, and the others stay remembered.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from datapin.base.id_columns import IdMatrix
from datapin.base.ids import RAW_ID_BYTES
from datapin.pipeline.operators.operator import Operator, PartnerOperator
from datapin.pipeline.operators.seeding import random_words

PARTNER = "partner_id"
"""The column with the asset id of a copy's partner."""

_VERSION = 1
_NEXT = 16  # candidates that a copy chooses among: the gaps between ids, which are uneven, hardly show
_AT_ONCE = 1 << 14  # copies

Words = npt.NDArray[np.uint64]


def with_partner(operator: Operator) -> PartnerOperator | None:
    """The operator if its copies take partners, else None."""
    return operator if isinstance(operator, PartnerOperator) and operator.takes_partner else None


def choose_partners(
    operator: PartnerOperator, ids: IdMatrix, copies: npt.NDArray[np.int64], candidates: IdMatrix
) -> IdMatrix:
    """For each copy of an asset another asset of the candidates, uint8 [n, 32].

    Candidates are the train rows' own assets, in any order, as often as they like. Raises ValueError if they are not
    two or more different ones.
    """
    raw = np.ascontiguousarray(candidates).view(f"V{RAW_ID_BYTES}").reshape(-1)
    circle = np.unique(raw).view(np.uint8).reshape(-1, RAW_ID_BYTES)
    if len(circle) < 2:
        raise ValueError(f"{len(circle)} different asset(s)")
    parts = [
        _chosen(operator, ids[start : start + _AT_ONCE], copies[start : start + _AT_ONCE], circle)
        for start in range(0, len(ids), _AT_ONCE)
    ]
    return np.concatenate(parts) if parts else np.zeros((0, RAW_ID_BYTES), dtype=np.uint8)


def pair_ids(ids: IdMatrix, partners: IdMatrix) -> IdMatrix:
    """What the memo calls a pair: SHA-256 of asset id and partner id, 32 bytes each."""
    pairs = np.ascontiguousarray(np.concatenate([ids, partners], axis=1))
    digests = b"".join(hashlib.sha256(pair).digest() for pair in pairs)
    return np.frombuffer(digests, dtype=np.uint8).reshape(-1, RAW_ID_BYTES)


def _chosen(operator: PartnerOperator, ids: IdMatrix, copies: npt.NDArray[np.int64], circle: IdMatrix) -> IdMatrix:
    name, seed = f"partner of {operator.name}", operator.seed
    drawn = np.array(
        [
            random_words(name, _VERSION, one.tobytes().hex(), copy, seed, 2)
            for one, copy in zip(ids, copies.tolist(), strict=True)
        ],
        dtype=np.uint64,
    )
    heads = np.ascontiguousarray(circle[:, :8]).view(">u8").reshape(-1).astype(np.uint64)
    first = np.searchsorted(heads, drawn[:, 0])
    places = (first[:, None] + np.arange(min(_NEXT, len(circle)))) % len(circle)
    scores = _mixed(heads[places] ^ drawn[:, 1:])
    is_self = (circle[places] == ids[:, None, :]).all(axis=2)
    scores[is_self] = np.iinfo(np.uint64).max
    best = np.take_along_axis(places, scores.argmin(axis=1)[:, None], axis=1)
    chosen: IdMatrix = circle[best[:, 0]]
    return chosen


def _mixed(words: Words) -> Words:
    """The finaliser of SplitMix64 (Steele, Lea, Flood 2014)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
