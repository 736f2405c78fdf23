"""How a metadata file is to be read, where the user says more than the file does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from datapin.base.errors import Usage

_NAMED_TYPES: dict[str, pa.DataType] = {
    **{str(kind): kind for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64())},
    **{str(kind): kind for kind in (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())},
    "text": pa.string(),
    "str": pa.string(),
    "string": pa.string(),
    "varchar": pa.string(),
    "int": pa.int64(),
    "integer": pa.int64(),
    "bigint": pa.int64(),
    "uint": pa.uint64(),
    "float": pa.float64(),  # Python's; Arrow calls float32 so
    "double": pa.float64(),
    "number": pa.float64(),
    "bool": pa.bool_(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "datetime": pa.timestamp("us"),
    "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", "UTC"),
    "time": pa.time64("us"),
    "float32": pa.float32(),
    "float64": pa.float64(),
}
_DECIMAL = re.compile(r"decimal\((\d{1,2}),\s*(\d{1,2})\)")
_MOST_DIGITS = 38


@dataclass(frozen=True, slots=True)
class TableRules:
    """None and empty: as the file itself says, or as can be seen without doubt."""

    delimiter: str | None = None
    encoding: str | None = None
    key_column: str | None = None
    types: Mapping[str, str] = field(default_factory=dict)  # column, as it is called after renaming, to a type's name
    renames: Mapping[str, str] = field(default_factory=dict)  # the same name twice: it is meant as it is

    @property
    def kinds(self) -> dict[str, pa.DataType]:
        """The types by column. Raises Usage for a type that there is not."""
        return {name: type_named(text, f"--types {name}={text}") for name, text in self.types.items()}


def type_named(text: str, where: str) -> pa.DataType:
    """The Arrow type that a name of Arrow's, Python's or SQL's means. Raises Usage."""
    plain = text.strip().lower()
    if plain in _NAMED_TYPES:
        return _NAMED_TYPES[plain]
    if (found := _DECIMAL.fullmatch(plain)) and 1 <= int(found[1]) <= _MOST_DIGITS and int(found[2]) <= int(found[1]):
        return pa.decimal128(int(found[1]), int(found[2]))
    raise Usage(
        f"{where}: no type {text!r}",
        "types: text, int, double, bool, date, timestamp, timestamptz, time, decimal(10,2)",
    )
