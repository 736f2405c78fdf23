"""Outputs of any kind, as a `.dvc` file or a `dvc.lock` pins them: read from its text, found in DVC's cache, brought.

A dataset's manifest is one of them; a model file or a plain folder is another.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from datapin.base.errors import DamagedManifest, Refused
from datapin.dvcfiles.cache import DvcCache, parse_output_list
from datapin.dvcfiles.pointer_text import read_plain_pointer
from datapin.dvcfiles.texts import load_yaml, pointer_outputs

_MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?\Z")
_KINDS = ("outs", "metrics", "plots")
_THREADS = 4


@dataclass(frozen=True, slots=True)
class PinnedOut:
    """One output. `md5` ends with `.dir` for a folder; `stage` None: the `.dvc` file `file` pins it."""

    path: str  # relative to the root
    md5: str
    file: str
    stage: str | None = None
    is_executable: bool = False

    @property
    def is_folder(self) -> bool:
        """Whether it is one."""
        return self.md5.endswith(".dir")


def pointer_outs(text: bytes, file: str) -> list[PinnedOut]:
    """The outputs of a `.dvc` file. Raises BadSettings, Refused."""
    plain = read_plain_pointer(text, file)
    if plain is not None:
        one = _out({"path": plain.dataset, "md5": plain.md5}, "", file, None)
        return [] if one is None else [one]
    folder, outs = pointer_outputs(text, file)
    return _outs(outs, folder, file, None)


def lock_outs(text: bytes, file: str, folders: Mapping[str, str]) -> list[PinnedOut]:
    """The outputs of every stage in a `dvc.lock`; `folders` as in `read_lock`. Raises BadSettings, Refused."""
    stages = load_yaml(text, file).get("stages")
    found: list[PinnedOut] = []
    for name, stage in stages.items() if isinstance(stages, dict) else ():
        if isinstance(stage, dict):
            folder = folders.get(str(name).split("@", 1)[0], posixpath.dirname(file))
            found += _outs(stage.get("outs"), folder, file, str(name))
    return found


def uncached_outputs(text: bytes, file: str) -> set[str]:
    """Paths that the stages of a `dvc.yaml` put out with `cache: false`: DVC keeps their hashes only."""
    stages = load_yaml(text, file).get("stages")
    found = set()
    for stage in stages.values() if isinstance(stages, dict) else ():
        body = stage if isinstance(stage, dict) else {}
        folder = posixpath.join(posixpath.dirname(file), str(body.get("wdir") or "."))
        for out in (one for kind in _KINDS for one in body.get(kind) or () if isinstance(one, dict)):
            for path, said in out.items():
                if isinstance(said, dict) and said.get("cache") is False:
                    found.add(posixpath.normpath(posixpath.join(folder, str(path))))
    return found


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


def md5_of_file(path: Path) -> str:
    """The MD5 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False)).hexdigest()


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


def _outs(said: object, folder: str, file: str, stage: str | None) -> list[PinnedOut]:
    found = []
    for out in said if isinstance(said, list) else ():
        one = _out(out, folder, file, stage) if isinstance(out, dict) else None
        if one is not None:
            found.append(one)
    return found


def _out(out: dict[str, Any], folder: str, file: str, stage: str | None) -> PinnedOut | None:
    """None for an output without an MD5 (never run, or kept by a cloud) or outside of the repository."""
    path, md5 = out.get("path"), out.get("md5")
    if not isinstance(path, str) or not isinstance(md5, str) or "://" in path:
        return None
    name = posixpath.normpath(posixpath.join(folder, path))
    if name.startswith(("../", "/")) or name in ("..", "."):
        return None
    if not _MD5.match(md5) or any(part in (".git", ".dvc", ".datapin") for part in name.split("/")):
        raise Refused(f"{file} pins {name} by {md5[:80]!r}, which no DVC writes", f"look at {file}")
    return PinnedOut(name, md5, file, stage, out.get("isexec") is True)


def _entries(cache: DvcCache, out: PinnedOut) -> list[tuple[str, str]] | None:
    """Name and hash of each file in the output; None if its list is not cached."""
    if not out.is_folder:
        return [("", out.md5)]
    path = cache.find(out.md5)
    if path is None:
        return None
    return sorted(parse_output_list(path.read_bytes(), str(path)))
