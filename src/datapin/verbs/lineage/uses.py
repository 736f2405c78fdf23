"""`uses`: the way back from an asset: every version, derived asset, split and model in history that used it.

Everything is read from Git's history and the manifests that it pins, so the answer cannot go stale. A shard that many
versions share is read once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from datapin.base.errors import DatapinError, UnknownAsset, UnknownKey, Usage
from datapin.base.ids import AssetId, parse_asset_id
from datapin.dvcfiles.cache import DvcCache
from datapin.dvcfiles.outs import PinnedOut
from datapin.git.ask import has_commit
from datapin.git.log import Commit, commits_named
from datapin.manifest.manifest import Manifest
from datapin.manifest.select import rows_of
from datapin.pins.counts import VersionCounts
from datapin.pins.stage_history import PinnedStage, pinned_stages, pinned_versions_with_commits
from datapin.verbs.history.log import why_unknown
from datapin.verbs.history.row_log import row_log
from datapin.verbs.lineage.used_rows import ShardScan, UsedRow
from datapin.verbs.workspace.bring import bring_versions
from datapin.verbs.workspace.selector import select
from datapin.verbs.workspace.workspace import Workspace

_ID_OR_PREFIX = re.compile(r"[0-9a-fA-F]{8,64}\Z")


@dataclass(frozen=True, slots=True)
class CommitFacts:
    """Who made a commit, and when."""

    commit: str
    author: str
    date: str
    subject: str


@dataclass(frozen=True, slots=True)
class VersionUse:
    """A dataset version with rows that hold the asset or come from it; `made_by` None: not committed yet."""

    dataset: str
    digest: str | None
    made_by: CommitFacts | None
    rows: list[UsedRow]


@dataclass(frozen=True, slots=True)
class ModelUse:
    """An output, made by `stage` from such a version. `splits` are those of the rows in it: `train` made the model."""

    path: str
    md5: str | None
    stage: str
    dataset: str
    splits: list[str]
    made_by: CommitFacts | None


@dataclass(frozen=True, slots=True)
class UsesReport:
    """Where `asset_id` was used, newest first; `derived` are assets made from it.

    `unread` says what was not looked at, and why.
    """

    asset_id: str
    derived: list[str]
    versions: list[VersionUse]
    outputs: list[ModelUse]
    unread: list[str] = field(default_factory=list)


def uses(workspace: Workspace, selector: str) -> UsesReport:
    """All uses of `ASSET` (its id, or the first 8 digits or more) or of the asset of `DATASET[@VERSION]:KEY`.

    Of all branches and tags, and the work tree. Raises BadAssetId, UnknownAsset, UnknownKey, UnknownDataset.
    """
    history = pinned_versions_with_commits(workspace.root) if has_commit(workspace.root) else []
    known = {(pointer.dataset, pointer.md5) for pointer, _ in history}
    here = workspace.pins()
    new = [one for one in here.datasets if (one.dataset, one.md5) not in known]
    versions: list[tuple[PinnedOut, str | None]] = [*((one, None) for one in new), *history]
    asset = None if _ID_OR_PREFIX.match(selector) else _asset_of(workspace, selector)
    scan, unread = _scan(workspace, [pointer for pointer, _ in versions])
    unread = [f"{error.message}; {error.hint}" for error in here.unreadable.values()] + unread
    if asset is None:
        found = scan.ids_like(selector.lower())
        if len(found) != 1:
            raise UnknownAsset(selector, tuple(found))
        asset = parse_asset_id(found[0])
    ids = scan.descendants(asset)
    scan.find(ids)
    stages = pinned_stages(workspace.root)
    names = [commit for _, commit in versions if commit] + [stage.commit for stage in stages if stage.commit]
    commits = commits_named(workspace.root, list(dict.fromkeys(names)))
    used = []
    for pointer, commit in versions:
        rows = scan.rows(pointer.md5, asset)
        if rows:
            used.append(
                (pointer, VersionUse(pointer.dataset, _digest(workspace, pointer), _facts(commits, commit), rows))
            )
    return UsesReport(
        asset,
        [one for one in ids if one != asset],
        [use for _, use in used],
        _outputs(used, stages, commits),
        unread,
    )


def _asset_of(workspace: Workspace, selector: str) -> AssetId:
    """The asset of `DATASET[@VERSION]:KEY`; without a version also that of a row which is gone."""
    dataset, colon, key = selector.partition(":")
    if not colon or not key:
        raise Usage(f"{selector!r} names no asset", "name an asset id, 8 digits or more, or DATASET:KEY")
    selected = select(workspace, dataset)
    found = _row(selected.manifest, key)
    if found is not None:
        return found
    if selected.version is None:
        for entry in row_log(workspace, selected.dataset, key, limit=1):
            gone = (entry.before or {}).get("asset_id")
            if gone is not None:
                return parse_asset_id(gone)
    raise UnknownKey(selected.name, key)


def _row(manifest: Manifest, key: str) -> AssetId | None:
    rows = rows_of(manifest, pa.array([key]), manifest.schema, ["key", "asset_id"])
    return parse_asset_id(rows["asset_id"][0].as_py()) if rows.num_rows else None


def _scan(workspace: Workspace, pointers: Sequence[PinnedOut]) -> tuple[ShardScan, list[str]]:
    """The shards of all these versions, and what cannot be read."""
    reasons = bring_versions(workspace, pointers)
    cache, unread = DvcCache(workspace.root), []
    scan = ShardScan(jobs=workspace.jobs)
    for pointer in pointers:
        try:
            scan.add(pointer.md5, cache.shards(pointer), pointer.dataset)
        except DatapinError as error:
            unread.append(f"{pointer.dataset} ({pointer.md5[:8]}): {why_unknown(error, [pointer], reasons)}")
    return scan, [*unread, *scan.open()]


def _outputs(
    used: Sequence[tuple[PinnedOut, VersionUse]], stages: Sequence[PinnedStage], commits: dict[str, Commit]
) -> list[ModelUse]:
    """What stages made from these versions, other than datasets; of each only the commit that made it."""
    splits: dict[tuple[str, str | None], list[str]] = {
        (pointer.dataset, pointer.md5): sorted({row.split for row in use.rows if row.split is not None})
        for pointer, use in used
    }
    found: dict[tuple[str, str | None], ModelUse] = {}
    for stage in stages:
        for dep in stage.deps:
            if (dep.path, dep.md5) not in splits:
                continue
            used_splits, made_by = splits[dep.path, dep.md5], _facts(commits, stage.commit)
            for out in stage.outs:
                if not (out.md5 or "").endswith(".dir"):
                    # Stages come newest first: the oldest commit stays.
                    found.pop((out.path, out.md5), None)
                    found[out.path, out.md5] = ModelUse(out.path, out.md5, stage.name, dep.path, used_splits, made_by)
    return list(found.values())


def _digest(workspace: Workspace, pointer: PinnedOut) -> str | None:
    if pointer.digest is not None:
        return pointer.digest
    counts = VersionCounts(workspace.root, pointer.dataset)
    try:
        return counts.facts(pointer).digest
    finally:
        counts.save()


def _facts(commits: dict[str, Commit], name: str | None) -> CommitFacts | None:
    commit = commits.get(name) if name is not None else None
    return None if commit is None else CommitFacts(commit.name, commit.author, commit.date, commit.subject)
