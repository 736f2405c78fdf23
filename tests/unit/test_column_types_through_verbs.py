"""Every type of column that `add` takes, through every verb that shows or keeps rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from arrow_types import COLUMNS
from clones import Clone
from datapin.manifest.columns.values import python_rows, python_values
from datapin.repo import Repo

DATASET = "data/raw"
SHOWN: dict[str, list[Any]] = {
    "float16": [1.5, None, 2.25],
    "date32": ["1970-01-02", None, "12921-08-18"],
    "time64_ns": ["00:00:00.000000001", None, "01:00:00.000000007"],
    "timestamp_us_late": ["1970-01-01 00:00:00.000001", None, "10000-01-12 13:46:40.000000"],
    "timestamp_ms_early": ["-1199-02-15 14:13:20.000", None, "1970-01-01 00:00:00.003"],
    "timestamp_ns": ["2023-11-14 22:13:20.123456789", None, "1970-01-01 00:00:00.000000003"],
    "timestamp_ns_utc": ["2023-11-14 22:13:20.123456789Z", None, "1970-01-01 00:00:00.000000003Z"],
    "duration_s_long": ["1 s", None, "1000000000000000 s"],
    "duration_ns": ["1 ns", None, "3000 ns"],
    "list_ns": [["2023-11-14 22:13:20.123456789"], None, []],
    "map": [[("a", "2023-11-14 22:13:20.123456789")], None, []],
}


def described(repo: Clone) -> Repo:
    """A dataset of three rows with all the columns."""
    folder = repo.path / "photos"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.bin").write_bytes(bytes([number]))
    table = pa.table({"file_name": pa.array([f"{n}.bin" for n in range(3)], pa.string_view()), **COLUMNS})
    pq.write_table(table, repo.path / "m.parquet")
    found = Repo.find(repo.path)
    found.add([str(folder)], to=DATASET, metadata=str(repo.path / "m.parquet"))
    return found


def test_every_type_is_kept_and_shown_by_every_verb(repo: Clone) -> None:
    found = described(repo)
    table = found.open(DATASET).to_arrow()
    for name, given in COLUMNS.items():
        assert _is_same(table[name].combine_chunks(), given), name
        assert python_values(table[name])[1] is None, name
    for name, shown in SHOWN.items():
        assert python_values(table[name]) == shown, name
    assert found.open(DATASET)[1].row["timestamp_ns"] is None
    assert found.open(DATASET)[2].row["timestamp_ns"] == SHOWN["timestamp_ns"][2]

    digest = found.show(DATASET).digest
    assert found.write(DATASET, table).digest == digest
    repo.commit("v1")

    queried = found.query(f"SELECT * FROM '{DATASET}'")
    assert queried.num_rows == 3
    for name in COLUMNS:
        nulls = 3 if name == "null" else 1
        assert queried[name].null_count == nulls, name
        assert found.query(f"SELECT count(DISTINCT \"{name}\") AS n FROM '{DATASET}'")["n"][0].as_py() == 3 - nulls, (
            name
        )
        assert found.ls(DATASET, where=f'"{name}" IS NOT NULL', columns=[name]).num_rows == 3 - nulls, name
    json.dumps(python_rows(queried), default=str)

    # What SQL gives back is what was there, in every type: nothing has changed.
    assert found.update(DATASET, [f'{name}="{name}"' for name in COLUMNS]).changed == 0
    assert found.show(DATASET).digest == digest

    found.update(DATASET, [f"{name}=NULL" for name in COLUMNS], where="key = '0.bin'")
    report = found.diff(DATASET)
    assert report.columns == dict.fromkeys([name for name in COLUMNS if name != "null"], 1) | {}
    before = report.rows[0].before or {}
    assert before["timestamp_ns"] == SHOWN["timestamp_ns"][0]
    assert before["duration_ns"] == "1 ns"

    repo.commit("v2")
    assert [one.change for one in found.row_log(DATASET, "0.bin")] == ["changed", "added"]
    _check_command_line(repo)


def _check_command_line(repo: Clone) -> None:
    """As a user sees it: pandas is kept out there, which Arrow asks for to show nanoseconds."""
    rows = {row["key"]: row for row in repo.json("ls", f"{DATASET}@~1", "--columns", ",".join(["key", *COLUMNS]))}
    for name, shown in SHOWN.items():
        assert rows["0.bin"][name] == json.loads(json.dumps(shown[0], default=str)), name
        assert rows["1.bin"][name] is None, name
    assert rows["0.bin"]["binary_view"] == "61"
    assert rows["0.bin"]["decimal256"] == "1.50"
    for words in (["query", f"SELECT * FROM '{DATASET}'"], ["ls", DATASET], ["log", DATASET, "--key", "0.bin"]):
        assert "0.bin" in repo.datapin(*words).stdout or words[0] == "log"
    assert "2023-11-14 22:13:20.123456789" in repo.datapin("diff", DATASET, "HEAD~1", "HEAD").stdout


def _is_same(stored: pa.Array, given: pa.Array) -> bool:
    if "list_view" in str(given.type):  # Arrow's cast breaks these
        return bool(stored.to_pylist() == given.to_pylist())
    plain = given.dictionary_decode() if pa.types.is_dictionary(given.type) else given
    return bool(stored.equals(plain.cast(stored.type)))


def test_intervals_in_a_query_are_shown_and_stored_as_durations(repo: Clone) -> None:
    found = described(repo)
    spans = found.query(f"SELECT duration_us * 2 AS twice, INTERVAL '1 month 2 days' AS odd FROM '{DATASET}' LIMIT 1")
    assert [str(value) for value in python_values(spans["twice"])] == ["-1 day, 23:59:59.999998"]
    assert python_values(spans["odd"]) == ["1 months 2 days"]
    found.update(DATASET, ["duration_us=duration_us * 2"], where="key = '2.bin'")
    assert found.open(DATASET).to_arrow()["duration_us"].cast(pa.int64()).to_pylist() == [-1, None, 6 * 86_400_000_000]


@pytest.mark.parametrize("kind", [pa.month_day_nano_interval(), pa.struct([])])
def test_what_cannot_be_stored_is_one_error_that_says_the_way_out(tmp_path: Path, kind: pa.DataType) -> None:
    from datapin.base.errors import BadRows
    from datapin.trees.intake.tables.column_kinds import stored

    with pytest.raises(BadRows, match="column 'x'") as caught:
        stored(pa.nulls(2, kind), "x", "m.parquet")
    assert "--types x=text" in caught.value.hint
