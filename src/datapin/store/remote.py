"""A store that others share, on a backend: the same layout as the local one, read and added to, never changed."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from datapin.backends.backend import Abilities
from datapin.backends.counting import CountingBackend
from datapin.base.documents import read_json
from datapin.base.errors import DamagedPack, ObjectMissing, StoreFormat
from datapin.base.files import TEMPORARY_PREFIX, make_directory, sweep_temporaries, temporary_name, write_all
from datapin.base.id_columns import IdMatrix
from datapin.pack.format import SUFFIX
from datapin.store.index import NO_ENTRIES, Entries, Index, join_entries
from datapin.store.index_files import decode_index, encode_index, index_file_name
from datapin.store.layout import ASSETS, FORMAT, FORMAT_FILE, INDEX, INDEX_SUFFIX, PACKS, index_key

_INDEX_KEY = re.compile(rf"{INDEX}/([0-9a-f]{{64}}){re.escape(INDEX_SUFFIX)}")
_PACK_KEY = re.compile(rf"{PACKS}/[0-9a-f]{{2}}/([0-9a-f]{{64}}){re.escape(SUFFIX)}")
_LOOSE_KEY = re.compile(rf"{ASSETS}/[0-9a-f]{{2}}/([0-9a-f]{{64}})")
_FORMAT_BYTES = json.dumps({"format": FORMAT}).encode()
_ABILITIES = "abilities.json"
_DAMAGED = "damaged.json"
_RELISTS = 5
_READS_AT_ONCE = 8
_READS = 3  # of an index whose bytes come damaged


class RemoteStore:
    """The store on `backend`. Safe across threads and beside any number of other pushers.

    `cache` is a folder for this remote alone; what lies there is verified when read, and may be deleted at any time.
    """

    def __init__(self, backend: CountingBackend, cache: Path | None = None) -> None:
        self.backend = backend
        self.kept_roots = KeptObjects(cache and cache / "roots")
        self._kept = KeptObjects(cache)
        self._kept_index = KeptObjects(cache and cache / INDEX)
        self._index = Index(NO_ENTRIES)
        self._index_names: set[str] = set()
        self._is_made = False
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """Where it lies, for messages."""
        return self.backend.url

    def check_format(self) -> bool:
        """Whether there is a store already; asked until there is one. Raises StoreFormat, RemoteUnreachable."""
        if self._is_made:
            return True
        try:
            said = read_json(self.backend.get(FORMAT_FILE), FORMAT_FILE)
        except ObjectMissing:
            return False
        except ValueError:
            raise StoreFormat(self.url, "unreadable", FORMAT) from None
        seen = said.get("format") if isinstance(said, dict) else said
        if seen != FORMAT:
            raise StoreFormat(self.url, str(seen), FORMAT)
        self._is_made = True
        return True

    def make(self) -> None:
        """Say which format the store has, if nobody did. Raises StoreFormat, RemoteUnreachable."""
        if not self.check_format():
            self.backend.put_if_absent(FORMAT_FILE, _FORMAT_BYTES)
            self.check_format()

    def abilities(self, *, fresh: bool = False) -> Abilities:
        """What the place promises when many write at once; asked once, and again if `fresh`.

        The store must be there. Raises RemoteUnreachable.
        """
        kept = None if fresh else _abilities(self._kept.find(_ABILITIES), self.url)
        if kept is not None:
            return kept
        found = self.backend.abilities(FORMAT_FILE, self.backend.get(FORMAT_FILE))
        said = {
            "url": self.url,
            "exclusive_put": found.exclusive_put,
            "replace": found.replace,
            "reason": found.reason,
        }
        self._kept.keep(_ABILITIES, json.dumps(said).encode())
        return found

    def list_index(self) -> dict[str, int]:
        """Name and size of every index file. Raises RemoteUnreachable."""
        listed = (
            (_INDEX_KEY.fullmatch(found.key), found.size_bytes) for found in self.backend.iter_objects(f"{INDEX}/")
        )
        return {match[1]: size for match, size in listed if match}

    def list_packs(self) -> dict[bytes, int]:
        """The raw id and size of every pack, also of those that no index names. Raises RemoteUnreachable."""
        return self._sizes(f"{PACKS}/", _PACK_KEY)

    def list_loose(self) -> dict[bytes, int]:
        """The raw id and size of every loose asset. Raises RemoteUnreachable."""
        return self._sizes(f"{ASSETS}/", _LOOSE_KEY)

    def index(self, listed: Collection[str] | None = None) -> Index:
        """The index as it is now; `listed` saves the listing to those who just made one.

        A file that was read before is not read again, also by another process: its name is its hash. Raises
        DamagedPack, RemoteUnreachable.
        """
        with self._lock:
            for attempt in range(_RELISTS):
                names = set(self.list_index() if listed is None or attempt else listed)
                try:
                    self._read_index_files(names)
                    break
                except ObjectMissing:  # merged into another file since we listed: list again
                    if attempt + 1 == _RELISTS:
                        raise
            return self._index

    def index_with(self, ids: IdMatrix) -> Index:
        """The index as this process, or another on this machine, read it last, if it has all of these assets.

        Else as it is now. What it names may be gone since: whoever misses something asks `index`. Raises as `index`,
        StoreFormat.
        """
        with self._lock:
            if not self._index_names:
                self._take_kept_index()
            known = self._index
        if known.find(ids)[0].all():
            return known
        self.check_format()
        return self.index()

    def kept_index_bytes(self, name: str) -> int | None:
        """The size of the index file `name` as it was when it was read, None if it is not kept here."""
        data = self._kept_index.find(f"{name}{INDEX_SUFFIX}")
        return len(data) if data is not None and index_file_name(data) == name else None

    def publish_index(self, entries: Entries, damaged: Collection[str] = ()) -> str:
        """Add an index file; everything it names must be durable there already. Its name. Raises RemoteUnreachable.

        If it has the name of one that is known to be `damaged`, it takes its place.
        """
        data = encode_index(entries)
        name = index_file_name(data)
        if name in damaged:
            self.put_object(index_key(name), data, len(data), replace=True)
        elif not self.backend.put_if_absent(index_key(name), data):
            self._fetch_index(name)  # somebody pushed just the same: then it must be whole
        self._kept_index.keep(f"{name}{INDEX_SUFFIX}", data)
        return name

    def put_object(self, key: str, source: bytes | Path, size_bytes: int, *, replace: bool = False) -> bool:
        """Put an object that is named by its content; False if it was there. Raises DamagedPack, RemoteUnreachable.

        With `replace` what was there is not what its name says, and is taken away.
        """
        if replace:
            self.backend.delete(key)
        if self.backend.put_if_absent(key, source):
            return True
        seen = self.backend.head(key)
        if seen is None or seen.size_bytes != size_bytes:
            size = "nothing" if seen is None else f"{seen.size_bytes} bytes"
            raise DamagedPack(
                f"{self.url}/{key}", f"holds {size}, expected {size_bytes}; its name is the hash of its bytes"
            )
        return False

    def is_index_damaged(self, name: str) -> bool:
        """Whether the index file `name`, read anew, is not what its name says. Raises RemoteUnreachable."""
        try:
            return all(index_file_name(self.backend.get(index_key(name))) != name for _ in range(_READS))
        except ObjectMissing:
            return False

    def put_index_back(self, name: str) -> bool:
        """Replace a damaged index file by what was read of it here; whether that is kept. Raises RemoteUnreachable."""
        data = self._kept_index.find(f"{name}{INDEX_SUFFIX}")
        if data is None or index_file_name(data) != name:
            return False
        return self.put_object(index_key(name), data, len(data), replace=True)

    def note_damage(self, keys: Collection[str]) -> None:
        """Remember on this machine which objects there do not hash to their names; nothing is remembered of others."""
        self._kept.keep(_DAMAGED, json.dumps(sorted(keys)).encode())

    def noted_damage(self) -> frozenset[str]:
        """What was noted; a hint only: who acts on it reads the object again."""
        with suppress(ValueError, TypeError):
            return frozenset(map(str, read_json(self._kept.find(_DAMAGED) or b"[]", "the note")))
        return frozenset()

    def _sizes(self, prefix: str, key: re.Pattern[str]) -> dict[bytes, int]:
        listed = ((key.fullmatch(found.key), found.size_bytes) for found in self.backend.iter_objects(prefix))
        return {bytes.fromhex(match[1]): size for match, size in listed if match}

    def _read_index_files(self, names: set[str]) -> None:
        """Make the index that of these files. Raises ObjectMissing if one is gone by now."""
        if names == self._index_names:
            return
        # The parts are not held beside the whole: for a million assets either takes 60 MB.
        grows = names >= self._index_names
        known = [self._index.entries] if grows else []
        new = sorted(names - self._index_names) if grows else sorted(names)
        with ThreadPoolExecutor(_READS_AT_ONCE) as threads:
            self._index = Index(join_entries([*known, *threads.map(self._read_index, new)]))
        self._index_names = names
        self._kept_index.forget_all_but({f"{name}{INDEX_SUFFIX}" for name in names})

    def _take_kept_index(self) -> None:
        kept: dict[str, Entries] = {}
        for name in self._kept_index.names():
            with suppress(DamagedPack):
                data = self._kept_index.find(name) or b""
                kept[name.removesuffix(INDEX_SUFFIX)] = decode_index(name.removesuffix(INDEX_SUFFIX), data, name)
        if kept:
            self._index, self._index_names = Index(join_entries([*kept.values()])), set(kept)

    def _read_index(self, name: str) -> Entries:
        data = self._kept_index.find(f"{name}{INDEX_SUFFIX}")
        if data is not None and index_file_name(data) == name:
            return decode_index(name, data, f"{self.url}/{index_key(name)}")
        data, entries = self._fetch_index(name)
        self._kept_index.keep(f"{name}{INDEX_SUFFIX}", data)
        return entries

    def _fetch_index(self, name: str) -> tuple[bytes, Entries]:
        key = index_key(name)
        for attempt in range(_READS):
            data = self.backend.get(key)
            if index_file_name(data) == name or attempt + 1 == _READS:
                break
        return data, decode_index(name, data, f"{self.url}/{key}")


def _abilities(data: bytes | None, url: str) -> Abilities | None:
    """What was kept about the place at `url`, if it can be read."""
    try:
        said = read_json(data or b"", "the note")
        if said["url"] != url:
            return None
        return Abilities(said["exclusive_put"] is True, said["replace"] is True, str(said["reason"]))
    except (ValueError, KeyError, TypeError):
        return None


# Objects of a remote that never change, kept in a folder here so that they are read over the network once.


class KeptObjects:
    """Files by name below `folder`; without a folder nothing is kept. A cache: what cannot be kept is not an error.

    A file may be damaged or cut off by a crash, as it is not fsynced: whoever reads it checks it.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def find(self, name: str) -> bytes | None:
        """The bytes kept under `name`."""
        if self._folder is None:
            return None
        try:
            return (self._folder / name).read_bytes()
        except OSError:
            return None

    def names(self) -> list[str]:
        """What is kept, sorted; what is being written is not."""
        try:
            found = os.listdir(self._folder) if self._folder is not None else []
        except OSError:
            return []
        return sorted(name for name in found if not name.startswith(TEMPORARY_PREFIX))

    def keep(self, name: str, data: bytes) -> None:
        """Keep `data`, at once: a reader sees all of it or nothing."""
        if self._folder is None:
            return
        with suppress(OSError):
            make_directory(self._folder)
            temporary = self._folder / temporary_name()
            try:
                number = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
                try:
                    write_all(number, data)
                finally:
                    os.close(number)
                os.replace(temporary, self._folder / name)
            except BaseException:
                with suppress(OSError):
                    temporary.unlink()
                raise

    def forget(self, name: str) -> None:
        """Keep no object under `name`."""
        if self._folder is not None:
            with suppress(OSError):
                (self._folder / name).unlink()

    def forget_all_but(self, names: Collection[str]) -> None:
        """Forget what the remote does not list any more."""
        if self._folder is None:
            return
        with suppress(OSError):
            sweep_temporaries(self._folder)
            for name in self.names():
                if name not in names:
                    self.forget(name)
