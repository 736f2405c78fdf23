"""`dvc.lock` as DVC writes it, read line by line: 11 ms of YAML for each of 100 versions would make a push wait.

A text with anything in it that DVC's writer does not put there is left to the YAML reader.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import Literal

from datapin.dvcfiles.texts import Pointer, read_lock

_HEAD = ("schema: '2.0'", "stages:")
_STAGE = re.compile(r"  ([A-Za-z_][\w.@/-]*):\Z")
_ITEM = re.compile(r"    (- |  )([a-z0-9_]+): (.+)\Z")
_OTHER = {listed: re.compile(rf"    (?!{listed})([a-z_]+:( |\Z)|- |  )") for listed in ("deps", "outs")}
_WORD = re.compile(r"[A-Za-z_][\w./@+-]*\Z")
_MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?\Z")
_COUNT = re.compile(r"(0|[1-9][0-9]*)\Z")
_KEY = re.compile(r"    [a-z_]+:( |\Z)")
_NO_TEXT = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}

_Output = dict[str, str]


def read_lock_text(text: bytes, file: str, folders: Mapping[str, str]) -> list[Pointer]:
    """The same as `read_lock`, thirty times as fast where DVC itself wrote the text."""
    stages = plain_lists(text, "outs")
    if stages is None:
        return read_lock(text, file, folders)
    here = posixpath.dirname(file) or "."
    found = []
    for name, outputs in stages.items():
        folder = folders.get(name.split("@", 1)[0], here)
        for output in outputs:
            dataset = posixpath.normpath(posixpath.join(folder, output.get("path", ".")))
            if not output.get("md5", "").endswith(".dir") or dataset.startswith(("../", "/")) or dataset in ("..", "."):
                continue
            files, size = (int(output[key]) if key in output else None for key in ("nfiles", "size"))
            found.append(Pointer(dataset, file, output["md5"], files, size, None, name))
    return found


def plain_lists(text: bytes, listed: Literal["deps", "outs"]) -> dict[str, list[_Output]] | None:
    """The `deps` or `outs` of each stage, None for text that DVC's writer would not have made."""
    try:
        lines = text.decode("utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError:
        return None
    if tuple(lines[:2]) != _HEAD:
        return None
    stages: dict[str, list[_Output]] = {}
    outputs: list[_Output] = []
    is_listing, is_first = False, False  # inside a list of outputs; right after a stage's name
    for line in lines[2:]:
        stage = _STAGE.match(line)
        if stage is not None and stage[1] not in stages and stage[1].lower() not in _NO_TEXT:
            outputs = stages[stage[1]] = []
            is_listing, is_first = False, True
            continue
        # All keys of a stage stand four spaces in if the first one does, and no value then reaches so far left.
        if not stages or (is_first and not _KEY.match(line)):
            return None
        is_first = False
        if line == f"    {listed}:" and not outputs:
            is_listing = True
        elif is_listing and line.startswith(("    - ", "      ")):
            if not _take(line, outputs):
                return None
        elif _OTHER[listed].match(line) and not _may_go_on(line):
            is_listing = False
        else:
            return None
    return stages


def _may_go_on(line: str) -> bool:
    """Whether a value could go on in the next line whatever its indent, or stand for something elsewhere."""
    is_open = line.count("'") % 2 or line.count('"') % 2 or any(line.count(a) != line.count(b) for a, b in ("[]", "{}"))
    return bool(is_open) or any(sign in line for sign in ("<<", "\t", "\r", "\\"))


def _take(line: str, outputs: list[_Output]) -> bool:
    """Add what one line says to the outputs; False if it is not plain."""
    item = _ITEM.match(line)
    if item is None:
        return False
    begins, name, value = item.groups()
    if begins == "- ":
        outputs.append({})
    elif not outputs:
        return False
    rule = {"md5": _MD5, "size": _COUNT, "nfiles": _COUNT}.get(name, _WORD)
    if name in outputs[-1] or not rule.match(value) or (rule is _WORD and name == "path" and value.lower() in _NO_TEXT):
        return False
    outputs[-1][name] = value
    return True
