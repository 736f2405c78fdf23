"""Reads assets: located once, then one `pread` each, hashed before the bytes are handed out.

File numbers are cached and safe across threads and after a fork: `pread` has no shared position, and a file is closed
only when the last one that uses it lets go.
"""

from __future__ import annotations

import errno
import hashlib
import os
import resource
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from typing import Literal

import numpy as np
import numpy.typing as npt

from datapin.base.errors import DamagedAsset
from datapin.base.id_columns import IdMatrix
from datapin.base.ids import RAW_ID_BYTES
from datapin.pack.codec import CodecError, decode
from datapin.pack.format import CODEC_RAW
from datapin.pack.reader import coalesce, read_stored
from datapin.store.adding.copies import KnownPlace
from datapin.store.index import IN_LOOSE_FILE, Locations, column_view
from datapin.store.layout import LOOSE, loose_key, pack_key

_MOST_OPEN, _LEAST_OPEN = 256, 8
_GAP_BYTES = 16 << 10
_SPAN_BYTES = 1 << 20


class OpenFile:
    """A file number that closes when nobody holds it any more."""

    __slots__ = ("number",)

    def __init__(self, path: str) -> None:
        self.number = -1
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            self.number = os.open(path, flags)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            _open_packs.clear()  # whoever reads from one still holds it
            self.number = os.open(path, flags)

    def __del__(self) -> None:
        try:
            if self.number >= 0:
                os.close(self.number)
        except (OSError, TypeError, AttributeError):  # the last two: the interpreter is ending, modules are empty
            return


# Of all stores and readers of this process, the one used last at the end: ten datasets share what one may have open.
_open_packs: OrderedDict[tuple[int, bytes], OpenFile] = OrderedDict()
_numbers = count()


def _most_open() -> int:
    """A quarter of what this process may have open: Arrow, DVC and the network need numbers, too."""
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _MOST_OPEN if allowed == resource.RLIM_INFINITY else min(_MOST_OPEN, max(_LEAST_OPEN, allowed // 4))


class PackFiles:
    """The open packs of one store."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._owner = next(_numbers)  # a store that is opened anew must see what became of its packs

    def __del__(self) -> None:
        try:
            self.close()
        except (TypeError, AttributeError):  # the interpreter is ending, modules are empty
            return

    def get(self, pack: bytes) -> OpenFile:
        """The pack, opened on first use; hold it while its number is used. Raises OSError."""
        key = (self._owner, pack)
        found = _open_packs.get(key)
        if found is None:
            found = OpenFile(f"{self._root}/{pack_key(pack.hex())}")
            most = _most_open()
            while len(_open_packs) >= most:
                with suppress(KeyError):  # another thread may evict at the same time
                    _open_packs.popitem(last=False)
            _open_packs[key] = found
        else:
            with suppress(KeyError):
                _open_packs.move_to_end(key)
        return found

    def forget(self, pack: bytes) -> None:
        """Open the pack anew the next time."""
        _open_packs.pop((self._owner, pack), None)

    def close(self) -> None:
        """Let go of all packs."""
        for key in [key for key in tuple(_open_packs) if key[0] == self._owner]:
            _open_packs.pop(key, None)


Verify = bool | Literal["first"]
"""Whether bytes are hashed before they are handed out: always, never, or when a process first touches an asset."""


class _Touched:
    """Assets that this process has hashed, in files that have not changed since, as far as their inodes tell."""

    def __init__(self, packs: npt.NDArray[np.int32]) -> None:
        self._packs = packs  # of each asset; negative for loose ones
        self._is_hashed = np.zeros(len(packs), dtype=bool)
        self._files: dict[int, tuple[int, ...]] = {}

    def knows(self, number: int, file: int, file_number: int) -> bool:
        """Whether asset `number`, in the pack or loose file that is called `file` here, need not be hashed."""
        found = os.fstat(file_number)
        stamp = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        if self._files.get(file) != stamp:
            self._files[file] = stamp
            self._is_hashed[number if file < 0 else self._packs == file] = False
        return bool(self._is_hashed[number])

    def add(self, number: int) -> None:
        """Note that the asset was hashed, and right."""
        self._is_hashed[number] = True


ReadElsewhere = Callable[[bytes, DamagedAsset | None], bytes]  # raw id, what the first copy's damage was


class Reader:
    """Assets by their number in the list it was made for. Safe to share between threads."""

    def __init__(
        self,
        root: str,
        ids: IdMatrix,
        locations: Locations,
        files: PackFiles,
        elsewhere: ReadElsewhere,
        *,
        verify: Verify,
    ) -> None:
        self._root = root
        self._files = files
        self._elsewhere = elsewhere  # tries all copies, after the first one failed
        self._verify = bool(verify)
        self._touched = _Touched(locations.pack) if verify == "first" else None
        self._ids = ids.tobytes()
        self._locations = locations
        self._pack = column_view(locations.pack)
        self._offset = column_view(locations.offset)
        self._length = column_view(locations.length)
        self._raw_length = column_view(locations.raw_length)
        self._codec = column_view(locations.codec)
        self._packs = locations.packs
        self._last: tuple[int, OpenFile | None] = (IN_LOOSE_FILE, None)  # readers go through a pack from its start

    def __len__(self) -> int:
        return len(self._pack)

    def read(self, number: int) -> bytes:
        """The bytes of asset `number`, hashed unless the reader was made with `verify=False`.

        Raises DamagedAsset if no copy is good, AssetsMissing if its pack is gone.
        """
        number = number if number >= 0 else len(self) + number
        pack = self._pack[number]
        try:
            if pack < 0:
                return self._read_loose(number)
            file = self._open_pack(pack)
            data = read_stored(file.number, self._offset[number], self._length[number])
            is_hashed = self._verify and not self._is_known(number, pack, file)
        except OSError:
            return self._elsewhere(self.raw_id(number), None)
        if self._codec[number] != CODEC_RAW:
            return self._decoded(number, data, pack, is_hashed=is_hashed)
        return self._checked(number, data, pack, is_hashed=is_hashed)

    def read_many(self, numbers: npt.NDArray[np.int64]) -> list[bytes]:
        """The bytes of these assets, in this order, read in the order in which they lie. Raises as `read`.

        For assets here and there: of neighbours `read_batch` makes fewer calls.
        """
        places = np.lexsort((self._locations.offset[numbers], self._locations.pack[numbers]))
        result = [b""] * len(numbers)
        for place, number in zip(places.tolist(), numbers[places].tolist(), strict=True):
            result[place] = self.read(number)
        return result

    def read_batch(self, numbers: Sequence[int]) -> list[bytes]:
        """The bytes of these assets, in this order; neighbours in a pack are read at once. Raises as `read`."""
        by_place = sorted(range(len(numbers)), key=lambda n: (self._pack[numbers[n]], self._offset[numbers[n]]))
        result = [b""] * len(numbers)
        start = 0
        while start < len(by_place):
            pack = self._pack[numbers[by_place[start]]]
            end = start
            while end < len(by_place) and self._pack[numbers[by_place[end]]] == pack:
                end += 1
            self._read_group(pack, by_place[start:end], numbers, result)
            start = end
        return result

    def raw_id(self, number: int) -> bytes:
        """The id of asset `number`."""
        return self._ids[number * RAW_ID_BYTES : (number + 1) * RAW_ID_BYTES]

    def _read_group(self, pack: int, places: Sequence[int], numbers: Sequence[int], result: list[bytes]) -> None:
        if pack == IN_LOOSE_FILE or len(places) < 2:
            for place in places:
                result[place] = self.read(numbers[place])
            return
        offsets = [self._offset[numbers[place]] for place in places]
        lengths = [self._length[numbers[place]] for place in places]
        for span in coalesce(offsets, lengths, gap=_GAP_BYTES, most=_SPAN_BYTES):
            try:
                file = self._open_pack(pack)
                block = read_stored(file.number, span.offset, span.length)
            except OSError:
                block = b""
            for position in range(span.first, span.last + 1):
                number, begin = numbers[places[position]], offsets[position] - span.offset
                data = block[begin : begin + lengths[position]]
                # A piece that is not right takes the ordinary way, which tries the other copies.
                is_right = bool(block) and self._is_right(number, data, pack, file)
                result[places[position]] = data if is_right else self.read(number)

    def _is_right(self, number: int, data: bytes, pack: int, file: OpenFile) -> bool:
        if self._codec[number] != CODEC_RAW or len(data) != self._length[number]:
            return False
        if not self._verify or self._is_known(number, pack, file):
            return True
        is_right = hashlib.sha256(data).digest() == self.raw_id(number)
        if is_right and self._touched is not None:
            self._touched.add(number)
        return is_right

    def _is_known(self, number: int, name: int, file: OpenFile) -> bool:
        return self._touched is not None and self._touched.knows(number, name, file.number)

    def _decoded(self, number: int, stored: bytes, name: int, *, is_hashed: bool) -> bytes:
        try:
            data = decode(self._codec[number], stored, self._raw_length[number], self.raw_id(number))
        except CodecError as error:
            return self._elsewhere(self.raw_id(number), self._damaged(number, str(error)))
        return self._checked(number, data, name, is_hashed=is_hashed)

    def _checked(self, number: int, data: bytes, name: int, *, is_hashed: bool) -> bytes:
        if is_hashed:
            if hashlib.sha256(data).digest() != self.raw_id(number):
                return self._elsewhere(self.raw_id(number), self._damaged(number, "hash mismatch"))
            if self._touched is not None:
                self._touched.add(number)
        if len(data) != self._raw_length[number]:
            return self._elsewhere(self.raw_id(number), self._damaged(number, "it is cut off"))
        return data

    def _read_loose(self, number: int) -> bytes:
        file = OpenFile(f"{self._root}/{loose_key(self.raw_id(number).hex())}")
        name = IN_LOOSE_FILE - 1 - number  # each of these files on its own
        is_hashed = self._verify and not self._is_known(number, name, file)
        data = read_stored(file.number, 0, os.fstat(file.number).st_size)
        return self._checked(number, data, name, is_hashed=is_hashed)

    def _open_pack(self, pack: int) -> OpenFile:
        last, file = self._last
        if last == pack and file is not None:
            return file
        file = self._files.get(self._packs[pack])
        self._last = (pack, file)
        return file

    def _damaged(self, number: int, problem: str) -> DamagedAsset:
        pack = self._pack[number]
        raw_id = self.raw_id(number)
        key = loose_key(raw_id.hex()) if pack < 0 else pack_key(self._packs[pack].hex())
        return DamagedAsset(raw_id.hex(), key, problem)


def read_copy(root: str, files: PackFiles, place: KnownPlace, raw_id: bytes, *, verify: bool) -> bytes:
    """One copy of an asset. Raises DamagedAsset, FileNotFoundError if its file is gone, OSError."""
    if place.pack_id == LOOSE:
        key = loose_key(raw_id.hex())
        file = OpenFile(f"{root}/{key}")
        data = read_stored(file.number, 0, os.fstat(file.number).st_size)
        problem = "" if len(data) == place.raw_length else "it is cut off"
    else:
        key = pack_key(place.pack_id)
        file = files.get(bytes.fromhex(place.pack_id))
        problem = ""
        try:
            stored = read_stored(file.number, place.offset, place.length)
            data = decode(place.codec, stored, place.raw_length, raw_id)
        except CodecError as error:
            data, problem = b"", str(error)
    if not problem and verify and hashlib.sha256(data).digest() != raw_id:
        problem = "hash mismatch"
    if problem:
        raise DamagedAsset(raw_id.hex(), key, problem)
    return data
