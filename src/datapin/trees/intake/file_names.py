"""Which file each row of a metadata file means: its key, or a path to it in one of the usual spellings."""

from __future__ import annotations

import os
import posixpath
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

_TO_MEND = r"\\|//|^/|(?:^|/)\.{1,2}(?:/|$)|/$"


def spelled_plainly(names: pa.StringArray) -> pa.StringArray:
    """Names in Unicode form NFC, with `/` between folders and without `.`, `//` or, inside, `..`."""
    names = pc.utf8_normalize(names, "NFC")
    to_mend = pc.match_substring_regex(names, _TO_MEND)
    if not pc.any(to_mend).as_py():
        return names
    mended = [_mended(name) for name in names.filter(to_mend).to_pylist()]
    return pc.replace_with_mask(names, to_mend, pa.array(mended, pa.string()))


def keys_of_names(
    names: pa.StringArray, keys: pa.StringArray, *, folders: Sequence[Path], roots: Sequence[str]
) -> pa.StringArray:
    """The key that each name means, null where it means none of `keys`.

    A name is a key, or a path from one of `folders`; `roots` are the folders that the keys start from. The reading that
    finds most files counts for the whole table: mixing two could join a row to the wrong file. An absolute path, which
    has one reading, is read in all of them.
    """
    best, most = names, -1
    for reading in _readings(names, folders, roots):
        found = pc.sum(pc.is_in(reading, value_set=keys)).as_py() or 0
        if found > most:
            best, most = reading, found
        if most == len(names):
            break
    return pc.if_else(pc.is_in(best, value_set=keys), best, pa.scalar(None, pa.string()))


def _mended(name: str) -> str:
    return posixpath.normpath(name.replace("\\", "/"))


def _readings(names: pa.StringArray, folders: Sequence[Path], roots: Sequence[str]) -> Iterator[pa.StringArray]:
    tops = sorted({top for root in roots if root for top in _spellings(root)}, key=len, reverse=True)
    is_absolute = pc.starts_with(names, "/")
    if not pc.any(is_absolute).as_py():
        yield names
    texts = names.to_pylist() if tops else []
    for folder in [None, *dict.fromkeys(_spelling for one in folders for _spelling in _spellings(str(one)))]:
        if tops:
            yield pa.array([_key_of(text, folder, tops) for text in texts], pa.string())


def _spellings(folder: str) -> list[str]:
    """The folder's absolute path, and the one without links."""
    found = dict.fromkeys([os.path.abspath(folder), os.path.realpath(folder)])
    return [unicodedata.normalize("NFC", one) for one in found if one.isprintable() or _is_text(one)]


def _is_text(path: str) -> bool:
    return all(not 0xD800 <= ord(letter) < 0xE000 for letter in path)


def _key_of(name: str, folder: str | None, tops: Sequence[str]) -> str | None:
    if folder is None and not name.startswith("/"):
        return name
    path = posixpath.normpath(posixpath.join(folder or "/", name))
    top = next((one for one in tops if path.startswith(f"{one.rstrip('/')}/")), None)
    return None if top is None else path[len(top.rstrip("/")) + 1 :]
