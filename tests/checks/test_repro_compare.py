"""What differs in one output, said in one line; and what another environment means."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datapin.checks.repro.files import compare_files, compare_folders
from datapin.checks.repro.rerun import other_surroundings
from datapin.checks.repro.tables import compare_manifest_rows
from datapin.manifest.manifest import Manifest
from datapin.manifest.write import write_manifest
from datapin.pipeline.record.environment import environment_differences, environment_here

NAN = float("nan")


def compared(folder: Path, name: str, before: bytes | str, after: bytes | str) -> tuple[str, str]:
    for side, content in (("before", before), ("after", after)):
        (folder / side).mkdir()
        (folder / side / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    found = compare_files(folder / "before" / name, folder / "after" / name, name)
    return found.grade, found.message


@pytest.mark.parametrize(
    ("name", "before", "after", "grade", "message"),
    [
        (
            "m.json",
            '{"a": 1.0, "b": [1]}',
            '{"b": [1], "a": 1}',
            "equal",
            "the values are equal, written in another way",
        ),
        (
            "m.json",
            '{"t": {"loss": 0.25, "n": 3}}',
            '{"t": {"loss": 0.25001, "n": 3}}',
            "close",
            "1 value(s) differ, first t.loss 0.25 → 0.25001; largest difference 1e-05 (t.loss)",
        ),
        (
            "m.json",
            '{"t": {"loss": 0.25, "n": 3}}',
            '{"t": {"loss": 0.35, "n": 4}}',
            "different",
            "2 value(s) differ, first t.loss 0.25 → 0.35; largest difference 1 (t.n)",
        ),
        ("m.json", '{"n": 3}', '{"n": 4}', "different", "1 value(s) differ, first n 3 → 4; largest difference 1 (n)"),
        ("m.json", '{"n": true}', '{"n": 1}', "different", "1 value(s) differ, first n true → 1"),
        ("m.json", '{"c": ["x", "y"]}', '{"c": ["x"]}', "different", '1 value(s) differ, first c[1] "y" → nothing'),
        ("m.json", "{not", "{json", "different", "1 line(s) differ, first line 1: '{not' → '{json'"),
        (
            "p.csv",
            "class,rows\na,3\nb,4\n",
            "class,rows\na,3\nb,5\n",
            "different",
            "1 line(s) differ, first line 3, column rows: '4' → '5'; largest difference 1 (line 3)",
        ),
        (
            "p.csv",
            "x,y\n0.5,0.25\n",
            "x,y\n0.5,0.250001\n",
            "close",
            "1 line(s) differ, first line 2, column y: '0.25' → '0.250001'; largest difference 1e-06 (line 2)",
        ),
        ("p.csv", "x\n1.5\n", "x\n1.5\n2.5\n", "different", "1 line(s) differ, first line 3: nothing → '2.5'"),
        ("t.txt", "a\r\n", "a\n", "equal", "the lines are equal, their ends are not"),
        ("t.txt", "v1.2.3\n", "v1.2.4\n", "different", "1 line(s) differ, first line 1: 'v1.2.3' → 'v1.2.4'"),
        ("t.yaml", "f1: 0.98\n", "f1: 0.12\n", "different", "1 line(s) differ, first line 1: 'f1: 0.98' → 'f1: 0.12'"),
        ("m.bin", b"\xff\x00ab", b"\xff\x00abc", "opaque", "4 bytes are now 5, the first other one at byte 4"),
        ("m.bin", b"\xff\x00ab", b"\xff\x01ab", "opaque", "4 bytes, the first other one at byte 1"),
    ],
)
def test_files_are_compared_by_what_they_hold(
    tmp_path: Path, name: str, before: bytes | str, after: bytes | str, grade: str, message: str
) -> None:
    seen, said = compared(tmp_path, name, before, after)
    assert seen == grade
    assert said.startswith(message)


def test_run_records_are_compared_without_environment_and_hashes(tmp_path: Path) -> None:
    record: dict[str, Any] = {
        "format": 1,
        "environment": {"zlib": "1"},
        "outputs": {"m": "0"},
        "metrics": {"loss": 0.5},
    }
    record["model"] = {"path": "m", "sha256": "0"}
    other = {**record, "environment": {"zlib": "2"}, "outputs": {"m": "1"}, "model": {"path": "m", "sha256": "1"}}
    texts = [json.dumps({"runs": [one]}) for one in (record, other, {**other, "seed": 1})]
    seen, said = compared(tmp_path, "run.json", texts[0], texts[1])
    assert (seen, said) == ("equal", "only what it tells of the environment and of other outputs differs")
    (tmp_path / "other").mkdir()
    assert compared(tmp_path / "other", "run.json", texts[0], texts[2]) == (
        "different",
        "1 value(s) differ, first seed nothing → 1",
    )


def test_folders_are_compared_file_by_file(tmp_path: Path) -> None:
    for name, text in (("a", "1.5"), ("b", "x"), ("c", "1.50001"), ("d", "y")):
        (tmp_path / name).write_text(text)
    a, b, c, d = (tmp_path / name for name in "abcd")
    assert compare_folders({"n": a}, {"n": a}).grade == "equal"
    assert compare_folders({"n": a, "t": b}, {"n": c, "t": b}).grade == "close"
    worst = compare_folders({"n": a, "t": b}, {"n": c, "t": d})
    assert worst.grade == "different"
    assert worst.message.startswith("2 file(s) of 2 differ, for example t: 1 line(s) differ")
    gone = compare_folders({"n": a, "t": b}, {"n": a, "u": b})
    assert gone.message == "1 file(s) are missing: t; 1 file(s) are new: u"


def predictions(folder: Path, name: str, keys: list[str], **columns: list[Any]) -> Path:
    path = folder / name
    pq.write_table(pa.table({"key": keys, **columns}), path)
    return path


@pytest.mark.parametrize(
    ("before", "after", "grade", "message"),
    [
        (([0.5, NAN], "ab"), ([0.5001, NAN], "ab"), "close", "first 'k0': probability 0.5 → 0.5001"),
        (([0.5, 0.5], "ab"), ([0.5, 0.75], "ab"), "different", "largest difference 0.25 (probability of k1)"),
        (([0.5, 0.5], "ab"), ([0.5, 0.5], "aa"), "different", "first 'k1': predicted 'b' → 'a'"),
        (
            ([0.5, NAN], "ab"),
            ([0.5, 0.1], "ab"),
            "different",
            "1 row(s) of 2 differ (1 changed), first 'k1': probability",
        ),
    ],
)
def test_predictions_are_compared_by_key(
    tmp_path: Path, before: tuple[list[float], str], after: tuple[list[float], str], grade: str, message: str
) -> None:
    old = predictions(tmp_path, "old.parquet", ["k0", "k1"], probability=before[0], predicted=list(before[1]))
    new = predictions(tmp_path, "new.parquet", ["k1", "k0"], probability=after[0][::-1], predicted=list(after[1])[::-1])
    found = compare_files(old, new, "predictions.parquet")
    assert found.grade == grade
    assert message in found.message


def test_rows_without_keys_are_compared_in_their_order(tmp_path: Path) -> None:
    for name, values in (("old", [1, 2]), ("new", [1, 3, 4])):
        pq.write_table(pa.table({"n": values}), tmp_path / f"{name}.parquet")
    found = compare_files(tmp_path / "old.parquet", tmp_path / "new.parquet", "x.parquet")
    assert found.message == (
        "2 row(s) of 2 differ (1 added, 1 changed), first 'row 1': n 2 → 3; largest difference 1 (n of row 1)"
    )


def manifest(folder: Path, keys: str, **columns: list[Any]) -> Manifest:
    table = {
        "key": list(keys),
        "asset_id": [key * 64 for key in keys],
        "size": pa.array([1] * len(keys), pa.int64()),
        "media_type": ["image/png"] * len(keys),
    }
    return write_manifest(pa.table({**table, **columns}), folder)


def test_manifests_are_compared_row_by_row(tmp_path: Path) -> None:
    one = manifest(tmp_path / "one", "abcd", weight=[0.5, 0.5, 0.5, 0.5], label=["x", "x", "y", "y"])
    close = manifest(tmp_path / "close", "abcd", weight=[0.5, 0.500001, 0.5, 0.5], label=["x", "x", "y", "y"])
    assert compare_manifest_rows(one, close).grade == "close"
    other = manifest(tmp_path / "other", "bcde", weight=[0.5, 0.25, 0.5, 0.5], label=["x", "x", "y", "y"])
    found = compare_manifest_rows(one, other)
    assert found.grade == "different"
    assert found.message == (
        "3 row(s) of 4 differ (1 added, 1 missing, 1 changed), first 'a': is missing; "
        "columns: label in 1, weight in 1; largest difference 0.25 (weight of c)"
    )
    typed = manifest(tmp_path / "typed", "abcd", weight=[1, 2, 3, 4], label=["x", "x", "y", "y"])
    assert "first 'a': weight double '0.5' → int64 '1'" in compare_manifest_rows(one, typed).message
    more = manifest(
        tmp_path / "more", "abcd", weight=[0.5] * 4, label=["x", "x", "y", "y"], new=["1", None, None, None]
    )
    assert "1 row(s) of 4 differ (1 changed), first 'a': new " in compare_manifest_rows(one, more).message


def test_this_machine_does_not_differ_from_itself() -> None:
    assert environment_differences(environment_here(), environment_here()) == []


@pytest.mark.parametrize(
    ("recorded", "here", "reach", "sentence"),
    [
        (
            {"libraries": {"pyarrow": "20.0.0"}},
            {"libraries": {"pyarrow": "21.0.0"}},
            "files",
            "pyarrow is 21.0.0 here, 20.0.0 in the run record, which matters: the bytes of Parquet files may differ",
        ),
        (
            {"libraries": {"joblib": "1.0"}},
            {"libraries": {}},
            "nothing",
            "joblib is not installed here, 1.0 in the run record, which does not matter: it only hands out work",
        ),
        (
            {"libraries": {"torch": "2.0"}},
            {"libraries": {"torch": "2.1"}},
            "results",
            "torch is 2.1 here, 2.0 in the run record, which matters: nobody has said yet what depends on it",
        ),
        (
            {"cpu_features": ["AVX2", "AVX512_ICL"]},
            {"cpu_features": ["AVX2", "ASIMD"]},
            "numbers",
            "the processor is with ASIMD and without AVX512_ICL here, with AVX512_ICL and without ASIMD in the run",
        ),
        (
            {"blas": [{"name": "openblas", "version": "0.3.30", "architecture": "SkylakeX", "threading": "pthreads"}]},
            {"blas": [{"name": "openblas", "version": "0.3.30", "architecture": "Zen", "threading": "pthreads"}]},
            "numbers",
            "BLAS is openblas 0.3.30 Zen pthreads here, openblas 0.3.30 SkylakeX pthreads in the run record",
        ),
        ({"python": "3.11.7"}, {"python": "3.12.1"}, "nothing", "Python is 3.12.1 here, 3.11.7 in the run record"),
        (
            {"zlib": "1.2.13"},
            {"zlib": "1.3.1"},
            "results",
            "zlib is 1.3.1 here, 1.2.13 in the run record, which matters",
        ),
        ({"machine": "x86_64"}, {"machine": "aarch64"}, "numbers", "the processor's architecture is aarch64 here"),
        ({"quantum": "off"}, {}, "results", "quantum is not installed here, off in the run record"),
    ],
)
def test_each_difference_is_a_sentence(
    recorded: dict[str, Any], here: dict[str, Any], reach: str, sentence: str
) -> None:
    (found,) = environment_differences(recorded, here)
    assert found.reach == reach
    assert found.sentence.startswith(sentence)


def test_what_reaches_farthest_comes_first() -> None:
    recorded = {"libraries": {"joblib": "1", "pyarrow": "1", "scikit-learn": "1"}, "machine": "a", "python": "3"}
    here = {"libraries": {"joblib": "2", "pyarrow": "2", "scikit-learn": "2"}, "machine": "b", "python": "4"}
    found = [one.reach for one in environment_differences(recorded, here)]
    assert found == ["results", "numbers", "files", "nothing", "nothing"]


@pytest.mark.parametrize(
    "usual",
    [
        {},
        {"LANG": "C.UTF-8"},
        {"LC_ALL": "C"},
        {"LC_ALL": "POSIX", "TZ": "NPT-5:45"},
        {"LANG": "de_DE.UTF-8", "OMP_NUM_THREADS": "1"},
        {"LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "64"},
    ],
)
def test_a_rerun_has_other_surroundings_whatever_the_usual_ones_are(usual: dict[str, str]) -> None:
    found = other_surroundings(usual, "0" * 40, 3).variables
    assert found["TZ"] != usual.get("TZ", "UTC")
    assert found["LC_ALL"] not in (usual.get("LC_ALL"), usual.get("LANG"))
    assert found["OMP_NUM_THREADS"] != usual.get("OMP_NUM_THREADS")
    assert int(found["OMP_NUM_THREADS"]) >= 1
    assert int(found["PYTHONHASHSEED"]) > 0
    assert int(found["OMP_NUM_THREADS"]) != os.cpu_count(), "what a shell without the variable has"
    assert found == other_surroundings(usual, "0" * 40, 3).variables
