"""The text of a `.dvc` file as `dvc add` leaves it: what the user wrote stays, also comments and order.

DVC reads the file twice, for its values and for its form, and moves the new values into the form
(`dvc/stage/serialize.py`, `dvc/utils/collections.py`); so do we, with the same parser.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from datapin.base.documents import read_yaml, read_yaml_to_edit, write_yaml
from datapin.dvcfiles.hashes import FOLDER_MD5
from datapin.dvcfiles.texts import SUMMARY
from datapin.dvcfiles.tracking.objects import CachedDirectory


class PointerText:
    """A `.dvc` file that pins one directory and nothing else; `text` None is one to be made."""

    def __init__(self, name: str, text: str | None = None) -> None:
        self._name = name
        self._text = text
        self._document: dict[str, Any] = {} if text is None else _load(text, to_edit=False)

    @property
    def is_plain(self) -> bool:
        """Whether it says only what this module knows how to keep; DVC's own code is for all else."""
        if self._text is None:
            return True
        outs = self._document.get("outs")
        if not self._document.keys() <= {"outs", "desc", "meta"} or not isinstance(outs, list) or len(outs) != 1:
            return False
        return _is_text_or_absent(self._document, "desc") and isinstance(outs[0], dict) and self._is_plain_out(outs[0])

    def saying(self, document: Mapping[str, Any]) -> PointerText:
        """The same form, to be filled with the notes of another plain pointer: those in `document`."""
        other = PointerText(self._name)
        other._text, other._document = self._text, dict(document)
        return other

    def pinned(self, directory: CachedDirectory, summary: Mapping[str, Any]) -> str:
        """The text that pins `directory`, with `summary` in it."""
        before = self._document["outs"][0] if self._document else {}
        meta = {**before.get("meta", {}), SUMMARY: {"for": directory.md5, **summary}}
        out = {
            "md5": directory.md5,
            "size": directory.size,
            "nfiles": directory.files,
            "hash": "md5",
            "path": self._name,
            **{key: before[key] for key in ("desc", "type", "labels") if before.get(key)},
            "meta": meta,
            **{key: before[key] for key in ("remote",) if before.get(key)},
        }
        values = {"desc": self._document.get("desc"), "outs": [out], "meta": self._document.get("meta")}
        wanted = copy.deepcopy({key: value for key, value in values.items() if value})
        if self._text is None:
            return write_yaml(wanted)
        form = _load(self._text, to_edit=True)
        _move_values(wanted, form)
        return write_yaml(form)

    def _is_plain_out(self, out: Mapping[str, Any]) -> bool:
        known = {"md5", "size", "nfiles", "hash", "path", "desc", "type", "labels", "meta", "remote"}
        labels = out.get("labels", [])
        return (
            out.keys() <= known
            and isinstance(out.get("md5"), str)
            and bool(FOLDER_MD5.match(out["md5"]))
            and all(type(out.get(key, 0)) is int for key in ("size", "nfiles"))
            and out.get("hash") == "md5"
            and out.get("path") == self._name
            and all(_is_text_or_absent(out, key) for key in ("desc", "type", "remote"))
            and isinstance(labels, list)
            and all(isinstance(label, str) for label in labels)
            and isinstance(out.get("meta", {}), dict)
        )


def _is_text_or_absent(mapping: Mapping[str, Any], key: str) -> bool:
    return isinstance(mapping.get(key, ""), str)


def _load(text: str, *, to_edit: bool) -> Any:
    """Raises ValueError for what is no YAML mapping."""
    document = (read_yaml_to_edit if to_edit else read_yaml)(text, "the pointer")
    if not isinstance(document, dict):
        raise ValueError("not a mapping")
    return document


def _move_values(values: Any, form: Any) -> None:
    """DVC's `apply_diff`: `form` gets all values and no others, and keeps its order and comments where it can."""
    if isinstance(values, Mapping):
        for key, value in values.items():
            if _are_alike(value, form.get(key)):
                _move_values(value, form[key])
            elif key not in form or value != form[key]:
                form[key] = value
        for key in set(form) - set(values):
            del form[key]
    elif len(values) != len(form):
        form[:] = values
    else:
        for place, value in enumerate(values):
            if _are_alike(value, form[place]):
                _move_values(value, form[place])
            elif value != form[place]:
                form[place] = value


def _are_alike(one: Any, other: Any) -> bool:
    return any(isinstance(one, kind) and isinstance(other, kind) for kind in (Mapping, list))
