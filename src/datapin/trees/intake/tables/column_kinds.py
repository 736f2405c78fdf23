"""The type of each column of a metadata file: as asked for, as the dataset has it, or what loses nothing."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from datapin.base.errors import BadRows, Usage, listed
from datapin.manifest.columns.columns import one_array
from datapin.manifest.columns.schema import as_stored, fits
from datapin.manifest.columns.types import storable_type
from datapin.trees.intake.tables.typed_text import mixed_numbers, typed

_TEXT_COLUMNS = ("key", "split", "group")
_DEEPEST = 32  # of lists in structs in lists: every reader of Parquet follows that far


class Before(NamedTuple):
    """The dataset that the rows go to."""

    dataset: str
    schema: pa.Schema


@dataclass(frozen=True, slots=True)
class ColumnTypes:
    """Decides the columns' types; `asked` are those of `--types`, `notes` take what the user should know."""

    where: str
    asked: Mapping[str, pa.DataType]
    before: Before | None
    is_csv: bool
    notes: list[str]

    def check_asked(self, names: Sequence[str]) -> None:
        """Raise Usage for types of columns that are not there, or that are text whatever is asked."""
        for name, kind in self.asked.items():
            if name in _TEXT_COLUMNS and kind != pa.string():
                raise Usage(f"--types {name}: column {name} is text", f"leave `--types {name}=…` out")
            if name not in names and name != "label":  # the folders' names may be the labels
                raise Usage(f"--types {name}: {self.where} has no column {name!r}", f"its columns: {listed([*names])}")

    def typed(self, name: str, column: pa.Array) -> pa.Array:
        """The column in its type. Raises BadRows where a value does not fit."""
        if name == "key":
            return column
        if name in self.asked:
            return self._as_asked(name, column, self.asked[name])
        column = stored(column, name, self.where)
        if self.before is not None and name in self.before.schema.names:
            kind = self.before.schema.field(name).type
            return self._as_before(name, column, kind.value_type if types.is_dictionary(kind) else kind)
        if not self.is_csv or name in (*_TEXT_COLUMNS, "label"):
            return column
        found = typed(column)
        if types.is_string(found.type) and mixed_numbers(column) is not None:
            way = f"`--types {shlex.quote(name)}=double` reads them as numbers"
            self.notes.append(f"column {name} writes some numbers as 1, some as 1.5, and stays text: {way}")
        return found

    def _as_asked(self, name: str, column: pa.Array, wanted: pa.DataType) -> pa.Array:
        try:
            return (column.dictionary_decode() if types.is_dictionary(column.type) else column).cast(wanted)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            problem = f"column {name!r} cannot be read as {wanted}: {str(error).splitlines()[0]}"
            advice = f"correct these values of {self.where}, or repeat with `--types {shlex.quote(name)}=text`"
            raise BadRows(self.where, problem, advice) from None

    def _as_before(self, name: str, column: pa.Array, kind: pa.DataType) -> pa.Array:
        """In the type that the dataset's column has."""
        if column.type == kind or types.is_null(column.type) or types.is_null(kind) or types.is_nested(column.type):
            return column
        is_text = self.is_csv and types.is_string(column.type)
        seen = typed(column) if is_text else column
        numbers = mixed_numbers(column) if types.is_string(seen.type) and is_text else None
        for found in (seen, numbers):
            if found is not None and fits(found.type, kind) and (fitted := _cast(found, kind)) is not None:
                return fitted
        exact = _cast(column, kind) if is_text else None
        if exact is not None and pc.all(pc.equal(exact.cast(pa.string()), column)).as_py():
            return exact
        assert self.before is not None
        option = f"`--types {shlex.quote(name)}={_type_name(kind)}`"
        change = shlex.quote(f'"{name}"="{name}"::VARCHAR')
        ways = f"`datapin update {shlex.quote(self.before.dataset)} --set {change}` makes the dataset's text"
        raise BadRows(
            self.where,
            f"column {name!r} holds {seen.type}, {self.before.dataset} has {kind} there",
            f"repeat with {option}, which loses how they were written" if _cast(column, kind) is not None else ways,
        )


def stored(column: pa.Array, name: str, where: str) -> pa.Array:
    """The column in the type that a manifest stores. Raises BadRows where there is none."""
    kind = None if _depth(column.type) > _DEEPEST else storable_type(column.type)
    if kind is None:
        problem = f"column {name!r}: type {str(column.type)[:80]} cannot be stored"
        raise BadRows(where, problem, f"repeat with `--types {shlex.quote(name)}=text`, or drop the column")
    try:
        return one_array(as_stored(pa.chunked_array([column]), kind))
    except pa.ArrowException as error:
        raise BadRows(
            where, f"column {name!r}: {str(error).splitlines()[0][:120]}", f"drop the column of {where}"
        ) from None


def _depth(kind: pa.DataType) -> int:
    depth, kinds = 0, [kind]
    while kinds and depth <= _DEEPEST:
        depth += 1
        kinds = [one.field(number).type for one in kinds for number in range(one.num_fields)]
    return depth


def _cast(column: pa.Array, kind: pa.DataType) -> pa.Array | None:
    try:
        return column.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None


def _type_name(kind: pa.DataType) -> str:
    """As `--types` calls it."""
    if types.is_decimal(kind):
        return f"'decimal({kind.precision},{kind.scale})'"
    plain = {"string": "text", "date32": "date", "time64": "time", "time32": "time", "float": "float32"}
    name = str(kind).split("[", 1)[0]
    return "timestamptz" if types.is_timestamp(kind) and kind.tz else plain.get(name, name)
