"""DVC's names: a file is named by its MD5, a folder by that of the list of its files; and where both lie by them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

OBJECTS = "files/md5"  # of a cache or a remote
FILE_MD5 = re.compile(r"[0-9a-f]{32}\Z")
FOLDER_MD5 = re.compile(r"[0-9a-f]{32}\.dir\Z")
SHARD = re.compile(r"part-\d{5,}\.parquet\Z")
new_md5 = partial(hashlib.md5, usedforsecurity=False)


def md5_of(data: bytes) -> str:
    """The MD5 of these bytes."""
    return new_md5(data).hexdigest()


def md5_of_file(path: Path) -> str:
    """The MD5 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, new_md5).hexdigest()


def place_of(md5: str) -> str:
    """Where an object lies below `OBJECTS`."""
    return f"{md5[:2]}/{md5[2:]}"


def key_of(md5: str) -> str:
    """Where an object lies on a remote."""
    return f"{OBJECTS}/{place_of(md5)}"


def list_bytes(files: Mapping[str, str]) -> bytes:
    """DVC's list of a folder with these files (name and hash), as its Tree.as_bytes writes it."""
    return json.dumps([{"md5": md5, "relpath": name} for name, md5 in sorted(files.items())], sort_keys=True).encode()


def list_hash(files: Mapping[str, str]) -> str:
    """The hash that DVC gives a folder with these files: name below it to MD5."""
    return f"{md5_of(list_bytes(files))}.dir"
