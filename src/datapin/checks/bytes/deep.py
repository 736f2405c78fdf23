"""The checks of the group deep: every byte that the manifests name, hashed again."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from datapin.backends.backend import Backend
from datapin.base.errors import AssetsMissing, BadSettings, DamagedAsset, DatapinError, ObjectMissing, RemoteUnreachable
from datapin.base.findings import Finding, Severity
from datapin.base.id_columns import IdMatrix
from datapin.checks.bytes.pinned_assets import Int64s, NamedAssets, PinnedAssets, iter_lots, keys_of, pinned_assets
from datapin.checks.check import MOST_LISTED, Check, capped, unread
from datapin.checks.subject import RemoteSide, Subject
from datapin.store.index import IN_LOOSE_FILE, Index
from datapin.store.layout import loose_key, pack_key
from datapin.store.store import Reader, Store

_ASSETS, _MANIFESTS, _REMOTE = "deep.assets", "deep.manifests", "deep.remote"
_LOT_ROWS, _LOT_BYTES = 2048, 32 << 20
_REMOTE_THREADS = 4
_DAMAGED = "hashes to"
_SPARE = "every asset in it has another copy there, which is read instead"

Problems = dict[int, DatapinError]  # number of an asset in PinnedAssets -> what is wrong with it


def _check_manifests(subject: Subject) -> Iterator[Finding]:
    for dataset in subject.pins:
        try:
            subject.pinned(dataset).verify()
            subject.manifest(dataset).verify()
        except DatapinError as error:
            yield unread(subject, _MANIFESTS, dataset, error)


def _check_assets(subject: Subject) -> Iterator[Finding]:
    assets = pinned_assets(subject)
    for dataset, error in assets.unread:
        yield unread(subject, _ASSETS, dataset, error)
    absence = _bring(subject, assets.ids)
    is_here = subject.store.locate(assets.ids).found  # also what was found damaged before: it is read again
    lengths = np.zeros(len(assets.ids), dtype=np.int64)
    problems = _read_all(subject, assets.ids, np.flatnonzero(is_here), lengths)
    for number in np.flatnonzero(~is_here).tolist():
        problems[number] = absence or AssetsMissing((assets.ids[number].tobytes().hex(),), 1)
    is_bad = np.zeros(len(assets.ids), dtype=bool)
    is_bad[list(problems)] = True
    for named in assets.named:
        yield from _bad_rows(assets, named, is_bad, problems)
        if named.column == "asset_id":
            yield from _other_sizes(named, lengths, is_bad)


def _bring(subject: Subject, ids: IdMatrix) -> DatapinError | None:
    """Bring what is not here; why something did not come, None if all is here."""
    try:
        subject.ensure(ids, "verify --deep")
    except DatapinError as error:
        return error
    return None


def _read_all(subject: Subject, ids: IdMatrix, here: npt.NDArray[np.intp], lengths: Int64s) -> Problems:
    """Hash the assets `ids[here]`; their lengths go into `lengths`. What is wrong with which is returned.

    Memory: a lot for each thread. Large assets are hashed as they are read.
    """
    store, locations = subject.store, subject.store.locate(ids[here])
    reader = store.reader(ids[here])
    is_loose = locations.pack == IN_LOOSE_FILE
    order = np.lexsort((locations.offset, locations.pack))
    packed = order[~is_loose[order]]
    problems: Problems = {}

    def read_lot(lot: Int64s) -> Problems:
        data, bad = _read_lot(reader, lot)
        lengths[here[lot]] = data
        return {int(here[number]): error for number, error in bad.items()}

    def read_loose(number: int) -> Problems:
        path = store.loose_path(ids[here[number]].tobytes())
        size, error = _hash_file(store, path, ids[here[number]].tobytes())
        lengths[here[number]] = size
        return {int(here[number]): error} if error is not None else {}

    with ThreadPoolExecutor(subject.jobs) as threads, subject.progress.bar("hashing", len(here), "asset") as bar:
        lots = list(iter_lots(packed, locations.raw_length, _LOT_ROWS, _LOT_BYTES))
        for lot, bad in zip(lots, threads.map(read_lot, lots), strict=True):
            problems |= bad
            bar.advance(len(lot))
        for bad in threads.map(read_loose, np.flatnonzero(is_loose).tolist()):
            problems |= bad
            bar.advance(1)
    return problems


def _read_lot(reader: Reader, lot: Int64s) -> tuple[list[int], Problems]:
    try:
        return [len(data) for data in reader.read_batch(lot.tolist())], {}
    except (DamagedAsset, AssetsMissing):
        pass  # which ones, only one by one
    lengths: list[int] = []
    problems: Problems = {}
    for number in lot.tolist():
        try:
            lengths.append(len(reader.read(number)))
        except (DamagedAsset, AssetsMissing) as error:
            lengths.append(0)
            problems[number] = error
    return lengths, problems


def _hash_file(store: Store, path: Path, raw_id: bytes) -> tuple[int, DatapinError | None]:
    try:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
            size = file.tell()
    except FileNotFoundError:
        return 0, AssetsMissing((raw_id.hex(),), 1)
    except OSError as error:
        return 0, DamagedAsset(raw_id.hex(), str(path), error.strerror or str(error))
    if digest == raw_id:
        return size, None
    store.note_damaged_file(raw_id)
    return size, DamagedAsset(raw_id.hex(), str(path))


def _bad_rows(
    assets: PinnedAssets, named: NamedAssets, is_bad: npt.NDArray[np.bool_], problems: Problems
) -> Iterator[Finding]:
    places = np.flatnonzero(is_bad[named.assets])
    shown = places[: MOST_LISTED + 1]
    found = []
    for key, number in zip(keys_of(named.manifest, named.rows[shown]), named.assets[shown].tolist(), strict=True):
        error = problems[number]
        message = error.message
        if not isinstance(error, DamagedAsset):
            message = f"asset {assets.ids[number].tobytes().hex()[:12]} is lost: {message}"
        found.append(Finding("error", _ASSETS, f"{named.dataset}:{key}", message, error.hint))
    yield from capped(found, "rows whose assets are damaged or lost", len(places))


def _other_sizes(named: NamedAssets, lengths: Int64s, is_bad: npt.NDArray[np.bool_]) -> Iterator[Finding]:
    sizes = named.manifest.to_table(["size"])["size"].to_numpy()
    seen = lengths[named.assets]
    places = np.flatnonzero((sizes[named.rows] != seen) & ~is_bad[named.assets])
    shown = places[: MOST_LISTED + 1]
    found = []
    for key, place in zip(keys_of(named.manifest, named.rows[shown]), shown.tolist(), strict=True):
        message = f"says size {sizes[named.rows[place]]}, its asset has {seen[place]} bytes"
        where = shlex.quote("key = '{}'".format(key.replace("'", "''")))
        remove = f"`datapin remove {shlex.quote(named.dataset)} --where {where}`"
        hint = f"take the row out with {remove}, then add its file again"
        found.append(Finding("error", _ASSETS, f"{named.dataset}:{key}", message, hint))
    yield from capped(found, "rows with another size", len(places))


def _check_remote(subject: Subject) -> Iterator[Finding]:
    side = subject.remote()
    if side is None:
        raise BadSettings(".dvc/config", "", "no default remote", "run `dvc remote add --default NAME URL`")
    assets = pinned_assets(subject)
    for dataset, error in assets.unread:
        yield unread(subject, _REMOTE, dataset, error)
    index = side.store.index()
    has, _ = index.find(assets.ids)
    named = assets.ids[has]
    problems: dict[str, str] = {}
    seen: set[str] = set()
    # An asset may lie in several packs: where one is bad, the next is hashed as well.
    while new := [one for one in _objects(index, named) if one[0] not in seen]:
        seen |= {key for key, _ in new}
        problems |= _hash_objects(subject, side, new)
        index = _without(index, problems.keys())
    # A push lists names and sizes: other bytes of the same size it cannot see.
    side.store.note_damage([key for key, problem in problems.items() if problem.startswith(_DAMAGED)])
    severity: Severity = "warning" if index.find(named)[0].all() else "error"
    spare = f"; {_SPARE}" if severity == "warning" else ""
    again = f"`datapin push{' --all-versions' if subject.rev is not None else ''} --again`"
    hint = "" if spare else f"run {again} where the data is, there after this check if it is another machine"
    found = [
        Finding(severity, _REMOTE, f"{side.store.url}/{key}", f"{problem}{spare}", hint)
        for key, problem in problems.items()
    ]
    yield from capped(found, "objects")


def _hash_objects(subject: Subject, side: RemoteSide, objects: Sequence[tuple[str, str]]) -> dict[str, str]:
    """What is wrong with which of these keys, each of which has to hash to the name beside it."""
    problems = {}
    with ThreadPoolExecutor(_REMOTE_THREADS) as threads, subject.progress.bar("hashing", len(objects), "object") as bar:
        looks = threads.map(lambda one: _remote_problem(side.store.backend, *one), objects)
        for (key, _), problem in zip(objects, looks, strict=True):
            bar.advance(1)
            if problem:
                problems[key] = problem
    return problems


def _objects(index: Index, ids: IdMatrix) -> list[tuple[str, str]]:
    """Key and SHA-256 of each pack and loose asset that `index` names for these assets."""
    locations = index.locate(ids)
    packs = np.unique(locations.pack[locations.found])
    names = [locations.packs[number].hex() for number in packs.tolist() if number != IN_LOOSE_FILE]
    loose = [row.tobytes().hex() for row in ids[locations.found & (locations.pack == IN_LOOSE_FILE)]]
    return [(pack_key(name), name) for name in names] + [(loose_key(name), name) for name in loose]


def _without(index: Index, bad: Collection[str]) -> Index:
    """The index less what it says of these objects."""
    entries = index.entries
    is_bad = np.array([*(pack_key(pack.hex()) in bad for pack in entries.packs), False], dtype=bool)[entries.pack]
    loose = np.flatnonzero(entries.pack == IN_LOOSE_FILE)
    is_bad[loose] = [loose_key(entries.ids[row].tobytes().hex()) in bad for row in loose.tolist()]
    return Index(entries.take(~is_bad))


def _remote_problem(backend: Backend, key: str, sha256: str) -> str:
    digest = hashlib.sha256()
    try:
        for chunk in backend.iter_chunks(key):
            digest.update(chunk)
    except ObjectMissing:
        return "is not there, and the remote's index names it"
    except RemoteUnreachable as error:
        return f"could not be checked: {error.message}"
    return "" if digest.hexdigest() == sha256 else f"{_DAMAGED} {digest.hexdigest()[:12]}, its name says {sha256[:12]}"


CHECKS: tuple[Check, ...] = (
    Check(
        _MANIFESTS,
        "Does every manifest, pinned or in the work tree, hash to what it says?",
        _check_manifests,
    ),
    Check(_ASSETS, "Does every asset hash to its id and have its row's size?", _check_assets),
    Check(
        _REMOTE,
        "With `--remote`: does every object there hash to its name?",
        _check_remote,
        needs_remote=True,
    ),
)
