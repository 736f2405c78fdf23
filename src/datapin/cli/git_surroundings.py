"""What Git tells the programs that it calls, and what they must forget before they call Git elsewhere."""

from __future__ import annotations

import os

# By these Git tells its hooks and drivers where they are; commands that we run in other folders would take it for
# their place.
_PLACES = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE",
)  # fmt: skip


def forget_places() -> None:
    """Git commands of this process find their repository by the folder that they run in."""
    for name in _PLACES:
        os.environ.pop(name, None)
