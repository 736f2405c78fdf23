"""Where a checkout puts the file of each row: at its key, or into folders that its label and split name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.errors import Refused, listed
from datapin.base.id_columns import numbers
from datapin.manifest.columns.columns import Column, Mask, arrow_flags, flags, one_array, shown
from datapin.manifest.columns.keys import key_problem

BY_KEY = "key"
_FOLDERS = {BY_KEY: (), "class": ("label",), "split-class": ("split", "label")}
LAYOUTS = tuple(_FOLDERS)

_LONGEST_NAME_BYTES = 255  # of one part of a path, on every usual file system
_FILE_COLUMNS = ("key", "asset_id", "size")
_JOINT = "__"


def columns_of(layout: str, present: Sequence[str]) -> list[str]:
    """The columns that `lay_out` needs, of those that are `present`."""
    return [*_FILE_COLUMNS, *(name for name in _FOLDERS[layout] if name in present)]


def lay_out(rows: pa.Table, layout: str, *, name: str) -> pa.Table:
    """Files (key, asset_id, size), sorted by key, which is the path in the folder; `name` is for messages.

    By class, a row's file is `<label>/<last part of its key>`. Rows that would share a path get their whole key as
    name, its slashes as `__`; the paths depend on the rows alone, not on their order. Raises Refused for rows without a
    label or split, for labels and splits that are no safe names of folders, and where paths are still shared.
    """
    files = rows.select(_FILE_COLUMNS)
    if layout == BY_KEY:
        return files
    keys = one_array(rows["key"]).cast(pa.string())
    folders = [_folder_names(rows, keys, column, layout, name) for column in _FOLDERS[layout]]
    names = pc.replace_substring_regex(keys, pattern="^.*/", replacement="")
    paths = pc.binary_join_element_wise(*folders, names, "/")
    shared = _is_shared(paths)
    if shared.any():
        whole = pc.binary_join_element_wise(*folders, pc.replace_substring(keys, "/", _JOINT), "/")
        paths = pc.if_else(arrow_flags(shared), whole, paths)
        _refuse_shared(paths, keys, layout, name)
        _refuse_long(pc.replace_substring(keys, "/", _JOINT).filter(arrow_flags(shared)), layout, name)
    return files.set_column(0, "key", paths).sort_by("key")


def _folder_names(rows: pa.Table, keys: pa.StringArray, column: str, layout: str, name: str) -> pa.StringArray:
    values = _texts(rows, column, layout, name)
    absent = flags(pc.fill_null(pc.equal(values, ""), True))
    if absent.any():
        first = shown(keys[int(np.flatnonzero(absent)[0])].as_py())
        raise Refused(
            f"{name}: {int(absent.sum())} row(s) without a {column}, first {first}; --layout {layout} needs it",
            "set it with `datapin update`, or choose rows that have one with --where",
        )
    problems = {text: problem for text in pc.unique(values).to_pylist() if (problem := _folder_problem(text))}
    if problems:
        unsafe = pc.is_in(values, value_set=pa.array(list(problems)))
        told = [f"{shown(text)} {problem}" for text, problem in sorted(problems.items())]
        raise Refused(
            f"{name}: {pc.sum(unsafe).as_py()} row(s), first {shown(keys.filter(unsafe)[0].as_py())}, have a {column} "
            f"that cannot name a folder: {listed(told, 3)}",
            f"give them another {column} with `datapin update`, or leave these rows out with --where",
        )
    return values


def _texts(rows: pa.Table, column: str, layout: str, name: str) -> pa.StringArray:
    if column not in rows.schema.names or pa.types.is_null(rows[column].type):
        return pa.nulls(rows.num_rows, pa.string())
    values: Column = rows[column]
    kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind)):
        raise Refused(
            f"{name}: its {column} column is of type {kind}, --layout {layout} needs text or integers",
            "check it out with --layout key",
        )
    return one_array(values).cast(pa.string())


def _folder_problem(text: str) -> str | None:
    return "holds a slash" if "/" in text else key_problem(text)


def _is_shared(paths: pa.StringArray) -> Mask:
    """For each path whether another row has it too."""
    codes = paths.dictionary_encode()
    if len(codes.dictionary) == len(paths):
        return np.zeros(len(paths), np.bool_)
    places = numbers(codes.indices)
    shared: Mask = np.bincount(places, minlength=len(codes.dictionary))[places] > 1
    return shared


def _refuse_shared(paths: pa.StringArray, keys: pa.StringArray, layout: str, name: str) -> None:
    shared = _is_shared(paths)
    if shared.any():
        path = paths.filter(arrow_flags(shared))[0].as_py()
        both = keys.filter(pc.equal(paths, path)).to_pylist()
        raise Refused(
            f"{name}: --layout {layout} puts {int(shared.sum())} files where another lies, first {shown(path)}: "
            f"{listed([shown(key) for key in both], 3)}",
            "check it out with --layout key, or leave some of these rows out with --where",
        )


def _refuse_long(names: pa.StringArray, layout: str, name: str) -> None:
    long = names.filter(pc.greater(pc.binary_length(names), _LONGEST_NAME_BYTES)).to_pylist()
    if long:
        raise Refused(
            f"{name}: --layout {layout} would give {len(long)} file(s) a name longer than {_LONGEST_NAME_BYTES} bytes, "
            f"first {shown(long[0])}",
            "check it out with --layout key, or leave some of these rows out with --where",
        )
