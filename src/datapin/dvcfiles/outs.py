"""What a `.dvc` file or a `dvc.lock` pins: read by its lines where DVC or we wrote the text, else by a YAML reader.

A log reads hundreds of them, and YAML takes 3 ms for a pointer, 11 for a lock. No import of DVC.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from datapin.base.errors import BadSettings, Refused
from datapin.base.settings import FOLDER
from datapin.dvcfiles.texts import SUMMARY, advice_for, folder_of, load_yaml

_NUMBER_TEXT = re.compile(r"[0-9e]+\Z")  # without quotes YAML reads a number
_OTHER_PINS = {"etag", "checksum", "version_id", "files", "cloud"}  # of outputs that lie elsewhere, of cloud versions
_NOT_FOR_DATA = {".git", ".dvc", FOLDER}

_PATH = rb"[A-Za-z_][\w./@+-]*"
_NUMBER = rb"0|[1-9][0-9]{0,17}"
_PLAIN = re.compile(
    rb"outs:\n- md5: (?P<md5>[0-9a-f]{32}\.dir)\n  size: (?P<size>%(count)s)\n  nfiles: (?P<files>%(count)s)\n"
    rb"  hash: md5\n  path: (?P<path>%(word)s)\n"
    rb"(?P<meta>  meta:\n    datapin:\n      for: (?P<for>[0-9a-f]{32}\.dir)\n"
    rb"      digest: (?:\n        )?(?P<digest>sha256:[0-9a-f]{64})\n"
    rb"      rows: (?P<rows>%(count)s)\n      bytes: (?P<bytes>%(count)s)\n"
    rb"(?:      source:(?:(?P<none> \[\]\n)|\n(?P<source>(?:      - %(word)s\n)+)))?)?\Z"
    % {b"word": _PATH, b"count": _NUMBER}
)
_PLAIN_FILE = re.compile(
    rb"outs:\n- md5: (?P<md5>[0-9a-f]{32})\n  size: (?P<size>%(count)s)\n  hash: md5\n  path: (?P<path>%(word)s)\n\Z"
    % {b"word": _PATH, b"count": _NUMBER}
)

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


@dataclass(frozen=True, slots=True)
class PinnedOut:
    """One output: of the `.dvc` file `file`, or of a stage in the `dvc.lock` of that name.

    `path` is relative to the root, and the name of the dataset where the output is a manifest. `md5` ends with `.dir`
    for a folder; `files` and `size` (bytes) are what DVC counted; `summary` is ours, None if absent or stale.
    """

    path: str
    md5: str
    file: str
    stage: str | None = None
    files: int | None = None
    size: int | None = None
    summary: Mapping[str, Any] | None = None
    is_executable: bool = False

    @property
    def dataset(self) -> str:
        """The path, where a manifest is meant."""
        return self.path

    @property
    def is_folder(self) -> bool:
        """Whether it is one: every manifest is."""
        return self.md5.endswith(".dir")

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


def read_pointer(text: bytes, file: str) -> list[PinnedOut]:
    """What the `.dvc` file `file` (path relative to the root) pins inside of the repository.

    Raises Refused for unresolved merge conflicts and for places that are not for data, BadSettings for text that is no
    `.dvc` file, or only a part of one.
    """
    plain = _plain_pointer(text, file)
    return _pointer_by_yaml(text, file) if plain is None else _inside([plain])


def read_lock(text: bytes, file: str, folders: Mapping[str, str]) -> list[PinnedOut]:
    """What the stages in the `dvc.lock` named `file` have put out; `folders` as `texts.folder_of` takes them.

    Raises as `read_pointer`.
    """
    stages = plain_lists(text, "outs")
    if stages is None:
        return _lock_by_yaml(text, file, folders)
    return _inside(
        _out(_plain_output(out), folder_of(name, file, folders), file, name)
        for name, outs in stages.items()
        for out in outs
    )


def pointer_outputs(text: str | bytes, file: str) -> tuple[str, list[dict[str, Any]]]:
    """The folder that a `.dvc` file's paths start from, and its outputs, each with a path and what pins it.

    Raises Refused for unresolved merge conflicts; BadSettings for text that is no `.dvc` file, or only a part of one.
    """
    document = load_yaml(text, file)
    outs = document.get("outs")
    if not isinstance(outs, list) or not outs:
        raise BadSettings(file, "outs", "is missing, empty or not a list: it pins nothing", advice_for(file))
    # An import, or a stage of old, may not have run yet: it says what to do instead of what came of it.
    is_order = bool(document.get("deps") or document.get("cmd"))
    for out in outs:
        problem = _output_problem(out, is_order=is_order)
        if problem is not None:
            raise BadSettings(file, "outs", problem, advice_for(file))
    stem = posixpath.basename(file).removesuffix(".dvc")
    if text[-1:] not in ("\n", b"\n") and posixpath.basename(outs[-1]["path"]) != stem:
        raise BadSettings(
            file, "outs", f"ends in the midst of a line: it pins {outs[-1]['path'][:80]!r}", advice_for(file)
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
    if name == "md5" and _NUMBER_TEXT.match(value):
        return False
    if name in outputs[-1] or not rule.match(value) or (rule is _WORD and name == "path" and value.lower() in _NO_TEXT):
        return False
    outputs[-1][name] = value
    return True


def _pointer_by_yaml(text: bytes, file: str) -> list[PinnedOut]:
    folder, outs = pointer_outputs(text, file)
    return _inside(_out(out, folder, file, None) for out in outs)


def _lock_by_yaml(text: bytes, file: str, folders: Mapping[str, str]) -> list[PinnedOut]:
    given = load_yaml(text, file).get("stages", {})
    if not isinstance(given, dict):
        raise BadSettings(file, "stages", "is not a mapping", advice_for(file))
    found: list[PinnedOut | None] = []
    for name, stage in given.items():
        outs = stage.get("outs") if isinstance(stage, dict) else None
        folder = folder_of(str(name), file, folders)
        found += [_out(out, folder, file, str(name)) for out in (outs if isinstance(outs, list) else ())]
    return _inside(found)


def _plain_pointer(text: bytes, file: str) -> PinnedOut | None:
    """The one output that a plain text pins; None if the text is not plain."""
    found = _PLAIN.match(text) or _PLAIN_FILE.match(text)
    if found is None:
        return None
    said = found.groupdict()
    path, md5 = found["path"].decode(), found["md5"].decode()
    sources = [line.removeprefix("      - ") for line in (said.get("source") or b"").decode().splitlines()]
    if _NUMBER_TEXT.match(md5) or any(word.lower() in _NO_TEXT for word in (path, *sources)):
        return None
    summary: dict[str, object] | None = None
    if said.get("meta") and said["for"] == found["md5"]:
        summary = {"for": md5, "digest": said["digest"].decode()}
        summary |= {"rows": int(said["rows"]), "bytes": int(said["bytes"])}
        summary |= {"source": sources} if sources or said["none"] else {}
    files = int(said["files"]) if "files" in said else None
    place = posixpath.normpath(posixpath.join(posixpath.dirname(file), path))
    return PinnedOut(place, md5, file, None, files, int(found["size"]), summary)


def _plain_output(output: _Output) -> dict[str, Any]:
    said: dict[str, Any] = {**output, "isexec": output.get("isexec") == "true"}
    return said | {name: int(output[name]) for name in ("size", "nfiles") if name in output}


def _out(out: object, folder: str, file: str, stage: str | None) -> PinnedOut | None:
    """None for an output without an MD5: never run, on a remote, or kept by a cloud."""
    if not isinstance(out, dict):
        raise BadSettings(file, "outs", f"holds {repr(out)[:80]}, expected a mapping", advice_for(file))
    path, md5 = out.get("path"), out.get("md5")
    if not isinstance(path, str) or not isinstance(md5, str) or "://" in path:
        return None
    if not _MD5.match(md5):
        expected = "32 hex digits and .dir" if md5.endswith(".dir") else "32 hex digits, and .dir for a folder"
        raise BadSettings(file, "outs.md5", f"is {md5[:80]!r}, expected {expected}", advice_for(file))
    size, files = out.get("size"), out.get("nfiles")
    return PinnedOut(
        path=posixpath.normpath(posixpath.join(folder, path)),
        md5=md5,
        file=file,
        stage=stage,
        files=files if isinstance(files, int) else None,
        size=size if isinstance(size, int) else None,
        summary=_summary(out, md5),
        is_executable=out.get("isexec") is True,
    )


def _inside(outs: Iterable[PinnedOut | None]) -> list[PinnedOut]:
    """Those inside of the repository: DVC allows others, datasets do not lie there. Raises Refused."""
    found = []
    for out in outs:
        if out is None or out.path.startswith(("../", "/")) or out.path in ("..", "."):
            continue
        if _NOT_FOR_DATA.intersection(out.path.split("/")):
            raise Refused(f"{out.file} pins {out.path}, which is no place for data", f"look at {out.file}")
        found.append(out)
    return found


def _summary(out: dict[str, Any], md5: str) -> Mapping[str, Any] | None:
    """Our summary, unless a plain `dvc add` has changed the output since it was written."""
    notes = out.get("meta")
    summary = notes.get(SUMMARY) if isinstance(notes, dict) else None
    if not isinstance(summary, dict) or summary.get("for") != md5:
        return None
    return summary
