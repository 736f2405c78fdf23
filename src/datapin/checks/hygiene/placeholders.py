"""Whether rows name the bytes that they mean, or a text that stood in their place when they were added."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from datapin.base.errors import AssetsMissing, DamagedAsset, DatapinError
from datapin.base.findings import Finding
from datapin.base.id_columns import IdMatrix, ids_from_hex
from datapin.base.placeholders import CURES, MOST_BYTES, tool_of_bytes
from datapin.checks.bytes.pinned_assets import Int64s, keys_of
from datapin.checks.check import Check, capped, unread
from datapin.checks.subject import Subject

_SOME, _ALL = "hygiene.placeholders", "deep.placeholders"
# Whoever adds placeholders adds many: a few hundred of the smallest assets show it, and take milliseconds to read.
_MOST_READ = 256
_LOT = 1024


def _check(name: str, most: int | None, subject: Subject) -> Iterator[Finding]:
    for dataset in subject.pins:
        try:
            table = subject.manifest(dataset).to_table(["asset_id", "size"])
        except DatapinError as error:
            yield unread(subject, name, dataset, error)
            continue
        small = np.flatnonzero(table["size"].to_numpy() <= MOST_BYTES)
        if most is not None and len(small) > most:
            small = small[np.linspace(0, len(small) - 1, most, dtype=np.int64)]
        ids = ids_from_hex(table["asset_id"].take(small))
        here = ~subject.store.missing(ids)
        yield from _findings(name, subject, dataset, small[here], ids[here])


def _findings(name: str, subject: Subject, dataset: str, rows: Int64s, ids: IdMatrix) -> Iterator[Finding]:
    tools = {
        row: tool
        for row, data in zip(rows.tolist(), _contents(subject, ids), strict=True)
        if (tool := tool_of_bytes(data))
    }
    keys = keys_of(subject.manifest(dataset), np.array(list(tools), dtype=np.int64))
    found = [
        Finding(
            "error",
            name,
            f"{dataset}:{key}",
            f"its bytes are a placeholder of {tool}, not the file's own",
            f"run `{CURES[tool]}` where the file came from, then `datapin add` again",
        )
        for key, tool in zip(keys, tools.values(), strict=True)
    ]
    yield from capped(found, "rows that name placeholders")


def _contents(subject: Subject, ids: IdMatrix) -> Iterator[bytes]:
    reader = subject.store.reader(ids)
    for number in range(len(ids)):
        try:
            yield bytes(reader.read(number))
        except (DamagedAsset, AssetsMissing):
            yield b""  # deep.assets tells


_ASKS = "Does {} name the file's own bytes, and not a placeholder of git-lfs, git-annex or the like?"
_OF_SOME = _ASKS.format(f"a row of up to {_MOST_READ} small assets of each dataset")
HYGIENE = (Check(_SOME, _OF_SOME, partial(_check, _SOME, _MOST_READ)),)
DEEP = (Check(_ALL, _ASKS.format("a row"), partial(_check, _ALL, None)),)
