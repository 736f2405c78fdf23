"""The local store: packs, loose assets and their index in a directory. Puts, locates and reads assets."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from datapin.base import failpoints
from datapin.base.documents import read_bounded, read_json
from datapin.base.errors import AssetsMissing, DamagedAsset, NoRepository, StoreFormat
from datapin.base.files import fsync_directory, make_directory, publish_bytes, temporary_name, write_all
from datapin.base.findings import Finding
from datapin.base.id_columns import IdMatrix
from datapin.base.ids import AssetId, parse_asset_id
from datapin.base.progress import SILENT, Progress
from datapin.base.settings import StoreSettings
from datapin.pack.encoded import EncodedAsset, encoded
from datapin.pack.reader import read_stored
from datapin.store.adding.claims import place_of_row
from datapin.store.adding.copies import KnownPlace
from datapin.store.adding.filling import Filled, Filler
from datapin.store.adding.put import FileBatch, PutResult, PutSettings, add_files
from datapin.store.adding.put_bytes import Filling
from datapin.store.adding.staging import staging_directory
from datapin.store.check import check_store
from datapin.store.index import NO_ENTRIES, Entries, Index, Locations
from datapin.store.index_files import list_index_files, read_index
from datapin.store.layout import (
    ASSETS,
    FORMAT,
    FORMAT_FILE,
    INDEX,
    LOOSE,
    PACKS,
    Limits,
    loose_key,
    pack_key,
    storage_failures,
)
from datapin.store.publish import publish
from datapin.store.reader import PackFiles, Reader, Verify, read_copy
from datapin.store.rebuild import RebuildReport, has_strays, rebuild_index
from datapin.store.trust import StoreState, note_damage, noted_damage, reliable

__all__ = ["FileBatch", "Filling", "Locations", "PutResult", "Reader", "RebuildReport", "Store"]

_RELISTS = 5
_CHUNK_BYTES = 1 << 20
_WRITE = "write to the store"
_READ = "read the store"


class Store:
    """One local store. Reading is safe across threads; every put publishes on its own, beside other processes."""

    def __init__(self, root: Path, settings: StoreSettings) -> None:
        """Use `create` or `open`."""
        self.root = root
        self._root = str(root)
        self._limits = Limits(large_asset=settings.large_asset, pack_size=settings.pack_size)
        self._recorded = Index(NO_ENTRIES)
        self._recorded_names: tuple[str, ...] = ()
        self._known: tuple[StoreState, Index, Index] | None = None
        self._files = PackFiles(self._root)

    @classmethod
    def create(cls, root: Path, settings: StoreSettings) -> Store:
        """The store at `root`, made if there is none. Raises StorageFailed, StoreFormat."""
        if not (root / FORMAT_FILE).exists():
            with storage_failures("make a store at", root):
                for name in (PACKS, ASSETS, INDEX):
                    make_directory(root / name)
                publish_bytes(root / FORMAT_FILE, json.dumps({"format": FORMAT}).encode(), failpoint="store.format")
        return cls.open(root, settings)

    @classmethod
    def open(cls, root: Path, settings: StoreSettings) -> Store:
        """The store at `root`. Raises NoRepository if there is none, StoreFormat if it has another format."""
        try:
            with storage_failures(_READ, root):
                place = root / FORMAT_FILE
                said = read_json(read_bounded(place, 4096), FORMAT_FILE) if place.exists() else None
        except ValueError:
            raise StoreFormat(str(root), "unreadable", FORMAT) from None
        if said is None:
            raise NoRepository(path=str(root), lacks="datapin")
        seen = said.get("format") if isinstance(said, dict) else said
        if seen != FORMAT:
            raise StoreFormat(str(root), str(seen), FORMAT)
        return cls(root, settings)

    @property
    def index_state(self) -> str:
        """Changes whenever a publish changed the index, or copies were lost or found damaged."""
        with storage_failures(_READ, self._root):
            return hashlib.sha256(repr(StoreState.of(self._root)).encode()).hexdigest()

    @property
    def recorded(self) -> Index:
        """Every copy that the index names, also those that are lost or damaged. Raises DamagedPack, StorageFailed.

        Cached as long as the index files are the same.
        """
        for _ in range(_RELISTS):
            with storage_failures(_READ, self._root):
                names = tuple(list_index_files(self._root))
                if names == self._recorded_names:
                    break
                with suppress(FileNotFoundError):  # merged into another file since we listed: list again
                    self._recorded = read_index(names, self._read_key, self._root)
                    self._recorded_names = names
                    break
        return self._recorded

    @property
    def index(self) -> Index:
        """The copies that can be relied on as it is now, see `trust`. Raises DamagedPack, StorageFailed."""
        return self._look()[0]

    # --- putting

    def put_files(self, files: FileBatch, *, jobs: int, progress: Progress = SILENT) -> PutResult:
        """Add `files`: read once, hashed on the way, new ones packed, then published; order and duplicates are kept.

        An asset that the store has is compared with its stored copy, and healed if that is damaged. Raises
        SourcesRefused naming every bad file, StorageFailed, WorkersLost or Locked; then nothing was published.
        """
        with storage_failures(_WRITE, self._root), staging_directory(self._root) as staging:
            settings = PutSettings(self._root, staging, self._limits, self.index)
            with progress.bar("adding files", int(files.sizes.sum()), "B") as bar:
                result, filled = add_files(files, settings, jobs=jobs, bar=bar)
            self.publish(filled)
            return result

    def put(self, data: bytes) -> AssetId:
        """Add and publish one asset. Raises StorageFailed, Locked."""
        with self.filling() as filling:
            return filling.put(data)

    @contextmanager
    def filling(self) -> Iterator[Filling]:
        """Takes many assets from memory; what was not published is published at the end, or given up on an error."""
        staging = ExitStack()
        with storage_failures(_WRITE, self._root):
            place = staging.enter_context(staging_directory(self._root))
        with staging:  # the caller's own file errors pass through as they are
            filling = Filling(self._root, place, self._limits, self.index, self.publish)
            try:
                yield filling
                filling.publish()
            finally:
                filling.abandon()

    @contextmanager
    def staging(self) -> Iterator[Filler]:
        """A filler whose `finish` goes to `publish`, or nowhere: what is not published goes with the context."""
        with ExitStack() as stack:
            with storage_failures(_WRITE, self._root):
                place = stack.enter_context(staging_directory(self._root))
            filler = Filler(place, self._limits)
            try:
                yield filler
            finally:
                filler.abandon()

    def publish(self, filled: Filled) -> None:
        """Make staged packs and loose assets visible: packs first, then the index. Raises StorageFailed, Locked."""
        with storage_failures(_WRITE, self._root):
            publish(self._root, filled)
        for pack in filled.packs:  # it may lie in the place of a damaged one that is open
            self._files.forget(bytes.fromhex(pack.pack_id))

    def pack_path(self, pack: bytes) -> Path:
        """The file of a pack."""
        return self.root / pack_key(pack.hex())

    def loose_path(self, raw_id: bytes) -> Path:
        """The file of a loose asset."""
        return self.root / loose_key(raw_id.hex())

    def read_encoded(self, entries: Entries, row: int) -> EncodedAsset:
        """The packed asset of this row of an index of this store, as it is stored, verified; any good copy will do.

        Raises DamagedAsset, AssetsMissing.
        """
        raw_id, pack = entries.ids[row].tobytes(), entries.packs[entries.pack[row]]
        try:
            file = self._files.get(pack)
            stored = read_stored(file.number, int(entries.offset[row]), int(entries.length[row]))
            asset = EncodedAsset(raw_id, int(entries.codec[row]), stored, int(entries.raw_length[row]))
            problem = asset.problem()
        except OSError as error:
            problem = str(error)
        return encoded(raw_id, self._read_any_copy(raw_id, None)) if problem else asset

    # --- looking up and reading

    def locate(self, ids: IdMatrix) -> Locations:
        """Where these assets lie, good copies before others; `found` is False for those not here. Vectorised."""
        good, recorded = self._look()
        places = good.locate(ids)
        if places.found.all() or good is recorded:
            return places
        return places.or_else(recorded.locate(ids))

    def missing(self, ids: IdMatrix) -> npt.NDArray[np.bool_]:
        """For each id whether no copy is here that can be relied on."""
        return ~self.index.find(ids)[0]

    def note_damaged_file(self, raw_id: bytes) -> None:
        """Note that the loose asset does not hash to its id."""
        note_damage(self._root, (LOOSE, raw_id))

    def known_damage(self, ids: IdMatrix) -> DamagedAsset | None:
        """The first of these assets that was found damaged here and has no other copy. Raises StorageFailed."""
        with storage_failures(_READ, self._root):
            noted = sorted(noted_damage(self._root)) if len(ids) else []
        lost = {row.tobytes() for row in ids[self.missing(ids)]} if noted else set()
        for pack_id, raw_id in noted:
            if raw_id in lost:
                key = pack_key(pack_id) if pack_id else loose_key(raw_id.hex())
                return DamagedAsset(raw_id.hex(), key, "it was when it was last read")
        return None

    def read(self, asset_id: AssetId, *, verify: bool = True) -> bytes:
        """The asset's bytes; another copy is tried where one is damaged. Raises AssetsMissing, DamagedAsset."""
        return self._read_any_copy(bytes.fromhex(parse_asset_id(asset_id)), None, verify=verify)

    def reader(self, ids: IdMatrix, *, verify: Verify = True, only_good: bool = False) -> Reader:
        """A fast reader of these assets by their number. Raises AssetsMissing if one is not here.

        With `only_good` also if every copy of one is known to be damaged or lost.
        """
        locations = self.index.locate(ids) if only_good else self.locate(ids)
        if not locations.found.all():
            absent = ids[~locations.found]
            raise AssetsMissing(names=tuple(row.tobytes().hex() for row in absent[:20]), count=len(absent))
        return Reader(self._root, ids, locations, self._files, self._read_any_copy, verify=verify)

    def copy_to(self, asset_id: AssetId, path: Path, *, durable: bool = True) -> int:
        """Write the asset to `path`, whose name appears once the bytes were hashed; its size.

        Large assets are streamed. Raises AssetsMissing, DamagedAsset; StorageFailed if `path` cannot be written.
        """
        raw_id = bytes.fromhex(parse_asset_id(asset_id))
        temporary = path.parent / temporary_name()
        with storage_failures("write", path):
            number = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
            try:
                try:
                    size = self._copy(raw_id, number)
                    if durable:
                        os.fsync(number)
                finally:
                    os.close(number)
                failpoints.hit("store.copy.synced")
                os.replace(temporary, path)
                if durable:
                    fsync_directory(path.parent)
                return size
            except BaseException:
                with suppress(FileNotFoundError):
                    temporary.unlink()
                raise

    def close(self) -> None:
        """Let go of open packs. The store stays usable."""
        self._files.close()

    # --- health

    def rebuild_index(self) -> RebuildReport:
        """Make the index anew from the packs' trailers and the names of loose assets.

        What is good in a pack that cannot be used any more moves to a new one, see `rebuild`. Raises StorageFailed,
        Locked.
        """
        with storage_failures(_WRITE, self._root):
            return rebuild_index(self._root)

    def take_in_strays(self) -> bool:
        """Index what lies here and no index names, as after an index was lost; whether there was any.

        Raises StorageFailed, Locked, DamagedPack.
        """
        with storage_failures(_READ, self._root):
            is_stray = has_strays(self._root, self.recorded)
        if is_stray:
            self.rebuild_index()
        return is_stray

    def check(self) -> list[Finding]:
        """What a quick look finds wrong with index files, packs, trailers and loose files; reads no assets."""
        with storage_failures(_READ, self._root):
            return check_store(self._root)

    def _look(self) -> tuple[Index, Index]:
        """The copies that can be relied on, and all that are recorded; over the same packs."""
        with storage_failures(_READ, self._root):
            state, known = StoreState.of(self._root), self._known
            if known is None or known[0] != state:
                recorded = self.recorded
                known = self._known = state, reliable(self._root, recorded), recorded
        return known[1:]

    def _read_key(self, key: str) -> bytes:
        with open(f"{self._root}/{key}", "rb") as file:
            return file.read()

    def _read_any_copy(self, raw_id: bytes, damage: DamagedAsset | None, *, verify: bool = True) -> bytes:
        """The first good copy. Raises DamagedAsset (`damage` if that was seen first), AssetsMissing."""
        index = self.recorded
        row = index.find_one(raw_id)
        for copy in index.rows_with_id_of(row) if row is not None else ():
            place = place_of_row(index, copy)
            try:
                return self._read_copy(place, raw_id, verify=verify)
            except FileNotFoundError:
                continue
            except DamagedAsset as error:
                note_damage(self._root, (place.pack_id, raw_id))
                damage = damage or error
        if damage is not None:
            raise damage
        raise AssetsMissing(names=(raw_id.hex(),), count=1)

    def _read_copy(self, place: KnownPlace, raw_id: bytes, *, verify: bool) -> bytes:
        """One copy; a pack that was open is opened again before it is called damaged: it may have been healed."""
        try:
            return read_copy(self._root, self._files, place, raw_id, verify=verify)
        except DamagedAsset:
            self._files.forget(bytes.fromhex(place.pack_id))
            return read_copy(self._root, self._files, place, raw_id, verify=verify)

    def _copy(self, raw_id: bytes, number: int) -> int:
        index = self.recorded
        row = index.find_one(raw_id)
        if row is not None and place_of_row(index, row).pack_id == LOOSE:
            return self._stream_loose(raw_id, number)
        data = self._read_any_copy(raw_id, None)
        write_all(number, data)
        return len(data)

    def _stream_loose(self, raw_id: bytes, number: int) -> int:
        key = loose_key(raw_id.hex())
        digest, size = hashlib.sha256(), 0
        try:
            source = os.open(f"{self._root}/{key}", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise AssetsMissing(names=(raw_id.hex(),), count=1) from None
        try:
            while chunk := os.read(source, _CHUNK_BYTES):
                digest.update(chunk)
                write_all(number, chunk)
                size += len(chunk)
        finally:
            os.close(source)
        if digest.digest() != raw_id:
            note_damage(self._root, (LOOSE, raw_id))
            raise DamagedAsset(raw_id.hex(), key)
        return size
