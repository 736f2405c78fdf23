"""A manifest's files put into DVC's cache: the objects and the list that `dvc add` puts there, byte for byte."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from datapin.base import failpoints
from datapin.base.errors import StorageFailed
from datapin.base.files import fsync_directory, fsync_path, make_directory, temporary_name, write_all
from datapin.dvcfiles.hashes import list_bytes, md5_of, new_md5, place_of

_THREADS = 8  # they wait for the disk more than they hash
_CHUNK_BYTES = 1 << 20
_MODE = 0o444


@dataclass(frozen=True, slots=True)
class CachedDirectory:
    """What a `.dvc` file says of a directory: `md5` of its list, with `.dir`; bytes and number of its files."""

    md5: str
    size: int
    files: int


def cache_files(objects: Path, files: Sequence[Path]) -> CachedDirectory:
    """Put `files`, all of one directory, and DVC's list of them below `objects`, the cache's `files/md5`; durable.

    Raises StorageFailed if one changes meanwhile, OSError if the disk does not take it.
    """
    with ThreadPoolExecutor(_THREADS) as threads:
        known = list(threads.map(_md5_and_size, files))
        for _ in threads.map(lambda path, one: _put(objects, one[0], one[1], _chunks(path)), files, known):
            failpoints.hit("track.object")
        for _ in threads.map(fsync_directory, {(objects / place_of(md5)).parent for md5, _ in known}):
            pass
    listing = list_bytes({path.name: md5 for path, (md5, _) in zip(files, known, strict=True)})
    md5 = f"{md5_of(listing)}.dir"
    _put(objects, md5, len(listing), (listing,))
    fsync_directory((objects / place_of(md5)).parent)
    return CachedDirectory(md5, sum(size for _, size in known), len(files))


def _md5_and_size(path: Path) -> tuple[str, int]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, new_md5)
        return digest.hexdigest(), file.tell()


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def _put(objects: Path, md5: str, size: int, chunks: Iterable[bytes]) -> None:
    """Store the object unless it is there. Its bytes are durable afterwards, its name is not yet."""
    target = objects / place_of(md5)
    if _is_kept(target, size):
        return
    make_directory(target.parent)
    staged = target.parent / temporary_name()
    number = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
    try:
        try:
            digest = new_md5()
            for chunk in chunks:
                digest.update(chunk)
                write_all(number, chunk)
            # Some network file systems have no modes; DVC does without the protection there, and so do we.
            with suppress(PermissionError):
                os.fchmod(number, _MODE)
            os.fsync(number)
        finally:
            os.close(number)
        if digest.hexdigest() != md5.removesuffix(".dir"):
            raise StorageFailed("pin", str(target), "the manifest changed while it was read")
        os.replace(staged, target)
    except BaseException:
        staged.unlink(missing_ok=True)
        raise


def _is_kept(target: Path, size: int) -> bool:
    """Whether the object is there whole, as far as DVC looks: it believes what is write-protected."""
    with suppress(FileNotFoundError):
        status = os.lstat(target)
        if stat.S_ISREG(status.st_mode) and stat.S_IMODE(status.st_mode) == _MODE and status.st_size == size:
            fsync_path(target)  # DVC itself never does
            return True
    return False
