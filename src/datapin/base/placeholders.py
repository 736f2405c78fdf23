"""Files that stand for others: small texts and links of git-lfs, git-annex, DVC and the like, before the data is here.

Only bytes that are in hand are looked at; nothing here opens a file. Standard library only: workers import it.
"""

from __future__ import annotations

import os
import re

MOST_BYTES = 1024  # a placeholder is smaller

# Tool, and the command that brings its data.
CURES = {
    "git-lfs": "git lfs pull",
    "git-annex": "git annex get .",
    "DVC": "dvc checkout",
    "git-xet": "git xet materialize .",
    "git-fat": "git fat pull",
    "git-crypt": "git-crypt unlock",
    "iCloud": "brctl download .",
}

_LFS = re.compile(
    rb"version https?://(?:git-lfs\.github\.com|hawser\.github\.com|git-media\.io)/\S+\r?\n(?s:.*)\boid sha"
)
_ANNEX = re.compile(rb"(?:/annex/objects/|(?:\.\./)*\.git/(?:\S+/)?annex/objects/)[^\0\n]+\n?(?s:.*)\Z")
_XET = re.compile(rb"# xet version \d")
_FAT = re.compile(rb"#\$# git-fat [0-9a-f]{40}")
_DVC = re.compile(rb"(?m:^(?:- |  )(?:md5|etag|checksum|path): )")
_CRYPT = b"\0GITCRYPT\0"


def placeholder_tool(path: str, data: bytes) -> str | None:
    """The tool that has left `data` at `path` in place of the file's own bytes; None if they are its own."""
    if data.startswith(_CRYPT):
        return "git-crypt"
    if not data or len(data) > MOST_BYTES:
        return None
    if data[0] in b"v#/.b" or path.endswith(".dvc"):
        return tool_of_bytes(data) or _tool_by_name(path, data)
    return None


def tool_of_bytes(data: bytes) -> str | None:
    """As `placeholder_tool`, of bytes whose file's name says nothing."""
    if data.startswith(_CRYPT):
        return "git-crypt"
    if len(data) > MOST_BYTES:
        return None
    for pattern, tool in ((_LFS, "git-lfs"), (_ANNEX, "git-annex"), (_XET, "git-xet"), (_FAT, "git-fat")):
        if pattern.match(data):
            return tool
    return None


def tool_of_link(target: str) -> str | None:
    """The tool that lets its links lead to `target`, as the link itself says it."""
    return "git-annex" if "annex/objects/" in target and (".git" in target or "/SHA" in target) else None


def refusal(tool: str) -> str:
    """What to say of one."""
    return f"is a placeholder of {tool}, its data is not here (`{CURES[tool]}`)"


def cures(problems: tuple[str, ...]) -> list[str]:
    """The commands that help with these problems, each once."""
    return [cure for tool, cure in CURES.items() if any(f"placeholder of {tool}," in problem for problem in problems)]


def _tool_by_name(path: str, data: bytes) -> str | None:
    name = os.path.basename(path)
    if name.endswith(".icloud") and name.startswith(".") and data.startswith(b"bplist00"):
        return "iCloud"
    if (
        name.endswith(".dvc")
        and name != ".dvc"
        and _DVC.search(data)
        and not os.path.lexists(path.removesuffix(".dvc"))
    ):
        return "DVC"
    return None
