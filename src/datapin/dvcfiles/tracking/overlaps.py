"""Whether another output of the repository overlaps a dataset's folder, which `dvc add` refuses."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from datapin.base.errors import BadSettings, Refused
from datapin.dvcfiles.locks import overlap
from datapin.dvcfiles.texts import load_yaml
from datapin.git.ask import files_named

_OUTPUTS = ("outs", "metrics", "plots")
# How DVC writes the one path of a `.dvc` file; ten times faster than a YAML parser, and there may be thousands.
_ONE_PATH = re.compile(rb"^  path: ([A-Za-z][\w./-]*)$", re.MULTILINE)


def may_overlap(root: Path, dataset: str) -> bool:
    """Whether any other `.dvc` file or stage puts out a path above, at or below `dataset`; True also if unknown."""
    mine = os.fspath(root / dataset)
    files = files_named(root, "*.dvc", "dvc.yaml")
    return any(
        path is None or overlap(path, mine) or overlap(path, f"{mine}.dvc")
        for _, path in other_outputs(root, dataset, files)
    )


def other_outputs(root: Path, dataset: str, files: Iterable[str]) -> Iterator[tuple[str, str | None]]:
    """Each pointer or pipeline of `files` but the dataset's own, and each absolute path that it puts out.

    The path is None if it is unknown.
    """
    for file in files:
        name = posixpath.basename(file)
        if file == f"{dataset}.dvc" or name == ".dvc" or not (name == "dvc.yaml" or name.endswith(".dvc")):
            continue
        paths = _outputs(root, file)
        yield from ((file, path) for path in ((None,) if paths is None else paths))


def _outputs(root: Path, file: str) -> list[str] | None:
    """Absolute paths of what `file` puts out, None if that cannot be told without DVC."""
    folder = os.path.dirname(root / file)
    try:
        text = (root / file).read_bytes()
        if file.endswith(".dvc") and text.count(b"path:") == 1 and b"wdir" not in text:
            path = _ONE_PATH.search(text)
            if path is not None:
                return [os.path.normpath(os.path.join(folder, path[1].decode()))]
        document = load_yaml(text, file)
        found = list(_pointer_outputs(document) if file.endswith(".dvc") else _stage_outputs(document))
    except (OSError, UnicodeDecodeError, Refused, BadSettings, TypeError, AttributeError, KeyError):
        return None
    if any("${" in part for one in found for part in one):
        return None
    return [os.path.normpath(os.path.join(folder, working, path)) for working, path in found]


def _pointer_outputs(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for out in document.get("outs") or ():
        yield document.get("wdir") or ".", out["path"]


def _stage_outputs(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for stage in (document.get("stages") or {}).values():
        body = stage.get("do", stage)
        for kind in _OUTPUTS:
            for out in body.get(kind) or ():
                for path in out if isinstance(out, dict) else (out,):
                    yield body.get("wdir") or ".", path
