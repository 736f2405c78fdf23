"""A walk that starts before the heavy imports, so that both run at the same time.

`status` spends as long on importing Arrow and NumPy as on walking 100,000 files. This module imports neither.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from datapin.base.files import write_all
from datapin.trees.forks import fork_quietly, read_all
from datapin.trees.intake.walkers import RawHarvest, encoded_harvests_below

_LENGTH = struct.Struct("<Q")


@dataclass(slots=True)
class StartedWalk:
    """A walk under way in another process. `harvests` waits for it, once."""

    roots: tuple[bytes, ...]
    skip: frozenset[tuple[int, int]]
    started_ns: int
    child: int
    results: int

    def harvests(self) -> dict[bytes, list[RawHarvest]]:
        """What lies below each root; empty if the walker died, the caller then walks itself."""
        data = read_all(self.results)
        self.close()
        parts: list[bytes] = []
        position = 0
        while position + _LENGTH.size <= len(data):
            (length,) = _LENGTH.unpack_from(data, position)
            position += _LENGTH.size
            parts.append(data[position : position + length])
            position += length
        found: dict[bytes, list[RawHarvest]] = {root: [] for root in self.roots}
        for number_and_harvest in parts:
            number = _LENGTH.unpack_from(number_and_harvest)[0] if len(number_and_harvest) >= _LENGTH.size else -1
            harvest = RawHarvest.decode(number_and_harvest[_LENGTH.size :])
            if harvest is None:
                return {}
            found[self.roots[number]].append(harvest)
        return found if all(found.values()) else {}

    def close(self) -> None:
        """Give the walk up, if it still runs."""
        if self.results >= 0:
            os.close(self.results)
            self.results = -1
            with suppress(ChildProcessError):
                os.waitpid(self.child, 0)


def start_walk(sources: Sequence[Path], *, exclude: Iterable[Path] = ()) -> StartedWalk:
    """Begin to walk the folders among `sources`; hand the result to `walk` with the same `sources` and `exclude`."""
    started_ns = time.time_ns()
    skip = identities(exclude)
    roots = tuple(dict.fromkeys(os.fsencode(source) for source in sources if source.is_dir()))
    results, sink = os.pipe()
    child = fork_quietly()
    if child == 0:
        code = 1
        try:
            os.close(results)
            for number, root in enumerate(roots):
                for data in encoded_harvests_below(root, skip=skip):
                    write_all(sink, _LENGTH.pack(_LENGTH.size + len(data)) + _LENGTH.pack(number))
                    write_all(sink, data)
            code = 0
        finally:
            os._exit(code)
    os.close(sink)
    return StartedWalk(roots, skip, started_ns, child, results)


def identities(folders: Iterable[Path]) -> frozenset[tuple[int, int]]:
    """Device and inode of each folder that is there."""
    found = set()
    for folder in folders:
        with suppress(OSError):
            seen = folder.stat()
            found.add((seen.st_dev, seen.st_ino))
    return frozenset(found)
