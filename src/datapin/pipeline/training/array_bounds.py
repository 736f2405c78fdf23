"""NumPy's array files inside an archive, compared with what they claim before anybody allocates it."""

from __future__ import annotations

import io
import math
import warnings
import zipfile
from tokenize import TokenError
from typing import IO

import numpy as np

_ARRAY, _ARCHIVE = b"\x93NUMPY", b"PK\x03\x04"
_MAGIC_BYTES = 6
_HEADER_BYTES = 10_000  # NumPy's own bound, which its parser of literals needs
_VERSIONS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def check_arrays(archive: zipfile.ZipFile, *, most_bytes: int, is_inner: bool = False) -> None:
    """Raise ValueError if a member claims to be a larger array than it holds, or all unfold to more than `most_bytes`.

    Archives of arrays (of sparse matrices) inside of it are looked through as well. Raises what NumPy and zipfile
    raise on what is no array.
    """
    if sum(entry.file_size for entry in archive.infolist()) > most_bytes:
        raise ValueError(f"its members unfold to more than {most_bytes} bytes")
    for entry in archive.infolist():
        with archive.open(entry) as member:
            head = member.read(_MAGIC_BYTES)
            if head == _ARRAY:
                _check_array(member, head, entry)
            elif head.startswith(_ARCHIVE) and not is_inner:
                with zipfile.ZipFile(io.BytesIO(head + member.read())) as inner:
                    check_arrays(inner, most_bytes=most_bytes, is_inner=True)


def _check_array(member: IO[bytes], head: bytes, entry: zipfile.ZipInfo) -> None:
    start = io.BytesIO(head + member.read(_HEADER_BYTES + 64))
    version = np.lib.format.read_magic(start)
    if version not in _VERSIONS:
        raise ValueError(f"{entry.filename} is an array file of version {version}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shape, _, dtype = _VERSIONS[version](start, max_header_size=_HEADER_BYTES)
    except (SyntaxError, TokenError, RecursionError, MemoryError):  # NumPy reads the header as Python's literals
        raise ValueError(f"{entry.filename} does not begin as an array") from None
    claimed, held = math.prod(shape) * dtype.itemsize, entry.file_size - start.tell()
    if dtype.hasobject or min(shape, default=0) < 0 or claimed != held:
        raise ValueError(f"{entry.filename} claims an array of {claimed} bytes, and holds {held}")
