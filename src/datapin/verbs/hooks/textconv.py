"""What `git diff` and `git log -p` show of a pointer: the rows that it pins, one fact a line, instead of hashes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.errors import DatapinError
from datapin.base.settings import CONFIG, FOLDER
from datapin.dvcfiles.outs import PinnedOut, read_pointer
from datapin.dvcfiles.texts import has_summary, load_yaml
from datapin.git.ask import find_root
from datapin.manifest.columns.columns import decoded, one_array, shown
from datapin.manifest.manifest import Manifest
from datapin.pins.manifests import open_linked

_COUNTED = ("label", "split")
_MOST_VALUES = 100
_MOST_ROWS = 5_000_000
# What `datapin add` writes; a pointer that says more is shown as it is, too.
_OUT_NAMES = {"md5", "size", "nfiles", "hash", "path", "meta"}


def pointer_text(data: bytes, start: Path) -> bytes:
    """A stable text of the pointer whose bytes are `data`; the bytes themselves if it carries no summary of ours.

    Labels and splits are counted if the manifest is in DVC's cache of the repository around `start`.
    """
    if not has_summary(data):
        return data
    try:
        pointers = read_pointer(data, "the pointer")
        document = load_yaml(data, "the pointer")
    except DatapinError:
        return data
    if len(pointers) != 1 or pointers[0].summary is None:
        return data
    lines = [*_summary(pointers[0]), *_counts(pointers[0], start)]
    text = "".join(f"{line}\n" for line in lines).encode()
    return text if _is_plain(document) else text + b"\n" + data


def _summary(pointer: PinnedOut) -> Iterator[str]:
    summary = pointer.summary or {}
    yield f"dataset  {_word(pointer.dataset)}"
    for name in ("digest", "rows", "bytes"):
        yield f"{name:<9}{_word(summary.get(name, 'unknown'))}"
    for source in pointer.sources:
        yield f"source   {_word(source)}"


def _counts(pointer: PinnedOut, start: Path) -> Iterator[str]:
    if (pointer.rows or 0) > _MOST_ROWS:
        return
    with suppress(DatapinError, OSError):
        root = find_root(start)
        if not (root / FOLDER / CONFIG).is_file():
            return
        manifest = open_linked(root, pointer)
        lines = [line for column in _COUNTED for line in _column(manifest, column)]
        yield from lines


def _column(manifest: Manifest, column: str) -> Iterator[str]:
    if column not in manifest.schema.names:
        return
    counted = pc.value_counts(decoded(one_array(manifest.to_table(columns=[column])[column])))
    if len(counted) > _MOST_VALUES:
        yield f"{column:<9}{len(counted)} values"
        return
    pairs = zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True)
    is_number = pa.types.is_floating(counted.type[0].type) or pa.types.is_integer(counted.type[0].type)
    for value, count in sorted(pairs, key=lambda pair: _place(pair[0], is_number=is_number)):
        yield f"{column:<9}{'none' if value is None else _word(value)}: {count}"


def _place(value: Any, *, is_number: bool) -> tuple[bool, Any]:
    return value is None, 0 if value is None else value if is_number else str(value)


def _word(value: object) -> str:
    text = str(value)
    return text if text.isprintable() else shown(text)


def _is_plain(document: dict[str, Any]) -> bool:
    (out,) = document["outs"]
    return document.keys() == {"outs"} and out.keys() <= _OUT_NAMES and out["meta"].keys() == {"datapin"}
