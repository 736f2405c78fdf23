"""Directories that other programs wrote, and files that are broken or built to harm."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from datapin.base.errors import BadKeys, BadRows, DamagedManifest, DatapinError, ManifestMissing
from datapin.manifest.files.shards import CutRules
from datapin.manifest.manifest import Manifest
from datapin.manifest.write import write_manifest

SMALL = CutRules(least_rows=2, most_rows=9, modulus=4)
KEYS = [f"a/{number:02d}.png" for number in range(30)]

RowsOf = Callable[..., pa.Table]


@pytest.fixture
def table(rows_of: RowsOf) -> pa.Table:
    return rows_of(KEYS, label=pa.array(["x", "y", None] * 10))


@pytest.fixture
def ours(table: pa.Table, tmp_path: Path) -> Manifest:
    return write_manifest(table, tmp_path / "ours", rules=SMALL)


def _foreign(folder: Path, **files: pa.Table) -> Manifest:
    folder.mkdir(exist_ok=True)
    for name, rows in files.items():
        pq.write_table(rows, folder / f"{name}.parquet")
    return Manifest.open(folder, "data/raw", rules=SMALL)


def test_a_file_that_pandas_wrote_opens_with_our_digest(table: pa.Table, ours: Manifest, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    frame = table.to_pandas().sample(frac=1, random_state=3)  # leaves __index_level_0__ and pandas metadata
    frame.to_parquet(tmp_path / "theirs" / "rows.parquet")
    opened = Manifest.open(tmp_path / "theirs")
    assert opened.is_foreign
    assert opened.rows == 30
    assert "__index_level_0__" not in opened.schema.names
    assert opened.digest == write_manifest(table, tmp_path / "production").digest
    assert opened.to_table().to_pylist() == ours.to_table().to_pylist()


def test_keys_kept_as_the_index_of_a_frame_are_found(table: pa.Table, ours: Manifest, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    table.to_pandas().set_index("key").to_parquet(tmp_path / "theirs" / "rows.parquet")
    assert Manifest.open(tmp_path / "theirs", rules=SMALL).digest == ours.digest


def test_a_file_that_duckdb_wrote_opens_with_our_digest(table: pa.Table, ours: Manifest, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    with duckdb.connect() as connection:
        connection.register("rows", table)
        connection.execute(f"COPY (FROM rows ORDER BY random()) TO '{tmp_path}/theirs/x.parquet' (FORMAT parquet)")
    assert Manifest.open(tmp_path / "theirs", rules=SMALL).digest == ours.digest


def test_our_directory_is_read_by_pandas_and_duckdb_without_us(ours: Manifest, table: pa.Table) -> None:
    frame = pd.read_parquet(ours.directory)
    assert frame["key"].tolist() == KEYS
    assert frame["label"].isna().sum() == 10
    seen = duckdb.sql(f"SELECT count(*), sum(size) FROM '{ours.directory}/*.parquet'")
    assert seen is not None
    assert seen.fetchall() == [(30, sum(map(len, KEYS)))]


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())])
def test_other_text_types_are_the_same_rows(kind: pa.DataType, table: pa.Table, ours: Manifest, tmp_path: Path) -> None:
    other = pa.table({name: pa.array(table[name].to_pylist(), kind) for name in ("label", "asset_id", "key")})
    other = other.append_column("size", table["size"].cast(pa.uint16()))
    assert _foreign(tmp_path / "theirs", rows=other).digest == ours.digest


def test_files_may_lack_columns_that_others_have(table: pa.Table, tmp_path: Path) -> None:
    opened = _foreign(
        tmp_path / "theirs",
        one=table.slice(0, 10).drop_columns(["label"]),
        two=table.slice(10, 10),
        three=table.slice(20).set_column(3, "label", pa.nulls(10)),
    )
    expected = ["x", "y", None] * 10
    assert opened.to_table()["label"].to_pylist() == [None] * 10 + expected[10:20] + [None] * 10


def test_a_shard_rewritten_by_pyarrow_is_not_believed_to_have_its_old_digest(ours: Manifest) -> None:
    before = ours.digest
    path = ours.directory / "part-00001.parquet"
    shard = pq.read_table(path)
    assert shard.schema.metadata[b"datapin.digest"]
    changed = shard.set_column(3, "label", pa.array(["z"] * len(shard)))
    pq.write_table(changed.replace_schema_metadata(shard.schema.metadata), path)
    opened = Manifest.open(ours.directory, rules=SMALL)
    assert opened.is_foreign
    assert opened.digest != before
    assert pc.sum(pc.equal(opened.to_table()["label"], "z")).as_py() == len(shard)


def test_hidden_files_and_spark_marks_are_passed_over(ours: Manifest) -> None:
    (ours.directory / ".crc").write_bytes(b"x")
    (ours.directory / "_SUCCESS").write_bytes(b"")
    assert not Manifest.open(ours.directory, rules=SMALL).is_foreign


def test_shards_that_are_links_open(ours: Manifest, tmp_path: Path) -> None:
    (tmp_path / "linked").mkdir()
    for path in ours.directory.iterdir():
        (tmp_path / "linked" / path.name).symlink_to(path)
    assert Manifest.open(tmp_path / "linked", rules=SMALL).digest == ours.digest


# --- rules that rows break ------------------------------------------------------------------------------------------

_ID = "0" * 64


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"size": None}, "no column 'size'; seen 'key', 'asset_id'"),
        ({"asset_id": None, "size": None}, "no column 'asset_id', 'size'"),
        ({"size": pa.array([1.5, 2.0])}, "column size: seen type 'double', expected int64"),
        ({"size": pa.array(["1", "2"])}, "column size: seen type 'string', expected int64"),
        ({"size": pa.array([1, -2])}, "column size: seen -2, expected bytes, zero or more"),
        ({"size": pa.array([1, None])}, "column size: 1 null(s), expected a value in every row"),
        ({"size": pa.array([1, 2**63], pa.uint64())}, "column 'size': "),
        ({"asset_id": pa.array([_ID, "ABC"])}, "column 'asset_id': seen 'ABC', expected 64 lower-case hex digits"),
        ({"asset_id": pa.array([_ID, "A" * 64])}, "expected 64 lower-case hex digits"),
        ({"asset_id": pa.array([_ID, "../" + "a" * 61])}, "expected 64 lower-case hex digits"),
        ({"asset_id": pa.array([_ID, None])}, "column asset_id: 1 null(s)"),
        ({"asset_id": pa.array([b"x" * 32] * 2)}, "column asset_id: seen type 'binary', expected string"),
        ({"key": pa.array([1, 2])}, "column key: seen type 'int64', expected string"),
        ({"key": pa.array(["a", "a"])}, "1 key(s) are there more than once: 'a'"),
        ({"key": pa.array(["a", "../b"])}, "'../b' has a part '..'"),
        ({"key": pa.array(["a", "b\x1b[2J"])}, r"'b\x1b[2J' holds a control character"),
        ({"key": pa.array(["a", None])}, "null"),
        ({"label": pa.array([True, False])}, "column label: seen type 'bool', expected string or a number"),
        ({"label": pa.array([["a"], ["b"]])}, "column label: seen type 'list<"),
        ({"split": pa.array([1, 2])}, "column split: seen type 'int64', expected string"),
        ({"group": pa.array([1, 2])}, "column group: seen type 'int64', expected string"),
        ({"media_type": pa.array([1, 2])}, "column media_type: seen type 'int64', expected string"),
        ({"parent": pa.array(["/etc/passwd", None])}, "column parent: '/etc/passwd' is absolute"),
        ({"parent_id": pa.array(["x", None])}, "column 'parent_id': seen 'x'"),
        ({"operator": pa.array(["x", None])}, "column 'operator': seen 'x'"),
        ({"Label": pa.array(["a", "b"]), "label": pa.array(["a", "b"])}, "have the same name, case aside"),
        ({"bad\nname": pa.array(["a", "b"])}, r"column name 'bad\nname' is empty, too long or not printable"),
        ({"": pa.array(["a", "b"])}, "column name '' is empty"),
    ],
)
def test_a_broken_rule_names_the_column_what_is_seen_and_what_expected(
    change: dict[str, pa.Array | None], says: str, tmp_path: Path
) -> None:
    columns = {"key": pa.array(["a", "b"]), "asset_id": pa.array([_ID, _ID]), "size": pa.array([1, 2]), **change}
    broken = pa.table({name: column for name, column in columns.items() if column is not None})
    with pytest.raises((BadRows, BadKeys)) as caught:
        _foreign(tmp_path / "theirs", rows=broken).to_table()
    assert says in str(caught.value)
    assert str(caught.value).isprintable()
    with pytest.raises((BadRows, BadKeys)) as written:
        write_manifest(broken, tmp_path / "new")
    assert says in str(written.value)
    assert not (tmp_path / "new").exists()


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    bad = pa.array([b"\xff", b"b"]).view(pa.string())
    for name in ("key", "note"):
        columns = {"key": pa.array(["a", "b"]), "asset_id": pa.array([_ID, _ID]), "size": pa.array([1, 2]), name: bad}
        with pytest.raises((BadRows, BadKeys), match=r"UTF-?8"):
            _foreign(tmp_path / name, rows=pa.table(columns)).to_table()


def test_two_files_with_the_same_key_are_refused(table: pa.Table, tmp_path: Path) -> None:
    with pytest.raises(BadRows, match=r"1 key\(s\) are there more than once: 'a/00.png'"):
        _foreign(tmp_path / "theirs", one=table, two=table.slice(0, 1)).to_table()


def test_an_extension_type_is_refused_by_name(table: pa.Table, tmp_path: Path) -> None:
    column = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"x" * 16] * 30, pa.binary(16)))
    with pytest.raises(BadRows, match="column 'id': extension type"):
        _foreign(tmp_path / "theirs", rows=table.append_column("id", column))


def test_a_type_that_parquet_cannot_hold_is_refused_when_written(table: pa.Table, tmp_path: Path) -> None:
    column = pa.array([None] * 30, pa.month_day_nano_interval())
    with pytest.raises(BadRows, match="column 'span': type 'month_day_nano_interval' cannot be stored"):
        write_manifest(table.append_column("span", column), tmp_path / "new")


def test_a_newer_format_is_refused_as_such(table: pa.Table, tmp_path: Path) -> None:
    with pytest.raises(BadRows, match="format '2', this datapin reads '1'"):
        _foreign(tmp_path / "theirs", rows=table.replace_schema_metadata({"datapin.format": "2"}))


# --- damage ---------------------------------------------------------------------------------------------------------


def test_a_missing_shard_is_missing_data_not_fewer_rows(ours: Manifest) -> None:
    (ours.directory / "part-00001.parquet").unlink()
    with pytest.raises(ManifestMissing, match=r"part-00001\.parquet is missing"):
        Manifest.open(ours.directory, rules=SMALL)


def test_a_dangling_link_is_missing_data(ours: Manifest, tmp_path: Path) -> None:
    path = ours.directory / "part-00001.parquet"
    path.unlink()
    path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(ManifestMissing, match=r"part-00001\.parquet is missing"):
        Manifest.open(ours.directory, rules=SMALL)


def test_a_shard_of_another_dataset_is_noticed(ours: Manifest, rows_of: RowsOf, tmp_path: Path) -> None:
    other = write_manifest(rows_of(["a/05x.png"], label=pa.array(["x"])), tmp_path / "other", rules=SMALL)
    (ours.directory / "part-00001.parquet").write_bytes((other.directory / "part-00000.parquet").read_bytes())
    with pytest.raises(DamagedManifest, match="the shard before it ends at"):
        Manifest.open(ours.directory, rules=SMALL)


def test_directories_that_are_no_manifests_say_why(tmp_path: Path) -> None:
    with pytest.raises(ManifestMissing):
        Manifest.open(tmp_path / "nowhere", "data/raw")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DamagedManifest, match=r"data/raw .* holds no Parquet file"):
        Manifest.open(tmp_path / "empty", "data/raw")
    (tmp_path / "empty" / "notes.txt").write_text("x")
    with pytest.raises(DamagedManifest, match=r"holds 'notes\.txt', expected Parquet files and nothing else"):
        Manifest.open(tmp_path / "empty", "data/raw")
    with pytest.raises(DamagedManifest, match="a file, expected a directory"):
        Manifest.open(tmp_path / "empty" / "notes.txt", "data/raw")
    (tmp_path / "nested" / "part-00000.parquet").mkdir(parents=True)
    with pytest.raises(DamagedManifest, match="expected Parquet files"):
        Manifest.open(tmp_path / "nested", "data/raw")


def test_a_pipe_among_the_shards_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "part-00000.parquet")
    with pytest.raises(DamagedManifest, match="expected Parquet files"):
        Manifest.open(tmp_path, "data/raw")


@pytest.mark.parametrize(
    "data",
    [b"", b"P", b"PAR1", b"PAR1PAR1", b"not parquet at all", b"PAR1" + b"\xff\xff\xff\xff" + b"PAR1"]
    + [b"PAR1" + b"\0" * size + struct.pack("<I", size) + b"PAR1" for size in (0, 1, 100, 100_000)]
    + [b"PAR1" + b"\xff" * 100 + struct.pack("<I", 100) + b"PAR1"],
    ids=range(11),
)
def test_bytes_that_are_not_parquet_are_damage(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "part-00000.parquet").write_bytes(data)
    with pytest.raises(DamagedManifest, match=r"data/raw/part-00000\.parquet"):
        Manifest.open(tmp_path, "data/raw")


def test_an_encrypted_footer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "part-00000.parquet").write_bytes(b"PARE" + b"\0" * 60 + struct.pack("<I", 40) + b"PARE")
    with pytest.raises(BadRows, match="encrypted Parquet, expected plain"):
        Manifest.open(tmp_path, "data/raw")


def test_a_shard_cut_off_anywhere_is_damage(ours: Manifest) -> None:
    path = ours.directory / "part-00000.parquet"
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedManifest):
            Manifest.open(ours.directory, rules=SMALL)


def test_a_changed_byte_anywhere_is_an_error_of_ours_or_changes_nothing(ours: Manifest) -> None:
    path = ours.directory / "part-00000.parquet"
    whole, rows = path.read_bytes(), ours.to_table()
    generator = np.random.default_rng(5)
    refused = 0
    for place in generator.choice(len(whole), 400, replace=False):
        broken = bytearray(whole)
        broken[place] ^= 1 << int(generator.integers(8))
        path.write_bytes(broken)
        try:
            opened = Manifest.open(ours.directory, rules=SMALL)
            opened.verify()
            seen = opened.to_table()
        except DatapinError:
            refused += 1
        else:
            # A bit that neither rows nor digest depend on, the writer's name for example, or one that makes the file
            # a foreign one with other rows, and so another digest.
            assert seen.equals(rows) or opened.digest != ours.digest
    assert refused > 200


def test_a_digest_that_is_not_of_the_rows_is_found_by_verify(ours: Manifest) -> None:
    path = ours.directory / "part-00002.parquet"
    digest = ours.shards[2].digest
    path.write_bytes(path.read_bytes().replace(digest.encode(), b"0" * 64))
    opened = Manifest.open(ours.directory, rules=SMALL)
    with pytest.raises(DamagedManifest, match=f"rows hash to {digest[:12]}, its footer says 000000000000"):
        opened.verify()


def test_a_cut_that_is_not_the_stable_one_is_found_by_verify(table: pa.Table, tmp_path: Path) -> None:
    coarse = write_manifest(table, tmp_path / "coarse", rules=CutRules(least_rows=4, most_rows=20, modulus=3))
    with pytest.raises(DamagedManifest, match="cut into shards of"):
        Manifest.open(coarse.directory, rules=SMALL).verify()


def test_a_few_bytes_that_claim_many_rows_are_refused_before_they_are_read(tmp_path: Path) -> None:
    rows = 20_000_000
    constant = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, dtype=np.int32)), pa.array(["a"]))
    bomb = pa.table(
        {"key": constant, "asset_id": constant, "size": pa.DictionaryArray.from_arrays(constant.indices, [1])}
    )
    pq.write_table(bomb, tmp_path / "part-00000.parquet")
    assert (tmp_path / "part-00000.parquet").stat().st_size < 1_000_000
    with pytest.raises(DamagedManifest, match="claims 20000000 rows"):
        Manifest.open(tmp_path, "data/raw")


def test_one_long_text_repeated_by_a_dictionary_is_refused_before_it_is_unpacked(
    rows_of: RowsOf, tmp_path: Path
) -> None:
    rows = rows_of([f"{number:05d}" for number in range(20_000)])
    long = pa.DictionaryArray.from_arrays(pa.array(np.zeros(20_000, dtype=np.int32)), pa.array(["x" * 100_000]))
    opened = _foreign(tmp_path / "theirs", rows=rows.append_column("note", long))
    with pytest.raises(DamagedManifest, match="column 'note' unpacks to 2000000000 bytes of text"):
        opened.to_table()
