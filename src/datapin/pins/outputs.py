"""The files of pinned outputs of any kind: in DVC's cache, and in the work tree."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from datapin.base.errors import DamagedManifest
from datapin.dvcfiles.cache import DvcCache, parse_output_list
from datapin.dvcfiles.hashes import md5_of_file
from datapin.dvcfiles.outs import PinnedOut

_THREADS = 4


def files_of(cache: DvcCache, out: PinnedOut) -> list[tuple[str, Path]] | None:
    """Name below the output, and cached file, of everything in it; None if the cache lacks any. One file has name "".

    Raises DamagedManifest for a list that no DVC wrote.
    """
    entries = _entries(cache, out)
    if entries is None:
        return None
    found = [(name, cache.find(md5)) for name, md5 in entries]
    return None if any(path is None for _, path in found) else [(name, path) for name, path in found if path]


def check_cached(files: Sequence[tuple[str, Path]]) -> list[str]:
    """Read cached objects and compare them with their names. Raises DamagedManifest.

    The names of those that cannot be compared: DVC 2 named text files by their bytes with other line ends; it kept its
    objects one level higher.
    """
    of_today = [one for one in files if one[1].parent.parent.name == "md5"]
    with ThreadPoolExecutor(_THREADS) as threads:
        for (_, path), seen in zip(of_today, threads.map(md5_of_file, [path for _, path in of_today]), strict=True):
            if seen != f"{path.parent.name}{path.name}".removesuffix(".dir"):
                raise DamagedManifest(str(path), "does not hash to its name; DVC's cache is damaged")
    return [name for name, path in files if path.parent.parent.name != "md5"]


def differs(root: Path, cache: DvcCache, out: PinnedOut) -> list[str]:
    """Names of the files by which the work tree differs from `out`, which is there; [its path] if nobody can tell."""
    top = root / out.path
    if not out.is_folder:
        return [] if top.is_file() and md5_of_file(top) == out.md5 else [out.path]
    entries = _entries(cache, out)
    if entries is None or not top.is_dir():
        return [out.path]
    wanted = dict(entries)
    here = {path.relative_to(top).as_posix(): path for path in top.rglob("*") if not path.is_dir()}
    names = sorted(wanted.keys() ^ here.keys())
    both = sorted(wanted.keys() & here.keys())
    with ThreadPoolExecutor(_THREADS) as threads:
        seen = threads.map(md5_of_file, [here[name] for name in both])
        return names + [name for name, md5 in zip(both, seen, strict=True) if md5 != wanted[name]]


def _entries(cache: DvcCache, out: PinnedOut) -> list[tuple[str, str]] | None:
    """Name and hash of each file in the output; None if its list is not cached."""
    if not out.is_folder:
        return [("", out.md5)]
    path = cache.find(out.md5)
    if path is None:
        return None
    return sorted(parse_output_list(path.read_bytes(), str(path)))
