"""What DVC itself keeps on a remote beside datasets: outputs of stages and of `.dvc` files, models for example.

Read from the text of `dvc.lock`, `dvc.yaml` and `.dvc` files as of one commit, without DVC's code.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from datapin.dvcfiles.texts import load_yaml, stage_outputs

_LOCK, _PIPELINE = "dvc.lock", "dvc.yaml"
_LISTS = ("outs", "metrics", "plots")
_HOLE = re.compile(r"\\\$\\\{.*?\\\}")

Read = Callable[[str], bytes | None]


@dataclass(frozen=True, slots=True)
class PushedOutput:
    """A file or folder that `dvc push` sends: `md5` of a folder ends in `.dir`, `size_bytes` is that of a file.

    `remote` is the one that the output asks for, None for the default one.
    """

    path: str
    md5: str
    size_bytes: int | None
    remote: str | None = None


def pushed_outputs(file: str, read: Read) -> list[PushedOutput]:
    """The outputs that the `.dvc` file or `dvc.lock` named `file` pins; `read` gives a file's bytes, None if not there.

    Left out: what Git keeps (`cache: false`), what is never pushed (`push: false`), what `dvc import` took from
    another repository, and what a stage wrote that is no longer there. Raises BadSettings, Refused.
    """
    name = posixpath.basename(file)
    if name != _LOCK and (name == ".dvc" or not name.endswith(".dvc")):
        return []
    text = read(file) or b""
    return list(_of_lock(text, file, read) if name == _LOCK else _of_pointer(text, file))


def _of_pointer(text: bytes, file: str) -> Iterator[PushedOutput]:
    document = load_yaml(text, file)
    if any("repo" in dep for dep in _mappings(document.get("deps"))):
        return
    folder = posixpath.join(posixpath.dirname(file), str(document.get("wdir") or "."))
    for out in _mappings(document.get("outs")):
        yield from _output(out, out, folder)


def _of_lock(text: bytes, file: str, read: Read) -> Iterator[PushedOutput]:
    pipeline_file = posixpath.join(posixpath.dirname(file), _PIPELINE)
    pipeline = read(pipeline_file) or b""
    folders = stage_outputs(pipeline, pipeline_file)[0]
    declared = load_yaml(pipeline, pipeline_file).get("stages")
    locked = load_yaml(text, file).get("stages")
    for name, entry in locked.items() if isinstance(locked, dict) else ():
        base = str(name).split("@", 1)[0]
        body = (declared.get(name) or declared.get(base)) if isinstance(declared, dict) else None
        if not isinstance(body, dict) or not isinstance(entry, dict):
            continue
        flags = list(_flags(body.get("do", body)))
        for out in _mappings(entry.get("outs")):
            said = next((given for path, given in flags if path.fullmatch(str(out.get("path")))), {})
            yield from _output(out, said, folders.get(base, posixpath.dirname(file)))


def _output(out: Mapping[str, Any], said: Mapping[str, Any], folder: str) -> Iterator[PushedOutput]:
    path, md5, size, remote = out.get("path"), out.get("md5"), out.get("size"), said.get("remote")
    if not isinstance(path, str) or not isinstance(md5, str) or said.get("cache") is False or said.get("push") is False:
        return
    yield PushedOutput(
        posixpath.normpath(posixpath.join(folder, path)),
        md5,
        size if isinstance(size, int) and not md5.endswith(".dir") else None,
        remote if isinstance(remote, str) else None,
    )


def _mappings(given: object) -> Iterator[Mapping[str, Any]]:
    yield from (one for one in given if isinstance(one, dict)) if isinstance(given, list) else ()


def _flags(body: Any) -> Iterator[tuple[re.Pattern[str], Mapping[str, Any]]]:
    """The outputs that a stage declares: what their paths look like, and what is said of them."""
    for listed in _LISTS:
        outs = body.get(listed) if isinstance(body, dict) else None
        for out in outs if isinstance(outs, list) else ():
            for path, given in out.items() if isinstance(out, dict) else [(out, None)]:
                shape = _HOLE.sub(".*", re.escape(posixpath.normpath(str(path))))
                yield re.compile(shape), given if isinstance(given, dict) else {}
