from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from clones import Clone, write_images


def test_add_makes_assets_rows_and_a_pointer(repo: Clone) -> None:
    write_images(repo.path / "img")
    report = repo.json("add", "img", "--to", "data/raw", "--label", "parent")
    assert {name: report[name] for name in ("dataset", "added", "changed", "removed", "unchanged", "rows")} == {
        "dataset": "data/raw", "added": 12, "changed": 0, "removed": 0, "unchanged": 0, "rows": 12,
    }  # fmt: skip
    assert report["new_assets"] == 12
    assert report["digest"].startswith("sha256:")
    rows = repo.json("ls", "data/raw")
    assert [row["key"] for row in rows] == sorted(row["key"] for row in rows)
    first = rows[0]
    content = (repo.path / "img" / first["key"]).read_bytes()
    assert first["asset_id"] == hashlib.sha256(content).hexdigest()
    assert (first["key"], first["label"], first["size"]) == ("a/00.bin", "a", len(content))


def test_adding_again_changes_nothing_and_an_edit_changes_one_row(filled: Clone) -> None:
    before = filled.files("data")
    again = filled.json("add", "img", "--to", "data/raw", "--label", "parent")
    assert (again["added"], again["changed"], again["unchanged"], again["new_assets"]) == (0, 0, 12, 0)
    assert filled.files("data") == before
    assert filled.git("status", "--porcelain") == ""
    (filled.path / "img" / "a" / "00.bin").write_bytes(b"edited")
    (filled.path / "img" / "c").mkdir()
    (filled.path / "img" / "c" / "new.bin").write_bytes(b"new")
    (filled.path / "img" / "b" / "05.bin").unlink()
    changed = filled.json("add", "img", "--to", "data/raw", "--label", "parent")
    assert (changed["added"], changed["changed"], changed["removed"], changed["unchanged"]) == (1, 1, 0, 11)
    mirrored = filled.json("add", "img", "--to", "data/raw", "--label", "parent", "--mirror")
    assert (mirrored["added"], mirrored["removed"], mirrored["rows"]) == (0, 1, 12)


def test_the_digest_does_not_depend_on_history(filled: Clone, blank: Path, tmp_path: Path) -> None:
    (filled.path / "img" / "a" / "00.bin").write_bytes(b"x")
    filled.datapin("add", "img", "--to", "data/raw", "--label", "parent")
    (filled.path / "img" / "a" / "00.bin").write_bytes(b"a0" * 50)
    back = filled.json("add", "img", "--to", "data/raw", "--label", "parent")
    assert back["digest"] == filled.json("show", "data/raw@HEAD")["digest"]
    assert filled.git("status", "--porcelain") == ""


def test_stock_dvc_sees_an_ordinary_output(filled: Clone, tmp_path: Path) -> None:
    filled.dvc("status", "-q")
    filled.dvc("remote", "add", "-d", "lab", tmp_path / "lab")
    filled.dvc("push", "-q")
    digest = filled.json("show", "data/raw")["digest"]
    for shard in (filled.path / "data" / "raw").iterdir():
        shard.unlink()
    (filled.path / "data" / "raw").rmdir()
    filled.dvc("checkout", "-q")
    assert filled.json("show", "data/raw")["digest"] == digest
    pointer = (filled.path / "data" / "raw.dvc").read_text()
    filled.dvc("add", "data/raw", "-q")
    assert (filled.path / "data" / "raw.dvc").read_text() == pointer


def test_autostage_is_honoured(repo: Clone) -> None:
    repo.dvc("config", "core.autostage", "true")
    repo.commit("autostage")
    write_images(repo.path / "img")
    repo.datapin("add", "img", "--to", "data/raw")
    assert "A  data/raw.dvc" in repo.git("status", "--porcelain")


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_metadata_joins_by_key(repo: Clone, kind: str) -> None:
    write_images(repo.path / "img", per_class=2)
    records = [{"key": "a/00.bin", "label": "007", "age": 4}, {"key": "gone.bin", "label": "x", "age": 5}]
    table = repo.path / f"labels.{kind}"
    if kind == "csv":
        table.write_text("key,label,age\na/00.bin,007,4\ngone.bin,x,5\n")
    elif kind == "jsonl":
        table.write_text("".join(json.dumps(record) + "\n" for record in records))
    else:
        import pandas as pd

        pd.DataFrame(records).to_parquet(table)
    repo.refusal("add", "img", "--to", "data/raw", "--metadata", table, "--strict", code=40)
    assert not (repo.path / "data").exists()
    report = repo.json("add", "img", "--to", "data/raw", "--metadata", table)
    messages = " ".join(finding["message"] for finding in report["findings"])
    assert "1 row(s) without a file: gone.bin" in messages
    assert "3 file(s) without a row" in messages
    rows = {row["key"]: row for row in repo.json("ls", "data/raw")}
    assert (rows["a/00.bin"]["label"], rows["a/00.bin"]["age"], rows["a/01.bin"]["label"]) == ("007", 4, None)


def test_a_corrected_label_survives_the_next_add_of_the_folder(filled: Clone) -> None:
    filled.datapin("update", "data/raw", "--set", "label='b'", "--where", "key = 'a/00.bin'")
    (filled.path / "img" / "a" / "new.bin").write_bytes(b"new")
    report = filled.json("add", "img", "--to", "data/raw", "--label", "parent")
    assert (report["added"], report["changed"]) == (1, 0)
    labels = {row["key"]: row["label"] for row in filled.json("ls", "data/raw")}
    assert (labels["a/00.bin"], labels["a/new.bin"]) == ("b", "a")


def test_one_file_alone_and_from_a_subfolder(filled: Clone) -> None:
    (filled.path / "sub").mkdir()
    (filled.path / "sub" / "x.bin").write_bytes(b"alone")
    filled.datapin("add", "x.bin", "--to", "../data/raw", cwd=filled.path / "sub")
    assert filled.json("show", "data/raw")["rows"] == 13
    assert filled.datapin("show", "raw", cwd=filled.path / "data").stdout.startswith("data/raw ")


def test_a_file_edited_in_the_same_second_is_not_missed(filled: Clone) -> None:
    path = filled.path / "img" / "a" / "00.bin"
    path.write_bytes(b"A" * 100)
    filled.datapin("add", "img", "--to", "data/raw")
    before = path.stat()
    path.write_bytes(b"B" * 100)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert filled.json("status")["datasets"][0]["tree"]["changed"] == 1
    assert filled.json("add", "img", "--to", "data/raw")["changed"] == 1


def test_two_adds_at_once_both_succeed(repo: Clone) -> None:
    import subprocess

    from clones import BIN, ENVIRONMENT

    write_images(repo.path / "one", per_class=30)
    write_images(repo.path / "two", per_class=40, classes="bc")
    running = [
        subprocess.Popen([BIN / "datapin", "add", name, "--to", to, "-q"], cwd=repo.path, env=ENVIRONMENT)
        for name, to in (("one", "data/raw"), ("two", "data/raw"), ("one", "data/other"))
    ]
    assert [process.wait() for process in running] == [0, 0, 0]
    assert repo.json("show", "data/raw")["rows"] == 30 + 30 + 10 + 40
    assert repo.json("show", "data/other")["rows"] == 60
    assert repo.json("status")["datasets"][1]["missing_local"] == 0
