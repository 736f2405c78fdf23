"""The stages of a `dvc.lock`: what each read, ran and wrote.

As entries, word for word, which DVC compares with `dvc.yaml`; and as stages whose paths start at the root.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from datapin.base.errors import BadSettings
from datapin.dvcfiles.outs import plain_lists
from datapin.dvcfiles.texts import folder_of, load_yaml

_ADVICE = "run `dvc repro` to write it again, or bring it back with `git checkout`"


@dataclass(frozen=True, slots=True)
class LockedFile:
    """A file or folder that a stage read or wrote; `path` is relative to the root, `md5` of a folder ends in `.dir`."""

    path: str
    md5: str | None
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class LockedStage:
    """One stage as it ran last. `command` and `params` are empty where only its files were asked for."""

    name: str
    file: str
    deps: tuple[LockedFile, ...]
    outs: tuple[LockedFile, ...]
    command: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)


def read_stages(text: bytes, file: str, folders: Mapping[str, str]) -> list[LockedStage]:
    """Every stage of the `dvc.lock` named `file`; `folders` gives the working folder of each stage that has one.

    Raises BadSettings for text that is no `dvc.lock`, Refused for unresolved merge conflicts.
    """
    stages = load_yaml(text, file).get("stages") or {}
    if not isinstance(stages, dict) or not all(isinstance(body, dict) for body in stages.values()):
        raise BadSettings(file, "stages", "is not a mapping of stages", "run `dvc repro` to write it again")
    found = []
    for name, body in stages.items():
        here = folder_of(str(name), file, folders)
        command = body.get("cmd", "")
        found.append(
            LockedStage(
                str(name),
                file,
                _files(body.get("deps"), here),
                _files(body.get("outs"), here),
                command if isinstance(command, str) else "\n".join(map(str, command)),
                body.get("params") or {},
            )
        )
    return found


def read_stage_files(text: bytes, file: str, folders: Mapping[str, str]) -> list[LockedStage]:
    """As `read_stages`, without commands and params, and thirty times as fast where DVC wrote the text."""
    deps, outs = plain_lists(text, "deps"), plain_lists(text, "outs")
    if deps is None or outs is None:
        return read_stages(text, file, folders)
    found = []
    for name in outs:
        here = folder_of(name, file, folders)
        found.append(LockedStage(name, file, _files(deps[name], here), _files(outs[name], here)))
    return found


def _files(given: Any, folder: str) -> tuple[LockedFile, ...]:
    found = []
    for one in given if isinstance(given, list) else ():
        path = one.get("path") if isinstance(one, dict) else None
        if isinstance(path, str):
            # A dependency's hash may be of another kind (an etag, a version of a remote file): then there is no md5.
            md5, size = one.get("md5"), str(one.get("size", ""))
            size_bytes = int(size) if size.isdigit() else None
            named = md5 if isinstance(md5, str) else None
            found.append(LockedFile(posixpath.normpath(posixpath.join(folder, path)), named, size_bytes))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class LockEntry:
    """What a stage ran (`command`: text, or a list of it), read and wrote.

    `deps` and `outs` map each path, as the file names it, to its MD5, None for what DVC names by other means; `params`
    maps each file to the values that were read from it.
    """

    command: object
    deps: Mapping[str, str | None]
    outs: Mapping[str, str | None]
    params: Mapping[str, Mapping[str, Any]]


def read_lock_entries(text: bytes, file: str) -> dict[str, LockEntry]:
    """The entry of each stage in the `dvc.lock` named `file`.

    Raises BadSettings for text that is no `dvc.lock`, Refused for unresolved merge conflicts.
    """
    stages = load_yaml(text, file).get("stages") or {}
    if not isinstance(stages, dict):
        raise BadSettings(file, "stages", "is not a mapping", _ADVICE)
    return {str(name): _entry(body, str(name), file) for name, body in stages.items()}


def _entry(body: object, name: str, file: str) -> LockEntry:
    if not isinstance(body, dict):
        raise BadSettings(file, f"stages.{name}", "is not a mapping", _ADVICE)
    params = body.get("params") or {}
    if not isinstance(params, dict) or not all(isinstance(values, dict) for values in params.values()):
        raise BadSettings(file, f"stages.{name}.params", "is not a mapping of files to values", _ADVICE)
    return LockEntry(body.get("cmd"), _hashes(body, "deps", name, file), _hashes(body, "outs", name, file), params)


def _hashes(body: dict[str, Any], key: str, name: str, file: str) -> dict[str, str | None]:
    items = body.get(key) or []
    if not isinstance(items, list) or not all(isinstance(one, dict) and "path" in one for one in items):
        raise BadSettings(file, f"stages.{name}.{key}", "is not a list of paths", _ADVICE)
    found = {str(one["path"]): one.get("md5") for one in items}
    if len(found) != len(items):
        raise BadSettings(file, f"stages.{name}.{key}", "names a path twice", _ADVICE)
    return {path: md5 if isinstance(md5, str) else None for path, md5 in found.items()}
