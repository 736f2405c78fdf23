"""Rules for names of datasets: safe as keys are, and such as Git, DVC, selectors and shells take for nothing else.

For new names only: one that a history holds already stays readable. See docs/format.md#names-of-datasets.
"""

from __future__ import annotations

import re
import unicodedata

from datapin.manifest.columns.keys import bare_name, key_problem

# Each becomes a folder, `<name>.dvc`, and temporary names beside it; most file systems hold 255 bytes.
MAX_PART_BYTES = 200

_OUR_FOLDERS = (".dvc", ".datapin")
_DVC_FILES = ("dvc.yaml", "dvc.lock")
# `@` begins a version, `:` a key or a stage (and a stream on NTFS), `${` a template of DVC; Windows refuses the rest.
_SIGNS = re.compile(r'[@:*?"<>|]|\$\{')


def dataset_problem(name: str) -> str | None:
    """Which rule the name of a new dataset breaks, a path below the root of its project; None if it keeps them all."""
    problem = key_problem(name)
    if problem is not None:
        return problem
    sign = _SIGNS.search(name)
    if sign is not None:
        return f"holds {sign.group()!r}"
    for part in name.split("/"):
        problem = _part_problem(part)
        if problem is not None:
            return problem
    return None


def folded_name(name: str) -> str:
    """The name as file systems compare it that ignore case and form."""
    return unicodedata.normalize("NFC", bare_name(name).casefold())


def _part_problem(part: str) -> str | None:
    if len(part.encode()) > MAX_PART_BYTES:
        return f"has a part of {len(part.encode())} bytes, at most {MAX_PART_BYTES} are allowed"
    if part[0] == "-":
        return "has a part that begins with '-', which commands take for an option"
    if part[0].isspace() or part[-1].isspace():
        return "has a part that begins or ends with a space"
    plain = unicodedata.normalize("NFKC", bare_name(part)).casefold()
    if plain.endswith(".dvc") or plain in _DVC_FILES or plain.startswith(_OUR_FOLDERS):
        return f"has a part that DVC or datapin reserves ({part})"
    return None
