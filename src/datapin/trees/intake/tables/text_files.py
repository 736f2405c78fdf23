"""Text files as UTF-8, from the encoding that the user declares or a byte order mark makes sure; none is guessed."""

from __future__ import annotations

import codecs
from pathlib import Path

from datapin.base.errors import BadRows, Usage

_MARKS = (  # the longest first: UTF-32's begins with UTF-16's
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SHOWN = 24


def read_utf8(path: Path, declared: str | None) -> bytes:
    """The content of a text file in UTF-8, without a byte order mark.

    Raises BadRows for bytes that are not in this encoding, or that are not text; Usage for an encoding that there is
    not, or that the file's mark contradicts.
    """
    raw = path.read_bytes()
    mark, marked = next(((mark, name) for mark, name in _MARKS if raw.startswith(mark)), (b"", None))
    wanted = None if declared is None else _encoding(declared)
    if marked and wanted and not marked.startswith(wanted):
        raise Usage(f"--csv-encoding {declared}: {path} begins with the mark of {marked}", "leave --csv-encoding out")
    encoding = marked or wanted or "utf-8"
    body = raw[len(mark) :]
    if b"\0" in body and encoding == "utf-8":
        low = body[: 1 << 16]
        guess = "utf-16-le" if low[1::2].count(0) >= low[::2].count(0) else "utf-16-be"
        raise BadRows(
            str(path), "holds zero bytes, which text in UTF-8 does not", f"repeat with `--csv-encoding {guess}`"
        )
    try:
        text = body.decode(encoding)
    except UnicodeDecodeError as error:
        raise _undecodable(path, body, encoding, error) from None
    if "\0" in text:
        raise BadRows(
            str(path), f"holds zero characters when read as {encoding}", "name its encoding with --csv-encoding"
        )
    return body if encoding == "utf-8" else text.removeprefix("\ufeff").encode("utf-8")


def _encoding(name: str) -> str:
    """Python's own spelling of an encoding's name. Raises Usage."""
    try:
        found = codecs.lookup(name)
        "".encode(found.name)  # bytes to bytes, like zip, are no encodings of text
    except LookupError:
        raise Usage(f"--csv-encoding {name}: no such encoding of text", "for example utf-8, cp1252, utf-16") from None
    return "utf-8" if found.name == "utf-8-sig" else found.name


def _undecodable(path: Path, body: bytes, encoding: str, error: UnicodeDecodeError) -> BadRows:
    line = body.count(b"\n", 0, error.start) + 1
    problem = f"line {line} is not {encoding}: byte 0x{body[error.start]:02x}"
    if encoding != "utf-8":
        return BadRows(str(path), problem, "name its encoding with --csv-encoding")
    start = max(body.rfind(b"\n", 0, error.start) + 1, error.start - _SHOWN)
    around = body[start : error.start + _SHOWN].split(b"\n", 1)[0].strip()
    try:
        shown = f", where {around.decode('cp1252')!r} is right"
        body.decode("cp1252")
    except UnicodeDecodeError:
        return BadRows(str(path), problem, "repeat with `--csv-encoding NAME`, the encoding it was written in")
    return BadRows(str(path), problem, f"repeat with `--csv-encoding cp1252`{shown}; else with the right one")
