"""What the remote held when we last spoke to it: a cache, so that `status` needs no network."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import numpy as np

from datapin.base.documents import read_sealed, sealed
from datapin.base.files import make_directory, publish_bytes
from datapin.base.id_columns import IdMatrix, ids_from_raw
from datapin.base.ids import RAW_ID_BYTES
from datapin.base.state import slug_of
from datapin.dvcfiles.settings import default_remote
from datapin.verbs.workspace.workspace import Workspace

_VERSIONS = ".versions.json"
_CHECKSUM_BYTES = 32


def remember(workspace: Workspace, remote: str, ids: IdMatrix) -> None:
    """Keep the ids of the assets that `remote` holds."""
    path = _path(workspace, remote)
    make_directory(path.parent)
    data = np.ascontiguousarray(ids).tobytes()
    publish_bytes(path, data + hashlib.sha256(data).digest())  # closed by a checksum: a flipped bit is not believed


def remember_versions(workspace: Workspace, remote: str, md5s: Collection[str], *, asked: Collection[str] = ()) -> None:
    """Keep that `remote` holds the manifests of these pointers, and no others of those `asked` for."""
    known = _versions(workspace, remote)
    now = sorted((known - set(asked)) | set(md5s))
    if now != sorted(known):
        path = _path(workspace, remote).with_suffix(_VERSIONS)
        make_directory(path.parent)
        publish_bytes(path, sealed(now))


def knows_versions(workspace: Workspace, remote: str, md5s: Collection[str]) -> bool:
    """Whether all of these pointers' manifests are known to be on `remote`."""
    return _versions(workspace, remote).issuperset(md5s)


def is_pushed(workspace: Workspace, md5: str) -> bool | None:
    """Whether the pointer's manifest is known to be on the remote; None without one, or if we never spoke to it."""
    remote = workspace.settings.remote or default_remote(workspace.root)
    if remote is None or not is_known(workspace, remote):
        return None
    return knows_versions(workspace, remote, [md5])


def is_known(workspace: Workspace, remote: str) -> bool:
    """Whether we ever spoke to `remote`."""
    return _path(workspace, remote).exists()


def known_state(workspace: Workspace) -> str:
    """Changes whenever the answer of `not_pushed` may."""
    remote = workspace.settings.remote or default_remote(workspace.root)
    if remote is None:
        return ""
    try:
        seen = _path(workspace, remote).stat()
    except FileNotFoundError:
        return remote
    return f"{remote} {seen.st_size} {seen.st_mtime_ns} {seen.st_ino}"


def not_pushed(workspace: Workspace, ids: IdMatrix) -> int | None:
    """How many distinct assets the remote did not hold; None without a remote, or if we never spoke to it."""
    remote = workspace.settings.remote or default_remote(workspace.root)
    if remote is None:
        return None
    try:
        raw = _path(workspace, remote).read_bytes()
    except FileNotFoundError:
        return None
    raw, checksum = raw[:-_CHECKSUM_BYTES], raw[-_CHECKSUM_BYTES:]
    if len(raw) % RAW_ID_BYTES or hashlib.sha256(raw).digest() != checksum:
        return None
    return len(np.setdiff1d(_whole(ids), _whole(ids_from_raw(raw))))


def _versions(workspace: Workspace, remote: str) -> set[str]:
    with suppress(OSError, ValueError, TypeError):
        return set(read_sealed(_path(workspace, remote).with_suffix(_VERSIONS)))
    return set()


def _whole(ids: IdMatrix) -> np.ndarray[tuple[int], np.dtype[np.bytes_]]:
    # One fixed-width value per id, so that NumPy compares ids and not bytes. A trailing zero byte is significant in
    # `V` but not in `S`; ids that differ only there compare equal in `S`, so both sides carry a closing byte.
    closed = np.concatenate([np.ascontiguousarray(ids), np.ones((len(ids), 1), np.uint8)], axis=1)
    return closed.view(f"S{RAW_ID_BYTES + 1}").reshape(-1)


def _path(workspace: Workspace, remote: str) -> Path:
    return workspace.cache / "known" / slug_of(remote)
