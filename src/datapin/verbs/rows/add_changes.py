"""What `add` does to the rows that are there: files that moved, rows that were removed, rows that a mirror drops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.errors import Refused, listed
from datapin.base.findings import Finding
from datapin.manifest.columns.columns import arrow_flags, flags
from datapin.manifest.manifest import Manifest
from datapin.trees.intake.walk import FoundFiles
from datapin.trees.stat_records import StatRecords
from datapin.verbs.rows.add_keys import SourceKeys
from datapin.verbs.rows.add_moves import Moves, find_moves, gone_from
from datapin.verbs.rows.removed_rows import were_removed
from datapin.verbs.workspace.workspace import Workspace

Confirm = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class AddChanges:
    """Rows to put and keys to take out; `moved` of them are one change each, `left_out` files get no row."""

    table: pa.Table
    removed: pa.Array | None
    moved: int = 0
    left_out: int = 0
    findings: list[Finding] = field(default_factory=list)


def changes_to(
    workspace: Workspace,
    dataset: str,
    previous: Manifest,
    sources: SourceKeys,
    found: FoundFiles,
    table: pa.Table,
    cache: StatRecords,
    recorded: list[str],
    *,
    mirror: bool,
    again: bool,
) -> AddChanges:
    """Of the rows `table`, aligned to the files `found`. Raises Refused for keys that are rows of other files."""
    before = previous.to_table(columns=["key", "asset_id"])
    keys, assets = (table[name].combine_chunks() for name in ("key", "asset_id"))
    sources.refuse_taken(workspace.root, dataset, before, keys, assets, recorded)
    pairs = sources.absorbed(before, keys, assets, recorded)
    absorbed = pa.array([old for old, _ in pairs], pa.string())
    rest = before.filter(pc.invert(pc.is_in(before["key"], value_set=absorbed)))
    known = cache.keys if cache.stamp and not any(sources.prefixes) else None
    pairs += find_moves(rest, keys, assets, gone_from(workspace.root, recorded, known))
    moves = Moves.of(pairs)
    findings = moves.findings(dataset)
    if len(moves):
        table = moves.carry(table, previous)
    left_out = 0
    if not again:
        is_new = ~flags(pc.is_in(keys, value_set=pa.chunked_array([*before["key"].chunks, moves.new])))
        is_new &= ~sources.explicit(found)
        new = arrow_flags(is_new)
        is_new[is_new] = were_removed(workspace, dataset, previous, keys.filter(new), assets.filter(new), fetch=True)
        left_out = int(is_new.sum())
        if left_out:
            findings.append(_left_out(dataset, keys.filter(arrow_flags(is_new)).to_pylist()))
            table = table.filter(arrow_flags(~is_new))
    removed = moves.old
    if mirror:
        scope = sources.scope(before["key"].combine_chunks())
        removed = pc.unique(pa.concat_arrays([removed, scope.filter(pc.invert(pc.is_in(scope, value_set=keys)))]))
    return AddChanges(table, removed, len(moves), left_out, findings)


def confirm_drop(dataset: str, dropped: int, rows: int, *, yes: bool, confirm: Confirm | None) -> None:
    """Ask, if a mirror drops more than half of the rows. Raises Refused where nobody is there to say yes."""
    if yes or dropped * 2 <= rows:
        return
    what = f"{dataset}: --mirror would drop {dropped} of {rows} rows, as their files are not in the sources"
    if confirm is None or not confirm(what):
        raise Refused(what, "name all the folders that the rows come from, or repeat with --yes")


def _left_out(dataset: str, keys: list[str]) -> Finding:
    return Finding(
        "note",
        "keys",
        dataset,
        f"{len(keys)} row(s) that were removed stay removed, though their files are there: {listed(keys, 5)}",
        "to bring them back, repeat with --again",
    )
