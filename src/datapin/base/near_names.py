"""Names of columns that are nearly those of datapin's standard columns."""

from __future__ import annotations

import re
from collections.abc import Collection

_ASKED = ("label", "group", "split", "key", "file_name")
_MARKS = re.compile(r"[\W_]+")
_SHORTEST_TYPO = 5  # of three letters, too many words are one letter away


def near_standard_name(name: str, others: Collection[str] = ()) -> str | None:
    """The standard column that `name` nearly is, by case, spaces, a plural or one slip of the keys; None if none.

    Where `others` hold the standard column itself, only a name that looks the same is near it.
    """
    if name in _ASKED:
        return None
    plain = _MARKS.sub("", name).casefold()
    for standard in _ASKED:
        wanted = standard.replace("_", "")
        if plain == wanted:
            return standard
        if standard in others:
            continue
        if plain in (f"{wanted}s", f"{wanted}es") or (len(wanted) >= _SHORTEST_TYPO and _is_one_slip(plain, wanted)):
            return standard
    return None


def _is_one_slip(one: str, other: str) -> bool:
    """Whether one letter was added, left out, changed, or two neighbours swapped."""
    if one == other or abs(len(one) - len(other)) > 1:
        return False
    start = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    a, b = one[start:], other[start:]
    return a[1:] == b or a == b[1:] or a[1:] == b[1:] or (a[:2] == b[1::-1] and len(a) > 1 and a[2:] == b[2:])
