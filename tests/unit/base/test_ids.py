from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pytest

from datapin.base.errors import BadAssetId
from datapin.base.id_columns import id_prefixes, ids_from_hex, ids_from_raw, ids_to_hex
from datapin.base.ids import parse_asset_id
from stored import asset_id_of

HEX = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(50)]


def test_an_id_is_the_sha256_of_the_bytes() -> None:
    assert asset_id_of(b"abc") == hashlib.sha256(b"abc").hexdigest()


@pytest.mark.parametrize("bad", ["", "../../x", HEX[0].upper(), HEX[0][:-1], HEX[0] + "0", HEX[0] + "\n", "g" * 64])
def test_text_that_is_no_id_never_becomes_one(bad: str) -> None:
    with pytest.raises(BadAssetId):
        parse_asset_id(bad)
    with pytest.raises(BadAssetId):
        ids_from_hex(pa.array([HEX[1], bad]))


def test_a_null_is_no_id() -> None:
    with pytest.raises(BadAssetId):
        ids_from_hex(pa.array([HEX[0], None]))


@pytest.mark.parametrize(
    "column",
    [
        pa.array(HEX),
        pa.array(HEX, pa.large_string()),
        pa.chunked_array([HEX[:7], [], HEX[7:]]),
        pa.array(["x", *HEX]).slice(1),
        pa.array(HEX).dictionary_encode(),
    ],
)
def test_hex_and_raw_ids_convert_both_ways_in_any_layout(column: pa.Array) -> None:
    ids = ids_from_hex(column)
    assert ids.dtype == np.uint8
    assert ids.tobytes() == b"".join(bytes.fromhex(text) for text in HEX)
    assert ids_to_hex(ids).to_pylist() == HEX
    assert (ids_from_raw(ids.tobytes()) == ids).all()


def test_no_ids_are_an_empty_matrix() -> None:
    assert ids_from_hex(pa.chunked_array([], pa.string())).shape == (0, 32)
    assert ids_to_hex(np.empty((0, 32), np.uint8)).to_pylist() == []


def test_prefixes_sort_as_ids_do() -> None:
    ids = ids_from_hex(pa.array(HEX))
    order = np.argsort(id_prefixes(ids))
    assert [HEX[i] for i in order] == sorted(HEX)
