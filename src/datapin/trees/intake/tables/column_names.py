"""Columns called as datapin's are, and those that nearly are: a question with the exact answers, never a guess."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

from datapin.base.errors import BadRows, Usage, listed
from datapin.base.near_names import near_standard_name

KEY_COLUMNS = ("key", "file_name")
OURS = ("asset_id", "size", "media_type", "parent", "parent_id", "partner_id", "operator")


def renamed(names: Sequence[str], renames: Mapping[str, str], where: str) -> list[str]:
    """The columns' names after `--rename`. Raises Usage for one that is not there, or a name that two would have."""
    absent = [name for name in renames if name not in names]
    if absent:
        raise Usage(f"--rename {absent[0]}={renames[absent[0]]}: {where} has no column {absent[0]!r}", _has(names))
    after = [renames.get(name, name) for name in names]
    twice = [name for name in after if after.count(name) > 1]
    if twice:
        raise Usage(f"{where}: two columns would be called {twice[0]!r}", "rename the other one, too: --rename OLD=NEW")
    return after


def key_name(names: Sequence[str], wanted: str | None, where: str) -> str:
    """The column that names the files. Raises Usage or BadRows, with the option that says which it is."""
    if wanted is not None:
        if wanted not in names:
            raise Usage(f"--key-column {wanted}: {where} has no column {wanted!r}", _has(names))
        return wanted
    here = [name for name in KEY_COLUMNS if name in names]
    if len(here) == 1:
        return here[0]
    if here:
        raise BadRows(
            where,
            "needs one column of names, has both key and file_name",
            "repeat with `--key-column file_name --rename key=id`, or with `--key-column key`",
        )
    near = [name for name in names if near_standard_name(name) in KEY_COLUMNS]
    guess = near[0] if near else "" if "" in names else next(iter(names), "NAME")
    seen = f"columns {listed([repr(name) for name in names])}" if names else "no columns"
    raise BadRows(
        where,
        f"needs one column named key or file_name, has {seen}",
        f"repeat with `--key-column {shlex.quote(guess)}`, or the column that names the files",
    )


def check_names(names: Sequence[str], key: str, renames: Mapping[str, str], where: str) -> None:
    """Raise BadRows for a column that cannot be kept under its name, or that is nearly called as one of datapin's.

    `key` is the column of names; a rename of a column to its own name says that it is meant as it is.
    """
    others = [name for name in names if name != key]
    ours = [name for name in others if name in OURS or name == "key"]
    if ours:
        raise BadRows(
            where,
            f"column {listed(ours)} is computed by datapin and cannot be set",
            f"repeat with `--rename {shlex.quote(f'{ours[0]}=my_{ours[0]}')}`, or drop the column",
        )
    folded: dict[str, str] = {}
    for name in others:
        near = near_standard_name(name, others)
        if near is not None and near not in KEY_COLUMNS and renames.get(name) != name:
            raise BadRows(
                where, f"column {name!r} is nearly called {near!r}, but not quite", _answers(name, near, names)
            )
        twin = folded.setdefault(name.casefold(), name)
        if twin != name or name.casefold() == "key":
            raise BadRows(
                where,
                f"columns {'key' if name.casefold() == 'key' else twin!r} and {name!r} have the same name, case aside",
                f"repeat with `--rename {shlex.quote(f'{name}={name}_2')}`",
            )


def _answers(name: str, near: str, names: Sequence[str]) -> str:
    own = name if name.strip() == name and name.casefold() != near else f"my_{re.sub(r'[^a-z0-9_]', '', name.lower())}"
    meant = f"repeat with `--rename {shlex.quote(f'{name}={near}')}` if it is the {near}"
    if near in names:
        return f"repeat with `--rename {shlex.quote(f'{name}={own}')}`, which keeps it as a column of your own"
    return f"{meant}, with `--rename {shlex.quote(f'{name}={own}')}` if it is a column of your own"


def _has(names: Sequence[str]) -> str:
    return f"its columns: {listed([repr(name) for name in names])}"
