"""One look at a remote: listings, looks at single objects and the index, shared by the checks of the group presence.

Nothing is written there and no asset is read. DVC's own word is never asked: it takes the presence of a list of files
for the presence of the files (treeverse/dvc#11011).
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.errors import BadSettings, DamagedPack, ObjectMissing, Refused
from datapin.base.id_columns import IdMatrix, ids_from_hex
from datapin.checks.subject import RemoteSide, Subject
from datapin.dvcfiles.hashes import OBJECTS, key_of, place_of
from datapin.manifest.columns.columns import flags, one_array
from datapin.manifest.columns.schema import asset_columns
from datapin.manifest.manifest import Manifest
from datapin.store.index import IN_LOOSE_FILE, Index
from datapin.store.remote import RemoteStore
from datapin.transfer.mending import bad_loose, bad_packs
from datapin.transfer.survey import Survey

_HEADS_AT_ONCE = 16
_MOST_HEADS = 256  # to look for more objects than these it is cheaper to list them all

Places = npt.NDArray[np.intp]


@dataclass
class Look:
    """What the remote of a subject holds. Every property raises RemoteUnreachable, the later ones DamagedPack too."""

    subject: Subject
    side: RemoteSide
    has_store: bool
    _lost: dict[str, Lost] = field(default_factory=dict)

    @property
    def store(self) -> RemoteStore:
        """Our store there."""
        return self.side.store

    @property
    def name(self) -> str:
        """How findings call the remote."""
        return f"remote {self.side.name} ({self.side.root.url})"

    def advice(self, dataset: str = "") -> str:
        """How what is lost or damaged there comes back."""
        words = ["datapin push", shlex.quote(dataset) if dataset else ""]
        words += ["--all-versions" if self.subject.rev is not None else "", "--again"]
        return f"run `{' '.join(filter(None, words))}` where the data is"

    @cached_property
    def survey(self) -> Survey:
        """The listings. Raises Refused if there is no store."""
        if not self.has_store:
            raise Refused(f"{self.name} holds no store", self.advice())
        return Survey(self.store)

    @cached_property
    def index(self) -> Index:
        """The index as it is there now. Raises Refused if a file of it is damaged."""
        try:
            return self.store.index(self.survey.index)
        except DamagedPack as error:
            raise Refused(error.message, self.advice()) from None

    @cached_property
    def bad_packs(self) -> dict[bytes, str]:
        """Packs that the index names and that are not there, or not whole, and what is wrong with each."""
        return bad_packs(self.store, self.index, self.survey.packs)

    @cached_property
    def bad_loose(self) -> dict[bytes, str]:
        """The same for assets that are objects of their own."""
        return bad_loose(self.index, self.survey.loose)

    def lost(self, dataset: str) -> Lost:
        """Which assets of the pinned rows cannot be had from there, and why. Raises what opening the manifest does."""
        if dataset not in self._lost:
            self._lost[dataset] = self._look_up(self.subject.pinned(dataset))
        return self._lost[dataset]

    def sizes(self, md5s: Set[str]) -> dict[str, int]:
        """The size of each of DVC's objects with these hashes; those that are not there are left out."""
        if len(md5s) > _MOST_HEADS:
            known = {found.key: found.size_bytes for found in self.side.root.iter_objects(f"{OBJECTS}/")}
            seen = {md5: known[key_of(md5)] for md5 in md5s if key_of(md5) in known}
        else:
            seen = self._heads(md5s, key_of)
        return seen | self._heads(md5s - seen.keys(), _key_of_dvc_2)

    def list_of_files(self, md5: str) -> bytes | None:
        """DVC's list of the files of a folder, unchecked; None if it is not there."""
        for key in (key_of(md5), _key_of_dvc_2(md5)):
            try:
                return self.side.root.get(key)
            except ObjectMissing:
                continue
        return None

    def _heads(self, md5s: Set[str], key_of: Callable[[str], str]) -> dict[str, int]:
        names = sorted(md5s)
        with ThreadPoolExecutor(_HEADS_AT_ONCE) as threads:
            seen = zip(names, threads.map(lambda md5: self.side.root.head(key_of(md5)), names), strict=True)
            return {md5: found.size_bytes for md5, found in seen if found is not None}

    def _look_up(self, manifest: Manifest) -> Lost:
        ids = ids_of(manifest)
        found, rows = self.index.find(ids)
        entries = self.index.entries
        bad = np.array([*(pack in self.bad_packs for pack in entries.packs), False], dtype=bool)[entries.pack]
        loose = np.flatnonzero(entries.pack == IN_LOOSE_FILE)
        bad[loose] = [entries.ids[row].tobytes() in self.bad_loose for row in loose.tolist()]
        hit = np.zeros(len(found), dtype=bool)
        hit[found] = bad[rows[found]]
        if hit.any():
            # An asset may lie in another pack too; then nothing is lost.
            hit[hit] = ~Index(entries.take(~bad)).find(ids[hit])[0]
        places = np.flatnonzero(hit)
        numbers = entries.pack[rows[places]]
        packs = {
            entries.packs[number]: places[numbers == number] for number in np.unique(numbers).tolist() if number >= 0
        }
        in_files = places[numbers == IN_LOOSE_FILE]
        return Lost(manifest, np.flatnonzero(~found), packs, in_files, ids[in_files])


@dataclass(frozen=True, slots=True)
class Lost:
    """Assets that cannot be had, by their places in `ids_of(manifest)`.

    `unknown` are in no index file, `packs` in a pack that is bad; `loose` are bad objects of their own, `loose_ids`
    their ids, row by row.
    """

    manifest: Manifest
    unknown: Places
    packs: Mapping[bytes, Places]
    loose: Places
    loose_ids: IdMatrix

    def keys(self, places: Places, most: int) -> list[str]:
        """The keys of the first rows among these places."""
        rows: list[int] = []
        start = 0
        for column in _asset_arrays(self.manifest):
            here = np.flatnonzero(flags(pc.is_valid(column)))
            inside = places[(places >= start) & (places < start + len(here))] - start
            rows += here[inside[:most]].tolist()
            start += len(here)
        keys = one_array(self.manifest.to_table(columns=["key"])["key"])
        return [keys[row].as_py() for row in sorted(set(rows))[:most]]


def look_at(subject: Subject) -> Look:
    """The one look of this run; raises the same error each time if there is no remote."""
    return subject.once("presence", lambda: _look_at(subject))


def _look_at(subject: Subject) -> Look:
    side = subject.remote()
    if side is None:
        advice = "run `dvc remote add --default NAME URL`"
        raise BadSettings(".dvc/config", "", "no remote is set up, so nothing can be there", advice)
    return Look(subject, side, side.store.check_format())


def ids_of(manifest: Manifest) -> IdMatrix:
    """The ids in every asset column, one column after the other, nulls left out."""
    return np.concatenate([ids_from_hex(column.drop_null()) for column in _asset_arrays(manifest)])


def _asset_arrays(manifest: Manifest) -> list[pa.Array]:
    names = asset_columns(manifest.schema)
    table = manifest.to_table(columns=names)
    return [one_array(table[name]) for name in names]


def _key_of_dvc_2(md5: str) -> str:
    # Hashes that DVC 2 wrote into pointers keep its layout, also in a push by DVC 3.
    return place_of(md5)
