"""The stat cache of a source tree: files that did not change since they were read are not read again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datapin.base.id_columns import IdMatrix
from datapin.trees.intake.walk import FoundFiles
from datapin.trees.stat_records import StatMatrix, StatRecords, read_stat_records, write_stat_records


@dataclass(frozen=True, slots=True)
class StatCache:
    """What was known about the files of one source tree when they were last read."""

    records: StatRecords

    @classmethod
    def load(cls, path: Path) -> StatCache:
        """The cache in `path`; an empty one if it is absent or damaged in any way."""
        return cls(read_stat_records(path))

    @staticmethod
    def save(
        path: Path, keys: pa.StringArray, stats: StatMatrix, ids: IdMatrix, *, settled_before_ns: int, stamp: str = ""
    ) -> None:
        """Write the cache at once.

        `stats` must not be newer than the bytes that `ids` name; `settled_before_ns` is that of the walk which came
        before the reading, so that a file changed while or after it was read is never trusted.
        """
        write_stat_records(path, StatRecords(keys, stats, ids, settled_before_ns=settled_before_ns, stamp=stamp))

    def __len__(self) -> int:
        return len(self.records)

    @property
    def ids(self) -> IdMatrix:
        """Ids of all files in the cache, in its order."""
        return self.records.ids

    @property
    def stamp(self) -> str:
        """What the writer of the cache noted."""
        return self.records.stamp

    def trusted(self, found: FoundFiles) -> tuple[npt.NDArray[np.bool_], IdMatrix]:
        """Which found files need no reading, and their ids (zeros elsewhere)."""
        return self.records.match(found.keys, found.stats)
