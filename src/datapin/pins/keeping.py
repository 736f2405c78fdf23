"""How an output is kept: by DVC, by Git or by nobody; and where `dvc push` sends it."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from datapin.dvcfiles.outs import PinnedOut
from datapin.dvcfiles.texts import folder_of, load_yaml, stage_body

_HOLE = re.compile(r"\\\$\\\{.*?\\\}")
_LISTS = ("outs", "metrics", "plots")


@dataclass(frozen=True, slots=True)
class Keeping:
    """How an output is kept: `is_cached` by DVC (else by Git, or nobody), `is_pushed` by `dvc push`, to `remote`.

    `remote` None is the default one. `is_declared` is False if no pipeline has the output any more.
    """

    is_cached: bool = True
    is_pushed: bool = True
    remote: str | None = None
    is_declared: bool = True


def keeping_of(out: PinnedOut, text: bytes, folders: Mapping[str, str]) -> Keeping:
    """As the text says that declares the output: its `.dvc` file, or the `dvc.yaml` beside the lock of its stage.

    `folders` as `dvcfiles.texts.folder_of` takes them. Raises BadSettings, Refused.
    """
    said = _of_pointer(out, text) if out.stage is None else _of_stage(out, text, folders)
    if said is None:
        return Keeping(is_declared=False)
    remote = said.get("remote")
    is_cached, is_pushed = (said.get(name) is not False for name in ("cache", "push"))
    return Keeping(is_cached, is_pushed, remote if isinstance(remote, str) else None)


def _of_pointer(out: PinnedOut, text: bytes) -> Mapping[str, Any]:
    document = load_yaml(text, out.file)
    given = (one for one in document.get("outs") or () if isinstance(one, dict))
    said = next((one for one in given if posixpath.basename(str(one.get("path"))) == posixpath.basename(out.path)), {})
    if any(isinstance(dep, dict) and "repo" in dep for dep in document.get("deps") or ()):
        return {**said, "push": False}  # another repository's remote has it
    return said


def _of_stage(out: PinnedOut, text: bytes, folders: Mapping[str, str]) -> Mapping[str, Any] | None:
    name = out.stage or ""
    body = stage_body(load_yaml(text, posixpath.join(posixpath.dirname(out.file), "dvc.yaml")), name)
    if body is None:
        return None
    path = posixpath.relpath(out.path, folder_of(name, out.file, folders))
    for listed in _LISTS:
        given = body.get(listed)
        for one in given if isinstance(given, list) else ():
            for said, flags in one.items() if isinstance(one, dict) else [(one, None)]:
                shape = _HOLE.sub(".*", re.escape(posixpath.normpath(str(said))))
                if re.fullmatch(shape, path):
                    return flags if isinstance(flags, dict) else {}
    return {}
