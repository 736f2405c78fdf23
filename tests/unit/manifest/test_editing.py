"""Writing and editing: what stays, what is refused, what a failure leaves."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datapin.base.errors import BadKeys, BadRows, Refused, StorageFailed
from datapin.manifest.columns.schema import ASSET_MARK, asset_columns
from datapin.manifest.comparing.diff import compare_manifests, count_changes
from datapin.manifest.edit import edit_manifest
from datapin.manifest.files.shards import CutRules
from datapin.manifest.manifest import Manifest
from datapin.manifest.write import write_manifest

SMALL = CutRules(least_rows=2, most_rows=9, modulus=4)
KEYS = [f"a/{number:02d}.png" for number in range(40)]

RowsOf = Callable[..., pa.Table]


@pytest.fixture
def manifest(rows_of: RowsOf, tmp_path: Path) -> Manifest:
    table = rows_of(KEYS, label=pa.array(["x"] * 40), note=pa.array([str(n) for n in range(40)]))
    return write_manifest(table, tmp_path / "first", properties={"datapin.classes": '["x"]'}, rules=SMALL)


def _kept(before: Manifest, after: Manifest) -> int:
    """How many shards of `after` are byte for byte files of `before`."""
    old = {path.read_bytes() for path in before.directory.iterdir()}
    return sum(path.read_bytes() in old for path in after.directory.iterdir())


def test_a_directory_holds_numbered_shards_and_nothing_else(manifest: Manifest) -> None:
    names = sorted(path.name for path in manifest.directory.iterdir())
    assert names == [f"part-{number:05d}.parquet" for number in range(len(manifest.shards))]
    assert len(names) > 5


def test_a_shard_keeps_the_documented_layout(manifest: Manifest) -> None:
    details = pq.read_metadata(manifest.directory / "part-00001.parquet")
    chunks = {details.row_group(0).column(n).path_in_schema: details.row_group(0).column(n) for n in range(5)}
    assert {chunk.compression for chunk in chunks.values()} == {"ZSTD"}
    assert [name for name, chunk in chunks.items() if chunk.is_stats_set] == ["key"]
    assert [name for name, chunk in chunks.items() if chunk.has_dictionary_page] == ["label"]
    marks = {name.decode() for name in details.metadata}
    assert marks == {"ARROW:schema", "datapin.format", "datapin.digest", "datapin.bytes"}


def test_feature_vectors_are_split_by_byte(rows_of: RowsOf, tmp_path: Path) -> None:
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(80, dtype=np.float32)), 2)
    written = write_manifest(rows_of(KEYS, features=vectors), tmp_path / "features")
    chunk = pq.read_metadata(written.directory / "part-00000.parquet").row_group(0).column(3)
    assert "BYTE_STREAM_SPLIT" in chunk.encodings
    assert not chunk.is_stats_set
    assert written.to_table(["features"])["features"].combine_chunks().equals(vectors)


def test_an_edit_of_one_row_keeps_the_bytes_of_the_other_shards(manifest: Manifest, tmp_path: Path) -> None:
    report = edit_manifest(
        manifest, tmp_path / "second", upserts=pa.table({"key": ["a/20.png"], "label": ["y"]}), rules=SMALL
    )
    assert (report.added, report.changed, report.removed, report.unchanged) == (0, 1, 0, 0)
    assert _kept(manifest, report.manifest) == len(manifest.shards) - 1


def test_an_edit_that_changes_nothing_keeps_every_byte(manifest: Manifest, tmp_path: Path) -> None:
    table = manifest.to_table().take(pa.array(np.random.default_rng(1).permutation(40)))
    report = edit_manifest(manifest, tmp_path / "second", upserts=table, removed=pa.array(["nowhere"]), rules=SMALL)
    assert (report.added, report.changed, report.removed, report.unchanged) == (0, 0, 0, 40)
    assert _kept(manifest, report.manifest) == len(manifest.shards)
    assert report.manifest.digest == manifest.digest


def test_columns_that_rows_to_put_lack_keep_their_values(manifest: Manifest, tmp_path: Path) -> None:
    edited = edit_manifest(
        manifest, tmp_path / "second", upserts=pa.table({"key": ["a/03.png"], "label": ["y"]}), rules=SMALL
    ).manifest
    row = edited.to_table().to_pylist()[3]
    assert (row["label"], row["note"], row["size"]) == ("y", "3", 8)


def test_a_new_row_needs_the_required_columns(manifest: Manifest, tmp_path: Path) -> None:
    with pytest.raises(BadRows, match="key 'new' is new and needs a column asset_id, size"):
        edit_manifest(manifest, tmp_path / "second", upserts=pa.table({"key": ["a/03.png", "new"]}), rules=SMALL)
    assert not (tmp_path / "second").exists()


def test_a_new_column_is_null_elsewhere_and_stays_until_it_is_dropped(manifest: Manifest, tmp_path: Path) -> None:
    wider = edit_manifest(
        manifest, tmp_path / "wider", upserts=pa.table({"key": ["a/03.png"], "area": [5]}), rules=SMALL
    ).manifest
    assert wider.schema.names == ["key", "asset_id", "size", "label", "area", "note"]
    assert wider.to_table()["area"].null_count == 39
    emptied = edit_manifest(
        wider, tmp_path / "emptied", upserts=pa.table({"key": ["a/03.png"], "area": pa.nulls(1)}), rules=SMALL
    ).manifest
    assert emptied.digest != manifest.digest
    report = edit_manifest(wider, tmp_path / "dropped", drop_columns=["area"], rules=SMALL)
    assert report.manifest.digest == manifest.digest
    assert report.changed == 1
    assert _kept(manifest, report.manifest) == len(manifest.shards)


@pytest.mark.parametrize("name", ["unknown", "key", "size"])
def test_a_column_that_is_needed_or_not_there_cannot_be_dropped(name: str, manifest: Manifest, tmp_path: Path) -> None:
    with pytest.raises(BadRows, match="is not there, or is needed"):
        edit_manifest(manifest, tmp_path / "second", drop_columns=[name], rules=SMALL)


def test_a_column_of_nulls_takes_the_type_of_its_first_values(rows_of: RowsOf, tmp_path: Path) -> None:
    first = write_manifest(rows_of(KEYS, note=pa.nulls(40)), tmp_path / "first", rules=SMALL)
    upserts = pa.table({"key": ["a/07.png"], "note": [1.5]})
    second = edit_manifest(first, tmp_path / "second", upserts=upserts, rules=SMALL).manifest
    assert second.schema.field("note").type == pa.float64()
    third = edit_manifest(second, tmp_path / "third", upserts=rows_of(["b"], note=pa.nulls(1)), rules=SMALL).manifest
    assert third.to_table()["note"].null_count == 40


@pytest.mark.parametrize(
    ("column", "says"),
    [
        (pa.array([1]), "column 'note': seen type int64, expected string"),
        (pa.array([["x"]]), "column 'note': seen type list<"),
        (pa.array([True]), "column 'note': seen type bool, expected string"),
    ],
)
def test_values_of_another_type_are_refused(column: pa.Array, says: str, manifest: Manifest, tmp_path: Path) -> None:
    with pytest.raises(BadRows) as caught:
        edit_manifest(manifest, tmp_path / "second", upserts=pa.table({"key": ["a/07.png"], "note": column}))
    assert says in str(caught.value)


def test_numbers_go_into_a_column_of_numbers_if_they_fit(rows_of: RowsOf, tmp_path: Path) -> None:
    first = write_manifest(rows_of(KEYS, score=pa.array([0.5] * 40)), tmp_path / "first", rules=SMALL)
    upserts = pa.table({"key": ["a/07.png"], "score": pa.array([3], pa.int8())})
    second = edit_manifest(first, tmp_path / "second", upserts=upserts, rules=SMALL).manifest
    assert second.to_table()["score"][7].as_py() == 3.0
    narrow = write_manifest(rows_of(KEYS, score=pa.array([1] * 40, pa.int8())), tmp_path / "narrow", rules=SMALL)
    with pytest.raises(BadRows, match="column 'score': "):
        edit_manifest(narrow, tmp_path / "third", upserts=pa.table({"key": ["a/07.png"], "score": [300]}), rules=SMALL)


def test_keys_put_twice_or_put_and_removed_are_refused(manifest: Manifest, tmp_path: Path) -> None:
    with pytest.raises(BadRows, match=r"1 key\(s\) are there more than once: 'a/01.png'"):
        edit_manifest(manifest, tmp_path / "second", upserts=pa.table({"key": ["a/01.png", "a/01.png"]}))
    with pytest.raises(BadRows, match=r"1 key\(s\) are to be put and to be removed: 'a/01.png'"):
        edit_manifest(
            manifest, tmp_path / "second", upserts=pa.table({"key": ["a/01.png"]}), removed=pa.array(["a/01.png"])
        )
    with pytest.raises(BadKeys):
        edit_manifest(manifest, tmp_path / "second", upserts=pa.table({"key": ["../x"]}))


def test_removing_every_row_leaves_the_columns(manifest: Manifest, tmp_path: Path) -> None:
    emptied = edit_manifest(manifest, tmp_path / "second", removed=pa.array(KEYS), rules=SMALL)
    assert (emptied.removed, emptied.manifest.rows) == (40, 0)
    opened = Manifest.open(tmp_path / "second", rules=SMALL)
    opened.verify()
    assert opened.schema.equals(manifest.schema, check_metadata=True)
    assert opened.digest == emptied.manifest.digest != manifest.digest
    assert opened.to_table().num_rows == 0
    again = edit_manifest(opened, tmp_path / "third", upserts=manifest.to_table(), rules=SMALL).manifest
    assert again.digest == manifest.digest
    assert _kept(manifest, again) == len(manifest.shards)


def test_properties_lie_in_the_first_shard_and_changing_them_rewrites_it_alone(
    manifest: Manifest, tmp_path: Path
) -> None:
    assert Manifest.open(manifest.directory).properties == {"datapin.classes": '["x"]'}
    edited = edit_manifest(manifest, tmp_path / "second", properties={"datapin.classes": '["x", "y"]'}, rules=SMALL)
    assert _kept(manifest, edited.manifest) == len(manifest.shards) - 1
    assert edited.manifest.digest == manifest.digest
    kept = edit_manifest(edited.manifest, tmp_path / "third", removed=pa.array(["a/00.png"]), rules=SMALL)
    assert kept.manifest.properties == {"datapin.classes": '["x", "y"]'}


@pytest.mark.parametrize("name", ["classes", "datapin.digest", "datapin.format"])
def test_a_property_needs_a_free_name_of_ours(name: str, rows_of: RowsOf, tmp_path: Path) -> None:
    with pytest.raises(BadRows, match="expected a name that starts with datapin"):
        write_manifest(rows_of(KEYS), tmp_path / "m", properties={name: "x"})


def test_marked_columns_name_assets_and_are_checked(rows_of: RowsOf, tmp_path: Path) -> None:
    marked = pa.field("mask", pa.string(), metadata={ASSET_MARK: b"true"})
    table = rows_of(KEYS).append_column(marked, pa.array(["0" * 64] * 39 + [None]))
    written = write_manifest(table, tmp_path / "m", rules=SMALL)
    assert asset_columns(Manifest.open(written.directory).schema) == ["asset_id", "mask"]
    bad = rows_of(KEYS).append_column(marked, pa.array(["nonsense"] * 40))
    with pytest.raises(BadRows, match="column 'mask': seen 'nonsense', expected 64 lower-case hex digits"):
        write_manifest(bad, tmp_path / "bad")


def test_a_stream_of_sorted_tables_is_the_same_as_one_table(manifest: Manifest, tmp_path: Path) -> None:
    table = manifest.to_table()

    def parts() -> Iterator[pa.Table]:
        for start in range(0, 40, 7):
            yield table.slice(start, 7)

    streamed = write_manifest(parts(), tmp_path / "second", properties=manifest.properties, rules=SMALL)
    assert _kept(manifest, streamed) == len(manifest.shards)


def test_a_stream_that_is_not_sorted_is_refused(manifest: Manifest, tmp_path: Path) -> None:
    table = manifest.to_table()
    with pytest.raises(BadRows, match="expected rows sorted by the bytes of key"):
        write_manifest(iter([table.slice(20), table.slice(0, 20)]), tmp_path / "second")
    with pytest.raises(BadRows, match=r"key 'a/19.png' is there twice"):
        write_manifest(iter([table.slice(0, 20), table.slice(19)]), tmp_path / "second")
    assert not (tmp_path / "second").exists()


def test_rows_written_again_reuse_the_bytes_of_the_manifest_before(manifest: Manifest, tmp_path: Path) -> None:
    path = manifest.directory / "part-00002.parquet"
    plain = path.read_bytes()
    # The same rows in other bytes, as another version of pyarrow might write them.
    pq.write_table(pq.read_table(path), path, compression="zstd", compression_level=19, write_statistics=["key"])
    other = path.read_bytes()
    assert other != plain
    previous = Manifest.open(manifest.directory, rules=SMALL)
    assert not previous.is_foreign
    write_manifest(previous.to_table(), tmp_path / "fresh", properties=manifest.properties, rules=SMALL)
    assert (tmp_path / "fresh" / path.name).read_bytes() == plain
    write_manifest(
        previous.to_table(), tmp_path / "reused", properties=manifest.properties, previous=previous, rules=SMALL
    )
    assert (tmp_path / "reused" / path.name).read_bytes() == other


def test_an_existing_directory_is_refused_and_kept(manifest: Manifest, rows_of: RowsOf) -> None:
    before = manifest.digest
    with pytest.raises(Refused, match="exists already"):
        write_manifest(rows_of(["x"]), manifest.directory)
    assert Manifest.open(manifest.directory).digest == before


def test_a_place_that_cannot_be_written_is_said_to_be_one(rows_of: RowsOf, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageFailed, match="cannot create"):
        write_manifest(rows_of(["x"]), tmp_path / "file" / "m")


@pytest.mark.parametrize("point", ["manifest.shard.written", "manifest.shard.copied", "manifest.directory.synced"])
@pytest.mark.parametrize("action", ["oserror=28", "oserror=5"])
def test_a_full_disk_leaves_nothing_and_says_so(point: str, action: str, manifest: Manifest, tmp_path: Path) -> None:
    code = (
        "import sys, pyarrow as pa\n"
        "from pathlib import Path\n"
        "from datapin.base.errors import StorageFailed\n"
        "from datapin.manifest.edit import edit_manifest\n"
        "from datapin.manifest.manifest import Manifest\n"
        "from datapin.manifest.files.shards import CutRules\n"
        "rules = CutRules(2, 9, 4)\n"
        "try:\n"
        "    edit_manifest(Manifest.open(Path(sys.argv[1]), rules=rules), Path(sys.argv[2]), rules=rules,\n"
        "                  upserts=pa.table({'key': ['a/20.png'], 'label': ['y']}))\n"
        "except StorageFailed as error:\n"
        "    print(error.message)\n"
    )
    arguments = [sys.executable, "-c", code, str(manifest.directory), str(tmp_path / "second")]
    ran = subprocess.run(
        arguments, env={"DATAPIN_FAILPOINT": f"{point}:1:{action}"}, capture_output=True, text=True, check=True
    )
    reason = {"oserror=28": "No space left on device", "oserror=5": "Input/output error"}[action]
    assert ran.stdout == f"cannot write {tmp_path / 'second'}: {reason}\n"
    assert not (tmp_path / "second").exists()
    assert Manifest.open(manifest.directory, rules=SMALL).digest == manifest.digest


# --- differences ----------------------------------------------------------------------------------------------------


def test_changes_are_counted_by_row_and_column(manifest: Manifest, rows_of: RowsOf, tmp_path: Path) -> None:
    upserts = rows_of(["a/03.png", "a/30.png", "b"], label=pa.array(["y", "x", "z"]))
    edited = edit_manifest(
        manifest, tmp_path / "second", upserts=upserts, removed=pa.array(["a/10.png"]), rules=SMALL
    ).manifest
    changes = count_changes(manifest, edited)
    assert (changes.added, changes.changed, changes.removed) == (1, 1, 1)
    assert changes.columns == (("label", 1),)
    assert compare_manifests(manifest, edited).changed.to_pylist() == ["a/03.png"]
    assert count_changes(None, manifest).added == 40
    assert count_changes(manifest, None).removed == 40
    assert count_changes(manifest, manifest) == count_changes(None, None)


def test_a_column_that_is_new_changes_the_rows_that_have_a_value(manifest: Manifest, tmp_path: Path) -> None:
    upserts = pa.table({"key": ["a/03.png"], "area": [5]})
    wider = edit_manifest(manifest, tmp_path / "wider", upserts=upserts, rules=SMALL).manifest
    assert count_changes(manifest, wider).columns == (("area", 1),)
    assert count_changes(wider, manifest).changed == 1


def test_only_shards_that_differ_are_read_for_a_comparison(manifest: Manifest, tmp_path: Path) -> None:
    edited = edit_manifest(
        manifest, tmp_path / "second", upserts=pa.table({"key": ["a/20.png"], "label": ["y"]}), rules=SMALL
    ).manifest
    same = {shard.digest for shard in manifest.shards} & {shard.digest for shard in edited.shards}
    for shard in (*manifest.shards, *edited.shards):
        if shard.digest in same:
            assert shard.path is not None
            shard.path.unlink()
    assert count_changes(manifest, edited).changed == 1
