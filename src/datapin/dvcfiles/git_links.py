"""Symbolic links in a commit's tree, followed as a checkout's would be."""

from __future__ import annotations

import os
import posixpath
from pathlib import Path

from datapin.git.ask import ask_git, iter_blobs

_LINK_MODE = b"120000"
_MOST_HOPS = 40


class GitLinks:
    """The links below `root` in the commit `commit`."""

    def __init__(self, root: Path, commit: str) -> None:
        listing = ask_git(root, "ls-tree", "-r", "-z", commit)
        blobs: dict[str, str] = {}
        for line in listing.split(b"\0"):
            entry, _, name = line.partition(b"\t")
            mode, _, rest = entry.partition(b" ")
            if mode == _LINK_MODE:
                blobs[os.fsdecode(name)] = rest.split(b" ")[1].decode()
        texts = iter_blobs(root, list(blobs.values()))
        self._targets = {name: os.fsdecode(text or b"") for name, text in zip(blobs, texts, strict=True)}

    def follow(self, path: str) -> str:
        """The path that a reader of `path` arrives at; one that leads out of the tree ends where it does so."""
        for _ in range(_MOST_HOPS):
            parts = path.split("/")
            prefixes = ("/".join(parts[:count]) for count in range(1, len(parts) + 1))
            link = next((prefix for prefix in prefixes if prefix in self._targets), None)
            if link is None:
                break
            rest = path[len(link) :].lstrip("/")
            path = posixpath.normpath(posixpath.join(posixpath.dirname(link), self._targets[link], rest))
        return path
