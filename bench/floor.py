"""The floor of `add`: N processes that walk, read, hash, append to one file each and fsync it, and nothing more.

python bench/floor.py FOLDER PREFIX [N]
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import sys
from itertools import pairwise

_BLOCK_BYTES = 4 << 20


def append_all(paths: list[str], out: str) -> None:
    """Write the bytes of these files into the new file `out`, durable."""
    target = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    waiting: list[bytes] = []
    size = 0
    for path in paths:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        data = os.read(number, os.fstat(number).st_size + 1)
        os.close(number)
        hashlib.sha256(data).digest()
        waiting.append(data)
        size += len(data)
        if size >= _BLOCK_BYTES:
            os.write(target, b"".join(waiting))
            waiting, size = [], 0
    os.write(target, b"".join(waiting))
    os.fsync(target)
    os.close(target)


def main() -> None:
    folder, prefix, many = sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 2
    paths = sorted(os.path.join(top, name) for top, _, names in os.walk(folder) for name in names)
    cuts = [len(paths) * number // many for number in range(many + 1)]
    workers = [
        multiprocessing.Process(target=append_all, args=(paths[first:last], f"{prefix}.{number}"))
        for number, (first, last) in enumerate(pairwise(cuts))
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    with open(f"{prefix}.count", "w") as file:
        file.write(str(len(paths)))
    sys.exit(any(worker.exitcode for worker in workers))


if __name__ == "__main__":
    main()
