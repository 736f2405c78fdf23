"""Whether outputs that are no manifests (models, metrics, plots, folders) are what their pointers say."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from datapin.base.errors import DatapinError, OutputMissing
from datapin.base.findings import Finding
from datapin.checks.check import Check, unread
from datapin.checks.subject import Subject
from datapin.dvcfiles.cache import DvcCache
from datapin.dvcfiles.hashes import key_of
from datapin.dvcfiles.outs import PinnedOut
from datapin.dvcfiles.pipelines import DeclaredOut, hashes_here
from datapin.pins.files import LOCK, beside

_PRESENT, _CHANGED = "pins.output-present", "pins.output-changed"


def _check_present(subject: Subject) -> Iterator[Finding]:
    cache, declared = DvcCache(subject.root), _declared(subject)
    for out in _others(subject):
        known = declared.get(out.path)
        is_kept_by_git = known is not None and not known.is_cached
        if is_kept_by_git or cache.find(out.md5) is not None or (known is not None and known.md5 == out.md5):
            continue
        try:
            problem = _absence(subject, out)
        except DatapinError as error:
            yield unread(subject, _PRESENT, out.path, error)
            continue
        if problem:
            missing = OutputMissing(out.path, problem, _makers(out))
            yield Finding("error", _PRESENT, out.path, missing.message, missing.hint)


def _absence(subject: Subject, out: PinnedOut) -> str:
    """Where it was looked for in vain; empty if the remote has it."""
    remote = subject.remote()
    if remote is None:
        return f"nowhere: {out.file} pins {out.md5}, DVC's cache lacks it, and there is no remote"
    if remote.root.head(key_of(out.md5)) is not None:
        return ""
    return f"nowhere: {out.file} pins {out.md5}, neither DVC's cache nor {remote.root.url} has it"


def _makers(out: PinnedOut) -> str:
    path = shlex.quote(out.path)
    if out.stage is None:
        return f"no copy is known: who has one runs `dvc push {path}`"
    address = out.stage if out.file == LOCK else f"{beside(out.file)}:{out.stage}"
    return f"run `dvc repro {shlex.quote(address)}` to make it again, or, where it is, `dvc push {path}`"


def _check_changed(subject: Subject) -> Iterator[Finding]:
    declared = _declared(subject)
    others = _others(subject)
    sources = sorted({out.file for out in others if out.stage is None}) if subject.rev is None else []
    here: dict[str, str | None] = {}
    if sources:
        try:
            here = hashes_here(subject.root, sources)
        except DatapinError as error:
            yield unread(subject, _CHANGED, sources[0], error)
    for out in others:
        known = declared.get(out.path)
        seen = known.md5 if known is not None else here.get(out.path)
        if seen == out.md5 or (seen is None and (known is None or known.is_cached)):
            continue  # not laid out: DVC's cache or the remote keeps it
        if seen is None:
            message = f"is not there, and DVC does not keep it either; {out.file} pins {out.md5}"
        else:
            message = f"is {seen}, {out.file} pins {out.md5}"
        yield Finding("error", _CHANGED, out.path, message, _ways(out, known))


def _ways(out: PinnedOut, known: DeclaredOut | None) -> str:
    path = shlex.quote(out.path)
    if out.stage is None:
        return (
            f"`dvc checkout --force {shlex.quote(out.file)}` brings the pinned one back, `dvc add {path}` pins this one"
        )
    back = f"`dvc checkout --force {path}`" if known is None or known.is_cached else f"`git checkout -- {path}`"
    return f"{back} brings the pinned one back, `dvc repro` makes it anew"


def _others(subject: Subject) -> list[PinnedOut]:
    return [out for out in subject.outs if out.path not in subject.pins]


def _declared(subject: Subject) -> dict[str, DeclaredOut]:
    return {out.path: out for stage in subject.stages().stages for out in stage.outs if out.path is not None}


CHECKS = (
    Check(
        _PRESENT, "Is every other pinned output somewhere: in DVC's cache, the work tree or the remote?", _check_present
    ),
    Check(
        _CHANGED, "Is every other output that lies in the work tree, or that Git keeps, the pinned one?", _check_changed
    ),
)
