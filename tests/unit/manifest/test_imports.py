"""What the rows library makes a command load."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from datapin.manifest.write import write_manifest

_CODE = """
import sys
from pathlib import Path
from datapin.manifest.comparing.diff import count_changes
from datapin.manifest.edit import edit_manifest
from datapin.manifest.manifest import Manifest
import datapin.manifest.query
first = Manifest.open(Path(sys.argv[1]))
rows = first.to_table()
gone = rows.column("key").slice(0, 2)
second = edit_manifest(first, Path(sys.argv[2]), upserts=rows.slice(3, 4), removed=gone).manifest
assert count_changes(first, second).removed == 2
assert first.digest != second.digest
second.verify()
print([name for name in ("pandas", "duckdb", "pyarrow.dataset") if name in sys.modules])
"""


def test_reading_editing_and_comparing_load_neither_pandas_nor_duckdb(
    rows_of: Callable[..., pa.Table], tmp_path: Path
) -> None:
    labels = pa.array(["x", None] * 20)
    write_manifest(rows_of([f"{number:02d}" for number in range(40)], label=labels), tmp_path / "first")
    arguments = [sys.executable, "-c", _CODE, str(tmp_path / "first"), str(tmp_path / "second")]
    ran = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
