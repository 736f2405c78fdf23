"""The production cut on a real size: one row among a million disturbs one shard or two."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from datapin.base.id_columns import ids_to_hex
from datapin.manifest.comparing.diff import count_changes
from datapin.manifest.edit import edit_manifest
from datapin.manifest.manifest import Manifest
from datapin.manifest.write import write_manifest

ROWS = 1_000_000


@pytest.fixture(scope="module")
def million(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    numbers = np.arange(ROWS)
    ids = np.random.default_rng(1).integers(0, 256, (ROWS, 32), dtype=np.uint8)
    table = pa.table(
        {
            "key": pa.array(
                [f"{number % 10}/{number:07d}.png" for number in sorted(numbers, key=lambda n: (n % 10, n))]
            ),
            "asset_id": ids_to_hex(ids),
            "size": pa.array(numbers),
            "label": pa.array(np.array(["cat", "dog"])[numbers % 2]),
        }
    )
    return write_manifest(table, tmp_path_factory.mktemp("million") / "first")


def _kept(before: Manifest, after: Manifest) -> int:
    old = {path.read_bytes() for path in before.directory.iterdir()}
    return sum(path.read_bytes() in old for path in after.directory.iterdir())


@pytest.mark.parametrize("key", ["0/0000000.pn", "4/0500004x.png", "9/9999999.png"], ids=["first", "middle", "last"])
def test_a_row_put_in_rewrites_one_shard_or_two_and_taken_out_restores_every_byte(
    key: str, million: Manifest, tmp_path: Path
) -> None:
    row = pa.table({"key": [key], "asset_id": ["0" * 64], "size": [1], "label": ["cat"]})
    report = edit_manifest(million, tmp_path / "second", upserts=row)
    assert (report.added, report.changed, report.removed) == (1, 0, 0)
    assert len(report.manifest.shards) - _kept(million, report.manifest) in (1, 2)
    assert len(million.shards) > 8
    assert count_changes(million, report.manifest).added == 1

    restored = edit_manifest(Manifest.open(tmp_path / "second"), tmp_path / "third", removed=pa.array([key]))
    assert restored.manifest.digest == million.digest
    assert [path.read_bytes() for path in sorted((tmp_path / "third").iterdir())] == [
        path.read_bytes() for path in sorted(million.directory.iterdir())
    ]
