"""Answers which assets of a batch are new: neither in the store nor claimed by an earlier batch of the same call."""

from __future__ import annotations

from datapin.base.id_columns import ids_from_raw
from datapin.base.ids import RAW_ID_BYTES
from datapin.store.adding.adding import KNOWN, NEW, REPEATED, Verdicts
from datapin.store.adding.copies import KnownPlace
from datapin.store.index import IN_LOOSE_FILE, Index
from datapin.store.layout import LOOSE


class Claims:
    """The ids seen so far in one call. Ids travel to it, bytes do not."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._claimed: set[bytes] = set()

    def judge(self, ids: bytes) -> Verdicts:
        """The verdict on each of these ids (32 bytes each); what is not REPEATED is claimed from now on."""
        found, rows = self._index.find(ids_from_raw(ids))
        codes, known, claimed = bytearray(len(found)), [], self._claimed
        for number, is_known in enumerate(found.tolist()):
            raw_id = ids[number * RAW_ID_BYTES : (number + 1) * RAW_ID_BYTES]
            if raw_id in claimed:
                codes[number] = REPEATED
                continue
            claimed.add(raw_id)
            if is_known:
                codes[number] = KNOWN
                known.append(place_of_row(self._index, int(rows[number])))
            else:
                codes[number] = NEW
        return Verdicts(bytes(codes), known)

    def judge_one(self, raw_id: bytes) -> KnownPlace | bool:
        """For one id: True if it is new, its place if the store has it, False if it is claimed already."""
        if raw_id in self._claimed:
            return False
        self._claimed.add(raw_id)
        row = self._index.find_one(raw_id)
        return True if row is None else place_of_row(self._index, row)


def place_of_row(index: Index, row: int) -> KnownPlace:
    """Where row `row` of the index says that its asset lies."""
    entries = index.entries
    pack = int(entries.pack[row])
    return KnownPlace(
        pack_id=LOOSE if pack == IN_LOOSE_FILE else entries.packs[pack].hex(),
        offset=int(entries.offset[row]),
        length=int(entries.length[row]),
        raw_length=int(entries.raw_length[row]),
        codec=int(entries.codec[row]),
    )
