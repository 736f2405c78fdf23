"""What a text looks like beside its copy: its beginning, with the words marked that the other does not have there."""

from __future__ import annotations

from difflib import SequenceMatcher

from datapin.pipeline.operators.look import Appearance
from datapin.pipeline.operators.text.augment import Pieces
from datapin.pipeline.operators.text.reading import read_text

MOST_CHARACTERS = 1500


def text_looks(before: bytes, after: bytes) -> tuple[Appearance, Appearance]:
    """Both texts. Raises AssetBroken."""
    whole = [read_text(data).text for data in (before, after)]
    old, new = (Pieces.of(text[:MOST_CHARACTERS]).parts for text in whole)
    marked: tuple[list[tuple[str, bool]], list[tuple[str, bool]]] = ([], [])
    for kind, from_old, to_old, from_new, to_new in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        for words, pieces in zip(marked, (old[from_old:to_old], new[from_new:to_new]), strict=True):
            if pieces:
                words.append(("".join(pieces), kind != "equal"))
    notes = [f"{len(text)} characters" for text in whole]
    return Appearance(notes[0], words=tuple(marked[0])), Appearance(notes[1], words=tuple(marked[1]))
