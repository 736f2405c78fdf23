"""A long history for `datapin log`: a repository of many commits, some of which change a large dataset.

    versions_history.py DIR [COMMITS [CHANGES [ROWS]]]     by default 1,000 commits, 100 changes, 100,000 rows

Each change relabels, adds or removes 100 rows anywhere in the dataset. There are no assets: a log reads rows only.
"""

from __future__ import annotations

import hashlib
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa

from datapin.dvcfiles.tracking.track import track
from datapin.manifest.edit import edit_manifest
from datapin.manifest.manifest import Manifest
from datapin.manifest.write import write_manifest

SEED = 20240607
ROWS_PER_CHANGE = 100
DATASET = "data/raw"


def write_history(root: Path, commits: int, changes: int, rows: int) -> None:
    """Make the repository; a few minutes for the default sizes."""
    rng = random.Random(SEED)
    root.mkdir(parents=True)
    for command in ("git init -q -b main", "dvc init -q", "datapin init -q --no-hooks"):
        subprocess.run(command.split(), cwd=root, check=True)
    keys = [f"{number % 100:02d}/{number:07d}.png" for number in range(rows)]
    (root / DATASET).parent.mkdir()
    manifest = write_manifest(_table(keys, rng), root / DATASET)
    next_number = rows
    for number in range(commits):
        if number % max(1, commits // changes) == 0 and number // max(1, commits // changes) < changes:
            if number:
                kind = ("relabel", "add", "remove")[number // max(1, commits // changes) % 3]
                if kind == "add":
                    new = [f"{rng.randrange(100):02d}/{next_number + i:07d}.png" for i in range(ROWS_PER_CHANGE)]
                    next_number += ROWS_PER_CHANGE
                    keys += new
                else:
                    new = rng.sample(keys, ROWS_PER_CHANGE)
                if kind == "remove":
                    keys = sorted(set(keys) - set(new))
                manifest = _edited(root, manifest, new, rng, is_removal=kind == "remove")
            summary = {"digest": manifest.digest, "rows": manifest.rows, "bytes": manifest.bytes}
            track(root, DATASET, summary)
        (root / "code.py").write_text(f"STEP = {number}\n")
        subprocess.run(["git", "add", "-A"], cwd=root, check=True)
        subprocess.run(["git", "commit", "-qm", f"step {number}"], cwd=root, check=True)


def _table(keys: list[str], rng: random.Random) -> pa.Table:
    return pa.table(
        {
            "key": pa.array(keys, pa.string()),
            "asset_id": pa.array([hashlib.sha256(key.encode()).hexdigest() for key in keys], pa.string()),
            "size": pa.array([rng.randrange(2_000, 20_000) for _ in keys], pa.int64()),
            "media_type": pa.array(["image/png"] * len(keys), pa.string()),
            "label": pa.array([str(rng.randrange(100)) for _ in keys], pa.string()),
            "split": pa.array([rng.choice(["train", "val", "test"]) for _ in keys], pa.string()),
        }
    )


def _edited(root: Path, manifest: Manifest, keys: list[str], rng: random.Random, *, is_removal: bool) -> Manifest:
    upserts = None if is_removal else _table(keys, rng)
    removed = pa.array(keys, pa.string()) if is_removal else None
    staged = root / ".git" / "datapin" / "tmp" / "staged"
    shutil.rmtree(staged, ignore_errors=True)
    staged.parent.mkdir(parents=True, exist_ok=True)
    edit_manifest(manifest, staged, upserts=upserts, removed=removed)
    shutil.rmtree(root / DATASET)
    staged.rename(root / DATASET)
    return Manifest.open(root / DATASET)


if __name__ == "__main__":
    sizes = [int(word) for word in sys.argv[2:]]
    write_history(Path(sys.argv[1]), *(sizes + [1_000, 100, 100_000][len(sizes) :]))
