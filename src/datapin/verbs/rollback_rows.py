"""One dataset of a rollback: its old manifest brought and verified, its rows counted, its assets made sure of."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.errors import (
    AssetsMissing,
    BadRows,
    BadSettings,
    Damage,
    DamagedManifest,
    ManifestMissing,
    RemoteUnreachable,
)
from datapin.base.id_columns import IdMatrix, ids_from_hex, ids_to_hex
from datapin.manifest.diff import Changes, compare_manifests
from datapin.manifest.digest import shard_digest
from datapin.manifest.manifest import Manifest
from datapin.manifest.pair_counts import PairCounter
from datapin.manifest.schema import asset_columns
from datapin.verbs.known_remote import not_pushed
from datapin.verbs.place import remote_place
from datapin.verbs.presence import ensure_here
from datapin.verbs.rollback_goals import DatasetGoal
from datapin.verbs.rollback_unsaved import pinned_manifest
from datapin.verbs.workspace import Workspace
from datapin.versions.dvc_cache import DvcCache
from datapin.versions.pointer import Pointer
from datapin.versions.rollback_outs import PinnedOut, bring_outs, check_cached, differs, files_of

_LISTED = 20


@dataclass(frozen=True, slots=True)
class ReadyDataset:
    """A dataset whose old manifest is here and whole. `files` are its shards in DVC's cache, `kept` those in the work
    tree that stay as they are; `is_pinned` if the work tree holds what its pointer pins, `is_there` if it holds what is
    wanted.
    """

    goal: DatasetGoal
    before: Manifest | None
    after: Manifest
    files: list[tuple[str, Path]]
    kept: dict[str, Path]
    is_pinned: bool
    is_there: bool


def bring(workspace: Workspace, outs: Sequence[PinnedOut]) -> None:
    """Copy into DVC's cache what it lacks of these. Raises ManifestMissing, DamagedManifest."""
    cache = DvcCache(workspace.root)
    absent = [out for out in outs if files_of(cache, out) is None]
    if not absent:
        return
    try:
        place = remote_place(workspace)
        gone, reason = bring_outs(workspace.root, place.root, absent), f"{place.root.url} does not have it either"
    except (BadSettings, RemoteUnreachable) as error:
        gone, reason = absent, error.message
    for out in gone:
        raise ManifestMissing(dataset=out.path, missing=f"{out.md5} in DVC's cache", reason=reason)


def ready(workspace: Workspace, goal: DatasetGoal) -> ReadyDataset:
    """The dataset, with its old manifest verified as far as it differs from today's; it was brought before.

    Raises ManifestMissing, DamagedManifest.
    """
    cache = DvcCache(workspace.root)
    after = pinned_manifest(workspace, goal.wanted)
    entries = dict(cache.entries(goal.wanted.md5) or ())
    files = cache.shards(goal.wanted)
    before = _before(workspace, goal)
    directory = workspace.dataset_path(goal.dataset)
    is_pinned = _is_pinned(workspace, goal)
    pinned = dict(cache.entries(goal.current.md5) or ()) if is_pinned and goal.current is not None else {}
    by_md5 = {md5: directory / name for name, md5 in pinned.items()}
    kept = {name: by_md5[md5] for name, md5 in entries.items() if md5 in by_md5}
    check_cached([one for one in files if one[0] not in kept])
    _verify(after, set(kept), jobs=workspace.jobs)
    if is_pinned and goal.current is not None:
        is_there = goal.current.md5 == goal.wanted.md5
    else:
        is_there = not differs(workspace.root, cache, _output(goal.dataset, goal.wanted))
    return ReadyDataset(goal, before, after, files, kept, is_pinned, is_there)


def count(dataset: ReadyDataset) -> Changes:
    """How many rows come, change and go."""
    if dataset.is_there:
        return Changes(0, 0, 0)
    return PairCounter().count(dataset.before, dataset.after)


def make_sure_of_assets(workspace: Workspace, dataset: ReadyDataset) -> None:
    """Assets of rows that come or change are fetched if they are not here; of all others the remote must know.

    Raises AssetsMissing, RemoteUnreachable.
    """
    columns = asset_columns(dataset.after.schema)
    table = dataset.after.to_table(columns=columns)
    absent = {column: _absent(workspace, table[column]) for column in columns}
    if not any(mask.any() for mask in absent.values()):
        return
    name = dataset.goal.dataset
    table = table.append_column("key", dataset.after.to_table(columns=["key"])["key"])
    found = compare_manifests(dataset.before, dataset.after)
    comes = pc.is_in(table["key"], value_set=pa.concat_arrays([found.added, found.changed]))
    incoming = np.asarray(comes.to_numpy(zero_copy_only=False), np.bool_)
    for column, mask in absent.items():
        wanted = table.filter(pa.array(mask & incoming))
        if wanted.num_rows:
            ids = ids_from_hex(wanted[column])
            ensure_here(workspace, ids, what=f"rollback of {name}", keys=wanted["key"].combine_chunks())
        lazy = table.filter(pa.array(mask & ~incoming))
        if lazy.num_rows:
            _make_sure_remotely(workspace, ids_from_hex(lazy[column]))


def _before(workspace: Workspace, goal: DatasetGoal) -> Manifest | None:
    """The rows that will be replaced: the work tree's, else those that its pointer pins, if they can be read."""
    directory = workspace.dataset_path(goal.dataset)
    try:
        return Manifest.open(directory, name=goal.dataset)
    except (ManifestMissing, Damage, BadRows):
        pass
    try:
        return None if goal.current is None else pinned_manifest(workspace, goal.current)
    except (ManifestMissing, Damage, BadRows):
        return None


def _is_pinned(workspace: Workspace, goal: DatasetGoal) -> bool:
    """Whether the work tree holds, byte for byte, the shards that its pointer pins."""
    cache = DvcCache(workspace.root)
    if goal.current is None or not cache.is_whole(goal.current.md5):
        return False
    return not differs(workspace.root, cache, _output(goal.dataset, goal.current))


def _output(dataset: str, pointer: Pointer) -> PinnedOut:
    return PinnedOut(dataset, pointer.md5, pointer.file, pointer.stage)


def _verify(manifest: Manifest, known: set[str], *, jobs: int) -> None:
    """Read the shards that are not `known` and compare them with what their footers claim."""
    if manifest.is_foreign:
        manifest.verify()
        return

    def check(number: int) -> None:
        entry = manifest.shards[number]
        if entry.path is not None and entry.path.name not in known:
            seen = shard_digest(manifest.read_shard(number))
            if seen != entry.digest:
                problem = f"rows hash to {seen[:12]}, its footer says {entry.digest[:12]}"
                raise DamagedManifest(path=f"{manifest.name}/{entry.path.name}", problem=problem)

    with ThreadPoolExecutor(max(1, min(jobs, 4))) as threads:
        for _ in threads.map(check, range(len(manifest.shards))):
            pass


def _absent(workspace: Workspace, column: pa.ChunkedArray) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    mask = np.zeros(len(column), np.bool_)
    valid = column.is_valid().to_numpy()
    mask[valid] = workspace.store.missing(ids_from_hex(column.drop_null()))
    return mask


def _make_sure_remotely(workspace: Workspace, ids: IdMatrix) -> None:
    """Raises AssetsMissing if the remote lacks one of these, RemoteUnreachable if it was never asked and is away."""
    if not_pushed(workspace, ids) == 0:
        return
    try:
        place = remote_place(workspace)
    except BadSettings as error:
        raise _missing(ids, reason=error.message) from None
    there = place.store.index().find(ids)[0] if place.store.check_format() else np.zeros(len(ids), np.bool_)
    if not there.all():
        raise replace(_missing(ids[~there]), where=place.store.url)


def _missing(ids: IdMatrix, *, reason: str = "") -> AssetsMissing:
    names = tuple(ids_to_hex(ids[:_LISTED]).to_pylist())
    return AssetsMissing(names=names, count=len(ids), reason=reason)
