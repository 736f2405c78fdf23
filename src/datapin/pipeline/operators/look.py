"""How an asset appears to people, on pages that show rows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Appearance:
    """A picture, a sound, words, or only a note."""

    note: str = ""
    picture: bytes | None = None
    media_type: str = "image/png"  # of the picture
    is_small: bool = False  # the picture has fewer pixels than it is drawn with
    sound: bytes | None = None  # a WAV file
    words: tuple[tuple[str, bool], ...] = ()  # pieces of a text, and whether they are not in the other one


def plain_looks(before: bytes, after: bytes) -> tuple[Appearance, Appearance]:
    """For kinds that nobody can look at: how large the assets are."""
    return Appearance(f"{len(before)} bytes"), Appearance(f"{len(after)} bytes")
