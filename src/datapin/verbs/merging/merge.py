"""What Git's merge drivers ask: rows of a dataset by key and column, stages of `dvc.lock` by name.

The work tree is not touched: the merged rows go into DVC's cache, and the text that pins them to Git. What cannot be
decided leaves the pointer in conflict, for `datapin resolve`.
"""

from __future__ import annotations

import shlex
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from datapin.base import failpoints
from datapin.base.errors import (
    UNREADABLE_ROWS,
    DatapinError,
    NoRepository,
    Refused,
    Usage,
    either_side,
    listed,
)
from datapin.base.files import make_directory
from datapin.base.progress import Progress
from datapin.base.settings import CONFIG, FOLDER
from datapin.dvcfiles.cache import DvcCache
from datapin.dvcfiles.merging.locks import merge_locks
from datapin.dvcfiles.merging.merge_tools import merge_otherwise
from datapin.dvcfiles.merging.pointers import Notes, PointerSides, conflict_text, may_be_ours, merge_notes, read_sides
from datapin.dvcfiles.outs import PinnedOut, read_pointer
from datapin.dvcfiles.tracking.objects import CachedDirectory, cache_files
from datapin.git.ask import find_root
from datapin.manifest.columns.columns import one_array
from datapin.manifest.edit import edit_manifest
from datapin.manifest.manifest import Manifest
from datapin.manifest.merge import WHOLE_ROW, Conflict, MergePlan, Side, plan_merge, write_merge
from datapin.manifest.select import rows_of
from datapin.pins.manifests import open_linked
from datapin.verbs.merging.conflicts import Cell, Decisions, save_report
from datapin.verbs.workspace.bring import bring
from datapin.verbs.workspace.placing import staging
from datapin.verbs.workspace.workspace import Workspace


@dataclass(frozen=True, slots=True)
class MergeReport:
    """How a merge of one file ended; `left` says what is in conflict, "" if nothing is; `notes` are for the user."""

    left: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlannedMerge:
    """A merge of two versions of a dataset; `rows` is None where one side's rows are the merged ones as they are."""

    sides: PointerSides
    notes: Notes
    conflicts: tuple[Conflict, ...]
    ours: Manifest | None
    theirs: Manifest | None
    rows: MergePlan | None


@dataclass(frozen=True, slots=True)
class MergedPointer:
    """The text that pins merged rows, which DVC's cache holds, and what it pins."""

    text: str
    pointer: PinnedOut


def merge_pointer(
    base: Path, ours: Path, theirs: Path, name: str, *, top: Path, progress: Progress, is_inner: bool = False
) -> MergeReport:
    """Merge three versions of the pointer `name` (relative to the work tree's `top`) into the file `ours`.

    A `.dvc` file that is no dataset's is left to DVC's driver or to Git. `is_inner`: the sides are common versions of
    two histories, and their conflicts are nobody's to settle. Raises Refused, with the conflict left, where the rows
    cannot be compared.
    """
    texts = [path.read_bytes() for path in (base, ours, theirs)]
    root = _ready_root(top / name)
    file = (top / name).relative_to(root).as_posix() if root is not None else name
    sides = read_sides(texts[0], texts[1], texts[2], file) if root is not None else None
    if root is None or sides is None or not _is_dataset(root, sides, texts):
        is_clean = merge_otherwise(top, base, ours, theirs, is_pointer=True)
        return MergeReport("" if is_clean else name)
    # First of all: whatever happens now, the file is in conflict until it is merged.
    ours.write_bytes(conflict_text(*texts))
    try:
        workspace = Workspace.find(root, progress=progress)
        planned = plan_pointer_merge(workspace, sides, {})
        if planned.conflicts:
            if not is_inner:
                save_report(root, sides, planned.conflicts, Decisions())
            return MergeReport(name, (f"datapin: {told(sides.dataset, planned.conflicts)}",))
        merged = write_rows(workspace, planned, {})
    except DatapinError as error:
        if is_inner:
            return MergeReport(name)
        way = f"`datapin resolve {shlex.quote(sides.dataset)}` tries again"
        if isinstance(error, UNREADABLE_ROWS):
            way = f"take one side with {either_side(name)}, then run `dvc checkout`"
        raise Refused(f"{file} is left in conflict: {error.message}", way) from None
    ours.write_bytes(merged.text.encode())
    return MergeReport("")


def merge_lock(base: Path, ours: Path, theirs: Path, name: str, *, top: Path) -> MergeReport:
    """Merge three versions of the `dvc.lock` called `name` into the file `ours`, stage by stage."""
    texts = [path.read_bytes() for path in (base, ours, theirs)]
    try:
        merged = merge_locks(texts[0], texts[1], texts[2], name)
    except DatapinError as error:
        is_clean = merge_otherwise(top, base, ours, theirs, is_pointer=False)
        return MergeReport("" if is_clean else name, (f"datapin: {error.message}; {error.hint}",))
    ours.write_bytes(merged.text.encode())
    if not merged.dropped:
        return MergeReport("")
    stages = ", ".join(merged.dropped)
    return MergeReport("", (f"datapin: {name}: both sides ran {stages}: left out, `dvc repro` makes it again",))


def plan_pointer_merge(workspace: Workspace, sides: PointerSides, choices: Mapping[Cell, Side]) -> PlannedMerge:
    """What the merge would do, and what `choices` do not decide. Manifests that are not here are brought.

    Raises ManifestMissing, DamagedManifest, or BadRows for columns of different types.
    """

    def choice_of(name: str) -> Literal["ours", "theirs"] | None:
        side = choices.get(("", name))
        return None if side is None else "ours" if side is Side.OURS else "theirs"

    notes, undecided = merge_notes(sides, choice_of)
    conflicts = tuple(Conflict("", name, *values) for name, values in undecided.items())
    if sides.taken is not None:
        return PlannedMerge(sides, notes, conflicts, None, None, None)
    versions = [sides.ours, sides.theirs, *([sides.base] if sides.base is not None else [])]
    manifests = _manifests(workspace, [side.pointer for side in versions])
    rows = plan_merge(manifests[2] if sides.base is not None else None, manifests[0], manifests[1], choices)
    return PlannedMerge(sides, notes, conflicts + rows.conflicts, manifests[0], manifests[1], rows)


def write_rows(workspace: Workspace, planned: PlannedMerge, values: Mapping[Cell, str]) -> MergedPointer:
    """The merged rows into DVC's cache, durable; `values` are written into cells in place of either side's.

    Raises Usage for a value that does not fit its column.
    """
    taken = planned.sides.taken
    if planned.rows is None or planned.ours is None:
        assert taken is not None
        return _pinned(planned, taken.directory, _summary(workspace, taken.pointer))
    staged = [staging(workspace.root, planned.sides.dataset) for _ in range(2)]
    try:
        manifest = write_merge(planned.rows, planned.ours, staged[0])
        if values:
            manifest = edit_manifest(manifest, staged[1], upserts=_rows_to_set(manifest, values)).manifest
        failpoints.hit("merge.written")
        objects = DvcCache(workspace.root).objects
        make_directory(objects)
        directory = cache_files(objects, sorted(manifest.directory.iterdir()))
        failpoints.hit("merge.cached")
        return _pinned(planned, directory, _facts(manifest))
    finally:
        for place in staged:
            shutil.rmtree(place, ignore_errors=True)


def _pinned(planned: PlannedMerge, directory: CachedDirectory, facts: Mapping[str, Any]) -> MergedPointer:
    sides = planned.sides
    summary = {**facts, "source": sides.sources}
    text = sides.text(directory, summary, planned.notes)
    (pointer,) = read_pointer(text.encode(), sides.file)
    return MergedPointer(text, pointer)


def _summary(workspace: Workspace, pointer: PinnedOut) -> dict[str, Any]:
    """What a side's summary says of its rows; found out where there is none, or a stale one."""
    known = {name: (pointer.summary or {}).get(name) for name in ("digest", "rows", "bytes")}
    if None not in known.values():
        return known
    (manifest,) = _manifests(workspace, [pointer])
    return _facts(manifest)


def _facts(manifest: Manifest) -> dict[str, Any]:
    return {"digest": manifest.digest, "rows": manifest.rows, "bytes": manifest.bytes}


def _manifests(workspace: Workspace, pointers: Sequence[PinnedOut]) -> list[Manifest]:
    bring(workspace, pointers)
    return [open_linked(workspace.root, pointer) for pointer in pointers]


def _rows_to_set(manifest: Manifest, values: Mapping[Cell, str]) -> pa.Table:
    """Whole rows for the cells that have a value of their own; the other cells of these rows as they are."""
    keys = pa.array(sorted({key for key, _ in values}), pa.string())
    schema = plain_schema(manifest.schema)
    table = rows_of(manifest, keys, schema)
    places = {key: number for number, key in enumerate(table["key"].to_pylist())}
    for name in dict.fromkeys(column for _, column in values):
        given = {key: text for (key, of), text in values.items() if of == name and key in places}
        order = list(range(table.num_rows))
        for number, key in enumerate(given):
            order[places[key]] = table.num_rows + number
        both = pa.concat_arrays([one_array(table[name]), typed_values(schema, name, list(given.values()))])
        table = table.set_column(table.column_names.index(name), schema.field(name), both.take(pa.array(order)))
    return table


def typed_values(schema: pa.Schema, name: str, texts: Sequence[str]) -> pa.Array:
    """The values that `texts` stand for in the column `name`, null for no text. Raises Usage if one is none."""
    kind = _plain(schema.field(name).type)
    try:
        return pa.array([text or None for text in texts], pa.string()).cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise Usage(
            f"--set {name}={listed([*texts])}: column {name} holds {kind}", "or take --ours or --theirs"
        ) from None


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """The schema without dictionaries."""
    return pa.schema([field.with_type(_plain(field.type)) for field in schema])


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type of a column's values, without the dictionary that they may be stored in."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def told(dataset: str, conflicts: Sequence[Conflict]) -> str:
    """One line: how many conflicts, in what, and the command that settles them."""
    counts = Counter(one.column if one.key else f"note {one.column}" for one in conflicts)
    removed = counts.pop(WHOLE_ROW, 0)
    parts = [f"{name} {count}" for name, count in counts.items()]
    parts += [f"edit against removal {removed}"] if removed else []
    what = "conflict" if len(conflicts) == 1 else "conflicts"
    return f"{dataset}: {len(conflicts)} {what} ({', '.join(parts)}): run `datapin resolve {shlex.quote(dataset)}`"


def _is_dataset(root: Path, sides: PointerSides, texts: Sequence[bytes]) -> bool:
    if may_be_ours(*texts):
        return True
    cache = DvcCache(root)
    return any(cache.holds_manifest(side.pointer, in_work_tree=True) for side in (sides.ours, sides.theirs))


def _ready_root(path: Path) -> Path | None:
    """The project around `path`, None if there is none that datapin is set up for."""
    try:
        root = find_root(path.parent)
    except NoRepository:
        return None
    return root if (root / FOLDER / CONFIG).is_file() else None
