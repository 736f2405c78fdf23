"""The datasets of a rollback: old manifests brought and verified, rows counted, assets made sure of."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from datapin.base import failpoints
from datapin.base.errors import (
    UNREADABLE_ROWS,
    AssetsMissing,
    BadSettings,
    Damage,
    DamagedManifest,
    DatapinError,
    ManifestMissing,
    OutputMissing,
    listed,
    who_must_push,
)
from datapin.base.files import make_directory, publish_bytes
from datapin.base.id_columns import IdMatrix, ids_from_hex
from datapin.base.ids import RAW_ID_BYTES
from datapin.dvcfiles.cache import DvcCache
from datapin.dvcfiles.outs import PinnedOut
from datapin.manifest.columns.columns import Mask
from datapin.manifest.columns.schema import asset_columns
from datapin.manifest.comparing.diff import Changes
from datapin.manifest.comparing.pair_counts import PairCounter
from datapin.manifest.files.digest import shard_digest
from datapin.manifest.manifest import Manifest
from datapin.pins.manifests import open_linked
from datapin.pins.outputs import check_cached, differs, files_of
from datapin.verbs.rollback.goals import DatasetGoal, Goals
from datapin.verbs.workspace.bring import Absence, bring_what_is_somewhere
from datapin.verbs.workspace.presence import ensure_here
from datapin.verbs.workspace.workspace import Workspace

_LISTED = 20
_NOTE_DIGITS = 24


@dataclass(frozen=True, slots=True)
class AbsentAssets:
    """Assets that are not here, and the keys of their rows."""

    ids: IdMatrix
    keys: pa.StringArray


@dataclass(frozen=True, slots=True)
class ReadyDataset:
    """A dataset whose old manifest is here and whole. `files` are its shards in DVC's cache, `kept` those in the work
    tree that stay as they are; `before_stays` if the files of `before` outlive the rollback; `is_pinned` if the work
    tree holds what its pointer pins, `is_there` if it holds what is wanted.
    """

    goal: DatasetGoal
    before: Manifest | None
    before_stays: bool
    after: Manifest
    files: list[tuple[str, Path]]
    kept: dict[str, Path]
    is_pinned: bool
    is_there: bool


def ready(workspace: Workspace, goal: DatasetGoal) -> ReadyDataset:
    """The dataset, with its old manifest verified as far as it differs from today's; it was brought before.

    Raises ManifestMissing, DamagedManifest.
    """
    cache = DvcCache(workspace.root)
    cache.give_back(goal.wanted.md5)
    after = open_linked(workspace.root, goal.wanted)
    entries = dict(cache.entries(goal.wanted.md5) or ())
    files = cache.shards(goal.wanted)
    directory = workspace.dataset_path(goal.dataset)
    is_pinned = _is_pinned(workspace, goal)
    before, before_stays = _before(workspace, goal, is_pinned=is_pinned)
    pinned = dict(cache.entries(goal.current.md5) or ()) if is_pinned and goal.current is not None else {}
    by_md5 = {md5: directory / name for name, md5 in pinned.items()}
    kept = {name: by_md5[md5] for name, md5 in entries.items() if md5 in by_md5}
    _verify(after, check_cached([one for one in files if one[0] not in kept]))
    if is_pinned and goal.current is not None:
        is_there = goal.current.md5 == goal.wanted.md5
    else:
        is_there = not differs(workspace.root, cache, _output(goal.dataset, goal.wanted))
    return ReadyDataset(goal, before, before_stays, after, files, kept, is_pinned, is_there)


def count(dataset: ReadyDataset) -> Changes | None:
    """How many rows come, change and go; None if those before cannot be read. Raises ManifestMissing, StorageFailed."""
    if dataset.is_there:
        return Changes(0, 0, 0)
    with suppress(*UNREADABLE_ROWS):  # those after were verified
        return PairCounter().count(dataset.before, dataset.after)
    return None


@contextmanager
def counted_beside(datasets: Sequence[ReadyDataset]) -> Iterator[list[Changes | None]]:
    """The counts of all datasets, filled in by the end of the context, inside which the datasets may be replaced.

    Most of a rollback waits for the disk, so counting takes no time of its own there. Rows that will be gone are
    counted first. None as of `count`, and for rows that stay but cannot be counted after all; else raises as `count`.
    """
    can_wait = [one.before_stays and not one.is_there for one in datasets]
    counts = [None if waits else count(one) for one, waits in zip(datasets, can_wait, strict=True)]
    with ThreadPoolExecutor(max_workers=1) as thread:
        later = {number: thread.submit(count, datasets[number]) for number, waits in enumerate(can_wait) if waits}
        yield counts
        for number, counting in later.items():
            with suppress(DatapinError):
                counts[number] = counting.result()


def absent_assets(workspace: Workspace, dataset: ReadyDataset) -> AbsentAssets:
    """The assets of the wanted version, of every column that names some, that are not in the local store.

    That there are none is noted for as long as the index stays: it takes 0.4 s to find for 1,000,000 rows.
    """
    note, state = workspace.cache / "whole" / dataset.after.digest[-_NOTE_DIGITS:], workspace.store.index_state
    with suppress(OSError):
        if note.read_text() == state:
            return AbsentAssets(np.zeros((0, RAW_ID_BYTES), np.uint8), pa.nulls(0, pa.string()))
    columns = asset_columns(dataset.after.schema)
    ids, keys = [np.zeros((0, RAW_ID_BYTES), np.uint8)], [pa.nulls(0, pa.string())]
    for number, table in enumerate(dataset.after.iter_tables(columns)):
        for column in columns:
            mask = _absent(workspace, table[column])
            if mask.any():
                rows = pa.array(mask)
                ids.append(ids_from_hex(table[column].filter(rows)))
                keys += dataset.after.read_shard(number, ["key"])["key"].filter(rows).chunks
    if len(ids) == 1:
        with suppress(OSError):
            make_directory(note.parent)
            publish_bytes(note, state.encode())
    return AbsentAssets(np.concatenate(ids), pa.concat_arrays(keys))


def make_sure_of_assets(workspace: Workspace, dataset: str, absent: AbsentAssets, *, is_lazy: bool) -> None:
    """Fetch and verify what is not here; `is_lazy`: only see that the remote has it.

    Raises AssetsMissing, RemoteUnreachable, DamagedAsset, StorageFailed.
    """
    if not is_lazy:
        ensure_here(workspace, absent.ids, what=f"rollback of {dataset}", keys=absent.keys)
        return
    from datapin.transfer.survey import Survey  # late: as in verbs.workspace.presence
    from datapin.verbs.workspace.place import remote_place

    try:
        place = remote_place(workspace)
    except BadSettings as error:
        raise _missing(absent, np.ones(len(absent.ids), np.bool_), reason=error.message) from None
    is_there = np.zeros(len(absent.ids), np.bool_)
    if place.store.check_format():
        survey = Survey(place.store)
        is_there = survey.reliable(place.store.index(survey.index)).find(absent.ids)[0]
    if not is_there.all():
        raise _missing(absent, ~is_there, where=place.store.url)


def _before(workspace: Workspace, goal: DatasetGoal, *, is_pinned: bool) -> tuple[Manifest | None, bool]:
    """The rows that will be replaced, if they can be read: the work tree's, else those that its pointer pins.

    And whether their files stay. Where both are the same (`is_pinned`) those of the pointer come first: they do.
    """
    for from_pointer in (is_pinned, not is_pinned):
        with suppress(ManifestMissing, Damage, *UNREADABLE_ROWS):
            if not from_pointer:
                before = Manifest.open(workspace.dataset_path(goal.dataset), name=goal.dataset)
            elif goal.current is not None:
                before = open_linked(workspace.root, goal.current)
            else:
                continue
            _ = before.digest  # of shards that others wrote it takes all rows, and they may be bad
            return before, from_pointer
    return None, False


def _is_pinned(workspace: Workspace, goal: DatasetGoal) -> bool:
    """Whether the work tree holds, byte for byte, the shards that its pointer pins."""
    cache = DvcCache(workspace.root)
    if goal.current is None or not cache.is_whole(goal.current.md5):
        return False
    return not differs(workspace.root, cache, _output(goal.dataset, goal.current))


def _output(dataset: str, pointer: PinnedOut) -> PinnedOut:
    return PinnedOut(dataset, pointer.md5, pointer.file, pointer.stage)


def _verify(manifest: Manifest, names: Sequence[str]) -> None:
    """Compare these shards with what their footers claim."""
    for number, entry in enumerate(manifest.shards):
        if entry.path is not None and entry.path.name in names:
            seen = shard_digest(manifest.read_shard(number))
            if seen != entry.digest:
                problem = f"rows hash to {seen[:12]}, its footer says {entry.digest[:12]}"
                raise DamagedManifest(path=f"{manifest.name}/{entry.path.name}", problem=problem)


def _absent(workspace: Workspace, column: pa.ChunkedArray) -> Mask:
    mask = np.zeros(len(column), np.bool_)
    valid = column.is_valid().to_numpy()
    mask[valid] = workspace.store.missing(ids_from_hex(column.drop_null()))
    return mask


def _missing(absent: AbsentAssets, mask: Mask, *, where: str = "", reason: str = "") -> AssetsMissing:
    names = absent.keys.filter(pa.array(mask)).slice(0, _LISTED).to_pylist()
    shown = {"where": where} if where else {}
    return AssetsMissing(names=tuple(names), count=int(mask.sum()), reason=reason, **shown)


def bring_goals(workspace: Workspace, goals: Goals, outs: Sequence[PinnedOut], version: str) -> None:
    """The manifests of all goals and these other outputs, into DVC's cache; the outputs are verified there.

    Raises ManifestMissing or OutputMissing, which name all that is nowhere, and DamagedManifest.
    """
    cache = DvcCache(workspace.root)
    manifests = [_output(one.dataset, one.wanted) for one in goals.datasets]
    lacking = [out for out in (*manifests, *outs) if files_of(cache, out) is None]
    absence = bring_what_is_somewhere(workspace, list(dict.fromkeys(out.md5 for out in lacking)))
    if absence.md5s:
        raise _nowhere(goals, [out for out in lacking if out.md5 in absence.md5s], absence, version)
    failpoints.hit("rollback.brought")
    check_cached([file for out in outs for file in files_of(cache, out) or ()])


def _nowhere(goals: Goals, absent: Sequence[PinnedOut], absence: Absence, version: str) -> DatapinError:
    datasets = {one.dataset for one in goals.datasets}
    first = absent[0]
    if len(absent) == 1 and first.path in datasets:
        advice = absence.advice or who_must_push(first.path, is_output=first.stage is not None)
        return ManifestMissing(first.path, f"{first.md5} in DVC's cache", absence.reason, advice)
    sources = [one.dataset for one in goals.datasets if one.wanted.stage is None]
    advice = absence.advice or "somebody who has it must run `datapin push --all-versions` and `dvc push`"
    if sources and all(out.stage is not None for out in absent):
        command = shlex.join(["datapin", "rollback", *sources, "--to", version])
        advice = f"{advice}; or run `{command}`, take the parameters over, and `dvc repro` makes it again"
    return OutputMissing(listed([out.path for out in absent], 5), f"not here ({absence.reason})", advice)
