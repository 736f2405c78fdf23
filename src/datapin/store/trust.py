"""Which copies of a store can be relied on: not those whose file is gone or cut off, nor those found damaged.

Whoever reads a copy that is damaged notes it under `damaged/`. From then on the asset counts as missing unless another
copy is good, so that the next `add` of its file or the next `fetch` writes it anew; what is published takes the note
away. Reading still tries every copy.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from datapin.base.ids import RAW_ID_BYTES
from datapin.pack.format import SUFFIX
from datapin.store.index import IN_LOOSE_FILE, Entries, Index
from datapin.store.index_files import list_index_files
from datapin.store.layout import ASSETS, DAMAGED, LOOSE, PACKS, loose_key, pack_key

_LOOSE_SUFFIX = ".asset"

Copy = tuple[str, bytes]  # pack id in hex (LOOSE for a file of its own), raw id


@dataclass(frozen=True, slots=True)
class StoreState:
    """What the answers of a store hang on: index files, notes of damage, and the folders that hold packs and assets."""

    index: tuple[str, ...]
    notes: tuple[tuple[str, int], ...]
    folders: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, root: str) -> StoreState:
        """The state of the store at `root`: a listing of few names, 1 ms at most. Raises OSError."""
        folders = [one for kind in (PACKS, ASSETS) for one in _listed(f"{root}/{kind}")]
        notes = [(name, status.st_size) for name, status in _listed(f"{root}/{DAMAGED}")]
        times = [(name, status.st_mtime_ns) for name, status in folders]
        return cls(tuple(list_index_files(root)), tuple(notes), tuple(times))


def note_damage(root: str, copy: Copy) -> None:
    """Note that this copy is damaged; where nothing can be written it is found again by whoever reads it next."""
    pack_id, raw_id = copy
    with suppress(OSError):
        os.makedirs(f"{root}/{DAMAGED}", exist_ok=True)
        if copy not in noted_damage(root):
            number = os.open(_note(root, copy), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            try:
                os.write(number, raw_id if pack_id else b"")
            finally:
                os.close(number)


def noted_damage(root: str) -> set[Copy]:
    """The copies that were found damaged. Raises OSError."""
    found: set[Copy] = set()
    for name, _ in _listed(f"{root}/{DAMAGED}"):
        stem, suffix = os.path.splitext(name)
        with suppress(ValueError, FileNotFoundError):
            raw_name = bytes.fromhex(stem)
            if len(raw_name) != RAW_ID_BYTES or suffix not in (SUFFIX, _LOOSE_SUFFIX):
                continue
            if suffix == _LOOSE_SUFFIX:
                found.add((LOOSE, raw_name))
                continue
            with open(f"{root}/{DAMAGED}/{name}", "rb") as file:
                ids = file.read()
            # A write that was cut off leaves less than an id at the end.
            starts = range(0, len(ids) - RAW_ID_BYTES + 1, RAW_ID_BYTES)
            found.update((stem, ids[start : start + RAW_ID_BYTES]) for start in starts)
    return found


def forget_damage(root: str, copies: Iterable[Copy]) -> None:
    """Take away the notes on these packs (whatever asset) and loose assets: their files were just written anew."""
    for copy in copies:
        with suppress(OSError):
            os.unlink(_note(root, copy))


def reliable(root: str, index: Index) -> Index:
    """The part of `index` whose copies are there, long enough, and not noted as damaged. Raises OSError."""
    entries = index.entries
    if not len(entries):
        return index
    is_loose = entries.pack == IN_LOOSE_FILE
    sizes = np.array([*(_size(f"{root}/{pack_key(pack.hex())}") for pack in entries.packs), 0], dtype=np.int64)
    keep = is_loose | (entries.offset + entries.length <= sizes[entries.pack])
    for row in np.flatnonzero(is_loose).tolist():
        path = f"{root}/{loose_key(entries.ids[row].tobytes().hex())}"
        keep[row] = _size(path) == entries.length[row]
    for pack_id, raw_id in noted_damage(root):
        first = index.find_one(raw_id)
        for row in index.rows_with_id_of(first) if first is not None else ():
            keep[row] &= _pack_of(entries, row) != pack_id
    return index if keep.all() else Index(entries.take(keep))


def _listed(folder: str) -> list[tuple[str, os.stat_result]]:
    """What lies in a folder, sorted; nothing if there is no folder."""
    found = []
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # gone since
                found.append((entry.name, entry.stat()))
    return sorted(found, key=lambda one: one[0])


def _pack_of(entries: Entries, row: int) -> str:
    number = int(entries.pack[row])
    return LOOSE if number == IN_LOOSE_FILE else entries.packs[number].hex()


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except (FileNotFoundError, NotADirectoryError):
        return -1


def _note(root: str, copy: Copy) -> str:
    pack_id, raw_id = copy
    return f"{root}/{DAMAGED}/{pack_id}{SUFFIX}" if pack_id else f"{root}/{DAMAGED}/{raw_id.hex()}{_LOOSE_SUFFIX}"
