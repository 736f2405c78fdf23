"""Whether manifests are what their pointers and their own footers say."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Iterator
from pathlib import Path

from datapin.base.errors import DatapinError, ManifestMissing
from datapin.base.findings import Finding
from datapin.checks.check import READABLE, Check, unread
from datapin.checks.subject import Subject
from datapin.dvcfiles.cache import DvcCache
from datapin.dvcfiles.outs import PinnedOut
from datapin.git.ask import files_named
from datapin.manifest.manifest import Manifest
from datapin.pins.held import NO_MANIFEST
from datapin.pins.outputs import check_cached

_ONCE, _CHANGED, _SHARDS, _SUMMARY = "pins.pinned-once", "pins.manifest-changed", "pins.shards", "pins.summary"
_FIRST_SHARD = "part-00000.parquet"


def _check_readable(subject: Subject) -> Iterator[Finding]:
    yield from subject.unreadable


def _check_once(subject: Subject) -> Iterator[Finding]:
    seen: dict[str, PinnedOut] = {}
    for out in subject.outs:
        first = seen.setdefault(out.path, out)
        if first is not out:
            message = f"is pinned by {_named(first)} and by {_named(out)}"
            pointer = next((one.file for one in (first, out) if one.stage is None), "")
            way = f"`git rm -q --cached --ignore-unmatch {shlex.quote(pointer)} && rm {shlex.quote(pointer)}`"
            hint = f"{way} leaves it to the stage" if pointer else "take it out of one of the two in dvc.yaml"
            yield Finding("error", _ONCE, out.path, message, hint)
    inside = tuple(f"{path}/" for path in seen)
    for file in files_named(subject.root, _FIRST_SHARD, rev=subject.commit if subject.rev is not None else None):
        folder = posixpath.dirname(file)
        if posixpath.basename(file) != _FIRST_SHARD or f"{folder}/".startswith(inside):
            continue
        if not subject.pinned_at.is_of_inner_project(folder):
            message = "holds a manifest that no pointer pins: no commit tells which rows it had"
            name = shlex.quote(folder)
            ways = f"`git rm -rq --cached --ignore-unmatch {name} && dvc add {name}`"
            hint = f"run {ways} and commit the pointer, or let Git ignore the folder"
            yield Finding("warning", _ONCE, folder, message, hint)


def _named(out: PinnedOut) -> str:
    return out.file if out.stage is None else f"{out.file} ({out.stage})"


def _check_changed(subject: Subject) -> Iterator[Finding]:
    if subject.rev is not None:
        return
    for dataset, pointer in subject.pins.items():
        held = subject.held(dataset)
        if held is None or held == pointer.md5:
            continue
        problem = "holds other files than shards" if held == NO_MANIFEST else _difference(subject, dataset)
        yield Finding("error", _CHANGED, dataset, f"{problem}; its pointer is {pointer.file}", _ways(pointer))


def _difference(subject: Subject, dataset: str) -> str:
    try:
        here, pinned = subject.manifest(dataset), subject.pinned(dataset)
        if here.digest == pinned.digest:
            return "has the rows that are pinned, in other bytes"
        return f"has {here.rows} rows, {_short(here)}, pinned are {pinned.rows} rows, {_short(pinned)}"
    except DatapinError:
        return "is not the manifest that is pinned"


def _short(manifest: Manifest) -> str:
    return manifest.digest[: len("sha256:") + 12]


def _ways(pointer: PinnedOut) -> str:
    dataset = shlex.quote(pointer.dataset)
    other = "`dvc repro` makes it anew" if pointer.stage is not None else f"`dvc add {dataset}` pins this one"
    return f"`datapin restore {dataset}` brings the pinned one back and keeps a copy of this one, or {other}"


def _check_shards(subject: Subject) -> Iterator[Finding]:
    cache = DvcCache(subject.root)
    for dataset, pointer in subject.pins.items():
        try:
            subject.manifest(dataset).verify()
        except DatapinError as error:
            yield _spoiled(subject, dataset, error)
        try:
            check_cached(cache.shards(pointer))
        except ManifestMissing:
            continue  # not cached: it is read from elsewhere, or pins.readable tells
        except DatapinError as error:
            yield _spoiled(subject, dataset, error)


def _spoiled(subject: Subject, dataset: str, error: DatapinError) -> Finding:
    finding = unread(subject, _SHARDS, dataset, error)
    if finding.severity == "note":
        return finding
    return Finding("error", _SHARDS, dataset, error.message_of(dataset), error.hint)


def _check_summary(subject: Subject) -> Iterator[Finding]:
    for dataset, pointer in subject.pins.items():
        try:
            manifest = subject.pinned(dataset)
            files = [shard.path for shard in manifest.shards if shard.path is not None]
            claims = [
                ("digest", pointer.digest, manifest.digest),
                ("rows", pointer.rows, manifest.rows),
                ("bytes", (pointer.summary or {}).get("bytes"), manifest.bytes),
                ("nfiles", pointer.files, len(files) or None),
                ("size", pointer.size, _total(files) or None),
            ]
        except DatapinError as error:
            yield unread(subject, _SUMMARY, dataset, error)
            continue
        for what, said, seen in claims:
            if said is not None and seen is not None and said != seen:
                message = f"{pointer.file} says {what} {said}, the manifest that it pins has {seen}"
                yield Finding("error", _SUMMARY, dataset, message, _truth(pointer, what))


def _truth(pointer: PinnedOut, what: str) -> str:
    if pointer.stage is not None:
        return "run `dvc repro`"
    # DVC writes its own fields anew, and keeps ours as long as the hash is the same.
    name = shlex.quote(pointer.dataset)
    other = f"dvc add {name}" if what in ("nfiles", "size") else f"datapin remove {name} --where false"
    back = f"`git checkout -- {shlex.quote(pointer.file)}` brings the committed pointer back"
    return f"{back}, or `{other}` writes it anew"


def _total(files: list[Path]) -> int:
    return sum(path.stat().st_size for path in files)


CHECKS = (
    Check(READABLE, "Can every pointer, pipeline and manifest be read, from here or from the remote?", _check_readable),
    Check(_ONCE, "Is every output pinned by one pointer, and every manifest by any?", _check_once),
    Check(_CHANGED, "Does every manifest in the work tree match its pointer?", _check_changed),
    Check(
        _SHARDS,
        "Does every shard parse, in order, with safe unique keys, and hash to what it and DVC say?",
        _check_shards,
    ),
    Check(_SUMMARY, "Is what pointers say of their manifests true: digest, rows, bytes, files?", _check_summary),
)
