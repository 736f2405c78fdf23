"""Write manifests: sorted rows in, shards out, each durable; shards that did not change keep their bytes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import pyarrow as pa

from datapin.base import failpoints
from datapin.base.errors import BadRows, Refused, StorageFailed
from datapin.base.files import fsync_directory, fsync_path
from datapin.manifest.columns.columns import one_array, shown, without_rows
from datapin.manifest.columns.schema import aligned, check_ascending, normalise, sorted_by_key
from datapin.manifest.files.footers import MARK_PREFIX, OUR_MARKS
from datapin.manifest.files.shards import CUT, CutRules, iter_cut_ends
from datapin.manifest.files.table import Properties, ShardEntry, entry_of, sealed, write_shard
from datapin.manifest.manifest import SHARD_NAME, Manifest

_MOST_WAITING = 2


def write_manifest(
    tables: pa.Table | Iterable[pa.Table],
    directory: Path,
    *,
    properties: Mapping[str, str] | None = None,
    previous: Manifest | None = None,
    rules: CutRules = CUT,
) -> Manifest:
    """Write rows as a manifest to `directory`, which must not exist; durable when it returns, gone if it fails.

    One table may have any order; several must come sorted, and memory then holds a few shards. A shard that
    `previous` has as well is copied byte for byte. Raises BadRows, BadKeys, Refused or StorageFailed.
    """
    where = "the rows to write"
    stream = iter([sorted_by_key(normalise(tables, where=where), where=where)] if isinstance(tables, pa.Table) else ())
    if not isinstance(tables, pa.Table):
        stream = (normalise(table, where=where) for table in tables)
    first = next(stream, None)
    if first is None:
        raise BadRows(where, "no table; an empty manifest needs one, for its columns")
    with new_directory(directory):
        pairs = property_pairs(properties or {})
        with ShardSink(directory, first.schema, pairs, previous, rules) as sink:
            sink.add(first)
            for table in stream:
                _check_same_columns(table.schema, first.schema, where)
                sink.add(aligned(table, first.schema, where=where))
            return sink.close()


def _check_same_columns(schema: pa.Schema, expected: pa.Schema, where: str) -> None:
    if schema.names != expected.names:
        odd = sorted(set(schema.names) ^ set(expected.names))
        raise BadRows(where, f"tables differ in columns: {', '.join(shown(name) for name in odd)}")
    for seen, field in zip(schema, expected, strict=True):
        if seen.type != field.type and not pa.types.is_null(seen.type):
            raise BadRows(where, f"column {shown(field.name)}: seen type {seen.type}, expected {field.type}")


def property_pairs(properties: Mapping[str, str]) -> Properties:
    """Properties as a shard keeps them. Their names start with `datapin.`, and are none of the format's own."""
    for name in properties:
        encoded = name.encode()
        if not encoded.startswith(MARK_PREFIX) or encoded in OUR_MARKS:
            raise BadRows("properties", f"{shown(name)}: expected a name that starts with datapin. and is free")
    return tuple(sorted(properties.items()))


@contextmanager
def new_directory(directory: Path) -> Iterator[None]:
    """A new directory that is durable with all its files at the end, and gone if anything fails.

    Raises Refused if it exists, StorageFailed if the file system refuses.
    """
    try:
        directory.mkdir()
    except FileExistsError:
        raise Refused(f"{directory} exists already", "choose a directory that does not exist") from None
    except OSError as error:
        raise StorageFailed(action="create", path=str(directory), problem=_reason(error)) from None
    try:
        yield
        fsync_directory(directory)
        fsync_directory(directory.parent)
        failpoints.hit("manifest.directory.synced")
    except OSError as error:
        shutil.rmtree(directory, ignore_errors=True)
        raise StorageFailed(action="write", path=str(directory), problem=_reason(error)) from None
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)


class ShardSink:
    """Takes sorted rows and whole shards, in key order, and leaves the shards of a manifest.

    It holds the rows of the shard that is not full yet. Between shards (`is_between_shards`), a shard of a manifest
    with the same rules may be passed on whole. One thread hashes and writes while the caller cuts what comes next:
    each file is written by one thread, and at most two shards wait. Use it as a context; `close` ends it.
    """

    def __init__(
        self,
        directory: Path,
        schema: pa.Schema,
        properties: Properties,
        previous: Manifest | None,
        rules: CutRules,
    ) -> None:
        self._directory = directory
        self._schema = schema
        self._properties = properties
        self._rules = rules
        self._pending: list[pa.Table] = []
        self._pending_rows = 0
        self._last_key: str | None = None
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="shards")
        self._written: list[Future[ShardEntry]] = []
        self._reusable: dict[str, ShardEntry] = {}
        if previous is not None and not previous.is_foreign and previous.schema.equals(schema, check_metadata=True):
            self._reusable = {entry.digest: entry for entry in previous.shards}

    def __enter__(self) -> ShardSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.shutdown(wait=True, cancel_futures=True)

    @property
    def is_between_shards(self) -> bool:
        """Whether the next row starts a shard."""
        return self._pending_rows == 0

    def add(self, table: pa.Table) -> None:
        """Take rows that follow all rows so far. Raises BadRows if they do not."""
        if not table.num_rows:
            return
        keys = one_array(table.column("key"))
        check_ascending(keys, where="the rows to write", after=self._last_key)
        self._last_key = keys[len(keys) - 1].as_py()
        start = 0
        for end in iter_cut_ends(keys, self._pending_rows, self._rules):
            self._pending.append(table.slice(start, end - start))
            self._end_shard()
            start = end
        if start < table.num_rows:
            self._pending.append(table.slice(start))
            self._pending_rows += table.num_rows - start

    def pass_on(self, entry: ShardEntry) -> bool:
        """Copy the file of a shard whose cut is known to be right; False, and nothing done, if it cannot be reused."""
        path, properties = self._next_place()
        if not self.is_between_shards or not self._is_reusable(entry.digest, properties):
            return False
        if self._last_key is not None and entry.first_key <= self._last_key:
            return False
        self._submit(self._copy, entry.digest, path)
        self._last_key = entry.last_key
        return True

    def close(self) -> Manifest:
        """End the last shard; the manifest as written. A manifest without rows has one shard, for its columns."""
        if self._pending_rows:
            self._end_shard()
        if not self._written:
            self._submit(self._write, without_rows(self._schema), *self._next_place())
        return Manifest(
            self._directory,
            str(self._directory),
            self._schema,
            [written.result() for written in self._written],
            properties=dict(self._properties),
            rules=self._rules,
        )

    def _end_shard(self) -> None:
        table = pa.concat_tables(self._pending)
        self._pending, self._pending_rows = [], 0
        self._submit(self._write, table, *self._next_place())

    def _submit(self, work: Callable[..., ShardEntry], *arguments: object) -> None:
        if len(self._written) >= _MOST_WAITING:
            self._written[-_MOST_WAITING].result()
        self._written.append(self._writer.submit(work, *arguments))

    def _next_place(self) -> tuple[Path, Properties]:
        """Path and properties of the next shard. Only the first has any, so that changing them rewrites no other."""
        number = len(self._written)
        return self._directory / SHARD_NAME.format(number), () if number else self._properties

    def _write(self, table: pa.Table, path: Path, properties: Properties) -> ShardEntry:
        table = sealed(table)
        entry = entry_of(table, path, properties)
        if self._is_reusable(entry.digest, properties):
            return self._copy(entry.digest, path)
        write_shard(table, entry)
        return entry

    def _is_reusable(self, digest: str, properties: Properties) -> bool:
        known = self._reusable.get(digest)
        return known is not None and known.path is not None and known.properties == properties

    def _copy(self, digest: str, target: Path) -> ShardEntry:
        source = self._reusable[digest]
        assert source.path is not None
        shutil.copyfile(source.path, target)
        failpoints.hit("manifest.shard.copied")
        fsync_path(target)
        return replace(source, path=target)
