"""Forged datasets: rows edited behind the back of the stages, written so that the manifest itself is in order."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from datapin.manifest.manifest import Manifest
from datapin.manifest.write import write_manifest

Rows = dict[str, dict[str, Any]]


def forge(folder: Path, edit: Callable[[Rows], None], drop: tuple[str, ...] = ()) -> Rows:
    """Change the rows (by key) of the manifest in `folder`, leave out columns; what is there now.

    Columns keep their types; rows may bring new text columns.
    """
    manifest = Manifest.open(folder)
    table = manifest.to_table()
    rows: Rows = {row["key"]: row for row in table.to_pylist()}
    edit(rows)
    names = dict.fromkeys([*table.column_names, *(name for row in rows.values() for name in row)])
    fields = [
        table.schema.field(name) if name in table.column_names else pa.field(name, pa.string())
        for name in names
        if name not in drop
    ]
    forged = pa.Table.from_pylist(list(rows.values()), pa.schema(fields))
    shutil.rmtree(folder)
    write_manifest(forged, folder, properties=dict(manifest.properties))
    return rows


def add_copy(rows: Rows, of: str, number: int, **other: Any) -> str:
    """A hand-made augmented copy of the row `of`, with an asset of its own unless `other` says otherwise; its key."""
    key = f"{of.removesuffix('.png')}~{number}.png"
    lineage = {"parent": of, "parent_id": rows[of]["asset_id"], "operator": "f" * 64}
    rows[key] = {**rows[of], "key": key, "asset_id": f"{number:02x}" * 32, **lineage, **other}
    return key


def in_split(rows: Rows, split: str) -> list[str]:
    """The keys of the originals in a split."""
    return [key for key, row in rows.items() if row["split"] == split and row.get("parent") in (None, key)]
