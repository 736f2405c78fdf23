"""`add`: files and folders become assets and rows, all or nothing."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from datapin.arguments import one_of
from datapin.base import log
from datapin.base.errors import Refused, SourcesRefused, Usage, listed
from datapin.base.findings import Finding
from datapin.base.id_columns import IdMatrix, ids_to_hex
from datapin.manifest.columns.keys import case_collisions, check_keys
from datapin.manifest.edit import EditReport, edit_manifest
from datapin.manifest.manifest import Manifest
from datapin.pins.read import Pins
from datapin.store.store import FileBatch
from datapin.trees.intake.media import media_types, split_from_first_folder
from datapin.trees.intake.tables.column_kinds import Before
from datapin.trees.intake.tables.table_rules import TableRules
from datapin.trees.intake.walk import FoundFiles, walk
from datapin.trees.stat_records import StatRecords, read_stat_records
from datapin.verbs.rows.add_changes import AddChanges, Confirm, changes_to, confirm_drop
from datapin.verbs.rows.add_keys import SourceKeys
from datapin.verbs.rows.commit_rows import commit_rows, previous_manifest
from datapin.verbs.rows.described import described, without_metadata
from datapin.verbs.rows.new_datasets import dataset_to_write
from datapin.verbs.rows.removed_rows import forget_removed
from datapin.verbs.workspace.reports import AddReport
from datapin.verbs.workspace.stat_caches import save_stat_cache, stat_cache_path
from datapin.verbs.workspace.workspace import Workspace

LABELS = ("none", "parent")
SPLITS = ("none", "first-folder")


@dataclass(frozen=True, slots=True)
class AddRules:
    """How rows are made from files: `label` parent|none, `split` first-folder|none, a metadata file to join.

    `table` says how to read that file; a type for `label` in it is also that of the folders' names. With `rows` the
    sources are tables, each row of them becomes one, and `label` names a column, see `add_rows`.
    """

    label: str = "none"
    split: str = "none"
    metadata: str | None = None
    mirror: bool = False
    strict: bool = False
    table: TableRules = field(default_factory=TableRules)
    again: bool = False  # rows that were removed come back
    yes: bool = False  # a mirror may drop more than half of the rows
    rows: bool = False
    asset_column: str | None = None  # with `rows`: the column that holds the assets; None: each is its row's cells


def add(
    workspace: Workspace, sources: Sequence[str], to: str, rules: AddRules, confirm: Confirm | None = None
) -> AddReport:
    """Add the files below `sources` to the dataset `to`; `confirm` asks the user where one is there.

    Raises SourcesRefused with every file that cannot be added, BadKeys with every key that is unsafe; nothing changes
    then. Assets of an add that failed later stay in the store, invisible, and are used again by the next try.
    """
    _check_words(sources, rules)
    pins = workspace.pins()
    dataset = dataset_to_write(workspace, to, pins)
    with workspace.edit_lock(dataset):
        previous = previous_manifest(workspace, dataset, pins)
        found = _find(workspace, sources, dataset)
        left_out = left_out_findings(found.left_out, dataset)
        found, properties = without_metadata(workspace, found, rules.metadata, previous)
        if not len(found):
            raise Refused(f"no files in {listed([*sources])} but the metadata file", "name the folder of the files")
        names = source_names(workspace, sources)
        recorded = _recorded(workspace, dataset)
        placed = _source_keys(workspace, sources, recorded)
        cache_path = stat_cache_path(workspace, dataset, names)
        cache = read_stat_records(cache_path)
        trusted, known_ids = cache.match(found.keys, found.stats)
        log.step("add", "%d files, %d unchanged since the last add and not read again", len(found), trusted.sum())
        if previous is not None and _nothing_to_do(workspace, dataset, previous, cache, found, trusted, placed, rules):
            rows = previous.rows
            return AddReport(dataset, 0, 0, 0, rows, rows, 0, 0, previous.digest, left_out)
        keys = placed.keys(found)
        check_keys(keys, where=", ".join(sources))
        findings = left_out + hidden_findings(keys, dataset, strict=rules.strict)
        findings += case_findings(keys, dataset, rules)
        before = None if previous is None else Before(dataset, previous.schema)
        joined, metadata_findings = described(
            workspace, found, rules.metadata, rules.table, before, is_strict=rules.strict
        )
        findings += metadata_findings
        ids, stats, new_assets, new_bytes = _stored(workspace, found, trusted, known_ids)
        labels = placed.labels(found) if rules.label == "parent" else None
        changes = AddChanges(_rows(keys, ids, stats[:, 0], labels, rules, joined, previous), None)
        if previous is not None:
            changes = changes_to(
                workspace, dataset, previous, placed, found, changes.table, cache, recorded,
                mirror=rules.mirror, again=rules.again,
            )  # fmt: skip
            dropped = 0 if changes.removed is None else len(changes.removed) - changes.moved
            confirm_drop(dataset, dropped, previous.rows, yes=rules.yes, confirm=confirm)
        report = commit_rows(
            workspace,
            dataset,
            lambda staged: edit_manifest(
                previous, staged, upserts=changes.table, removed=changes.removed, properties=properties
            ),
            sources=placed.recorded(recorded, mirror=rules.mirror),
        )
        forget_removed(workspace, dataset, changes.table["key"].combine_chunks())
        save_stat_cache(cache_path, found, stats, ids, stamp=_stamp(report.manifest.digest, rules))
    return report_of(dataset, report, new_assets, new_bytes, changes, [*findings, *changes.findings])


def _check_words(sources: Sequence[str], rules: AddRules) -> None:
    one_of(LABELS, label=rules.label)
    one_of(SPLITS, split=rules.split)
    if rules.asset_column is not None:
        raise Usage("--asset-column names a column of tables whose rows are added", "repeat with --rows")
    if not sources or not all(sources):  # '' would be the current folder
        raise Usage("nothing to add", "name files or folders: datapin add FOLDER --to data/raw")


def source_names(workspace: Workspace, sources: Sequence[str]) -> list[str]:
    """Source trees as the pointer records them: relative to the repository if inside, else absolute."""
    names = []
    for source in sources:
        path = Path(os.path.normpath(workspace.cwd / source))
        inside = path.is_relative_to(workspace.root)
        names.append(path.relative_to(workspace.root).as_posix() if inside else path.as_posix())
    return sorted(set(names))


def _find(workspace: Workspace, sources: Sequence[str], dataset: str) -> FoundFiles:
    paths = [Path(os.path.normpath(workspace.cwd / source)) for source in sources]
    absent = [str(source) for source, path in zip(sources, paths, strict=True) if not os.path.lexists(path)]
    if absent:
        raise SourcesRefused(tuple(f"{name}: no such file or folder" for name in absent))
    found = walk(paths, exclude=[workspace.dataset_path(dataset), workspace.store_directory])
    if found.problems:
        raise SourcesRefused(tuple(found.problems))
    if not len(found):
        others = f"; left out: {listed(sorted(found.left_out), 5)}" if found.left_out else ""
        raise Refused(
            f"no files in {listed([str(s) for s in sources])}{others}",
            "check the path; folders of Git, DVC and tools are left out",
        )
    return found


def _nothing_to_do(
    workspace: Workspace,
    dataset: str,
    previous: Manifest,
    cache: StatRecords,
    found: FoundFiles,
    trusted: npt.NDArray[np.bool_],
    placed: SourceKeys,
    rules: AddRules,
) -> bool:
    """True if the same add was done before and neither the files nor the manifest nor the pointer changed since."""
    if rules.metadata is not None or rules.again or len(cache) != len(found) or not bool(trusted.all()):
        return False
    if cache.stamp != _stamp(previous.digest, rules):
        return False
    pointer = Pins(workspace.root).own(dataset)
    if (
        pointer is None
        or pointer.digest != previous.digest
        or not set(placed.recorded([], mirror=False)) <= set(pointer.sources)
    ):
        return False
    return not bool(workspace.store.missing(cache.ids).any())


def _stamp(digest: str, rules: AddRules) -> str:
    return f"{digest} label={rules.label} split={rules.split} mirror={rules.mirror} strict={rules.strict}" + (
        f" types={sorted(rules.table.types.items())}" if rules.table.types else ""
    )


def case_findings(keys: pa.Array, dataset: str, rules: AddRules) -> list[Finding]:
    """A warning for each key that differs from another only in case. Raises Refused if the rules are strict."""
    pairs = case_collisions(keys)
    if pairs and rules.strict:
        raise Refused(
            f"{len(pairs)} key(s) differ from another only in case: {listed([f'{a} / {b}' for a, b in pairs], 5)}",
            "rename one of each pair: macOS and Windows cannot hold both",
        )
    return [
        Finding(
            "warning",
            "keys",
            f"{dataset}:{a}",
            f"differs from {b!r} only in case",
            "macOS and Windows cannot hold both",
        )
        for a, b in pairs[:20]
    ]


def _stored(
    workspace: Workspace, found: FoundFiles, trusted: npt.NDArray[np.bool_], known_ids: IdMatrix
) -> tuple[IdMatrix, npt.NDArray[np.int64], int, int]:
    """Ids and stats of all files; those that the stat cache does not vouch for, or whose asset is lost, are read."""
    ids, stats = known_ids.copy(), found.stats.copy()
    to_read = ~trusted
    if trusted.any():
        positions = np.flatnonzero(trusted)
        to_read[positions[workspace.store.missing(ids[positions])]] = True
    wanted = np.flatnonzero(to_read)
    if not len(wanted):
        return ids, stats, 0, 0
    every = found.paths()
    paths = [every[i] for i in wanted] if len(wanted) < len(found) else every
    put = workspace.store.put_files(
        FileBatch(paths=paths, names=paths, sizes=stats[wanted, 0]), jobs=workspace.jobs, progress=workspace.progress
    )
    ids[wanted], stats[wanted] = put.ids, put.stats
    return ids, stats, put.new_assets, put.new_bytes


def _rows(
    keys: pa.Array,
    ids: IdMatrix,
    sizes: npt.NDArray[np.int64],
    labels: pa.Array | None,
    rules: AddRules,
    joined: pa.Table | None,
    previous: Manifest | None,
) -> pa.Table:
    columns: dict[str, pa.Array | pa.ChunkedArray] = {
        "key": keys,
        "asset_id": ids_to_hex(ids),
        "size": pa.array(sizes),
        "media_type": media_types(keys),
    }
    for name, values in (
        ("label", labels),
        ("split", split_from_first_folder(keys) if rules.split == "first-folder" else None),
    ):
        if values is not None:
            kind = (
                rules.table.kinds.get(name) if joined is None or name not in joined.column_names else joined[name].type
            )
            columns[name] = _kept_or(values, name, keys, previous, kind)
    if joined is not None:
        for name in joined.column_names:
            columns[name] = joined[name] if name not in columns else pc.coalesce(joined[name], columns[name])
    return pa.table(columns)


def _kept_or(
    values: pa.Array, name: str, keys: pa.Array, previous: Manifest | None, kind: pa.DataType | None
) -> pa.Array:
    """What a folder says about a row counts only where the row says nothing: a corrected label stays corrected."""
    kept = None
    if previous is not None and name in previous.schema.names:
        before = previous.to_table(columns=["key", name])
        kept = before[name].combine_chunks().take(pc.index_in(keys, value_set=before["key"]))
        kind = kept.type
    if kind is not None and not (pa.types.is_string(kind) or pa.types.is_null(kind)):
        try:
            values = values.cast(kind)
        except pa.ArrowInvalid:
            raise Refused(
                f"column {name} holds {kind}, not all folder names are such",
                f"repeat without --{name}, or make the column text: --types {name}=text",
            ) from None
    return values if kept is None else pc.coalesce(kept, values)


def _recorded(workspace: Workspace, dataset: str) -> list[str]:
    pointer = Pins(workspace.root).own(dataset)
    return list(pointer.sources) if pointer is not None else []


def _source_keys(workspace: Workspace, sources: Sequence[str], recorded: Sequence[str]) -> SourceKeys:
    paths = [Path(os.path.normpath(workspace.cwd / source)) for source in sources]
    return SourceKeys.of(paths, [source_names(workspace, [source])[0] for source in sources], recorded)


def report_of(
    dataset: str, report: EditReport, new_assets: int, new_bytes: int, changes: AddChanges, findings: list[Finding]
) -> AddReport:
    """What an add did, for its caller."""
    # A row that moved is one change: not one that went and one that came.
    moved = changes.moved
    return AddReport(
        dataset=dataset,
        added=report.added - moved,
        changed=report.changed + moved,
        removed=report.removed - moved,
        unchanged=report.manifest.rows - report.added - report.changed,
        moved=moved,
        stay_removed=changes.left_out,
        rows=report.manifest.rows,
        new_assets=new_assets,
        new_bytes=new_bytes,
        digest=report.manifest.digest,
        findings=findings,
    )


# What `add` says of files that are not the user's data: those it left out, and those it added from hidden folders.


_CHECK = "left-out"
_HIDDEN = r"(^|/)[.][^/]+/"
IN_HIDDEN = f"regexp_matches(key, '{_HIDDEN}')"


def left_out_findings(left_out: Mapping[str, int], dataset: str) -> list[Finding]:
    """One note that counts the files and folders of tools, by name; nothing if there are none."""
    if not left_out:
        return []
    kinds = [
        ("folder", {name: count for name, count in left_out.items() if name.endswith("/")}),
        ("file", {name: count for name, count in left_out.items() if not name.endswith("/")}),
    ]
    counted = [
        f"{sum(names.values())} {kind}(s): {listed([_times(*item) for item in sorted(names.items())], 8)}"
        for kind, names in kinds
        if names
    ]
    message = f"left out what systems and tools leave beside the data: {'; '.join(counted)}"
    return [Finding("note", _CHECK, dataset, message)]


def hidden_findings(keys: pa.StringArray, dataset: str, *, strict: bool) -> list[Finding]:
    """A warning if files from hidden folders are added, since few people mean to. Raises Refused if `strict`."""
    hidden = keys.filter(pc.match_substring_regex(keys, _HIDDEN))
    if not len(hidden):
        return []
    names = pc.extract_regex(hidden, r"(?:^|/)(?P<name>\.[^/]+)/").field("name").unique().to_pylist()
    message = f"{len(hidden)} file(s) lie in hidden folders: {listed([f'{name}/' for name in sorted(names)], 5)}"
    if strict:
        raise Refused(message, "move these folders out of the source, or leave out --strict")
    advice = f"to take them out: datapin remove {shlex.quote(dataset)} --where {shlex.quote(IN_HIDDEN)}"
    return [Finding("warning", "hidden-folders", dataset, f"{message}; they were added like all others", advice)]


def _times(name: str, count: int) -> str:
    return name if count == 1 else f"{name} {count} times"
