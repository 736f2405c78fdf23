"""Listings of DVC's file systems as stored objects: of flat stores, of folders, of a web server's pages."""

from __future__ import annotations

import posixpath
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from datapin.backends.backend import StoredObject, check_key
from datapin.backends.dvcfs.connection import Connection, Kind
from datapin.backends.dvcfs.errors import foreign_errors, http_status, is_missing, real_cause
from datapin.base.errors import RemoteUnreachable

Entry = Mapping[str, Any]  # what fsspec says about a name

_THREADS = 8
_FORBIDDEN = 403
# How the libraries call the time of an entry.
_TIMES = ("mtime", "LastModified", "last_modified", "updated", "modified", "modificationTime", "Last-Modified")
_MILLISECONDS_FROM = 1e11


def look(place: Connection, key: str) -> StoredObject | None:
    """The object under `key`, None if there is none."""
    try:
        return _stored_object(key, place.raw.info(place.path(key)))
    except foreign_errors() as error:
        if is_missing(real_cause(error)):
            return None
        raise


def list_objects(place: Connection, prefix: str, *, url: str) -> list[StoredObject]:
    """All objects below `prefix`, sorted by key; names that are no keys are passed over. `url` is for messages.

    Raises RemoteUnreachable if a web server does not show its folders.
    """
    if place.kind is Kind.PAGES:
        found = _on_pages(place, prefix, url)
    else:
        entries = _flat(place, prefix) if place.kind is Kind.OBJECTS else _walk(place, prefix)
        found = [_stored_object(key, entry) for key, entry in entries]
    return sorted((one for one in found if one is not None), key=lambda one: one.key)


def _stored_object(key: str, entry: Entry) -> StoredObject | None:
    """What a file system says about `key`, None if it is no file."""
    # A web server leads from a folder's name to its page.
    if entry.get("type") != "file" or str(entry.get("url", "")).endswith("/"):
        return None
    if entry.get("size") is None:
        raise ValueError(f"the server does not say how large {key} is")
    return StoredObject(key, int(entry["size"]), _modified_s(entry))


def _flat(place: Connection, prefix: str) -> Iterator[tuple[str, Entry]]:
    start = place.path("").lstrip("/")
    try:
        entries = place.raw.find(place.path(prefix), detail=True)
    except FileNotFoundError:
        return
    for name, entry in entries.items():
        key = name.lstrip("/").removeprefix(start).lstrip("/")
        if key.startswith(prefix) and _is_key(key):
            yield key, entry


def _walk(place: Connection, prefix: str) -> Iterator[tuple[str, Entry]]:
    """Files below `prefix`. Folders of one depth are listed several at once: on a slow line each costs a round trip."""
    folders = [prefix]
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="datapin-list") as threads:
        while folders:
            deeper: list[str] = []
            for folder, entries in zip(folders, threads.map(lambda one: _entries(place, one), folders), strict=True):
                for name, entry in entries:
                    if not _is_key(name):
                        continue
                    if entry.get("type") == "directory":
                        deeper.append(f"{folder}{name}/")
                    else:
                        yield f"{folder}{name}", entry
            folders = deeper


def _entries(place: Connection, folder: str) -> list[tuple[str, Entry]]:
    """Names and entries directly in `folder`, which may not exist."""
    path = place.path(folder)
    try:
        entries = place.raw.ls(path, detail=True)
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = []
    for entry in entries:
        name = str(entry["name"]).rstrip("/")
        if place.kind is Kind.PAGES and posixpath.dirname(name) != path.rstrip("/"):
            continue  # a link to elsewhere
        if entry.get("type") == "link":
            entry = place.raw.info(name)
        found.append((posixpath.basename(name), entry))
    return found


def _on_pages(place: Connection, prefix: str, url: str) -> list[StoredObject | None]:
    """Pages name files; their sizes must be asked for one by one."""
    try:
        keys = [key for key, _ in _walk(place, prefix)]
        # Nothing found means that nothing is there only where the server shows anything at all.
        is_shown = bool(keys) or bool(_entries(place, ""))
    except foreign_errors() as error:
        if http_status(error) != _FORBIDDEN:
            raise
        is_shown = False
    if not is_shown:
        raise RemoteUnreachable(
            url,
            "the server shows no listing of its folders",
            "have the server show them (nginx: `autoindex on`), or fetch from another remote",
        )
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="datapin-list") as threads:
        return list(threads.map(lambda key: look(place, key), keys))


def _is_key(name: str) -> bool:
    try:
        check_key(name)
    except ValueError:
        return False
    return True


def _modified_s(entry: Entry) -> float:
    seen = next((entry[name] for name in _TIMES if entry.get(name) is not None), None)
    if isinstance(seen, str):
        seen = _parsed(seen)
    if isinstance(seen, datetime):
        return (seen if seen.tzinfo else seen.replace(tzinfo=UTC)).timestamp()
    if isinstance(seen, int | float):
        return seen / 1000 if seen > _MILLISECONDS_FROM else float(seen)
    # What tells no time looks new, so that nobody takes it for old enough to be deleted.
    return time.time()


def _parsed(text: str) -> datetime | None:
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            return parse(text)
        except ValueError:
            continue
    return None
