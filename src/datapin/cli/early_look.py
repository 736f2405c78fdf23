"""`rollback` starts to look at the folders that follow a dataset before Arrow is imported.

Which folders, checkouts have noted. A look that turns out not to be needed, or to be of no use, costs time only.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from datapin.base.state import state_of
from datapin.plumbing import registered_trees, start_look

if TYPE_CHECKING:
    from datapin.trees.early import StartedLook

_HOME = ".datapin"

_started: list[StartedLook] = []


def begin(start: str | None, words: Sequence[str]) -> None:
    """Start looks at the folders that follow a dataset which may be named in `words`; `start` is the user's folder."""
    names = {os.path.basename(os.path.normpath(word)) for word in words}
    for folder in (here := Path(os.path.abspath(start or "")), *here.parents):
        if (folder / _HOME).is_dir():
            state = state_of(folder).cache / "checkout"
            for tree in registered_trees(state, folder):
                if "--all" in words or os.path.basename(tree.dataset) in names:
                    look = start_look(state, tree.target)
                    _started.extend([look] if look is not None else [])
            return


@contextmanager
def started_looks() -> Iterator[list[StartedLook]]:
    """The looks under way; those that nobody waited for are given up at the end."""
    try:
        yield _started
    finally:
        for look in _started:
            look.close()
        _started.clear()
