"""Which assets of many versions have to be sent, and which packs each version will rely on; a pass over each, once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from datapin.base.errors import AssetsMissing
from datapin.base.id_columns import IdMatrix
from datapin.store.index import IN_LOOSE_FILE, Entries, Index
from datapin.transfer.root_records import version_name
from datapin.transfer.survey import Objects

Mask = npt.NDArray[np.bool_]

_MOST_NAMED = 20


@dataclass(frozen=True, slots=True)
class PushVersion:
    """One dataset version to push: `manifest` is the md5 of its directory as DVC names it, `digest` ours.

    `ids` gives the ids of its assets, repeats allowed; it is called only if the remote does not have the version.
    `commit` informs only.
    """

    dataset: str
    digest: str
    manifest: str
    ids: Callable[[], IdMatrix]
    commit: str = ""

    @property
    def version(self) -> str:
        """As root records name it."""
        return version_name(self.dataset, self.digest, self.manifest)


@dataclass(frozen=True, slots=True)
class Needs:
    """What one version needs: `there` on the remote already, and the local store's rows that have to be sent.

    The rows are kept as bits: a thousand versions over a million assets are 125 MB, and 32 GB as ids.
    """

    there: Objects
    row_bits: npt.NDArray[np.uint8] | None
    assets: int

    def has_row(self, row: int) -> bool:
        """Whether this row of the local index has to be sent for it."""
        return self.row_bits is not None and bool(self.row_bits[row >> 3] >> (7 - (row & 7)) & 1)

    def objects(self, place_of_row: npt.NDArray[np.int64], sent: Entries) -> Objects:
        """All that the version relies on, once row `n` of the local index lies at `sent[place_of_row[n]]`."""
        if self.row_bits is None:
            return self.there
        rows = np.flatnonzero(np.unpackbits(self.row_bits, count=len(place_of_row)))
        new = _objects(sent, place_of_row[rows])
        return Objects(self.there.packs | new.packs, self.there.loose | new.loose)


class Wanted:
    """The sum of what versions need, over the index `here` and what can be relied on of the one `there`."""

    def __init__(self, here: Index, there: Index) -> None:
        self._here = here
        self._there = there
        self._send = np.zeros(len(here), dtype=bool)
        self._present = np.zeros(len(there), dtype=bool)

    def add(self, ids: IdMatrix) -> Needs:
        """Count in one version. Raises AssetsMissing if an asset is neither here nor there."""
        has, rows_there = self._there.find(ids)
        is_there = _mask(rows_there[has], len(self._there))
        asked = ids[~has]
        found, rows = self._here.find(asked)
        if not found.all():
            absent = asked[~found]
            names = tuple(row.tobytes().hex() for row in absent[:_MOST_NAMED])
            raise AssetsMissing(names=names, count=len(absent))
        self._present |= is_there
        objects = _objects(self._there.entries, np.flatnonzero(is_there))
        if not len(rows):
            return Needs(objects, None, int(is_there.sum()))
        is_sent = _mask(rows, len(self._here))
        self._send |= is_sent
        return Needs(objects, np.packbits(is_sent), int(is_there.sum()) + int(is_sent.sum()))

    @property
    def ids(self) -> IdMatrix:
        """The distinct assets to send."""
        return self._here.entries.ids[self._send]

    @property
    def present(self) -> int:
        """How many distinct assets are there already."""
        return int(self._present.sum())

    def places(self, sent: Index) -> npt.NDArray[np.int64]:
        """For each row of the index here its row in `sent`; -1 for those that were not to be sent."""
        places = np.full(len(self._here), -1, dtype=np.int64)
        _, places[self._send] = sent.find(self.ids)
        return places


def _mask(rows: npt.NDArray[np.intp], count: int) -> Mask:
    mask = np.zeros(count, dtype=bool)
    mask[rows] = True
    return mask


def _objects(entries: Entries, rows: npt.NDArray[np.integer]) -> Objects:
    packs = entries.pack[rows]
    loose = entries.ids[rows[packs == IN_LOOSE_FILE]]
    return Objects(
        frozenset(entries.packs[number] for number in np.unique(packs).tolist() if number != IN_LOOSE_FILE),
        frozenset(row.tobytes() for row in loose),
    )
