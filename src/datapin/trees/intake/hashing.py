"""Ids of files that are only looked at: what `status` needs where the stat cache does not vouch for a file."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from datapin.base.id_columns import IdMatrix, ids_from_raw
from datapin.base.ids import RAW_ID_BYTES
from datapin.base.progress import SILENT, Bar, Progress
from datapin.trees.intake.walkers import shown_path

_CHUNK_BYTES = 1 << 20
_FILES_PER_TASK = 256
_NO_ID = bytes(RAW_ID_BYTES)


def hash_files(paths: Sequence[str], *, jobs: int, progress: Progress = SILENT) -> tuple[IdMatrix, list[str]]:
    """The ids of these files, `uint8 [n, 32]`, and what could not be read (zeros in its place)."""
    tasks = [paths[start : start + _FILES_PER_TASK] for start in range(0, len(paths), _FILES_PER_TASK)]
    raw: list[bytes] = []
    problems: list[str] = []
    # Threads suffice: hashing and reading let go of the interpreter lock.
    with progress.bar("hashing", None, "B") as bar, ThreadPoolExecutor(jobs) as pool:
        for ids, unread in pool.map(partial(_hash_some, told=_Told(bar)), tasks):
            raw.append(ids)
            problems += unread
    ids_found: IdMatrix = np.array(ids_from_raw(b"".join(raw)))
    return ids_found, problems


class _Told:
    """Tells a bar what several threads have read."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._lock = threading.Lock()

    def __call__(self, size_bytes: int) -> None:
        with self._lock:
            self._bar.advance(size_bytes)


def _hash_some(paths: Sequence[str], told: _Told) -> tuple[bytes, list[str]]:
    ids, problems = [], []
    for path in paths:
        try:
            ids.append(_hash_one(path, told))
        except OSError as error:
            ids.append(_NO_ID)
            problems.append(f"{shown_path(os.fsencode(path))}: {error.strerror}")
    return b"".join(ids), problems


def _hash_one(path: str, told: _Told) -> bytes:
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise OSError(0, "not a regular file any more", path)
        digest = hashlib.sha256()
        while data := os.read(number, _CHUNK_BYTES):
            digest.update(data)
            told(len(data))
        return digest.digest()
    finally:
        os.close(number)
