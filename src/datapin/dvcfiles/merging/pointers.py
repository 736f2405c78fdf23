"""A dataset's `.dvc` file in three versions: what each pins, what the user wrote beside it, and the text of a merge."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from datapin.base.errors import DatapinError
from datapin.dvcfiles.outs import PinnedOut, read_pointer
from datapin.dvcfiles.texts import SUMMARY, has_summary, load_yaml
from datapin.dvcfiles.tracking.objects import CachedDirectory
from datapin.dvcfiles.tracking.pointer import PointerText

# What a conflict that we left looks like; Git may hand it back as the common version, when histories cross.
_BASE = re.compile(rb"^\|{7} [^\n]*\n(.*?)^={7}$", re.MULTILINE | re.DOTALL)
_PATH = re.compile(rb"^([- ] +path: +)(\S.*)$", re.MULTILINE)
_MARKS = re.compile(rb"^(<{7}|={7}|>{7}|\|{7})( |$)", re.MULTILINE)
_NOTES, _NOTES_OF_OUT = ("desc",), ("desc", "type", "labels", "remote")

Notes = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PointerSide:
    """One version of the file: its text, what it pins, and the user's notes in it, by dotted name."""

    text: str
    pointer: PinnedOut
    notes: Notes

    @property
    def directory(self) -> CachedDirectory:
        """What DVC says of the pinned folder."""
        return CachedDirectory(self.pointer.md5, self.pointer.size or 0, self.pointer.files or 0)


@dataclass(frozen=True, slots=True)
class PointerSides:
    """Three versions of the pointer `file`; `base` None if the sides have none in common."""

    file: str
    base: PointerSide | None
    ours: PointerSide
    theirs: PointerSide

    @property
    def dataset(self) -> str:
        """The dataset that all of them pin."""
        return self.ours.pointer.dataset

    @property
    def sources(self) -> list[str]:
        """Source trees: those that neither side dropped, and what either added; the same whichever side is ours."""
        was, ours, theirs = (set(one.pointer.sources) if one else set() for one in (self.base, self.ours, self.theirs))
        kept = [name for name in (self.base.pointer.sources if self.base else ()) if name in ours & theirs]
        return kept + sorted((ours | theirs) - was)

    @property
    def taken(self) -> PointerSide | None:
        """The side whose rows are the merged ones, as far as hashes tell; None if rows must be compared."""
        base, ours, theirs = (one.pointer.md5 if one else None for one in (self.base, self.ours, self.theirs))
        if ours in (theirs, base):
            return self.theirs if ours == base else self.ours
        return self.ours if theirs == base else None

    def text(self, directory: CachedDirectory, summary: Mapping[str, Any], notes: Notes) -> str:
        """The pointer to `directory` with these notes, in the form that ours has."""
        name = self.dataset.rpartition("/")[2]
        return PointerText(name, self.ours.text).saying(_document(notes)).pinned(directory, summary)


def read_sides(base: bytes, ours: bytes, theirs: bytes, file: str) -> PointerSides | None:
    """The three versions of the pointer `file` (relative to the root); `base` is empty if there was none.

    Where one side renamed the folder, all are read by its new name: Git calls the file by the old one, or by the new.
    None if they are not plain pointers of one folder each: what else a `.dvc` file may say is not for us to merge.
    """
    before = common_text(base)
    old, mine, other = (_PATH.search(text) for text in (before, ours, theirs))
    if old is not None and mine is not None and other is not None and mine[2] != other[2]:
        new = other if mine[2] == old[2] else mine
        if old[2] not in (mine[2], other[2]):
            return None
        before, ours, theirs = (
            _PATH.sub(lambda found: found[1] + new[2], text, count=1) for text in (before, ours, theirs)
        )
        file = posixpath.join(posixpath.dirname(file), f"{new[2].decode('utf-8', 'replace').strip()}.dvc")
    one, another = (_read(text, file) for text in (ours, theirs))
    if one is None or another is None or one.pointer.dataset != another.pointer.dataset:
        return None
    common = _read(before, file)
    return PointerSides(
        file, common if common and common.pointer.dataset == one.pointer.dataset else None, one, another
    )


def common_text(base: bytes) -> bytes:
    """What is known of the common version: Git hands over a conflict of ours if two of them could not be merged."""
    if not has_conflict(base):
        return base
    found = _BASE.search(base)
    return found[1] if found is not None and not has_conflict(found[1]) else b""


def has_conflict(text: bytes) -> bool:
    """Whether the text has the marks of a conflict."""
    return _MARKS.search(text) is not None


def may_be_ours(*texts: bytes) -> bool:
    """Whether datapin wrote one of these pointers; quick, without parsing."""
    return any(has_summary(text) for text in texts)


def conflict_text(base: bytes, ours: bytes, theirs: bytes) -> bytes:
    """A text that Git shows as a conflict and DVC refuses to read, whatever the three have in common."""
    parts = [text if not text or text.endswith(b"\n") else text + b"\n" for text in (ours, common_text(base), theirs)]
    return b"<<<<<<< ours\n%b||||||| base\n%b=======\n%b>>>>>>> theirs\n" % tuple(parts)


def merge_notes(
    sides: PointerSides, choose: Callable[[str], Literal["ours", "theirs"] | None]
) -> tuple[Notes, dict[str, tuple[Any, Any, Any]]]:
    """The notes of both sides, and those that both changed differently and `choose` does not decide: three values."""
    was = sides.base.notes if sides.base is not None else {}
    ours, theirs = sides.ours.notes, sides.theirs.notes
    merged: Notes = {}
    undecided = {}
    for name in dict.fromkeys([*ours, *sorted(theirs)]):
        before, one, other = was.get(name), ours.get(name), theirs.get(name)
        value = other if one == before else one
        if one != other and before not in (one, other):
            choice = choose(name)
            if choice is None:
                undecided[name] = (before, one, other)
            value = other if choice == "theirs" else one
        if value is not None:
            merged[name] = value
    return merged, undecided


def _read(data: bytes, file: str) -> PointerSide | None:
    if not data:
        return None
    try:
        text = data.decode("utf-8")
        pointers = read_pointer(data, file)
        if len(pointers) != 1 or pointers[0].size is None or pointers[0].files is None:
            return None
        if not PointerText(pointers[0].dataset.rpartition("/")[2], text).is_plain:
            return None
        return PointerSide(text, pointers[0], _notes(load_yaml(text, file)))
    except (DatapinError, UnicodeDecodeError, ValueError):
        return None


def _notes(document: Mapping[str, Any]) -> Notes:
    (out,) = document["outs"]
    notes = {name: document[name] for name in _NOTES if document.get(name)}
    notes |= {f"outs.{name}": out[name] for name in _NOTES_OF_OUT if out.get(name)}
    meta = document.get("meta")
    if isinstance(meta, dict):
        notes |= {f"meta.{name}": value for name, value in meta.items()}
    elif meta:
        notes["meta"] = meta
    notes |= {f"outs.meta.{name}": value for name, value in out.get("meta", {}).items() if name != SUMMARY}
    return notes


def _document(notes: Notes) -> dict[str, Any]:
    """What `_notes` took apart, together again."""
    document: dict[str, Any] = {}
    out: dict[str, Any] = {}
    for name, value in notes.items():
        place, rest = (out, name.removeprefix("outs.")) if name.startswith("outs.") else (document, name)
        if rest.startswith("meta."):
            place.setdefault("meta", {})[rest.removeprefix("meta.")] = value
        else:
            place[rest] = value
    return {**document, "outs": [out]}
