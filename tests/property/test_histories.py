"""The same rows by any history are the same manifest: digest, cut and bytes; and an edit touches what it must."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from datapin.manifest.comparing.diff import compare_manifests
from datapin.manifest.edit import edit_manifest
from datapin.manifest.files.shards import CutRules
from datapin.manifest.manifest import Manifest
from datapin.manifest.write import write_manifest

# Four rows a shard on average: a few dozen rows meet every case of the cut.
SMALL = CutRules(least_rows=2, most_rows=9, modulus=4)
PROPERTIES = {"datapin.classes": '["a", "b"]'}

_NUMBERS = st.integers(0, 60)
_LABELS = st.sampled_from(["a", "b", None])
_VECTORS = st.none() | st.lists(st.sampled_from([0.0, 1.0]), min_size=2, max_size=2)

Row = tuple[int, str | None, list[float] | None]


def _key(number: int) -> str:
    return f"{'äb'[number % 2]}/{number:03d}.png"


def _table(rows: dict[str, Row]) -> pa.Table:
    return pa.table(
        {
            "key": pa.array(list(rows), pa.string()),
            "size": pa.array([row[0] for row in rows.values()], pa.int64()),
            "asset_id": pa.array(
                [hashlib.sha256(str(row[0]).encode()).hexdigest() for row in rows.values()], pa.string()
            ),
            "label": pa.array([row[1] for row in rows.values()], pa.string()),
            "vector": pa.array([row[2] for row in rows.values()], pa.list_(pa.float32(), 2)),
            "media_type": pa.array(["image/png" if row[0] % 2 else None for row in rows.values()], pa.string()),
        }
    )


class Histories(RuleBasedStateMachine):
    """Edits in any order and batching, compared after each with the same rows written at once."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.rows: dict[str, Row] = {}
        self.manifest: Manifest | None = None
        self.steps = 0

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def _next(self) -> Path:
        self.steps += 1
        return self.folder / str(self.steps)

    @initialize(rows=st.dictionaries(_NUMBERS.map(_key), st.tuples(_NUMBERS, _LABELS, _VECTORS), max_size=40))
    def start(self, rows: dict[str, Row]) -> None:
        self.rows = rows
        self.manifest = edit_manifest(
            None, self._next(), upserts=_table(rows), properties=PROPERTIES, rules=SMALL
        ).manifest

    @rule(rows=st.dictionaries(_NUMBERS.map(_key), st.tuples(_NUMBERS, _LABELS, _VECTORS), max_size=12), gone=st.data())
    def put_and_remove(self, rows: dict[str, Row], gone: st.DataObject) -> None:
        keys = gone.draw(st.lists(_NUMBERS.map(_key).filter(lambda key: key not in rows), max_size=12))
        report = edit_manifest(
            self.manifest, self._next(), upserts=_table(rows), removed=pa.array(keys, pa.string()), rules=SMALL
        )
        assert report.added == len(rows.keys() - self.rows.keys())
        assert report.removed == len(set(keys) & self.rows.keys())
        assert report.changed == sum(self.rows[key] != row for key, row in rows.items() if key in self.rows)
        assert report.unchanged == sum(self.rows[key] == row for key, row in rows.items() if key in self.rows)
        before, self.manifest = self.manifest, report.manifest
        old, self.rows = self.rows, {key: row for key, row in {**self.rows, **rows}.items() if key not in keys}
        self._check_comparison(before, old)

    @rule(labels=st.dictionaries(_NUMBERS.map(_key), _LABELS, max_size=12))
    def set_labels(self, labels: dict[str, str | None]) -> None:
        labels = {key: label for key, label in labels.items() if key in self.rows}
        upserts = pa.table(
            {"key": pa.array(list(labels), pa.string()), "label": pa.array(list(labels.values()), pa.string())}
        )
        self.manifest = edit_manifest(self.manifest, self._next(), upserts=upserts, rules=SMALL).manifest
        for key, label in labels.items():
            self.rows[key] = (self.rows[key][0], label, self.rows[key][2])

    @rule(number=_NUMBERS)
    def add_a_column_and_drop_it(self, number: int) -> None:
        upserts = _table({_key(number): (1, "a", None)}).append_column("note", pa.array(["x"]))
        wider = edit_manifest(self.manifest, self._next(), upserts=upserts, rules=SMALL).manifest
        assert "note" in wider.schema.names
        self.rows[_key(number)] = (1, "a", None)
        self.manifest = edit_manifest(wider, self._next(), drop_columns=["note"], rules=SMALL).manifest

    def _check_comparison(self, before: Manifest | None, old: dict[str, Row]) -> None:
        found = compare_manifests(before, self.manifest)
        assert set(found.added.to_pylist()) == self.rows.keys() - old.keys()
        assert set(found.removed.to_pylist()) == old.keys() - self.rows.keys()
        assert set(found.changed.to_pylist()) == {k for k in self.rows.keys() & old.keys() if self.rows[k] != old[k]}

    @invariant()
    def same_as_written_at_once(self) -> None:
        if self.manifest is None:
            return
        fresh = write_manifest(_table(self.rows), self._next(), properties=PROPERTIES, rules=SMALL)
        reopened = Manifest.open(self.manifest.directory, rules=SMALL)
        reopened.verify()
        assert reopened.digest == self.manifest.digest == fresh.digest
        assert reopened.schema.equals(fresh.schema, check_metadata=True)
        assert dict(reopened.properties) == PROPERTIES
        assert _bytes_of(reopened) == _bytes_of(fresh)
        expected = _table({key: self.rows[key] for key in sorted(self.rows)})
        assert reopened.to_table().to_pylist() == expected.select(reopened.schema.names).to_pylist()


def _bytes_of(manifest: Manifest) -> list[tuple[str, bytes]]:
    return [(path.name, path.read_bytes()) for path in sorted(manifest.directory.iterdir())]


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=12, stateful_step_count=6, deadline=None)


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(numbers=st.permutations(range(40)), size=st.integers(1, 15))
def test_rows_added_in_any_order_and_batches_give_the_same_bytes(
    numbers: list[int], size: int, fresh_folder: Callable[[], Path]
) -> None:
    rows: dict[str, Row] = {_key(number): (number, "ab"[number % 2], None) for number in numbers}
    keys = list(rows)
    manifest = None
    folder = fresh_folder()
    for start in range(0, len(keys), size):
        batch = _table({key: rows[key] for key in keys[start : start + size]})
        manifest = edit_manifest(manifest, folder / str(start), upserts=batch, rules=SMALL).manifest
    fresh = write_manifest(_table(rows), folder / "fresh", rules=SMALL)
    assert manifest is not None
    assert _bytes_of(manifest) == _bytes_of(fresh)


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(numbers=st.sets(_NUMBERS, min_size=1), cuts=st.lists(_NUMBERS, max_size=4))
def test_a_foreign_directory_of_the_same_rows_has_the_same_digest(
    numbers: set[int], cuts: list[int], fresh_folder: Callable[[], Path]
) -> None:
    rows: dict[str, Row] = {_key(number): (number, "ab"[number % 2], None) for number in numbers}
    folder = fresh_folder()
    ours = write_manifest(_table(rows), folder / "ours", rules=SMALL)
    theirs = folder / "theirs"
    theirs.mkdir()
    frame = _table(rows).to_pandas().sample(frac=1, random_state=1)
    bounds = [0, *sorted(cut % (len(frame) + 1) for cut in cuts), len(frame)]
    for number, (start, end) in enumerate(pairwise(bounds)):
        part = pa.Table.from_pandas(frame.iloc[start:end], schema=_table(rows).schema)
        pq.write_table(part, theirs / f"{number}.parquet")
    opened = Manifest.open(theirs, rules=SMALL)
    assert opened.is_foreign
    assert (opened.digest, opened.rows, opened.bytes) == (ours.digest, ours.rows, ours.bytes)
    assert edit_manifest(opened, folder / "taken", rules=SMALL).manifest.digest == ours.digest
    assert _bytes_of(Manifest.open(folder / "taken", rules=SMALL)) == _bytes_of(ours)


@pytest.fixture
def fresh_folder() -> Iterator[Callable[[], Path]]:
    made: list[Path] = []

    def make() -> Path:
        made.append(Path(tempfile.mkdtemp()))
        return made[-1]

    yield make
    for folder in made:
        shutil.rmtree(folder)
