"""Workloads of the bench: the same bytes on every machine, incompressible, from a seed.

    gen.py small DIR N         N files of 2-20 KiB in 100 class folders
    gen.py even DIR N          N files of exactly 10 KiB in 100 class folders
    gen.py tiny DIR N          N files of 64-256 bytes in 1,000 class folders
    gen.py big DIR N MIB       N files of MIB MiB
    gen.py change DIR          in place: 1 % of the files rewritten, 1 % added, 1 % deleted
    gen.py change-one DIR      in place: one file rewritten, same size

A change goes to a new file that is renamed over the old one: safe for trees that a tool made read-only or linked.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

SEED = 20240601
KIBIBYTE = 1 << 10
MEBIBYTE = 1 << 20
SMALL_FOLDERS = 100
TINY_FOLDERS = 1_000


def write_small_files(root: Path, count: int) -> None:
    """`count` files of 2-20 KiB, dealt to 100 class folders: a classification data set of small images."""
    rng = random.Random(SEED)
    _write_classes(root, count, SMALL_FOLDERS, lambda: rng.randbytes(rng.randint(2 * KIBIBYTE, 20 * KIBIBYTE)))


def write_even_files(root: Path, count: int) -> None:
    """`count` files of exactly 10 KiB: what a rate of reads is counted in."""
    rng = random.Random(SEED + 4)
    _write_classes(root, count, SMALL_FOLDERS, lambda: rng.randbytes(10 * KIBIBYTE))


def write_tiny_files(root: Path, count: int) -> None:
    """`count` files of 64-256 bytes: many rows without many bytes."""
    rng = random.Random(SEED + 5)
    _write_classes(root, count, TINY_FOLDERS, lambda: rng.randbytes(rng.randint(64, 256)))


def write_big_files(root: Path, count: int, size_mib: int) -> None:
    """`count` files of `size_mib` MiB in one folder."""
    rng = random.Random(SEED + 1)
    root.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        _write_new(root / f"big_{i:03d}.bin", rng.randbytes(size_mib * MEBIBYTE))


def change_some(root: Path) -> int:
    """Rewrite 1 % of the files below `root`, add 1 %, delete 1 %; the number of files stays. Returns that 1 %."""
    rng = random.Random(SEED + 2)
    files = sorted(os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names)
    part = max(1, len(files) // 100)
    chosen = rng.sample(files, 2 * part)
    for path in chosen[:part]:
        _write_new(Path(path), rng.randbytes(rng.randint(2 * KIBIBYTE, 20 * KIBIBYTE)))
    for path in chosen[part:]:
        os.unlink(path)
    for i in range(part):
        folder = root / _class_name(i % SMALL_FOLDERS)
        folder.mkdir(exist_ok=True)
        _write_new(folder / f"new_{i:06d}.jpg", rng.randbytes(rng.randint(2 * KIBIBYTE, 20 * KIBIBYTE)))
    return part


def change_one(root: Path) -> Path:
    """Rewrite the middle file of a flat folder, same size. Returns its path."""
    files = sorted(path for path in root.iterdir() if path.is_file())
    path = files[len(files) // 2]
    _write_new(path, random.Random(SEED + 3).randbytes(path.stat().st_size))
    return path


def synthetic_rows(count: int) -> pa.Table:
    """`count` rows (key, asset_id, size, media_type, label), sorted by key; their assets exist nowhere."""
    # Here, not above: the harness stays small, since a child's peak memory starts at what its parent held.
    import numpy as np
    import pyarrow as pa

    numbers = np.arange(count)
    per_class = -(-count // TINY_FOLDERS)
    labels = [f"cls_{c:04d}" for c in range(TINY_FOLDERS)]
    raw = np.random.Generator(np.random.PCG64(SEED)).bytes(32 * count)
    text = np.frombuffer(raw.hex().encode("ascii"), dtype="S64")
    return pa.table(
        {
            "key": pa.array([f"{labels[i // per_class]}/img_{i:07d}.jpg" for i in range(count)], pa.string()),
            "asset_id": pa.array(text.astype("U64"), pa.string()),
            "size": pa.array(2_048 + (numbers * 7_919) % 18_433, pa.int64()),
            "media_type": pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), ["image/jpeg"]),
            "label": pa.array([labels[i // per_class] for i in range(count)], pa.string()),
        }
    )


def _write_classes(root: Path, count: int, folders: int, next_bytes: Callable[[], bytes]) -> None:
    for c in range(min(folders, count)):
        (root / _class_name(c)).mkdir(parents=True, exist_ok=True)
    base = str(root)
    for i in range(count):
        # A new name each: nothing to rename over, and a million renames would be most of the time.
        with open(f"{base}/{_class_name(i % folders)}/img_{i:06d}.jpg", "wb") as file:
            file.write(next_bytes())


def _class_name(number: int) -> str:
    return f"cls_{number:03d}"


def _write_new(path: Path, data: bytes) -> None:
    temporary = path.with_name(path.name + ".tmp~")
    temporary.write_bytes(data)
    temporary.replace(path)


def main(arguments: list[str]) -> int:
    """Run one generator from the command line."""
    writers: dict[str, Callable[..., object]] = {
        "small": write_small_files,
        "even": write_even_files,
        "tiny": write_tiny_files,
        "big": write_big_files,
        "change": change_some,
        "change-one": change_one,
    }
    if len(arguments) < 2 or arguments[0] not in writers:
        print(__doc__, file=sys.stderr)
        return 2
    writers[arguments[0]](Path(arguments[1]), *(int(number) for number in arguments[2:]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
