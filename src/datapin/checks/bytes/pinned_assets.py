"""The assets that all pinned manifests name, each once, and which rows name it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from datapin.base.errors import DatapinError
from datapin.base.id_columns import IdMatrix, ids_from_hex, ids_from_raw, numbers
from datapin.checks.subject import Subject
from datapin.manifest.columns.columns import flags, one_array
from datapin.manifest.columns.schema import asset_columns
from datapin.manifest.manifest import Manifest

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class NamedAssets:
    """What one asset column of a dataset names: row `rows[i]` names the asset `assets[i]` of PinnedAssets."""

    dataset: str
    column: str
    manifest: Manifest
    rows: Int64s
    assets: Int64s


@dataclass(frozen=True, slots=True)
class PinnedAssets:
    """Distinct assets `ids`, `uint8 [n, 32]`; `unread` are the datasets that could not be read."""

    ids: IdMatrix
    named: Sequence[NamedAssets]
    unread: Sequence[tuple[str, DatapinError]]


def pinned_assets(subject: Subject) -> PinnedAssets:
    """The assets of all datasets. Memory: 48 bytes for each row and asset column."""
    parts: list[tuple[str, str, Manifest, Int64s]] = []
    ids: list[IdMatrix] = []
    unread = []
    for dataset in subject.pins:
        try:
            manifest = subject.manifest(dataset)
            found = [(column, *_named(manifest, column)) for column in asset_columns(manifest.schema)]
        except DatapinError as error:
            unread.append((dataset, error))
            continue
        for column, rows, named in found:
            parts.append((dataset, column, manifest, rows))
            ids.append(named)
    every = np.concatenate(ids) if ids else ids_from_raw(b"")
    unique, inverse = np.unique(np.ascontiguousarray(every).view("V32").reshape(-1), return_inverse=True)
    starts = np.cumsum([0, *(len(part) for part in ids)])
    named_assets = [
        NamedAssets(*part, inverse[start : start + len(part[3])])
        for part, start in zip(parts, starts[:-1], strict=True)
    ]
    return PinnedAssets(unique.view(np.uint8).reshape(-1, 32), named_assets, unread)


def keys_of(manifest: Manifest, rows: Int64s) -> list[str]:
    """The keys of these rows of a manifest."""
    keys: list[str] = manifest.to_table(["key"])["key"].take(pa.array(rows)).to_pylist()
    return keys


def _named(manifest: Manifest, column: str) -> tuple[Int64s, IdMatrix]:
    """Row numbers, and the asset that each names; nulls name none, lists several."""
    values = one_array(manifest.to_table([column])[column])
    rows = np.arange(len(values), dtype=np.int64)
    while types.is_list(values.type) or types.is_fixed_size_list(values.type):
        rows = rows[numbers(pc.list_parent_indices(values))]
        values = pc.list_flatten(values)
    valid = flags(values.is_valid())
    return rows[valid], ids_from_hex(values.drop_null())


def iter_lots(order: Int64s, lengths: Int64s, most_rows: int, most_bytes: int) -> Iterator[Int64s]:
    """The assets in this order in lots of so many rows and bytes at most; one that is larger is a lot of its own."""
    begin = 0
    ends = np.cumsum(lengths[order])
    while begin < len(order):
        before = int(ends[begin - 1]) if begin else 0
        end = int(np.searchsorted(ends, before + most_bytes, side="right"))
        end = min(max(end, begin + 1), begin + most_rows)
        yield order[begin:end]
        begin = end
