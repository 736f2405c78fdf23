"""The columns of one dataset that the checks of hygiene ask about, read once and kept for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.errors import DatapinError
from datapin.base.findings import Finding
from datapin.base.id_columns import IdMatrix, arrow_numbers, ids_from_hex, numbers
from datapin.checks.check import MOST_LISTED, unread
from datapin.checks.subject import Subject
from datapin.manifest.columns.columns import flags, one_array
from datapin.manifest.manifest import Manifest
from datapin.pipeline.splits.crossing import Codes, Mask, NamedCodes, id_codes, named
from datapin.pipeline.splits.leaks import is_augmented

COLUMNS = ("key", "asset_id", "media_type", "label", "split", "group", "parent", "parent_id", "partner_id", "operator")
PIXELS = "pixels"

Look = Callable[[Subject, str], Iterable[Finding]]


@dataclass(frozen=True)
class DatasetRows:
    """The rows of one dataset, in key order. Columns that it does not have are None."""

    dataset: str
    manifest: Manifest
    table: pa.Table

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def column(self, name: str) -> pa.Array | None:
        """A column as one array."""
        return one_array(self.table[name]) if name in self.table.column_names else None

    @cached_property
    def keys(self) -> pa.Array:
        """The keys."""
        return one_array(self.table["key"])

    @cached_property
    def ids(self) -> IdMatrix:
        """The assets, `uint8 [n, 32]`."""
        return ids_from_hex(self.table["asset_id"])

    @cached_property
    def assets(self) -> Codes:
        """The assets as codes."""
        return id_codes(self.ids)

    @cached_property
    def splits(self) -> NamedCodes | None:
        """The splits as codes."""
        column = self.column("split")
        return None if column is None else named(column)

    @cached_property
    def groups(self) -> NamedCodes | None:
        """The groups as codes."""
        column = self.column("group")
        return None if column is None else named(column)

    @cached_property
    def copies(self) -> Mask:
        """Which rows are made of another row."""
        return is_augmented(self.table)

    @cached_property
    def parent_ids(self) -> tuple[Codes, IdMatrix]:
        """The rows that name the asset they came from, and those assets."""
        return self.named_ids("parent_id")

    def named_ids(self, name: str) -> tuple[Codes, IdMatrix]:
        """The rows that have a value in this column of asset ids, and those assets."""
        column = self.column(name)
        if column is None:
            return np.zeros(0, dtype=np.int64), self.ids[:0]
        rows = np.flatnonzero(flags(column.is_valid()))
        return rows, ids_from_hex(column.take(arrow_numbers(rows)))

    def where(self, row: int) -> str:
        """A row as findings name it."""
        return f"{self.dataset}:{self.keys[row].as_py()}"

    def split_of(self, row: int) -> str:
        """The split of one row, for people."""
        name = self.splits.at(row) if self.splits is not None else None
        return "no split" if name is None else f"split {name!r}"


def rows_of(subject: Subject, dataset: str) -> DatasetRows:
    """The rows of the dataset, read at the first question. Raises what reading them raises, each time."""
    return subject.once(f"hygiene.rows:{dataset}", lambda: _read(subject.manifest(dataset), dataset))


def _read(manifest: Manifest, dataset: str) -> DatasetRows:
    present = [name for name in (*COLUMNS, PIXELS) if name in manifest.schema.names]
    return DatasetRows(dataset, manifest, manifest.to_table(present))


def places_of(wanted: pa.Array, among: pa.Array) -> Codes:
    """For each key its row in `among`, -1 for a null and for one that is not there."""
    if len(wanted) == len(among) and wanted.equals(among):
        return np.arange(len(wanted))
    return numbers(pc.index_in(wanted, value_set=among, skip_nulls=True).fill_null(-1)).astype(np.int64)


def each_dataset(subject: Subject, check: str, look: Look) -> Iterator[Finding]:
    """What `look` sees in each dataset; one that cannot be read is a finding and hides no other."""
    for dataset in sorted(subject.pins):
        try:
            yield from look(subject, dataset)
        except DatapinError as error:
            yield unread(subject, check, dataset, error)


def counted(findings: Sequence[Finding], total: int, things: str) -> Iterator[Finding]:
    """The first findings of a check on one dataset, and how many there are beyond them."""
    listed = findings[:MOST_LISTED]
    yield from listed
    if total > len(listed) and listed:
        first = listed[0]
        dataset = first.where.partition(":")[0]
        message = f"and {total - len(listed)} more, {total} {things} in all"
        yield Finding(first.severity, first.check, dataset, message, first.hint)
