"""DVC's YAML: `.dvc` files, `dvc.lock` and `dvc.yaml`, read with a safe, bounded loader and no import of DVC."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Mapping
from typing import Any

from datapin.base.documents import YAML_BYTES, YAML_NODES, read_yaml
from datapin.base.errors import BadDocument, BadSettings, Refused, either_side

SUMMARY = "datapin"

_POINTER_BYTES, _POINTER_NODES = 1 << 20, 20_000  # of a `.dvc` file; there may be thousands
_CONFLICT = re.compile(r"^(<{7}|={7}|>{7}|\|{7})( |$)", re.MULTILINE)


def stage_outputs(text: str | bytes, file: str) -> tuple[dict[str, str], list[str]]:
    """Of a `dvc.yaml`: working folder of each stage that sets one, and every output path that is written out."""
    stages = load_yaml(text, file).get("stages", {})
    here = posixpath.dirname(file) or "."
    folders: dict[str, str] = {}
    outputs: list[str] = []
    for name, stage in stages.items() if isinstance(stages, dict) else ():
        body = stage.get("do", stage) if isinstance(stage, dict) else {}
        if not isinstance(body, dict):
            continue
        folder = posixpath.normpath(posixpath.join(here, str(body.get("wdir", "."))))
        if "wdir" in body:
            folders[str(name)] = folder
        outs = body.get("outs", [])
        for out in outs if isinstance(outs, list) else []:
            path = next(iter(out), None) if isinstance(out, dict) else out
            if isinstance(path, str) and "${" not in path:
                outputs.append(posixpath.normpath(posixpath.join(folder, path)))
    return folders, outputs


def stage_body(document: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """What a `dvc.yaml` says of a stage, by its full name or without its `@key`; None if it has none."""
    stages = document.get("stages")
    stage = (stages.get(name) or stages.get(name.split("@", 1)[0])) if isinstance(stages, dict) else None
    body = stage.get("do", stage) if isinstance(stage, dict) else None
    return body if isinstance(body, dict) else None


def folder_of(stage: str, file: str, folders: Mapping[str, str]) -> str:
    """Where a stage of the `dvc.lock` or `dvc.yaml` named `file` runs, relative to the root.

    `folders` gives the working folder (`wdir`) of each stage that has one, by its full name or without its `@key`.
    """
    return folders.get(stage) or folders.get(stage.split("@", 1)[0]) or posixpath.dirname(file) or "."


def load_yaml(text: str | bytes, file: str) -> dict[str, Any]:
    """A YAML mapping: no tags that make objects, no duplicate keys, bounded. Raises Refused, BadSettings."""
    is_pointer = file.endswith(".dvc")
    most_bytes, most_nodes = (_POINTER_BYTES, _POINTER_NODES) if is_pointer else (YAML_BYTES, YAML_NODES)
    try:
        words = text.decode("utf-8") if isinstance(text, bytes) else text
        if len(text) <= most_bytes and _CONFLICT.search(words):
            raise Refused(f"{file} has unresolved merge conflicts", _ways_out(words, file))
        document = read_yaml(words, file, most_bytes=most_bytes, most_nodes=most_nodes)
    except BadDocument as error:
        raise BadSettings(file, "", error.problem, advice_for(file)) from None
    except UnicodeDecodeError as error:
        raise BadSettings(file, "", f"is not UTF-8: {error}", advice_for(file)) from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise BadSettings(file, "", f"is {type(document).__name__}, expected a mapping", advice_for(file))
    return document


def has_summary(text: bytes) -> bool:
    """Whether the text of a `.dvc` file may hold our summary, stale or not; quick, without parsing."""
    return SUMMARY.encode() in text


def _ways_out(text: str, file: str) -> str:
    name = shlex.quote(file)
    if posixpath.basename(file) == "dvc.lock":
        return f"take a side with {either_side(file)}, then run `dvc repro`"
    ways = f"choose a side with {either_side(file)}, then run `dvc checkout {name}`"
    is_ours = file.endswith(".dvc") and SUMMARY in text
    return f"run `datapin resolve {shlex.quote(file.removesuffix('.dvc'))}`; or {ways}" if is_ours else ways


def advice_for(file: str) -> str:
    """The command that brings back what Git has of `file`."""
    return f"bring it back with `git checkout -- {shlex.quote(file)}`"
