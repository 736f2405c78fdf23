"""The entries of a `dvc.lock`, word for word: what DVC compares with `dvc.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from datapin.base.errors import BadSettings
from datapin.dvcfiles.texts import load_yaml

_ADVICE = "run `dvc repro` to write it again, or bring it back with `git checkout`"


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
