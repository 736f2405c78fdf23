"""Outputs of other kinds than manifests, a model for example: their bytes by DVC's hash, wherever they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from datapin.backends.backend import Backend
from datapin.base.errors import DamagedManifest, ObjectMissing, OutputMissing
from datapin.base.files import make_directory, temporary_name
from datapin.dvcfiles.cache import DvcCache, parse_output_list
from datapin.dvcfiles.hashes import FILE_MD5, key_of, md5_of, md5_of_file, new_md5


def find_file(root: Path, path: str, md5: str, remote: Callable[[], Backend], scratch: Path) -> Path:
    """A file that holds the bytes which DVC calls `md5`: the work tree's, DVC's cache's, or a copy from the remote.

    The copy lies in `scratch`, under its hash. Raises OutputMissing if it is nowhere, DamagedManifest for bytes that
    are not what their name says, RemoteUnreachable.
    """
    if not FILE_MD5.match(md5):
        raise DamagedManifest(path, f"is pinned as {md5[:80]!r}, expected 32 hex digits")
    for place in (root / path, DvcCache(root).find(md5), scratch / md5):
        if place is not None and place.is_file() and md5_of_file(place) == md5:
            return place
    backend = remote()
    key = key_of(md5)
    make_directory(scratch)
    copy = scratch / temporary_name()
    digest = new_md5()
    try:
        with open(copy, "xb") as file:
            for chunk in backend.iter_chunks(key):
                digest.update(chunk)
                file.write(chunk)
        if digest.hexdigest() != md5:
            raise DamagedManifest(f"{backend.url}/{key}", "does not hash to its name")
        return copy.rename(scratch / md5)
    except ObjectMissing:
        raise OutputMissing(path, f"neither here nor at {backend.url}") from None
    finally:
        copy.unlink(missing_ok=True)


def listed_files(root: Path, path: str, md5: str) -> dict[str, str]:
    """Name, below the output `path` that is pinned as `md5`, and MD5 of each file in it; a single file has name "".

    Raises OutputMissing if DVC's cache lacks the list of a folder, DamagedManifest if that is not one.
    """
    if not md5.endswith(".dir"):
        return {"": md5}
    place = DvcCache(root).find(md5)
    if place is None:
        raise OutputMissing(path, "a folder whose list of files is not in DVC's cache")
    data = place.read_bytes()
    if md5_of(data) != md5.removesuffix(".dir"):
        raise DamagedManifest(str(place), "does not hash to its name; DVC's cache is damaged")
    return dict(parse_output_list(data, str(place)))
