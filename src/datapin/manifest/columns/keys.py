"""Rules for keys: safe as paths on every file system, unambiguous, in one spelling. See docs/format.md#keys.

The rules follow Git's path checks (core.protectNTFS, core.protectHFS), made stricter. They are applied to whole
columns by one RE2 pass; only rows it finds suspicious are looked at one by one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.errors import BadKeys
from datapin.base.id_columns import numbers
from datapin.manifest.columns.columns import Column, flags, one_array, shown, text_at, text_bytes

MAX_KEY_BYTES = 1024
MAX_PROBLEMS = 100

# Bidirectional controls, line and paragraph separators, byte order mark, deprecated format and annotation characters.
_CONTROLS = (
    r"\x{00}-\x{1f}\x{7f}-\x{9f}\x{061c}\x{200e}\x{200f}\x{2028}-\x{202e}\x{2066}-\x{206f}\x{feff}\x{fff9}-\x{fffb}"
)
# Other code points that some file systems or renderers ignore (Default_Ignorable_Code_Point and category Cf).
_IGNORED = (
    r"\x{ad}\x{34f}\x{115f}\x{1160}\x{17b4}\x{17b5}\x{180b}-\x{180f}\x{200b}-\x{200d}\x{2060}-\x{2065}\x{3164}"
    r"\x{fe00}-\x{fe0f}\x{ffa0}\x{1bca0}-\x{1bca3}\x{1d173}-\x{1d17a}\x{e0000}-\x{e0fff}"
)
_DEVICE = r"(?:con|prn|aux|nul|clock\$|conin\$|conout\$|(?:com|lpt)[0-9\x{b9}\x{b2}\x{b3}])"
# The short names NTFS gives to .git, .gitmodules, .gitignore and the like.
_SHORT_GIT = r"(?:git(?:[a-z]{3})?|gi[0-9a-f]{4})~[0-9]"

_SUSPICIOUS = (
    rf"[{_CONTROLS}{_IGNORED}\\]"
    r"|^/|//|/$|^$"
    r"|[. ](?:/|$)"
    r"|(?:^|/)[.．][gｇ]"
    rf"|(?:^|/){_SHORT_GIT}(?:/|$)"
    r"|^[a-z]:"
    rf"|(?:^|/){_DEVICE} *(?:[.:/]|$)"
)


def _for_python(pattern: str) -> re.Pattern[str]:
    spelled = re.sub(r"\\x\{([0-9a-f]+)\}", lambda code: f"\\U{int(code[1], 16):08x}", pattern)
    return re.compile(spelled, re.IGNORECASE)


_CONTROL = _for_python(f"[{_CONTROLS}]")
_IGNORABLE = _for_python(f"[{_CONTROLS}{_IGNORED}]")
_IS_SHORT_GIT = _for_python(_SHORT_GIT)
_IS_DEVICE = _for_python(rf"{_DEVICE} *(?:[.:].*)?")
_IS_DRIVE = re.compile(r"[A-Za-z]:")


def key_problem(key: str) -> str | None:
    """Which rule the key breaks, or None. This one function is the rule; the column check only finds candidates."""
    try:
        size_bytes = len(key.encode("utf-8"))
    except UnicodeEncodeError:
        return "is not valid UTF-8"
    if not key:
        return "is empty"
    if size_bytes > MAX_KEY_BYTES:
        return f"is {size_bytes} bytes long, at most {MAX_KEY_BYTES} are allowed"
    if _CONTROL.search(key):
        return "holds a control character"
    if "\\" in key:
        return "holds a backslash"
    if key.startswith("/"):
        return "is absolute"
    if _IS_DRIVE.match(key):
        return "starts with a drive letter"
    if not unicodedata.is_normalized("NFC", key):
        return "is not in Unicode form NFC"
    for part in key.split("/"):
        problem = _part_problem(part)
        if problem:
            return problem
    return None


def bare_name(name: str) -> str:
    """The name without what HFS+ ignores when it compares names: there `.g<U+200C>it` opens `.git`."""
    return _IGNORABLE.sub("", name)


def _part_problem(part: str) -> str | None:
    if not part:
        return "has an empty part"
    bare = bare_name(part)
    if bare in ("", ".", ".."):
        return f"has a part {shown(bare)}" if bare == part else "has a part that reads as `.`, `..` or nothing"
    if part[-1] in ". ":
        return "has a part that ends in a dot or space"
    if unicodedata.normalize("NFKC", bare).casefold().startswith(".git") or _IS_SHORT_GIT.fullmatch(bare):
        return "has a part that Git reserves (.git…)"
    if _IS_DEVICE.fullmatch(part):
        return "has a part that Windows reserves for a device"
    return None


def check_keys(keys: Column | Sequence[str], *, where: str) -> None:
    """Raise BadKeys, listing the first 100 problems and how many there are, unless every key keeps every rule.

    One key at a time; whether keys repeat is for the table to say. Nulls count as problems.
    """
    column = _as_text(keys, where)
    problems = [problem for chunk in column.chunks for problem in _chunk_problems(chunk)]
    if problems:
        raise BadKeys(problems=tuple(problems[:MAX_PROBLEMS]), where=where, count=len(problems))


def _as_text(keys: Column | Sequence[str], where: str) -> pa.ChunkedArray:
    if isinstance(keys, pa.ChunkedArray):
        column = keys
    elif isinstance(keys, pa.Array):
        column = pa.chunked_array([keys])
    else:
        try:
            column = pa.chunked_array([pa.array(keys, pa.string())])
        except UnicodeEncodeError:
            bad = [f"{shown(key)} is not valid UTF-8" for key in keys if key_problem(key) == "is not valid UTF-8"]
            raise BadKeys(problems=tuple(bad[:MAX_PROBLEMS]), where=where, count=len(bad)) from None
    return column if column.type == pa.string() else column.cast(pa.string())


def _chunk_problems(chunk: pa.StringArray) -> list[str]:
    try:
        chunk.validate(full=True)
    except pa.ArrowInvalid:
        return _undecodable(chunk)
    problems = []
    for number in _suspects(chunk):
        value = chunk[int(number)].as_py()
        problem = "is null" if value is None else key_problem(value)
        if problem:
            problems.append(f"{shown(value)} {problem}")
    return problems


def _suspects(chunk: pa.StringArray) -> npt.NDArray[np.int64]:
    """Rows that may break a rule: every row that does, and few others."""
    suspicious = flags(pc.match_substring_regex(chunk, _SUSPICIOUS, ignore_case=True))
    suspicious = suspicious | (np.diff(text_bytes(chunk)[0]) > MAX_KEY_BYTES)
    if chunk.null_count:
        suspicious = suspicious | flags(pc.is_null(chunk))
    if not pc.all(pc.string_is_ascii(chunk)).as_py():
        suspicious = suspicious | flags(pc.not_equal(chunk, pc.utf8_normalize(chunk, form="NFC")))
    return np.flatnonzero(suspicious)


def _undecodable(chunk: pa.StringArray) -> list[str]:
    problems = []
    for number in range(len(chunk)):
        raw = chunk[number].as_buffer() if chunk[number].is_valid else None
        try:
            if raw is not None:
                raw.to_pybytes().decode("utf-8")
        except UnicodeDecodeError:
            problems.append(f"{shown(text_at(chunk, number))} is not valid UTF-8")
    return problems or ["the column's offsets are broken"]


def case_collisions(keys: Column | Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of keys that are equal under case folding: macOS and Windows cannot hold both of a pair."""
    array = one_array(_as_text(keys, ""))
    folded = _case_folded(array)
    codes = folded.dictionary_encode()
    if len(codes.dictionary) == len(array):
        return []
    groups: dict[int, list[int]] = {}
    places = numbers(codes.indices)
    repeated = np.bincount(places, minlength=len(codes.dictionary)) > 1
    for row in np.flatnonzero(repeated[places]):
        groups.setdefault(int(places[row]), []).append(int(row))
    return [
        (array[rows[0]].as_py(), array[row].as_py())
        for rows in groups.values()
        for row in rows[1:]
        if array[row] != array[rows[0]]
    ]


def _case_folded(array: pa.StringArray) -> pa.StringArray:
    is_ascii = pc.string_is_ascii(array)
    lowered = pc.ascii_lower(array)
    if pc.all(is_ascii).as_py():
        return lowered
    others = [unicodedata.normalize("NFC", text.casefold()) for text in array.filter(pc.invert(is_ascii)).to_pylist()]
    return pc.replace_with_mask(lowered, pc.invert(is_ascii), pa.array(others, pa.string()))
