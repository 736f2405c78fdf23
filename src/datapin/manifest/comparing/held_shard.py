"""One shard in memory: its footer, its bytes as they are stored, and the columns of it that were unpacked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from pyarrow import types

from datapin.base.errors import DamagedManifest, StorageFailed
from datapin.base.id_columns import numbers
from datapin.manifest.columns.columns import one_array, shown
from datapin.manifest.files.footers import DIGEST_MARK, Chunk, open_parquet, read_footer, readable


class HeldShard:
    """One file. Raises DamagedManifest, BadRows, ManifestMissing or StorageFailed where it is read."""

    def __init__(self, path: Path, where: str) -> None:
        self.path = path
        self._where = where
        self._footer = read_footer(path, where)
        self._bytes: pa.Buffer | None = None
        self._columns: dict[str, pa.Array] = {}
        self.rows = self._footer.rows
        self.is_ours = self._footer.is_ours
        self.digest = self._footer.marks.get(DIGEST_MARK, b"")
        self.first_key, self.last_key = self._footer.first_key, self._footer.last_key
        self.schema = self._footer.schema
        self.names = self.schema.names

    def equally_stored(self, other: HeldShard) -> frozenset[str]:
        """The columns that both store in the same bytes; others may have equal values all the same."""
        groups = [group.rows for group in self._footer.groups]
        if groups != [group.rows for group in other._footer.groups]:
            return frozenset()
        chunks, others = self._chunks(), other._chunks()
        return frozenset(
            name
            for name in self.names
            if name in other.names
            and self.schema.field(name) == other.schema.field(name)
            and [_form(chunk) for chunk in chunks[name]] == [_form(chunk) for chunk in others[name]]
            and all(
                chunk.start > 0 and self._packed(chunk).equals(other._packed(twin))
                for chunk, twin in zip(chunks[name], others[name], strict=True)
            )
        )

    def unpack(self, names: Sequence[str]) -> None:
        """Read these columns, those that are there and not unpacked yet."""
        wanted = [name for name in names if name in self.names and name not in self._columns]
        if not wanted:
            return
        chunks = self._chunks()
        # A few bytes may repeat one long text a billion times: dictionaries stay dictionaries.
        text = [
            name
            for name in wanted
            if is_text(self.schema.field(name).type) and any(chunk.has_dictionary for chunk in chunks[name])
        ]
        data = self._stored()
        with readable(self.path, self._where), open_parquet(data, text) as file:
            table = file.read(columns=wanted, use_threads=False)
        for name in wanted:
            column = one_array(table.column(name))
            if types.is_dictionary(column.type):
                self._check_indices(name, column)
            self._columns[name] = column

    def column(self, name: str) -> pa.Array:
        """An unpacked column."""
        return self._columns[name]

    def share(self, other: HeldShard, names: frozenset[str]) -> None:
        """Let both have those columns that one of them has unpacked; both store them alike."""
        for one, twin in ((self, other), (other, self)):
            for name in names & one._columns.keys():
                twin._columns.setdefault(name, one._columns[name])

    def forget(self) -> None:
        """Give the memory back."""
        self._bytes = None
        self._columns = {}

    def _check_indices(self, name: str, column: pa.DictionaryArray) -> None:
        indices = numbers(column.indices.drop_null() if column.null_count else column.indices)
        if len(indices) and not 0 <= indices.min() <= indices.max() < len(column.dictionary):
            raise DamagedManifest(path=self._where, problem=f"column {shown(name)} names values that are not there")

    def _stored(self) -> pa.Buffer:
        if self._bytes is None:
            try:
                self._bytes = pa.py_buffer(self.path.read_bytes())
            except OSError as error:
                raise StorageFailed("read", self._where, error.strerror or str(error)) from None
        return self._bytes

    def _chunks(self) -> dict[str, list[Chunk]]:
        found: dict[str, list[Chunk]] = {name: [] for name in self.names}
        for group in self._footer.groups:
            for chunk in group.chunks:
                found.setdefault(chunk.path[0], []).append(chunk)
        return found

    def _packed(self, chunk: Chunk) -> pa.Buffer:
        """Its bytes, those that are there: a file may be shorter than its footer says."""
        data = self._stored()
        start = min(chunk.start, data.size)
        return data.slice(start, min(chunk.stored_bytes, data.size - start))


def _form(chunk: Chunk) -> tuple[object, ...]:
    return chunk.path, chunk.codec, chunk.has_dictionary, chunk.form, chunk.stored_bytes


def is_text(kind: pa.DataType) -> bool:
    """Whether values of this type are text or bytes of any length."""
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind))
