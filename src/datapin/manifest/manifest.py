"""A manifest: the rows of one dataset version, as a directory of Parquet shards."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa

from datapin.base.errors import BadRows, DamagedManifest, ManifestMissing, StorageFailed
from datapin.manifest.columns.columns import one_array, shown, without_rows
from datapin.manifest.columns.schema import aligned, canonical_schema, check_ascending, merged_schema, sorted_by_key
from datapin.manifest.files.digest import manifest_digest
from datapin.manifest.files.footers import BYTES_MARK, DIGEST_MARK, OUR_MARKS, Footer, read_footer
from datapin.manifest.files.shards import CUT, CutRules, cut
from datapin.manifest.files.table import ShardEntry, entry_of, read_rows, sealed
from datapin.manifest.kept_columns import MOST_KEPT_BYTES, KeptColumns

SHARD_NAME = "part-{:05d}.parquet"
MOST_SHARDS = 100_000
_SHARD_NAMES = re.compile(r"part-[0-9]{5,}\.parquet")


class Manifest:
    """The rows of one dataset version. Opening reads footers only; rows are read, and checked, when asked for.

    A directory that another program wrote (plain pandas, for example) opens as well, in any order of rows and files:
    its rows are then read into memory at the first question that needs them, and cut and hashed as ours would be.
    """

    __slots__ = ("_foreign", "_held", "_kept", "_shards", "directory", "name", "properties", "rows", "rules", "schema")

    def __init__(
        self,
        directory: Path,
        name: str,
        schema: pa.Schema,
        shards: Sequence[ShardEntry] | None,
        *,
        properties: Mapping[str, str],
        foreign: Sequence[Footer] = (),
        rules: CutRules = CUT,
    ) -> None:
        self.directory = directory
        self.name = name
        self.schema = schema
        self.properties: Mapping[str, str] = MappingProxyType(dict(properties))
        self.rules = rules
        self._shards = None if shards is None else tuple(shards)
        self._foreign = tuple(foreign)
        self._held: tuple[pa.Table, ...] = ()
        self._kept: KeptColumns | None = None
        self.rows = sum(footer.rows for footer in foreign) if shards is None else sum(s.rows for s in shards)

    @classmethod
    def open(cls, directory: Path, name: str | None = None, *, rules: CutRules = CUT) -> Manifest:
        """The manifest in `directory`, called `name` in errors.

        Raises ManifestMissing, DamagedManifest, BadRows or StorageFailed.
        """
        shown_name = name or str(directory)
        files = _files(directory, shown_name)
        footers = [read_footer(path, f"{shown_name}/{path.name}") for path in files]
        schemas = [canonical_schema(f.schema, where=f"{shown_name}/{f.path.name}") for f in footers]
        schema = merged_schema(schemas[0], schemas[1:], where=shown_name)
        properties = _properties(footers[0])
        if all(footer.is_ours for footer in footers):
            _check_no_gap(files, shown_name)
        if not _is_our_set(footers, schemas):
            return cls(directory, shown_name, schema, None, properties=properties, foreign=footers, rules=rules)
        shards = [_entry(footer) for footer in footers]
        _check_ranges(shards, shown_name)
        return cls(directory, shown_name, schema, shards, properties=properties, rules=rules)

    @property
    def is_foreign(self) -> bool:
        """Whether another program wrote the files."""
        return bool(self._foreign)

    @property
    def shards(self) -> tuple[ShardEntry, ...]:
        """The shards in key order; those of a foreign directory are cut in memory and have no path."""
        if self._shards is None:
            self._read_foreign()
        assert self._shards is not None
        return self._shards

    @property
    def bytes(self) -> int:
        """The sum of the rows' asset sizes."""
        return sum(shard.bytes for shard in self.shards)

    @property
    def digest(self) -> str:
        """`sha256:<hex>` over the rows, however they came to be."""
        return manifest_digest(self.schema, [shard.digest for shard in self.shards if shard.rows])

    def keep_columns(self, most_bytes: int = MOST_KEPT_BYTES) -> None:
        """From now on keep the columns that are read, as many as fit: for a caller that comes back to the same rows."""
        self._kept = KeptColumns(most_bytes)

    def read_shard(self, number: int, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of one shard, checked, in canonical form."""
        entry = self.shards[number]
        wanted = self._column_names(columns)
        if entry.path is None:
            return self._held[number].select(wanted)
        if self._kept is None:
            return self._read(entry, wanted)
        kept = self._kept.of(number)
        missing = [name for name in wanted if name not in kept]
        if missing:
            read = self._read(entry, missing)
            kept |= dict(zip(missing, read.columns, strict=True))
            self._kept.put(number, read)
        return pa.Table.from_arrays([kept[name] for name in wanted], schema=self._schema_of(wanted))

    def _schema_of(self, names: Sequence[str]) -> pa.Schema:
        return pa.schema([self.schema.field(name) for name in names])

    def _read(self, entry: ShardEntry, wanted: list[str]) -> pa.Table:
        assert entry.path is not None
        where = f"{self.name}/{entry.path.name}"
        table = read_rows(entry.path, where, wanted)
        if table.num_rows != entry.rows or table.column_names != wanted:
            raise DamagedManifest(path=where, problem="the file was replaced while it was being read")
        if "key" in wanted:
            check_ascending(one_array(table.column("key")), where=where)
        return table

    def iter_tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The rows, one table per shard, in key order; memory holds one shard at a time.

        `columns` keep the canonical order. Raises BadRows if an unknown column is asked for.
        """
        last: str | None = None
        for number in range(len(self.shards)):
            table = self.read_shard(number, columns)
            if "key" in table.column_names and table.num_rows:
                check_ascending(one_array(table.column("key").slice(0, 1)), where=self.name, after=last)
                last = table.column("key")[table.num_rows - 1].as_py()
            yield table

    def to_table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows, or the named columns of all rows, in key order."""
        tables = list(self.iter_tables(columns))
        wanted = self._column_names(columns)
        return pa.concat_tables(tables) if tables else without_rows(self._schema_of(wanted))

    def verify(self) -> None:
        """Read everything again and compare with what the footers claim: rules, order, cut and digests.

        Raises DamagedManifest, BadRows or BadKeys.
        """
        if self.is_foreign:
            self._read_foreign()
            return
        sizes = [entry.rows for entry in self.shards if entry.rows]
        keys = []
        for entry, table in zip(self.shards, self.iter_tables(), strict=True):
            seen = entry_of(table, entry.path, entry.properties)
            where = f"{self.name}/{entry.path.name if entry.path else ''}"
            if seen.digest != entry.digest:
                raise DamagedManifest(
                    path=where, problem=f"rows hash to {seen.digest[:12]}, its footer says {entry.digest[:12]}"
                )
            if seen != entry:
                claims = f"{entry.bytes} bytes from {shown(entry.first_key)} to {shown(entry.last_key)}"
                problem = f"holds {seen.bytes} bytes from {shown(seen.first_key)} to {shown(seen.last_key)}"
                raise DamagedManifest(path=where, problem=f"{problem}, its footer says {claims}")
            keys.append(one_array(table.column("key")))
        expected = cut(pa.concat_arrays(keys), self.rules)
        if sizes != expected:
            raise DamagedManifest(path=self.name, problem=f"cut into shards of {sizes} rows, expected {expected}")

    def _column_names(self, columns: Sequence[str] | None) -> list[str]:
        if columns is None:
            return list(self.schema.names)
        unknown = [shown(name) for name in columns if name not in self.schema.names]
        if unknown:
            raise BadRows(self.name, f"no column {unknown[0]}; it has {', '.join(self.schema.names)}")
        return [name for name in self.schema.names if name in columns]

    def _read_foreign(self) -> None:
        if not self._held:
            tables = [
                aligned(read_rows(f.path, f"{self.name}/{f.path.name}"), self.schema, where=self.name)
                for f in self._foreign
            ]
            rows = sorted_by_key(pa.concat_tables(tables), where=self.name)
            starts, held = 0, []
            for count in cut(one_array(rows.column("key")), self.rules) or [0]:
                held.append(sealed(rows.slice(starts, count)))
                starts += count
            self._held = tuple(held)
        self._shards = tuple(entry_of(table, None) for table in self._held)


def _files(directory: Path, name: str) -> list[Path]:
    try:
        entries = sorted(directory.iterdir())
    except FileNotFoundError:
        raise ManifestMissing(dataset=name, missing=str(directory)) from None
    except NotADirectoryError:
        raise DamagedManifest(path=name, problem="a file, expected a directory of Parquet files") from None
    except OSError as error:
        raise StorageFailed(action="read", path=name, problem=str(error.strerror)) from None
    # Spark and others leave marks such as _SUCCESS; hidden files belong to tools.
    files = [entry for entry in entries if not entry.name.startswith((".", "_"))]
    strange = [entry.name for entry in files if entry.suffix != ".parquet" or not entry.is_file()]
    dangling = [entry.name for entry in files if entry.is_symlink() and not entry.exists()]
    if dangling:
        raise ManifestMissing(dataset=name, missing=dangling[0])
    if strange:
        raise DamagedManifest(path=name, problem=f"holds {shown(strange[0])}, expected Parquet files and nothing else")
    if not files:
        raise DamagedManifest(path=name, problem="holds no Parquet file")
    if len(files) > MOST_SHARDS:
        raise DamagedManifest(path=name, problem=f"{len(files)} files, at most {MOST_SHARDS} are read")
    return files


def _check_no_gap(files: list[Path], name: str) -> None:
    """Raise ManifestMissing if files are named as shards are, but one before the last is not there."""
    names = {path.name for path in files}
    expected = [SHARD_NAME.format(number) for number in range(len(files))]
    if all(_SHARD_NAMES.fullmatch(path.name) for path in files) and names != set(expected):
        raise ManifestMissing(dataset=name, missing=next(shard for shard in expected if shard not in names))


def _is_our_set(footers: list[Footer], schemas: list[pa.Schema]) -> bool:
    """Whether the files are one manifest of ours: each is, they agree on columns, and none is empty beside others."""
    if not all(f.is_ours and (f.rows or len(footers) == 1) for f in footers):
        return False
    named = all(f.path.name == SHARD_NAME.format(number) for number, f in enumerate(footers))
    same = all(schema.equals(schemas[0], check_metadata=True) for schema in schemas)
    return named and same


def _properties(footer: Footer) -> dict[str, str]:
    kept = {name: value for name, value in footer.marks.items() if name not in OUR_MARKS}
    return {name.decode("utf-8", "replace"): value.decode("utf-8", "replace") for name, value in sorted(kept.items())}


def _entry(footer: Footer) -> ShardEntry:
    return ShardEntry(
        path=footer.path,
        rows=footer.rows,
        bytes=int(footer.marks[BYTES_MARK]),
        digest=footer.marks[DIGEST_MARK].decode(),
        first_key=footer.first_key,
        last_key=footer.last_key,
        properties=tuple(_properties(footer).items()),
    )


def _check_ranges(shards: list[ShardEntry], name: str) -> None:
    for before, after in pairwise(shards):
        if before.last_key >= after.first_key:
            assert after.path is not None
            raise DamagedManifest(
                path=f"{name}/{after.path.name}",
                problem=f"starts at {shown(after.first_key)}, the shard before it ends at {shown(before.last_key)}",
            )
