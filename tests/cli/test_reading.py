from __future__ import annotations

import subprocess

from clones import BIN, ENVIRONMENT, Clone


def python(clone: Clone, code: str) -> str:
    done = subprocess.run(
        [BIN / "python", "-c", code], cwd=clone.path, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_show_summarises_a_version(filled: Clone) -> None:
    shown = filled.json("show", "data/raw")
    assert (shown["rows"], shown["shards"], shown["labels"]) == (12, 1, {"a": 6, "b": 6})
    assert shown["bytes"] == sum(len(content) for content in filled.files("img").values())
    assert "key" in [column["name"] for column in shown["columns"]]
    assert shown["digest"] in filled.datapin("show", "data/raw").stdout


def test_ls_filters_and_limits(filled: Clone) -> None:
    rows = filled.json("ls", "data/raw", "--where", "label = 'b'", "--columns", "key,label", "--limit", "2")
    assert rows == [{"key": "b/00.bin", "label": "b"}, {"key": "b/01.bin", "label": "b"}]
    assert filled.datapin("ls", "data/raw", "--columns", "key").stdout.split()[:2] == ["key", "a/00.bin"]
    message, _ = filled.refusal("ls", "data/raw", "--columns", "nothing", code=2)
    assert "'nothing'" in message


def test_python_reads_rows_and_bytes(filled: Clone) -> None:
    out = python(
        filled,
        "import datapin\n"
        "d = datapin.open('data/raw', where=\"label = 'b'\")\n"
        "assert len(d) == 6 and d[0].key == 'b/00.bin' and d[-1].row['label'] == 'b'\n"
        "assert d[0].read() == b'b0' * 50 and [s.key for s in d][1] == 'b/01.bin'\n"
        "assert d.to_pandas().shape[0] == d.to_arrow().num_rows == 6\n"
        "e0 = [s.key for b in d.batches(4, shuffle=1, epoch=0) for s in b]\n"
        "e1 = [s.key for b in d.batches(5, shuffle=1, epoch=1) for s in b]\n"
        "assert sorted(e0) == sorted(e1) == [s.key for s in d] and e0 != e1\n"
        "assert e0 == [s.key for b in d.batches(1, shuffle=1, epoch=0) for s in b]\n"
        "b = next(d.batches(3)); assert b.read() == [s.read() for s in b] and b.table.num_rows == 3\n"
        "print(d.digest)",
    )
    assert out.strip() == filled.json("show", "data/raw")["digest"]


def test_python_writes_rows_back_from_pandas(filled: Clone) -> None:
    out = python(
        filled,
        "import datapin\n"
        "f = datapin.open('data/raw').to_pandas()\n"
        "f = f[f.label == 'a'].assign(weight=0.5)[::-1]\n"
        "r = datapin.write('data/raw', f); print(r.removed, r.changed, r.rows)",
    )
    assert out.split() == ["6", "6", "6"]
    assert filled.json("ls", "data/raw")[0]["weight"] == 0.5
    assert filled.json("status")["datasets"][0]["head"] == {"added": 0, "changed": 6, "removed": 6}


def test_a_folder_written_by_plain_pandas_opens_too(filled: Clone) -> None:
    import pandas as pd

    shard = filled.path / "data" / "raw" / "part-00000.parquet"
    digest = filled.json("show", "data/raw")["digest"]
    frame = pd.read_parquet(shard)
    shard.unlink()
    frame.sample(frac=1, random_state=0).to_parquet(shard)
    assert filled.json("show", "data/raw")["digest"] == digest
    frame.assign(size="big").to_parquet(shard)
    message, _ = filled.refusal("show", "data/raw", code=40)
    assert "size" in message
    assert "part-00000.parquet" in message
