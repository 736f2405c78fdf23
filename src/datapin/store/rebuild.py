"""Makes the index anew from what lies in the store, and takes out of the way what can no longer be used.

A pack whose table cannot be read keeps its bytes: what of it the old index finds, and hashes right, moves to a new
pack, and the old one is set aside in `quarantine/`. So are loose assets that do not hash to their names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datapin.base import failpoints
from datapin.base.errors import DamagedPack
from datapin.base.files import fsync_directory, make_directory, sweep_temporaries, temporary_name
from datapin.pack.encoded import EncodedAsset
from datapin.pack.reader import read_stored
from datapin.pack.table import read_table_of_file
from datapin.store.adding.copies import KnownPlace, StoredCopies, hash_of_file
from datapin.store.adding.filling import Filled, Filler
from datapin.store.adding.staging import staging_directory
from datapin.store.index import IN_LOOSE_FILE, Entries, Index, entries_of_loose, entries_of_table, join_entries
from datapin.store.index_files import decode_index, list_index_files
from datapin.store.layout import INDEX, LOOSE, QUARANTINE, Limits, index_key, loose_key, pack_key
from datapin.store.publish import find_loose, find_packs, place, publish_index, publish_lock, remove_index_files
from datapin.store.trust import Copy, forget_damage, noted_damage

_LIMITS = Limits(large_asset=1 << 62, pack_size=64 << 20)  # nothing comes out of a pack that was too large for one


@dataclass(frozen=True, slots=True)
class RebuildReport:
    """What a rebuild found. `problems` names what it could not use; `salvaged` assets came out of such packs."""

    packs: int
    loose: int
    assets: int
    problems: tuple[str, ...]
    salvaged: int = 0


def has_strays(root: str, recorded: Index) -> bool:
    """Whether packs or loose assets lie in the store that no index names. A listing. Raises OSError."""
    entries = recorded.entries
    if {pack.hex() for pack in entries.packs}.issuperset(find_packs(root, [])):
        loose = entries.ids[entries.pack == IN_LOOSE_FILE]
        return not {row.tobytes().hex() for row in loose}.issuperset(find_loose(root, []))
    return True


def rebuild_index(root: str) -> RebuildReport:
    """Make the index anew; run twice it gives the same bytes. Raises OSError, Locked."""
    problems: list[str] = []
    with publish_lock(root):
        make_directory(Path(root) / INDEX)  # it may be what was lost
        sweep_temporaries(Path(root) / INDEX)
        old = _old_entries(root)
        packs = list(find_packs(root, problems))
        parts, unusable = _tables(root, packs, problems)
        with _salvaged(root, old, unusable) as filled:
            if filled.packs:
                place(root, [(pack.path, pack_key(pack.pack_id)) for pack in filled.packs])
            paths = [f"{root}/{pack_key(pack.pack_id)}" for pack in filled.packs]
            names = [bytes.fromhex(pack.pack_id) for pack in filled.packs]
            parts += [entries_of_table(*one) for one in zip(names, map(read_table_of_file, paths), strict=True)]
        loose, bad = _loose(root, old, problems)
        sizes = [os.stat(f"{root}/{loose_key(asset_id)}").st_size for asset_id in loose]
        parts.append(entries_of_loose([bytes.fromhex(asset_id) for asset_id in loose], sizes))
        entries = join_entries(parts)
        before = list_index_files(root)
        new = publish_index(root, entries) if len(entries) else ""
        failpoints.hit("store.index.rebuilt")
        remove_index_files(root, [name for name in before if name != new])
        # What comes out of a pack whose assets are all good is that pack again, in its place.
        aside = [pack_id for pack_id in unusable if all(pack_id != pack.pack_id for pack in filled.packs)]
        _set_aside(root, [*map(pack_key, aside), *map(loose_key, bad)])
        _look_again(root, Index(entries))
    salvaged = sum(pack.count for pack in filled.packs)
    return RebuildReport(len(packs), len(loose), len(entries), tuple(problems), salvaged)


def _old_entries(root: str) -> Entries:
    """What the index says that can still be read."""
    parts = []
    for name in list_index_files(root):
        with suppress(DamagedPack, FileNotFoundError), open(f"{root}/{index_key(name)}", "rb") as file:
            parts.append(decode_index(name, file.read(), name))
    return join_entries(parts)


def _tables(root: str, packs: list[str], problems: list[str]) -> tuple[list[Entries], list[str]]:
    """The entries of each pack, and the packs that have no table any more."""
    parts, unusable = [], []
    for pack_id in packs:
        try:
            table = read_table_of_file(f"{root}/{pack_key(pack_id)}")
        except DamagedPack as error:
            problems.append(error.message)
            unusable.append(pack_id)
            continue
        parts.append(entries_of_table(bytes.fromhex(pack_id), table))
    return parts, unusable


@contextmanager
def _salvaged(root: str, old: Entries, unusable: list[str]) -> Iterator[Filled]:
    """New packs, durable but not in place, with what is good in the unusable ones."""
    if not unusable:
        yield Filled()
        return
    with staging_directory(root) as staging:
        filler = Filler(staging, _LIMITS)
        numbers = {pack.hex(): number for number, pack in enumerate(old.packs)}
        for pack_id in unusable:
            file = os.open(f"{root}/{pack_key(pack_id)}", os.O_RDONLY | os.O_CLOEXEC)
            try:
                for row in np.flatnonzero(old.pack == numbers.get(pack_id, IN_LOOSE_FILE - 1)).tolist():
                    stored = read_stored(file, int(old.offset[row]), int(old.length[row]))
                    raw_id = old.ids[row].tobytes()
                    asset = EncodedAsset(raw_id, int(old.codec[row]), stored, int(old.raw_length[row]))
                    if not asset.problem():
                        filler.append_stored(asset.raw_id, asset.codec, asset.stored, asset.raw_length)
            finally:
                os.close(file)
        yield filler.finish()


def _loose(root: str, old: Entries, problems: list[str]) -> tuple[list[str], list[str]]:
    """The loose assets to index, and those that are damaged: only what is suspect is hashed."""
    rows = np.flatnonzero(old.pack == IN_LOOSE_FILE)
    sizes = {old.ids[row].tobytes().hex(): int(old.length[row]) for row in rows.tolist()}
    noted = {raw_id.hex() for pack_id, raw_id in noted_damage(root) if pack_id == LOOSE}
    good, bad = [], []
    for asset_id in find_loose(root, problems):
        path = f"{root}/{loose_key(asset_id)}"
        size = os.stat(path).st_size
        is_suspect = asset_id in noted or size != sizes.get(asset_id, size)
        if is_suspect and hash_of_file(path).hex() != asset_id:
            problems.append(f"{loose_key(asset_id)} is damaged: hash mismatch")
            bad.append(asset_id)
        else:
            good.append(asset_id)
    return good, bad


def _set_aside(root: str, keys: list[str]) -> None:
    """Move damaged files to the quarantine: their bytes are kept."""
    for key in keys:
        os.makedirs(f"{root}/{QUARANTINE}", exist_ok=True)
        os.rename(f"{root}/{key}", f"{root}/{QUARANTINE}/{os.path.basename(key)}{temporary_name()}")
        fsync_directory(os.path.dirname(f"{root}/{key}"))


def _look_again(root: str, index: Index) -> None:
    """Take away notes of damage on copies that are gone, or that read well after all."""
    copies = StoredCopies(root)
    noted: dict[str, list[Copy]] = {}
    for copy in noted_damage(root):
        noted.setdefault(copy[0] or copy[1].hex(), []).append(copy)
    for of_one in noted.values():
        if not any(_is_bad(copies, index, copy) for copy in of_one):
            forget_damage(root, of_one[:1])
    copies.close()


def _is_bad(copies: StoredCopies, index: Index, copy: Copy) -> bool:
    """Whether the index has this copy, and it is damaged."""
    pack_id, raw_id = copy
    entries, first = index.entries, index.find_one(raw_id)
    for row in index.rows_with_id_of(first) if first is not None else ():
        number = int(entries.pack[row])
        if (LOOSE if number == IN_LOOSE_FILE else entries.packs[number].hex()) == pack_id:
            span = (int(entries.offset[row]), int(entries.length[row]), int(entries.raw_length[row]))
            return not copies.is_intact(KnownPlace(pack_id, *span, int(entries.codec[row])), raw_id, None)
    return False
