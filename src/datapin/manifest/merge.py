"""Three-way merge of manifests: by key, then by column. Shards that nobody changed are not read.

What one side changed and the other did not is taken; what both changed alike is agreed; what both changed differently
is a conflict, and so is an edit of a row that the other side removed. The outcome does not depend on which side is
called ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.id_columns import arrow_numbers
from datapin.manifest.columns.columns import Mask, arrow_flags, flags, one_array
from datapin.manifest.columns.schema import merged_schema
from datapin.manifest.columns.values import python_values
from datapin.manifest.comparing.compare import rows_differ
from datapin.manifest.comparing.diff import compare_manifests
from datapin.manifest.edit import edit_manifest
from datapin.manifest.manifest import Manifest
from datapin.manifest.select import rows_of

# These say one thing together: which bytes a row names. They are taken from one side, never mixed.
ASSET_COLUMNS = ("asset_id", "size", "media_type")
WHOLE_ROW = ""  # the column of a conflict between an edit and a removal
_WHERE = "the merge"


class Side(Enum):
    """Whose value is taken."""

    OURS = "ours"
    THEIRS = "theirs"


@dataclass(frozen=True, slots=True)
class Conflict:
    """One cell that both sides changed differently; or a whole row (`column` empty) that one edited, one removed.

    Values are Python values; None where the row is not there or holds null.
    """

    key: str
    column: str
    base: object
    ours: object
    theirs: object

    @property
    def is_whole_row(self) -> bool:
        """Whether one side removed the row that the other edited."""
        return self.column == WHOLE_ROW and bool(self.key)


@dataclass(frozen=True, slots=True)
class MergePlan:
    """What a merge does to ours: rows to put, keys to remove, columns to drop; and what it cannot decide."""

    upserts: pa.Table
    removed: pa.Array
    dropped: tuple[str, ...]
    properties: Mapping[str, str]
    conflicts: tuple[Conflict, ...]
    added_by_both: frozenset[str] = frozenset()  # keys in conflict that neither side had before


@dataclass(frozen=True, slots=True)
class _Version:
    """One side's rows for the keys in question, aligned to them: `present` says which keys it has."""

    present: Mask
    table: pa.Table
    places: pa.Array

    def column(self, name: str) -> pa.Array:
        """The column, one value per key, null where there is no row."""
        return one_array(self.table[name]).take(self.places)


def plan_merge(
    base: Manifest | None, ours: Manifest, theirs: Manifest, choices: Mapping[tuple[str, str], Side] | None = None
) -> MergePlan:
    """How `theirs` is brought into `ours`. `choices` decides conflicts, by (key, column).

    Of a row that both sides added, `WHOLE_ROW` decides every cell. Where its bytes differ, cells that one side alone
    has filled go with the side whose bytes are chosen: they describe that file.

    Memory holds the rows that differ from `base` on either side. Raises BadRows if a column has another type on each
    side.
    """
    others = [theirs.schema, *([base.schema] if base is not None else [])]
    schema = _plain(merged_schema(ours.schema, others, where=_WHERE))
    keys = _keys_in_question(base, ours, theirs)
    was, mine, other = (_version(manifest, keys, schema) for manifest in (base, ours, theirs))
    merge = _Merge(keys, was, mine, other, schema, choices or {})
    merge.decide_rows()
    for name in schema.names:
        if name != "key" and name not in ASSET_COLUMNS:
            merge.decide_column((name,))
    merge.decide_column(ASSET_COLUMNS)
    dropped = _dropped(base, ours, theirs, schema, merge)
    return MergePlan(
        merge.upserts(dropped),
        keys.filter(arrow_flags(merge.removed & mine.present)),
        tuple(name for name in dropped if name in ours.schema.names),
        _properties(base, ours, theirs),
        tuple(merge.conflicts),
        merge.added_by_both(),
    )


def write_merge(plan: MergePlan, ours: Manifest, directory: Path) -> Manifest:
    """The merged manifest in `directory`, which must not exist. Raises ValueError if conflicts are undecided."""
    if plan.conflicts:
        raise ValueError(f"{len(plan.conflicts)} conflict(s) are undecided")
    report = edit_manifest(
        ours,
        directory,
        upserts=plan.upserts,
        removed=plan.removed,
        drop_columns=plan.dropped,
        properties=plan.properties,
        rules=ours.rules,
    )
    return report.manifest


def _plain(schema: pa.Schema) -> pa.Schema:
    """The schema without dictionaries, whose values could not be mixed."""
    fields = [f.with_type(f.type.value_type) if pa.types.is_dictionary(f.type) else f for f in schema]
    return pa.schema(fields)


def _keys_in_question(base: Manifest | None, ours: Manifest, theirs: Manifest) -> pa.Array:
    found = [compare_manifests(base, side) for side in (ours, theirs)]
    parts = [part.cast(pa.string()) for one in found for part in (one.added, one.changed, one.removed)]
    keys = pc.unique(pa.concat_arrays([one_array(part) for part in parts]))
    return keys.take(pc.sort_indices(keys))


def _version(manifest: Manifest | None, keys: pa.Array, schema: pa.Schema) -> _Version:
    table = rows_of(manifest, keys, schema)
    places = pc.index_in(keys, value_set=one_array(table["key"]))
    return _Version(flags(pc.is_valid(places)), table, places)


class _Merge:
    """The decision on each key and each cell."""

    def __init__(
        self,
        keys: pa.Array,
        was: _Version,
        ours: _Version,
        theirs: _Version,
        schema: pa.Schema,
        choices: Mapping[tuple[str, str], Side],
    ) -> None:
        self._keys, self._was, self._ours, self._theirs = keys, was, ours, theirs
        self._schema = schema
        self._choices = choices
        count = len(keys)
        self.conflicts: list[Conflict] = []
        self.removed: Mask = np.zeros(count, dtype=bool)
        self._from_theirs: dict[str, Mask] = {}
        self._differs: dict[str, tuple[Mask, Mask]] = {}
        self._touched: Mask = np.zeros(count, dtype=bool)
        for name in schema.names:
            if name != "key":
                before = was.column(name)
                self._differs[name] = (
                    rows_differ(before, ours.column(name)),
                    rows_differ(before, theirs.column(name)),
                )

    def decide_rows(self) -> None:
        """Rows that one side does not have: removed, added, or in conflict."""
        was, ours, theirs = self._was.present, self._ours.present, self._theirs.present
        ours_edited, theirs_edited = (
            np.logical_or.reduce([differs[side] for differs in self._differs.values()]) for side in (0, 1)
        )
        we_removed, they_removed = was & ~ours & theirs, was & ours & ~theirs
        undecided = (we_removed & theirs_edited) | (they_removed & ours_edited)
        self.removed |= (we_removed | they_removed) & ~undecided
        self._whole_from_theirs: Mask = ~was & ~ours & theirs
        for number in np.flatnonzero(undecided).tolist():
            key = self._keys[number].as_py()
            choice = self._choices.get((key, WHOLE_ROW))
            if choice is None:
                self.conflicts.append(Conflict(key, WHOLE_ROW, *(self._row(side, number) for side in self._sides)))
            elif bool((ours if choice is Side.OURS else theirs)[number]):
                self._whole_from_theirs[number] = choice is Side.THEIRS
            else:
                self.removed[number] = True
        self._in_both: Mask = ours & theirs
        self._decide_added(self._in_both & ~was)
        self._touched |= self._whole_from_theirs

    def _decide_added(self, added: Mask) -> None:
        """Rows that both sides added: what is chosen as a whole, and cells that go with the chosen bytes."""
        self._added = added
        self._with_ours, self._with_theirs = np.zeros_like(added), np.zeros_like(added)
        chosen = [choice for choice in self._choices.items() if choice[0][1] in (WHOLE_ROW, ASSET_COLUMNS[0])]
        places = pc.index_in(pa.array([cell[0] for cell, _ in chosen], pa.string()), value_set=self._keys)
        for place, ((_, column), side) in zip(places.to_pylist(), chosen, strict=True):
            if place is None or not added[place]:
                continue
            if column == WHOLE_ROW:
                self._whole_from_theirs[place] = side is Side.THEIRS
                self._in_both[place] = False
            else:
                (self._with_theirs if side is Side.THEIRS else self._with_ours)[place] = True

    def added_by_both(self) -> frozenset[str]:
        """The keys in conflict that both sides added."""
        asked = pa.array([one.key for one in self.conflicts], pa.string())
        return frozenset(
            asked.filter(pc.is_in(asked, value_set=self._keys.filter(arrow_flags(self._added)))).to_pylist()
        )

    def decide_column(self, names: tuple[str, ...]) -> None:
        """Cells of rows that both sides have. Several columns are decided as one; the first one names a conflict."""
        names = tuple(name for name in names if name in self._schema.names)
        ours = np.logical_or.reduce([self._differs[name][0] for name in names])
        theirs = np.logical_or.reduce([self._differs[name][1] for name in names])
        both = np.flatnonzero(ours & theirs & self._in_both)
        apart = np.zeros(len(self._keys), dtype=bool)
        if len(both):
            rows = arrow_numbers(both)
            for name in names:
                one, other = self._ours.column(name).take(rows), self._theirs.column(name).take(rows)
                apart[both] |= rows_differ(one, other)
        take: Mask = ((theirs & ~ours & ~self._with_ours) | self._with_theirs) & self._in_both
        for number in np.flatnonzero(apart).tolist():
            key = self._keys[number].as_py()
            choice = self._choices.get((key, names[0]))
            if choice is None:
                values = (_value(side, names[0], number) for side in self._sides)
                self.conflicts.append(Conflict(key, names[0], *values))
            else:
                take[number] = choice is Side.THEIRS
        for name in names:
            self._from_theirs[name] = take
        self._touched |= take

    def upserts(self, dropped: tuple[str, ...]) -> pa.Table:
        """Rows of ours that change, and rows that only theirs has, complete."""
        chosen = np.flatnonzero(self._touched & ~self.removed)
        rows = arrow_numbers(chosen)
        whole = self._whole_from_theirs[chosen]
        columns = {"key": self._keys.take(rows)}
        for name in self._schema.names:
            if name != "key" and name not in dropped:
                theirs = whole | self._from_theirs[name][chosen]
                both = pa.concat_arrays([side.column(name).take(rows) for side in (self._ours, self._theirs)])
                columns[name] = both.take(arrow_numbers(np.arange(len(chosen)) + len(chosen) * theirs))
        fields = [self._schema.field(name) for name in columns]
        return pa.table(list(columns.values()), schema=pa.schema(fields))

    def edits(self, name: str, side: int) -> int:
        """How many surviving rows have another value in this column than before, on one side, not null."""
        version = (self._ours, self._theirs)[side]
        changed = self._differs[name][side] & version.present & ~self.removed
        return int((changed & flags(pc.is_valid(version.column(name)))).sum())

    @property
    def _sides(self) -> tuple[_Version, _Version, _Version]:
        return self._was, self._ours, self._theirs

    def _row(self, version: _Version, number: int) -> dict[str, object] | None:
        if not version.present[number]:
            return None
        return {name: _value(version, name, number) for name in self._schema.names if name != "key"}


def _value(version: _Version, name: str, number: int) -> object:
    found: object = python_values(version.column(name).slice(number, 1))[0]
    return found


def _dropped(
    base: Manifest | None, ours: Manifest, theirs: Manifest, schema: pa.Schema, merge: _Merge
) -> tuple[str, ...]:
    """Columns that one side dropped and the other did not write to."""
    names = []
    for name in schema.names if base is not None else ():
        assert base is not None
        in_ours, in_theirs = name in ours.schema.names, name in theirs.schema.names
        if name not in base.schema.names or (in_ours and in_theirs):
            continue
        kept_by = 0 if in_ours else 1 if in_theirs else None
        if kept_by is None or not merge.edits(name, kept_by):
            names.append(name)
    return tuple(names)


def _properties(base: Manifest | None, ours: Manifest, theirs: Manifest) -> dict[str, str]:
    """Three-way as well; what both changed differently is left out, so that whoever needs it makes it again."""
    was = base.properties if base is not None else {}
    merged = {}
    for name in sorted({*ours.properties, *theirs.properties}):
        before, one, other = was.get(name), ours.properties.get(name), theirs.properties.get(name)
        value = one if one == other or other == before else other if one == before else None
        if value is not None:
            merged[name] = value
    return merged
