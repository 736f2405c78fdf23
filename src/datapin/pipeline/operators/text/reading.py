"""Bytes to text: which encoding, by rules that no machine and no locale changes."""

from __future__ import annotations

import codecs
import unicodedata
from dataclasses import dataclass

from datapin.pipeline.operators.operator import AssetBroken

MOST_BYTES = 16 << 20
AUTO = "auto"
ENCODINGS = (
    *(AUTO, "utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "ascii", "latin-1"),
    *("cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "koi8-r", "mac-roman"),
    *("shift_jis", "euc_jp", "gb18030", "big5", "euc_kr"),
)
# The longer mark first: UTF-32's begins as UTF-16's does.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# What other files begin with: their bytes may well decode.
_NO_TEXT = ((b"%PDF-", "a PDF file"), (b"PK\3\4", "a ZIP file"), (b"{\\rtf", "an RTF file"), (b"\x1f\x8b", "gzip"))


def environment() -> dict[str, str]:
    """What may change a decoded or normalised text."""
    return {"unicode": unicodedata.unidata_version}


@dataclass(frozen=True, slots=True)
class ReadText:
    """A text, and what was odd about its bytes."""

    text: str
    note: str | None


def read_text(data: bytes, encoding: str = AUTO) -> ReadText:
    """The text of an asset: by its byte order mark; without one in `encoding`, which is strict UTF-8 by default.

    Line ends become one newline. Raises AssetBroken for what is empty, too large, or no text.
    """
    if not data:
        raise AssetBroken("an empty file")
    if len(data) > MOST_BYTES:
        raise AssetBroken(f"{len(data)} bytes, expected at most {MOST_BYTES} of one text")
    for start, what in _NO_TEXT:
        if data.startswith(start):
            raise AssetBroken(f"{what}, not plain text")
    marked = next(((mark, name) for mark, name in _MARKS if data.startswith(mark)), None)
    used, begin = ("utf-8" if encoding == AUTO else encoding, 0) if marked is None else (marked[1], len(marked[0]))
    try:
        text = data[begin:].decode(used)
    except UnicodeDecodeError as error:
        place = begin + error.start
        seen = data[place : place + 4].hex(" ")
        hint = "; set prepare.encoding" if encoding == AUTO and marked is None else ""
        raise AssetBroken(f"is not {used}: bytes {seen} at {place}{hint}") from None
    if "\0" in text:
        raise AssetBroken(f"holds a NUL character at {text.index(chr(0))}: no text, or UTF-16 without a mark")
    note = None
    if marked is not None and encoding not in (AUTO, marked[1]):
        note = f"has the byte order mark of {marked[1]}, though prepare.encoding is {encoding}"
    return ReadText(text.replace("\r\n", "\n").replace("\r", "\n"), note)
