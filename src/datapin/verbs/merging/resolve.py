"""`resolve`: conflicts of a dataset are decided, a few at a time; when none is left, rows and pointer are written."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from datapin.base import failpoints
from datapin.base.errors import BadRows, Refused, UnknownDataset, Usage, either_side
from datapin.base.files import publish_bytes, sweep_leftovers
from datapin.dvcfiles.cache import DvcCache
from datapin.dvcfiles.locks import repository_lock
from datapin.dvcfiles.merging.pointers import PointerSides, read_sides
from datapin.git.index import find_unmerged
from datapin.manifest.columns.columns import one_array
from datapin.manifest.merge import ASSET_COLUMNS, WHOLE_ROW, Conflict, Side
from datapin.manifest.query import select_rows
from datapin.manifest.select import rows_of
from datapin.pins.held import held_manifests, is_saved
from datapin.verbs.following.follow import follow
from datapin.verbs.merging.conflicts import Cell, Decisions, forget_report, load_decisions, save_report
from datapin.verbs.merging.merge import MergedPointer, PlannedMerge, plan_pointer_merge, typed_values, write_rows
from datapin.verbs.workspace.placing import replace_manifest
from datapin.verbs.workspace.workspace import Workspace

CONFLICT = "conflict"  # what a condition calls the column in conflict
_VALUES = ("base", "ours", "theirs")
_WAIT_S = 60.0


@dataclass(frozen=True, slots=True)
class ResolveReport:
    """Conflicts that are left; `digest` and `rows` are the merged dataset's, once it is written.

    `file` is the pointer to `git add` then. `followed` are other datasets whose manifests were brought up to date.
    """

    dataset: str
    conflicts: list[Conflict]
    settled: int
    file: str
    digest: str | None = None
    rows: int | None = None
    followed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """What is decided: a side, values for columns, or both; `where` says for which rows in conflict."""

    side: Side | None
    values: Mapping[str, str]
    where: str | None

    @property
    def is_made(self) -> bool:
        """Whether it decides anything."""
        return self.side is not None or bool(self.values)


def resolve(workspace: Workspace, name: str, choice: Choice) -> ResolveReport:
    """Decide the conflicts of a dataset that match; without a choice all are listed.

    What is not decided stays in conflict. Raises Refused if the dataset is not in conflict, or if the work tree holds
    rows of it that nobody saved; Usage for a choice that fits no conflict, BadQuery, ManifestMissing.
    """
    sides = _sides(workspace, name)
    with workspace.edit_lock(sides.dataset):
        decisions = load_decisions(workspace.root, sides)
        planned = _planned(workspace, sides, decisions)
        settled = 0
        if choice.is_made:
            settled = _decide(planned, choice, decisions)
            planned = _planned(workspace, sides, decisions)
        if planned.conflicts:
            save_report(workspace.root, sides, planned.conflicts, decisions)
            return ResolveReport(sides.dataset, list(planned.conflicts), settled, sides.file)
        merged = _write(workspace, planned, decisions)
        forget_report(workspace.root, sides.dataset)
    followed = tuple(follow(workspace.root).changed)
    return ResolveReport(sides.dataset, [], settled, sides.file, merged.pointer.digest, merged.pointer.rows, followed)


def _sides(workspace: Workspace, name: str) -> PointerSides:
    """The three versions of the dataset that the user means, from Git's index."""
    datasets = workspace.names_meant(name)
    for dataset in datasets:
        file = f"{dataset}.dvc"
        found = find_unmerged(workspace.root, file)
        if found is None:
            continue
        name = shlex.quote(file)
        if found.ours is None or found.theirs is None:
            gone, kept = ("ours", "theirs") if found.ours is None else ("theirs", "ours")
            raise Refused(
                f"{dataset} was removed on one side ({gone}) and changed on the other ({kept})",
                f"`git rm {name}` removes it; `git checkout --{kept} {name} && git add {name}` keeps it, "
                f"then run `dvc checkout {name}`",
            )
        sides = read_sides(found.base, found.ours, found.theirs, file)
        if sides is None or sides.dataset != dataset:
            raise Refused(
                f"{file} says more than datapin merges",
                f"take one side with {either_side(file)}, then run `dvc checkout {name}`",
            )
        return sides
    conflicts = [file.removesuffix(".dvc") for file in workspace.pins().in_conflict() if file.endswith(".dvc")]
    if any((workspace.root / f"{dataset}.dvc").is_file() for dataset in datasets):
        known = f"; in conflict: {', '.join(conflicts)}" if conflicts else ""
        raise Refused(f"{datasets[0]} is not in conflict{known}", "run `git status` to see what is")
    raise UnknownDataset(datasets[0], tuple(workspace.pins().names))


def _planned(workspace: Workspace, sides: PointerSides, decisions: Decisions) -> PlannedMerge:
    try:
        return plan_pointer_merge(workspace, sides, decisions.sides)
    except BadRows as error:
        way = f"take one side with {either_side(sides.file)}, then run `dvc checkout`"
        raise Refused(f"{sides.dataset} cannot be merged by rows: {error.message}", way) from None


def _decide(planned: PlannedMerge, choice: Choice, decisions: Decisions) -> int:
    """Note the choice for each conflict that it is about; how many there are."""
    matching = _matching(planned, choice.where)
    columns = {one.column for one in matching if one.key}
    for name, text in choice.values.items():
        if name in ASSET_COLUMNS or name == WHOLE_ROW or name not in columns:
            seen = ", ".join(sorted(columns - {WHOLE_ROW, *ASSET_COLUMNS})) or "none"
            raise Usage(f"--set {name}={text}: no conflict in that column; columns in conflict: {seen}")
        assert planned.rows is not None
        typed_values(planned.rows.upserts.schema, name, [text])
    before = {key for key, _ in decisions.sides}
    settled = 0
    for one in matching:
        cell: Cell = (one.key, one.column)
        if one.key and one.column in choice.values:
            decisions.sides[cell], decisions.values[cell] = Side.OURS, choice.values[one.column]
        elif choice.side is not None:
            decisions.sides[cell] = choice.side
        else:
            continue
        settled += 1
    if choice.side is not None and planned.rows is not None:
        _take_whole(matching, planned, choice, decisions, before)
    if not settled:
        raise Usage("no conflict matches", f"`datapin resolve {shlex.quote(planned.sides.dataset)}` lists them")
    return settled


def _take_whole(
    matching: Sequence[Conflict], planned: PlannedMerge, choice: Choice, decisions: Decisions, before: Set[str]
) -> None:
    """A row that both sides added is one side's as a whole, if all its conflicts are decided for it at once."""
    assert planned.rows is not None
    assert choice.side is not None
    met = Counter(one.key for one in matching if one.column not in choice.values)
    for key, count in Counter(one.key for one in planned.conflicts).items():
        if key in planned.rows.added_by_both - before and met[key] == count:
            decisions.sides[key, WHOLE_ROW] = choice.side


def _matching(planned: PlannedMerge, where: str | None) -> Sequence[Conflict]:
    if where is None or not planned.conflicts:
        return planned.conflicts
    return [planned.conflicts[number] for number in select_rows(_table(planned), where).to_pylist()]


def _table(planned: PlannedMerge) -> pa.Table:
    """A row for each conflict: the columns of ours, or of theirs where we have no such row, and what is in conflict."""
    keys = pa.array([one.key for one in planned.conflicts], pa.string())
    columns: dict[str, pa.Array] = {}
    if planned.rows is not None:
        schema = planned.rows.upserts.schema
        asked = pa.array(sorted({one.key for one in planned.conflicts if one.key}), pa.string())
        ours, theirs = rows_of(planned.ours, asked, schema), rows_of(planned.theirs, asked, schema)
        both = pa.concat_tables([ours, theirs])
        # The first of two rows of one key is ours.
        places = pc.index_in(keys, value_set=one_array(both["key"]))
        columns = {name: one_array(both[name]).take(places) for name in schema.names}
    texts = {name: [_text(getattr(one, name)) for one in planned.conflicts] for name in _VALUES}
    columns |= {name: pa.array(values, pa.string()) for name, values in texts.items()}
    columns |= {"key": keys, CONFLICT: pa.array([one.column for one in planned.conflicts], pa.string())}
    return pa.table(columns)


def _text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else str(value)


def _write(workspace: Workspace, planned: PlannedMerge, decisions: Decisions) -> MergedPointer:
    """Rows, then pointer: a crash between the two leaves the conflict, and the same command finishes."""
    root, sides = workspace.root, planned.sides
    cache = DvcCache(root)
    merged = write_rows(workspace, planned, decisions.values)
    here = held_manifests(root).find(sides.dataset)
    if here != merged.pointer.md5 and not is_saved(cache, here):
        raise Refused(
            f"{sides.dataset} has rows in the work tree that nobody saved",
            f"move the folder {sides.dataset} away, run the command again, then bring the edits over",
        )
    failpoints.hit("resolve.merged")
    with repository_lock(root, timeout_s=_WAIT_S):
        if here != merged.pointer.md5:
            replace_manifest(root, sides.dataset, cache.shards(merged.pointer))
        failpoints.hit("resolve.placed")
        sweep_leftovers((root / sides.file).parent)
        publish_bytes(root / sides.file, merged.text.encode(), failpoint="resolve.pointer")
    return merged
