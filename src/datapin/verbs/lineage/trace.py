"""`trace`: which data made this file: its stage, that stage's inputs, and so on down to source rows and assets."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.documents import read_json
from datapin.base.errors import DatapinError, UnknownKey, UnknownOutput, Usage
from datapin.dvcfiles.outs import PinnedOut
from datapin.dvcfiles.stages import LockedFile, LockedStage
from datapin.git.ask import commit_state
from datapin.manifest.manifest import Manifest
from datapin.pins.commits import is_same_version
from datapin.pins.read import Pins
from datapin.pins.versions import VersionHistory
from datapin.pipeline.record.environment_file import environment_of, environment_path
from datapin.verbs.workspace.bring import open_pinned
from datapin.verbs.workspace.workspace import Workspace

_LARGEST_RECORD_BYTES = 16 << 20
_NOTHING_KNOWN: dict[str, Any] = {"rows": None, "bytes": None, "assets": None, "splits": {}, "since": None}


@dataclass(frozen=True, slots=True)
class TraceNode:
    """One thing on the way from a file to its data. `made_from` are the ids of the nodes that it came from.

    kind is `output` (a model, metrics, …), `stage`, `dataset`, `code` (a file that Git tracks) or `source` (the tree
    that rows were added from). `facts` are what is known of it; the same names for every node of one kind.
    """

    id: str
    kind: str
    name: str
    made_from: tuple[str, ...]
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class TraceReport:
    """From `path` down, in that order. `commit` is the code's: that of `rev`, or HEAD; `dirty` if files differ from it.

    `rows` are the rows of the last manifest on the way, with the source row and asset of each, if they were asked for.
    `unread` names the pointers and locks that cannot be read, and why: what they pin is left out.
    """

    path: str
    rev: str | None
    commit: str | None
    dirty: bool
    nodes: list[TraceNode]
    rows: list[RowOrigin] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


def trace(workspace: Workspace, selector: str, *, with_rows: bool = False) -> TraceReport:
    """What `PATH[@REV]` was made from. PATH is an output of a stage, a dataset, or `DATASET:KEY` for one row.

    Without REV as the work tree's pointers say. Manifests that are not here are brought. Raises UnknownOutput,
    UnknownVersion, UnknownKey; BadSettings or Refused if the pointer of PATH cannot be read.
    """
    path, key, rev = parts_of(workspace, selector)
    pinned = Pins.at(workspace.root, rev)
    state = commit_state(workspace.root)
    tracer = _Tracer(workspace, pinned, pinned.commit or state.commit)
    name = tracer.add(path, selector)
    rows = tracer.rows(name, key) if with_rows or key is not None else []
    return TraceReport(
        path=path,
        rev=rev,
        commit=pinned.commit or state.commit,
        dirty=rev is None and state.is_dirty,
        nodes=list(tracer.nodes.values()),
        rows=rows,
        unread=[f"{error.message}; {error.hint}" for error in pinned.unreadable.values()],
    )


def code_commit(workspace: Workspace, pinned: Pins) -> str | None:
    """The commit that pins were read at; of the work tree, HEAD."""
    return pinned.commit or commit_state(workspace.root).commit


def parts_of(workspace: Workspace, selector: str) -> tuple[str, str | None, str | None]:
    """Path, key and revision of `PATH[:KEY][@REV]`; a path that exists as it is written is not cut at its `@`."""
    text, rev = selector, None
    if "@" in selector and not (workspace.cwd / selector).exists():
        text, _, rev = selector.rpartition("@")
        rev = rev or "HEAD"
    path, colon, key = text.partition(":")
    if not path:
        raise Usage(f"{selector!r} names no file", "name an output, for example models/model.skops@HEAD")
    beside = posixpath.normpath((workspace.cwd.relative_to(workspace.root) / path).as_posix())
    return beside, key if colon else None, rev


@dataclass
class _Tracer:
    """Collects nodes, each once, from the thing asked for down to its sources."""

    workspace: Workspace
    pinned: Pins
    commit: str | None
    nodes: dict[str, TraceNode] = field(default_factory=dict)

    def add(self, path: str, selector: str) -> str:
        """Add what `path` is, and everything below; the node's id."""
        root_path = path if self._knows(path) else self._below_root(path, selector)
        return self._add(LockedFile(root_path, None))

    def rows(self, name: str, key: str | None) -> list[RowOrigin]:
        """Source row and asset of each row of the first manifest on the way down from the node `name`."""
        waiting = [name]
        while waiting:
            node = self.nodes[waiting.pop(0)]
            if node.kind == "dataset":
                return origins_of(self._lineage(node.name), key)
            waiting += node.made_from
        if key is not None:
            raise Usage(f"{self.nodes[name].name} has no rows", "name a dataset before the colon")
        return []

    def _lineage(self, dataset: str) -> Lineage:
        manifest = open_pinned(self.workspace, self.pinned.possible[dataset])
        stage = self._writer(dataset)
        inputs = []
        for dep in stage.deps if stage is not None else ():
            if dep.path in self.pinned.possible:
                inputs.append(self._lineage(dep.path))
            elif (dep.md5 or "").endswith(".dir"):
                self._check(dep.path)
        return Lineage(dataset, manifest, inputs)

    def _check(self, path: str) -> None:
        """Raise why nothing is known of `path`, if the file that pins it, or that may, cannot be read."""
        for file, error in self.pinned.unreadable.items():
            if file == f"{path}.dvc" or not file.endswith(".dvc"):
                raise error

    def _knows(self, path: str) -> bool:
        return path in self.pinned.possible or self._writer(path) is not None

    def _below_root(self, path: str, selector: str) -> str:
        text = selector.rpartition("@")[0] or selector
        whole = posixpath.normpath(text.partition(":")[0])
        if self._knows(whole):
            return whole
        for name in (path, whole):
            self._check(name)
        known = sorted({*self.pinned.possible, *(out.path for stage in self.pinned.stages for out in stage.outs)})
        raise UnknownOutput(path, tuple(known))

    def _writer(self, path: str) -> LockedStage | None:
        return next((stage for stage in self.pinned.stages if any(out.path == path for out in stage.outs)), None)

    def _add(self, file: LockedFile) -> str:
        pointer, writer = self.pinned.possible.get(file.path), self._writer(file.path)
        unreadable = self.pinned.unreadable.get(f"{file.path}.dvc")
        if pointer is None and writer is None and unreadable is not None:
            facts = {"md5": file.md5, "digest": self._recorded(file.path), **_NOTHING_KNOWN}
            return self._put("dataset", file.path, (), facts | {"problem": unreadable.message})
        if pointer is None and writer is None:
            return self._put("code", file.path, (), {"md5": file.md5})
        kind = "output" if pointer is None else "dataset"
        name = f"{kind}:{file.path}"
        if name not in self.nodes:
            self.nodes[name] = TraceNode(name, kind, file.path, (), {})  # its place, and an end for a loop
            facts = self._dataset(pointer) if pointer is not None else self._output(file.path, writer)
            below = (self._stage(writer),) if writer is not None else self._sources(pointer)
            self.nodes[name] = TraceNode(name, kind, file.path, below, facts)
        return name

    def _stage(self, stage: LockedStage) -> str:
        name = f"stage:{stage.file}:{stage.name}"
        if name not in self.nodes:
            facts = {"file": stage.file, "command": stage.command, "params": stage.params, "commit": self.commit}
            facts |= {"run": self._record(stage)}
            self.nodes[name] = TraceNode(name, "stage", stage.name, (), facts)
            # Data first: a lock lists files and folders by name.
            deps = sorted(stage.deps, key=lambda dep: not self._knows(dep.path))
            below = tuple(self._add(dep) for dep in deps)
            self.nodes[name] = TraceNode(name, "stage", stage.name, below, facts)
        return name

    def _sources(self, pointer: PinnedOut | None) -> tuple[str, ...]:
        return tuple(self._put("source", source, (), {}) for source in (pointer.sources if pointer else ()))

    def _put(self, kind: str, path: str, below: tuple[str, ...], facts: dict[str, Any]) -> str:
        name = f"{kind}:{path}"
        self.nodes.setdefault(name, TraceNode(name, kind, path, below, facts))
        return name

    def _output(self, path: str, stage: LockedStage | None) -> dict[str, Any]:
        out = next(out for out in stage.outs if out.path == path) if stage is not None else LockedFile(path, None)
        record = self._record(stage) if stage is not None else None
        facts: dict[str, Any] = {"md5": out.md5, "bytes": out.size_bytes, "sha256": None}
        if record is not None:
            facts["sha256"] = record["outputs"].get(path)
        return facts

    def _record(self, stage: LockedStage) -> dict[str, Any] | None:
        """What the run record among the stage's outputs says, where Git keeps one."""
        for out in stage.outs:
            if not out.path.endswith(".json") or (out.size_bytes or 0) > _LARGEST_RECORD_BYTES:
                continue
            try:
                runs = read_json(self.pinned.text(out.path) or b"null", out.path)["runs"]
                record = runs[0]
                facts = {name: record[name] for name in ("inputs", "seed", "metrics", "outputs", "rows")}
                facts["environment"] = environment_of(record, self.pinned.text(environment_path(out.path)))
                return facts
            except (ValueError, TypeError, KeyError, IndexError):
                continue
        return None

    def _dataset(self, pointer: PinnedOut) -> dict[str, Any]:
        facts: dict[str, Any] = {"md5": pointer.md5, "digest": pointer.digest, "rows": pointer.rows}
        facts |= {"bytes": None, "assets": None, "splits": {}, "since": self._since(pointer), "problem": None}
        try:
            manifest = open_pinned(self.workspace, pointer)
            facts |= {"digest": manifest.digest, "rows": manifest.rows, "bytes": manifest.bytes}
            facts |= {"assets": _distinct_assets(manifest), "splits": _splits(manifest)}
        except DatapinError as error:
            facts |= {"digest": facts["digest"] or self._recorded(pointer.dataset), "problem": error.message}
        return facts

    def _recorded(self, dataset: str) -> str | None:
        """The digest that a run record gives for a dataset that is nowhere."""
        records = (self._record(stage) for stage in self.pinned.stages)
        return next((record["inputs"].get(dataset) for record in records if record is not None), None)

    def _since(self, pointer: PinnedOut) -> dict[str, str] | None:
        """The commit that made this version of the dataset; None if none did yet."""
        if self.commit is None:
            return None
        versions = VersionHistory(self.workspace.root, pointer.dataset, self.commit).versions()
        first = next(versions, None)
        if first is None or not is_same_version(first[1], pointer):
            return None
        commit = first[0]
        return {"commit": commit.name, "author": commit.author, "date": commit.date, "subject": commit.subject}


def _distinct_assets(manifest: Manifest) -> int:
    parts: Iterable[pa.Table] = manifest.iter_tables(["asset_id"])
    return int(
        pc.count_distinct(pa.chunked_array([c for t in parts for c in t["asset_id"].chunks], pa.string())).as_py()
    )


def _splits(manifest: Manifest) -> dict[str, int]:
    if "split" not in manifest.schema.names:
        return {}
    counts = pc.value_counts(manifest.to_table(["split"])["split"])
    found = {str(one["values"].as_py() or ""): int(one["counts"].as_py()) for one in counts}
    return dict(sorted(found.items()))


# From the rows of a derived manifest to the rows and assets of the sources, step by step, by columns.


_COLUMNS = ("key", "asset_id", "split", "label", "parent", "parent_id")


@dataclass(frozen=True, slots=True)
class Lineage:
    """A manifest and those that its stage made it from; none for a source."""

    dataset: str
    manifest: Manifest
    inputs: Sequence[Lineage]


@dataclass(frozen=True, slots=True)
class RowOrigin:
    """A row, and the source row that it came from; the source's fields are None if no input has its parent."""

    key: str
    asset_id: str
    split: str | None
    label: str | None
    source: str | None
    source_key: str | None
    source_asset_id: str | None


def origins_of(lineage: Lineage, key: str | None = None) -> list[RowOrigin]:
    """The source of each row, or of the one row `key`, in key order. Raises UnknownKey."""
    rows = _rows(lineage.manifest)
    if key is not None:
        rows = rows.filter(pc.equal(rows["key"], key))
        if not rows.num_rows:
            raise UnknownKey(lineage.dataset, key, ())
    found = _descend(rows, lineage)
    names = [name for name in ("key", "asset_id", "split", "label") if name in rows.column_names]
    came = zip(*(found[name].to_pylist() for name in found.column_names), strict=True)
    return [
        RowOrigin(row["key"], row["asset_id"], row.get("split"), _as_text(row.get("label")), *origin)
        for row, origin in zip(rows.select(names).to_pylist(), came, strict=True)
    ]


def _as_text(label: object) -> str | None:
    return None if label is None else str(label)


def _descend(rows: pa.Table, lineage: Lineage) -> pa.Table:
    """Source dataset, key and asset of each of these rows of the manifest; nulls where an input lacks the parent."""
    if not lineage.inputs:
        return pa.table(
            {
                "source": pa.array([lineage.dataset] * rows.num_rows, pa.string()),
                "source_key": rows["key"],
                "source_asset_id": rows["asset_id"],
            }
        )
    best: pa.Table | None = None
    for one in lineage.inputs:
        above = _rows(one.manifest)
        place = _places(rows, above)
        taken = above.take(pc.fill_null(place, 0)) if above.num_rows else None
        if taken is None:
            continue
        found = _descend(taken, one)
        is_there = pc.is_valid(place)
        found = pa.table({name: _where(is_there, found[name]) for name in found.column_names})
        if best is None:
            best = found
        else:
            best = pa.table({name: pc.coalesce(best[name], found[name]) for name in best.column_names})
    if best is None:
        none = pa.nulls(rows.num_rows, pa.string())
        best = pa.table({"source": none, "source_key": none, "source_asset_id": none})
    return best


def _places(rows: pa.Table, above: pa.Table) -> pa.ChunkedArray:
    """Where in the input `above` each row came from: the same row (key and asset), else its parent; null if nowhere."""
    same = pc.index_in(rows["key"], value_set=above["key"])
    is_same = _agrees(above["asset_id"], same, rows["asset_id"])
    if "parent" not in rows.column_names:
        return _where(is_same, same)
    parent = pc.index_in(rows["parent"], value_set=above["key"], skip_nulls=True)
    is_parent = _agrees(above["asset_id"], parent, rows["parent_id"])
    return pc.if_else(is_same, same, _where(is_parent, parent))


def _agrees(ids: pa.ChunkedArray, places: pa.ChunkedArray, expected: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.fill_null(pc.equal(ids.take(places), expected), False)


def _where(mask: pa.ChunkedArray, values: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.if_else(mask, values, pa.scalar(None, values.type))


def _rows(manifest: Manifest) -> pa.Table:
    names = [name for name in _COLUMNS if name in manifest.schema.names]
    return manifest.to_table(names).combine_chunks()
