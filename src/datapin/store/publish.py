"""Makes what was written visible: packs, then the index. Each durable before the next (docs/protocols.md: I1, I4)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow.parquet as pq

from datapin.base import failpoints, log
from datapin.base.errors import BadAssetId, DamagedPack
from datapin.base.files import fsync_directory, lock, publish_bytes, temporary_name
from datapin.base.ids import parse_asset_id
from datapin.pack.format import SUFFIX
from datapin.pack.table import records_from_bytes
from datapin.pack.writer import SealedPack
from datapin.store.adding.copies import hash_of_file
from datapin.store.adding.filling import Filled
from datapin.store.index import Entries, entries_of_loose, entries_of_table, join_entries
from datapin.store.index_files import choose_merge, decode_index, encode_index, index_file_name, list_index_files
from datapin.store.layout import ASSETS, INDEX, LOCK_FILE, LOOSE, PACKS, QUARANTINE, index_key, loose_key, pack_key
from datapin.store.trust import forget_damage


@contextmanager
def publish_lock(root: str) -> Iterator[None]:
    """Only one process at a time publishes, merges or rebuilds. Raises Locked, OSError."""
    with lock(Path(root) / LOCK_FILE, what="the store"):
        yield


def publish(root: str, filled: Filled) -> None:
    """Give the written packs and loose assets their names, then publish the index that names them. Raises OSError.

    `filled` must be durable. A crash in between leaves packs without index: harmless, and a rerun writes the same.
    """
    if not filled.packs and not filled.loose:
        return
    moves = [(pack.path, pack_key(pack.pack_id)) for pack in filled.packs]
    moves += [(loose.path, loose_key(loose.raw_id.hex())) for loose in filled.loose]
    parts = [entries_of_table(bytes.fromhex(pack.pack_id), records_from_bytes(pack.table)) for pack in filled.packs]
    parts.append(
        entries_of_loose([loose.raw_id for loose in filled.loose], [loose.size_bytes for loose in filled.loose])
    )
    with publish_lock(root):
        place(root, moves)
        publish_index(root, join_entries(parts))
        for pack in filled.packs:
            log.step("store", "wrote pack %s: %d bytes, %d assets", pack.pack_id, pack.size_bytes, _count_of(pack))
        for loose in filled.loose:
            log.step("store", "wrote asset %s by itself: %d bytes", loose.raw_id.hex(), loose.size_bytes)
        merge_index(root)
        healed = [(pack.pack_id, b"") for pack in filled.packs] + [(LOOSE, loose.raw_id) for loose in filled.loose]
        forget_damage(root, healed)


def _count_of(pack: SealedPack) -> int:
    return len(records_from_bytes(pack.table))


def publish_index(root: str, entries: Entries) -> str:
    """Publish one index file; its name. Raises OSError."""
    data = encode_index(entries)
    name = index_file_name(data)
    publish_bytes(Path(root) / index_key(name), data, failpoint="store.index")
    return name


def merge_index(root: str) -> None:
    """Make one index file of many small ones. Raises OSError, DamagedPack.

    The merged file is durable before the others go, so a reader always finds every entry in at least one of them.
    """
    names = list_index_files(root)
    rows = [_rows_of(root, name) for name in names]
    chosen = [names[number] for number in choose_merge(rows)]
    if not chosen:
        return
    entries = join_entries([_read(root, name) for name in chosen])
    merged = publish_index(root, entries)
    failpoints.hit("store.index.merged")
    remove_index_files(root, [name for name in chosen if name != merged])


def find_packs(root: str, problems: list[str]) -> Iterator[str]:
    """Names of all packs of the store, sorted; files that are none are added to `problems`. Raises OSError."""
    for name in _names_in(f"{root}/{PACKS}"):
        if name.endswith(SUFFIX) and _is_id(name.removesuffix(SUFFIX)):
            yield name.removesuffix(SUFFIX)
        else:
            problems.append(f"{PACKS}/{name[:2]}/{name} is not named as a pack")


def find_loose(root: str, problems: list[str]) -> Iterator[str]:
    """Ids of all loose assets, sorted; files that are none are added to `problems`. Raises OSError."""
    for name in _names_in(f"{root}/{ASSETS}"):
        if _is_id(name):
            yield name
        else:
            problems.append(f"{ASSETS}/{name[:2]}/{name} is not named as an asset")


def _names_in(directory: str) -> Iterator[str]:
    with suppress(FileNotFoundError):
        for folder in sorted(os.listdir(directory)):
            if len(folder) == 2:
                yield from sorted(name for name in os.listdir(f"{directory}/{folder}") if name[:2] == folder)


def _is_id(name: str) -> bool:
    try:
        parse_asset_id(name)
    except BadAssetId:
        return False
    return True


def place(root: str, moves: Sequence[tuple[str, str]]) -> None:
    """Rename each file to its key. Directories are synced once, after all renames: the journal commits once."""
    folders = sorted({os.path.dirname(key) for _, key in moves})
    _make_folders(root, folders)
    for path, key in moves:
        target = f"{root}/{key}"
        if key.startswith(ASSETS) and os.path.exists(target):
            if hash_of_file(target).hex() == os.path.basename(key):
                continue  # another process was faster; ours goes with the staging directory
            _keep_aside(root, target)
        os.rename(path, target)
        failpoints.hit("store.pack.renamed" if key.startswith(PACKS) else "store.loose.renamed")
    for folder in folders:
        fsync_directory(f"{root}/{folder}")
    failpoints.hit("store.packs.durable")


def _keep_aside(root: str, target: str) -> None:
    """Keep the bytes of a damaged loose asset, which is about to be replaced."""
    os.makedirs(f"{root}/{QUARANTINE}", exist_ok=True)
    os.link(target, f"{root}/{QUARANTINE}/{os.path.basename(target)}{temporary_name()}")


def _make_folders(root: str, folders: Iterable[str]) -> None:
    parents = set()
    for folder in folders:
        with suppress(FileExistsError):
            os.mkdir(f"{root}/{folder}")
            parents.add(os.path.dirname(folder))
    for parent in sorted(parents):
        fsync_directory(f"{root}/{parent}")


def remove_index_files(root: str, names: Sequence[str]) -> None:
    """Remove these index files, durably: others name all that they named. Raises OSError."""
    for name in names:
        with suppress(FileNotFoundError):
            os.unlink(f"{root}/{index_key(name)}")
        failpoints.hit("store.index.removed")
    if names:
        fsync_directory(f"{root}/{INDEX}")


def _rows_of(root: str, name: str) -> int:
    path = f"{root}/{index_key(name)}"
    try:
        return int(pq.read_metadata(path).num_rows)
    except ValueError as error:
        raise DamagedPack(path, f"not a Parquet file: {error}") from None


def _read(root: str, name: str) -> Entries:
    path = f"{root}/{index_key(name)}"
    with open(path, "rb") as file:
        return decode_index(name, file.read(), path)
