"""What a checkout wrote into a folder, so that the next one can tell its own files from the user's edits.

Records name each file with its stat and asset id, and say whether it is ours: one that lay there with the wanted bytes
before is the user's. Before files are written, their names and ids are noted as intent; after a crash a file whose
bytes match an intent is known to be ours.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datapin.base.documents import read_json
from datapin.base.files import lock, make_directory, publish_bytes
from datapin.base.id_columns import IdMatrix
from datapin.trees.checkout.layout import BY_KEY, LAYOUTS
from datapin.trees.places import records_path
from datapin.trees.stat_records import TICK_NS, StatMatrix, StatRecords, read_stat_records, write_stat_records

_ARRANGED = ".json"
_OURS = "ours:"  # in the stamp of the records: all, or a bit for each; before 0029 nothing was said
_ALL = "all"


@dataclass(frozen=True, slots=True)
class Arrangement:
    """How files lie in a folder: at the paths of which layout, and whether large ones are links into the store."""

    layout: str = BY_KEY
    is_linked: bool = False


def arrangement_of(state: Path, target: Path) -> Arrangement:
    """How the last checkout into `target` arranged its files, or began to; a folder that is gone starts anew."""
    return _noted(records_path(state, target)) if target.is_dir() else Arrangement()


def our_files(state: Path, target: Path) -> set[str]:
    """Paths in `target` of the files that are ours, as of the last checkout there."""
    known = CheckoutState(path := records_path(state, target), read_stat_records(path.with_suffix(".intent")))
    return set(known.records.keys.filter(pa.array(known.ours)).to_pylist())


def _noted(path: Path) -> Arrangement:
    with suppress(OSError, ValueError, TypeError):
        said = Arrangement(**read_json(path.with_suffix(_ARRANGED).read_bytes(), "the record"))
        if said.layout in LAYOUTS and isinstance(said.is_linked, bool):
            return said
    return Arrangement()


@dataclass(frozen=True)
class CheckoutState:
    """The state of one target folder, below the folder `state`."""

    path: Path
    intents: StatRecords

    @classmethod
    @contextmanager
    def hold(cls, state: Path, target: Path) -> Iterator[CheckoutState]:
        """Nobody else checks out into `target` meanwhile."""
        make_directory(state)
        path = records_path(state, target)
        with lock(path.with_suffix(".lock"), what=f"folder {target}"):
            yield cls(path, read_stat_records(path.with_suffix(".intent")))

    @cached_property
    def records(self) -> StatRecords:
        """What lay there when the last checkout ended. Read when it is asked for: 10 ms for 100,000 files."""
        return read_stat_records(self.path)

    @cached_property
    def ours(self) -> npt.NDArray[np.bool_]:
        """Which of the recorded files a checkout wrote, or was told to take as its own; none where nobody noted it."""
        count, said = len(self.records), self.records.stamp
        nothing = np.zeros(count, np.bool_)
        if not said.startswith(_OURS):
            return nothing
        if said == _OURS + _ALL:
            return ~nothing
        try:
            bits = np.frombuffer(base64.b64decode(said.removeprefix(_OURS), validate=True), np.uint8)
            return np.unpackbits(bits, count=count).astype(np.bool_) if len(bits) * 8 >= count else nothing
        except binascii.Error:
            return nothing

    @property
    def was_cut_off(self) -> bool:
        """Whether the last checkout here did not come to its end."""
        return len(self.intents) > 0

    @property
    def arrangement(self) -> Arrangement:
        """How files are arranged by now."""
        return _noted(self.path)

    def arrange(self, arrangement: Arrangement) -> None:
        """Note how files are arranged from now on."""
        if arrangement == self.arrangement:
            return
        said = json.dumps(asdict(arrangement)).encode()
        publish_bytes(self.path.with_suffix(_ARRANGED), said, failpoint="checkout.arranged")

    def intend(self, keys: pa.StringArray, ids: IdMatrix) -> None:
        """Note that these files are about to be written; earlier intents stay, their files may be there too."""
        both = pa.concat_arrays([self.intents.keys, keys])
        stats = np.full((len(both), 4), -1, np.int64)
        records = StatRecords(both, stats, np.concatenate([self.intents.ids, ids]), settled_before_ns=0)
        write_stat_records(self.path.with_suffix(".intent"), records)

    def save(self, keys: pa.StringArray, stats: StatMatrix, ids: IdMatrix, ours: npt.NDArray[np.bool_]) -> None:
        """Note what lies there now, and which of it is ours; intents are done with."""
        said = _ALL if bool(ours.all()) else base64.b64encode(np.packbits(ours).tobytes()).decode()
        settled_before_ns = time.time_ns() - TICK_NS
        records = StatRecords(keys, stats, ids, settled_before_ns=settled_before_ns, stamp=_OURS + said)
        write_stat_records(self.path, records)
        self.path.with_suffix(".intent").unlink(missing_ok=True)
