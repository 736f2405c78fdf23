"""The checks of the group presence: is all that a commit pins on the remote? Asked of the remote itself, by listing."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from datapin.base.errors import DamagedManifest, DamagedPack, DatapinError
from datapin.base.findings import Finding
from datapin.checks.bytes.look import Look, Places, look_at
from datapin.checks.check import Check, capped, unread
from datapin.checks.subject import Subject
from datapin.dvcfiles.cache import DvcCache, parse_output_list
from datapin.dvcfiles.hashes import key_of, md5_of
from datapin.dvcfiles.outs import PinnedOut
from datapin.pins.keeping import Keeping
from datapin.store.layout import index_key, loose_key, pack_key
from datapin.transfer.root_records import FINAL, PENDING, RootRecord, read_root, version_name, version_of_key
from datapin.transfer.survey import objects_of

_KEYS_SHOWN = 3


@dataclass(frozen=True, slots=True)
class _Object:
    """One of DVC's objects that must be there: what it holds, and its size if that is known."""

    md5: str
    what: str
    size_bytes: int | None

    @property
    def key(self) -> str:
        """Where DVC puts it."""
        return key_of(self.md5)


def _remote(subject: Subject) -> Iterator[Finding]:
    look = look_at(subject)
    if look.has_store:
        return
    if subject.pins:
        hint = f"{look.advice()}, or check the remote's URL"
        yield Finding("error", "presence.remote", look.name, "holds no store: nothing was ever pushed there", hint)
    else:
        yield Finding("note", "presence.remote", look.name, "holds no store; no dataset is pinned yet")


def _manifests(subject: Subject) -> Iterator[Finding]:
    check = "presence.manifests"
    look = look_at(subject)
    wanted: dict[str, list[_Object]] = {}
    for dataset, pointer in subject.pins.items():
        try:
            wanted[dataset] = _objects(subject, look, pointer.md5, "its manifest")
        except DatapinError as error:
            yield unread(subject, check, dataset, error)
    yield from _missing(look, check, wanted, lambda dataset, _: look.advice(dataset))


def _outputs(subject: Subject) -> Iterator[Finding]:
    check = "presence.outputs"
    look = look_at(subject)
    wanted: dict[str, list[_Object]] = {}
    for output in _other_outputs(subject):
        if isinstance(output, Finding):
            yield output
            continue
        out, keeping = output
        if keeping.remote not in (None, look.side.name):
            message = f"is kept on the remote {keeping.remote}, which was not asked"
            hint = f"run `datapin verify --check {check} --remote-name {shlex.quote(str(keeping.remote))}`"
            yield Finding("warning", check, out.path, message, hint)
            continue
        try:
            wanted[out.path] = _objects(subject, look, out.md5, "it", None if out.is_folder else out.size)
        except DatapinError as error:
            yield unread(subject, check, out.path, error)
    yield from _missing(look, check, wanted, _advice_on_output, lists_count=True)


def _advice_on_output(path: str, damaged: str = "") -> str:
    push = f"run `dvc push {shlex.quote(path)}` where it is, or `dvc repro` first"
    return f"delete {damaged} there, then {push}" if damaged else push


def _other_outputs(subject: Subject) -> Iterator[tuple[PinnedOut, Keeping] | Finding]:
    """The outputs that are no datasets and that `dvc push` sends, and findings on pipelines that cannot be read."""
    pins = subject.pinned_at
    for file, error in pins.problems().items():
        yield unread(subject, "presence.outputs", file, error)
    for out in pins.outs:
        if out.path in subject.pins:
            continue
        with suppress(DatapinError):  # told above
            keeping = pins.keeping(out)
            if keeping.is_declared and keeping.is_cached and keeping.is_pushed:
                yield out, keeping


def _packs(look: Look, dataset: str) -> Iterator[Finding]:
    lost = look.lost(dataset)
    for pack, places in lost.packs.items():
        yield _lacking(look, "presence.packs", dataset, pack_key(pack.hex()), look.bad_packs[pack], places)


def _loose(look: Look, dataset: str) -> Iterator[Finding]:
    lost = look.lost(dataset)
    names = [row.tobytes() for row in lost.loose_ids]
    for name in dict.fromkeys(names):
        places = lost.loose[[one == name for one in names]]
        yield _lacking(look, "presence.loose", dataset, loose_key(name.hex()), look.bad_loose[name], places)


def _index_files(subject: Subject) -> Iterator[Finding]:
    check = "presence.index"
    look = look_at(subject)
    for name, size in look.survey.index.items():
        kept = look.store.kept_index_bytes(name)
        if kept is not None and kept != size:
            message = f"has {size} bytes, expected {kept}: nobody who does not know it yet can read it"
            yield Finding("error", check, f"{look.name}: {index_key(name)}", message, look.advice())
    yield from _of_each(check, _index, "assets")(subject)


def _index(look: Look, dataset: str) -> Iterator[Finding]:
    places = look.lost(dataset).unknown
    if len(places):
        yield _lacking(look, "presence.index", dataset, "", "no index file names them", places)


def _roots(look: Look, dataset: str) -> Iterator[Finding]:
    pointer = look.subject.pins[dataset]
    version = version_name(dataset, look.subject.pinned(dataset).digest, pointer.md5)
    named = [key for key in look.survey.roots if version_of_key(key) == version]
    older = [key for key in look.survey.roots if not version_of_key(key)]
    seen: list[tuple[str, RootRecord]] = []
    problems = []
    for keys in (named, older):
        for key in keys:
            try:
                record = read_root(look.store, key)
            except DamagedPack as error:
                problems += [error.message] if key in named else []
                continue
            if record is not None and record.version == version:
                seen.append((key, record))
        final = [(key, record) for key, record in seen if record.state == FINAL]
        safe = [key for key, record in final if not look.survey.condemned.has_any_of(objects_of(record))]
        if safe:
            return
        problems += [f"{key} relies on what a collection of garbage is about to delete" for key, _ in final]
    problems += [_unfinished(key, record) for key, record in seen if record.state != FINAL]
    problems = problems or ["no root record says that it was pushed whole"]
    message = f"is not safe on {look.name}: {'; '.join(problems[:_KEYS_SHOWN])}"
    yield Finding("error", "presence.roots", dataset, message, look.advice(dataset))


def _unfinished(key: str, record: RootRecord) -> str:
    who = f" by {record.actor}" if record.actor else ""
    when = f" of {record.time}" if record.time else ""
    if record.state == PENDING:
        return f"{key} is pending: the push{who}{when} has not ended"
    return f"{key} is {record.state}: a collection of garbage overtook the push{who}{when}"


def _of_each(
    check: str, find: Callable[[Look, str], Iterable[Finding]], what: str
) -> Callable[[Subject], Iterator[Finding]]:
    """A check that looks at one dataset after the other; one that cannot be read hides none of the others."""

    def run(subject: Subject) -> Iterator[Finding]:
        look = look_at(subject)
        if not subject.pins:
            return
        _ = look.survey  # if it cannot be read, no dataset can be looked for: said once, by the runner
        for dataset in subject.pins:
            try:
                found = list(find(look, dataset))
            except DatapinError as error:
                yield unread(subject, check, dataset, error)
            else:
                yield from capped(found, what)

    return run


def _lacking(look: Look, check: str, dataset: str, key: str, problem: str, places: Places) -> Finding:
    """A finding on assets at these places of the manifest that cannot be had: the object `key` has this problem."""
    keys = look.lost(dataset).keys(places, _KEYS_SHOWN)
    more = ", …" if len(places) > len(keys) else ""
    message = f"{len(places)} asset(s) cannot be had from {look.name}: {key} {problem} ({', '.join(keys)}{more})"
    return Finding("error", check, dataset, message.replace("  ", " "), look.advice(dataset))


def _objects(subject: Subject, look: Look, md5: str, what: str, size: int | None = None) -> list[_Object]:
    """The object `md5`, and if it is DVC's list of a folder, those of the files in it.

    Raises DamagedManifest for a list that does not parse or does not hash to its name.
    """
    cache = DvcCache(subject.root)
    if not md5.endswith(".dir"):
        return [_Object(md5, what, size)]
    path = cache.find(md5)
    data = look.list_of_files(md5) if path is None else path.read_bytes()
    objects = [_Object(md5, f"DVC's list of the files of {what}", None if data is None else len(data))]
    if data is None:
        return objects
    if md5_of(data) != md5.removesuffix(".dir"):
        raise DamagedManifest(md5, "DVC's list of its files does not hash to its name")
    for name, shard in parse_output_list(data, md5):
        place = cache.find(shard)
        objects.append(_Object(shard, name, None if place is None else place.stat().st_size))
    return objects


def _missing(
    look: Look,
    check: str,
    wanted: dict[str, list[_Object]],
    advice: Callable[[str, str], str],
    *,
    lists_count: bool = False,
) -> Iterator[Finding]:
    """Findings on the objects that are not there, or not as long as they must be; one look for all.

    `lists_count`: who sends them again takes a list of files for the files, so that it must go first.
    """
    seen = look.sizes({one.md5 for objects in wanted.values() for one in objects})
    for where, objects in wanted.items():
        found = []
        for one in objects:
            size = seen.get(one.md5)
            if size is None:
                message, in_the_way = f"{one.what} is not on {look.name} ({one.key})", []
            elif one.size_bytes is not None and size != one.size_bytes:
                message = f"{one.what} has {size} bytes on {look.name}, expected {one.size_bytes} ({one.key})"
                in_the_way = [one.key]
            else:
                continue
            if lists_count and one is not objects[0]:
                in_the_way.append(objects[0].key)
            found.append(Finding("error", check, where, message, advice(where, " and ".join(in_the_way))))
        yield from capped(found, "objects")


CHECKS: tuple[Check, ...] = (
    Check("presence.remote", "Is there a remote that answers and holds a store?", _remote),
    Check(
        "presence.manifests",
        "Is every shard of every pinned manifest on the remote, and DVC's list of them?",
        _manifests,
    ),
    Check("presence.index", "Does the remote's index name every asset of the pinned rows?", _index_files),
    Check(
        "presence.packs",
        "Is every pack that they need on the remote, as long as it must be?",
        _of_each("presence.packs", _packs, "packs"),
    ),
    Check(
        "presence.loose",
        "Is every large asset that they need on the remote, as long as it must be?",
        _of_each("presence.loose", _loose, "assets"),
    ),
    Check(
        "presence.roots",
        "Does a final root record keep every pinned version from being collected as garbage?",
        _of_each("presence.roots", _roots, "records"),
    ),
    Check("presence.outputs", "Is every other output that DVC pushes, a model for example, on the remote?", _outputs),
)
