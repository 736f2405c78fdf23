"""The guide and the format, as `datapin help PAGE` shows them: shipped with the package."""

from __future__ import annotations

import re
from pathlib import Path

import datapin

_PACKAGE = Path(datapin.__file__).parent
# In the wheel, and in a clone of the sources.
_PLACES = (_PACKAGE / "docs", _PACKAGE.parents[1] / "docs")
_INDEX = "guide"


def page_names() -> list[str]:
    """Every page, `guide` (the list of them) first."""
    return [_INDEX, *sorted(name for name in _pages() if name != _INDEX)]


def page_text(topic: str) -> str | None:
    """The text of `PAGE` or `PAGE#SECTION`; None if there is none. A section goes to the next heading of its rank.

    `guide/PAGE` and `docs/guide/PAGE.md` name it too.
    """
    name, _, section = topic.removeprefix("docs/").removeprefix("guide/").partition("#")
    path = _pages().get(name.removesuffix(".md").lower())
    text = path.read_text(encoding="utf-8").rstrip() if path is not None else None
    return _section(text, section) if text is not None and section else text


def _pages() -> dict[str, Path]:
    docs = next((place for place in _PLACES if (place / "format.md").is_file()), None)
    if docs is None:
        return {}
    found = {path.stem: path for path in (*docs.glob("*.md"), *(docs / "guide").glob("*.md"))}
    return {_INDEX: found.pop("README"), **found} if "README" in found else found


def _section(text: str, wanted: str) -> str | None:
    kept: list[str] = []
    rank = 0
    is_code = False
    for line in text.splitlines():
        is_code ^= line.startswith("```")
        heading = None if is_code else re.match(r"(#+) (.*)", line)
        if heading and rank and len(heading[1]) <= rank:
            break
        if heading and not rank and _anchor(heading[2]) == wanted.lower():
            rank = len(heading[1])
        if rank:
            kept.append(line)
    return "\n".join(kept) if kept else None


def _anchor(heading: str) -> str:
    """How a heading is named in a link, as Git servers do it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
