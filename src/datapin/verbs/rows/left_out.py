"""What `add` says of files that are not the user's data: those it left out, and those it added from hidden folders."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.errors import Refused, listed
from datapin.base.findings import Finding

_CHECK = "left-out"
_HIDDEN = r"(^|/)[.][^/]+/"
IN_HIDDEN = f"regexp_matches(key, '{_HIDDEN}')"


def left_out_findings(left_out: Mapping[str, int], dataset: str) -> list[Finding]:
    """One note that counts the files and folders of tools, by name; nothing if there are none."""
    if not left_out:
        return []
    kinds = [
        ("folder", {name: count for name, count in left_out.items() if name.endswith("/")}),
        ("file", {name: count for name, count in left_out.items() if not name.endswith("/")}),
    ]
    counted = [
        f"{sum(names.values())} {kind}(s): {listed([_times(*item) for item in sorted(names.items())], 8)}"
        for kind, names in kinds
        if names
    ]
    message = f"left out what systems and tools leave beside the data: {'; '.join(counted)}"
    return [Finding("note", _CHECK, dataset, message)]


def hidden_findings(keys: pa.StringArray, dataset: str, *, strict: bool) -> list[Finding]:
    """A warning if files from hidden folders are added, since few people mean to. Raises Refused if `strict`."""
    hidden = keys.filter(pc.match_substring_regex(keys, _HIDDEN))
    if not len(hidden):
        return []
    names = pc.extract_regex(hidden, r"(?:^|/)(?P<name>\.[^/]+)/").field("name").unique().to_pylist()
    message = f"{len(hidden)} file(s) lie in hidden folders: {listed([f'{name}/' for name in sorted(names)], 5)}"
    if strict:
        raise Refused(message, "move these folders out of the source, or leave out --strict")
    advice = f"to take them out: datapin remove {shlex.quote(dataset)} --where {shlex.quote(IN_HIDDEN)}"
    return [Finding("warning", "hidden-folders", dataset, f"{message}; they were added like all others", advice)]


def _times(name: str, count: int) -> str:
    return name if count == 1 else f"{name} {count} times"
