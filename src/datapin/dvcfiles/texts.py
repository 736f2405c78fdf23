"""The text of pointers: `.dvc` files and `dvc.lock`, read with a safe YAML loader and no import of DVC."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from datapin.base.documents import YAML_BYTES, YAML_NODES, read_yaml
from datapin.base.errors import BadDocument, BadSettings, Refused

SUMMARY = "datapin"

_POINTER_BYTES, _POINTER_NODES = 1 << 20, 20_000  # of a `.dvc` file; there may be thousands
_CONFLICT = re.compile(r"^(<{7}|={7}|>{7}|\|{7})( |$)", re.MULTILINE)
_DIRECTORY_MD5 = re.compile(r"[0-9a-f]{32}\.dir\Z")
_MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?\Z")
_OTHER_PINS = {
    "etag",
    "checksum",
    "version_id",
    "files",
    "cloud",
}  # of outputs that lie elsewhere, and of cloud versions


@dataclass(frozen=True, slots=True)
class Pointer:
    """What Git tracks of one dataset version. `md5` ends with `.dir`; `summary` is None if absent or stale."""

    dataset: str
    file: str
    md5: str
    files: int | None
    size: int | None
    summary: Mapping[str, Any] | None
    stage: str | None = None

    @property
    def digest(self) -> str | None:
        """The manifest's digest, if the summary is there and belongs to this output."""
        value = self.summary.get("digest") if self.summary else None
        return value if isinstance(value, str) else None

    @property
    def rows(self) -> int | None:
        """How many rows the manifest has, if known."""
        value = self.summary.get("rows") if self.summary else None
        return value if isinstance(value, int) else None

    @property
    def sources(self) -> list[str]:
        """The source trees that the rows came from, relative to the repository."""
        value = self.summary.get("source") if self.summary else None
        if isinstance(value, str):
            return [value]
        return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def read_pointer(text: str | bytes, file: str) -> list[Pointer]:
    """The directories that the `.dvc` file `file` (path relative to the root) pins; none if it pins single files.

    Raises Refused for unresolved merge conflicts, BadSettings for text that is no `.dvc` file.
    """
    folder, outs = pointer_outputs(text, file)
    found = (_pointer(out, folder, file, stage=None) for out in outs)
    return [pointer for pointer in found if pointer is not None]


def pointer_outputs(text: str | bytes, file: str) -> tuple[str, list[dict[str, Any]]]:
    """The folder that a `.dvc` file's paths start from, and its outputs, each with a path and what pins it.

    Raises Refused for unresolved merge conflicts; BadSettings for text that is no `.dvc` file, or only a part of one.
    """
    document = load_yaml(text, file)
    outs = document.get("outs")
    if not isinstance(outs, list) or not outs:
        raise BadSettings(file, "outs", "is missing, empty or not a list: it pins nothing", _advice(file))
    # An import, or a stage of old, may not have run yet: it says what to do instead of what came of it.
    is_order = bool(document.get("deps") or document.get("cmd"))
    for out in outs:
        problem = _output_problem(out, is_order=is_order)
        if problem is not None:
            raise BadSettings(file, "outs", problem, _advice(file))
    stem = posixpath.basename(file).removesuffix(".dvc")
    if text[-1:] not in ("\n", b"\n") and posixpath.basename(outs[-1]["path"]) != stem:
        raise BadSettings(
            file, "outs", f"ends in the midst of a line: it pins {outs[-1]['path'][:80]!r}", _advice(file)
        )
    folder = posixpath.normpath(posixpath.join(posixpath.dirname(file), str(document.get("wdir") or ".")))
    return folder, outs


def _output_problem(out: object, *, is_order: bool) -> str | None:
    if not isinstance(out, dict):
        return f"holds {type(out).__name__}, expected a mapping"
    path, md5 = out.get("path"), out.get("md5")
    if not isinstance(path, str) or not path:
        return "has an output without a path"
    if not is_order and md5 is None and not out.keys() & _OTHER_PINS:
        return f"has no md5: nothing pins {path[:80]}"
    if md5 is not None and not (isinstance(md5, str) and _MD5.match(md5)):
        return f"has md5 {str(md5)[:80]!r}, expected 32 hex digits"
    for name in ("size", "nfiles"):
        value = out.get(name)
        if value is not None and (type(value) is not int or value < 0):
            return f"has {name} {str(value)[:80]!r}, expected a number"
    return None


def read_lock(text: str | bytes, file: str, folders: Mapping[str, str]) -> list[Pointer]:
    """The directories that the stages in the `dvc.lock` named `file` have put out.

    `folders` gives the working folder of each stage that has one (`wdir`), relative to the root.
    """
    stages = load_yaml(text, file).get("stages", {})
    if not isinstance(stages, dict):
        raise BadSettings(file, "stages", "is not a mapping", _advice(file))
    here = posixpath.dirname(file) or "."
    found = []
    for name, stage in stages.items():
        outs = stage.get("outs", []) if isinstance(stage, dict) else []
        folder = folders.get(str(name).split("@", 1)[0], here)
        for out in outs if isinstance(outs, list) else []:
            pointer = _pointer(out, folder, file, stage=str(name))
            if pointer is not None:
                found.append(pointer)
    return found


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
        raise BadSettings(file, "", error.problem, _advice(file)) from None
    except UnicodeDecodeError as error:
        raise BadSettings(file, "", f"is not UTF-8: {error}", _advice(file)) from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise BadSettings(file, "", f"is {type(document).__name__}, expected a mapping", _advice(file))
    return document


def _pointer(out: object, folder: str, file: str, *, stage: str | None) -> Pointer | None:
    if not isinstance(out, dict):
        raise BadSettings(file, "outs", f"holds {repr(out)[:80]}, expected a mapping", _advice(file))
    path, md5 = out.get("path"), out.get("md5")
    if not isinstance(path, str) or not isinstance(md5, str) or not md5.endswith(".dir"):
        return None
    if not _DIRECTORY_MD5.match(md5):
        raise BadSettings(file, "outs.md5", f"is {md5[:80]!r}, expected 32 hex digits and .dir", _advice(file))
    dataset = posixpath.normpath(posixpath.join(folder, path))
    if dataset.startswith(("../", "/")) or dataset in ("..", "."):
        return None  # outside of this repository: DVC allows it, datasets do not lie there
    size, files = out.get("size"), out.get("nfiles")
    return Pointer(
        dataset=dataset,
        file=file,
        md5=md5,
        files=files if isinstance(files, int) else None,
        size=size if isinstance(size, int) else None,
        summary=_summary(out, md5),
        stage=stage,
    )


def _summary(out: dict[str, Any], md5: str) -> Mapping[str, Any] | None:
    """Our summary, unless a plain `dvc add` has changed the output since it was written."""
    notes = out.get("meta")
    summary = notes.get(SUMMARY) if isinstance(notes, dict) else None
    if not isinstance(summary, dict) or summary.get("for") != md5:
        return None
    return summary


def has_summary(text: bytes) -> bool:
    """Whether the text of a `.dvc` file may hold our summary, stale or not; quick, without parsing."""
    return SUMMARY.encode() in text


def _ways_out(text: str, file: str) -> str:
    name = shlex.quote(file)
    if posixpath.basename(file) == "dvc.lock":
        return f"take a side with `git checkout --ours {name}` or `--theirs`, `git add {name}`, then run `dvc repro`"
    ways = f"choose a side with `git checkout --ours {name}` or `--theirs`, then run `dvc checkout {name}`"
    is_ours = file.endswith(".dvc") and SUMMARY in text
    return f"run `datapin resolve {shlex.quote(file.removesuffix('.dvc'))}`; or {ways}" if is_ours else ways


def _advice(file: str) -> str:
    return f"bring it back with `git checkout -- {shlex.quote(file)}`"
