"""Looks for assets in the shards of many manifests: each distinct shard once, column by column."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.errors import DatapinError
from datapin.manifest.columns.schema import asset_columns, canonical_schema
from datapin.manifest.files.footers import read_footer
from datapin.manifest.files.table import read_rows

Answer = TypeVar("Answer")

_MOST_THREADS = 4
_SHOWN = ("key", "asset_id", "label", "split", "parent", "parent_id")


@dataclass(frozen=True, slots=True)
class UsedRow:
    """A row that holds the asset (`derived` False), or one made from it."""

    key: str
    asset_id: str
    split: str | None
    label: str | None
    derived: bool


@dataclass(frozen=True, slots=True)
class _Shard:
    """A file with rows; `ids` are its columns that name assets."""

    path: Path
    where: str
    columns: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()


class ShardScan:
    """The shards of many manifests. Shards are named by their file in DVC's cache, so equal ones have one name."""

    def __init__(self, *, jobs: int) -> None:
        self._threads = max(1, min(jobs, _MOST_THREADS))
        self._shards: dict[str, _Shard] = {}
        self._manifests: dict[str, list[str]] = {}
        self._hits: dict[str, pa.Table] = {}

    def add(self, manifest: str, shards: Sequence[tuple[str, Path]], dataset: str) -> None:
        """Add a manifest by its name: name and file of each of its shards."""
        self._manifests[manifest] = [str(path) for _, path in shards]
        for name, path in shards:
            self._shards.setdefault(str(path), _Shard(path, f"{dataset}/{name}"))

    def open(self) -> list[str]:
        """Read what columns each shard has; one line for each that cannot be read, and is left out."""
        opened = self._each(_opened, list(self._shards))
        self._shards = {name: one for name, one in opened.items() if isinstance(one, _Shard)}
        return [one for one in opened.values() if isinstance(one, str)]

    def ids_like(self, prefix: str) -> list[str]:
        """Every asset id that begins with these hex digits, sorted."""

        def look(shard: _Shard) -> set[str]:
            table = _read(shard, shard.ids)
            masked = (column.filter(pc.starts_with(column, prefix)) for column in table.columns)
            return {one for column in masked for one in column.to_pylist()}

        return sorted(set().union(*self._each(look, list(self._shards)).values()))

    def descendants(self, asset: str) -> list[str]:
        """The asset itself and every asset that was made from it, step by step, sorted."""
        derived = [name for name, shard in self._shards.items() if "parent_id" in shard.columns]
        made_of = ("parent_id", "partner_id")
        known, new = {asset}, {asset}
        while new:
            wanted = pa.array(sorted(new))

            def look(shard: _Shard, wanted: pa.Array = wanted) -> set[str]:
                named = [name for name in made_of if name in shard.columns]
                table = _read(shard, ["asset_id", *named])
                found: set[str] = set()
                for name in named:
                    found |= set(table["asset_id"].filter(pc.is_in(table[name], value_set=wanted)).to_pylist())
                return found

            new = set().union(*self._each(look, derived).values()) - known
            known |= new
        return sorted(known)

    def find(self, ids: Sequence[str]) -> None:
        """Appearance for these assets in every shard, in any column that names assets."""
        wanted = pa.array(sorted(ids), pa.string())

        def look(shard: _Shard) -> pa.Table:
            mask = None
            for column in _read(shard, shard.ids).columns:
                here = pc.is_in(column, value_set=wanted)
                mask = here if mask is None else pc.or_(mask, here)
            shown = [name for name in shard.columns if name in _SHOWN or name in shard.ids]
            return _read(shard, shown).filter(mask) if pc.any(mask).as_py() else None

        found = self._each(look, list(self._shards))
        self._hits = {name: table for name, table in found.items() if table is not None}

    def rows(self, manifest: str, asset: str) -> list[UsedRow]:
        """The rows found in one manifest, in key order; those that do not hold `asset` itself are derived."""
        found = []
        for name in self._manifests.get(manifest, ()):
            if name in self._hits:
                ids = self._shards[name].ids
                for row in self._hits[name].to_pylist():
                    label = row.get("label")
                    text = None if label is None else str(label)
                    is_derived = asset not in [row[column] for column in ids]
                    found.append(UsedRow(row["key"], row["asset_id"], row.get("split"), text, is_derived))
        return found

    def _each(self, look: Callable[[_Shard], Answer], names: Sequence[str]) -> dict[str, Answer]:
        with ThreadPoolExecutor(self._threads) as threads:
            return dict(zip(names, threads.map(lambda name: look(self._shards[name]), names), strict=True))


def _opened(shard: _Shard) -> _Shard | str:
    try:
        schema = canonical_schema(read_footer(shard.path, shard.where).schema, where=shard.where)
    except DatapinError as error:
        return error.message
    return _Shard(shard.path, shard.where, tuple(schema.names), tuple(asset_columns(schema)))


def _read(shard: _Shard, columns: Sequence[str]) -> pa.Table:
    return read_rows(shard.path, shard.where, list(columns))
