"""A quick look at a store's health: what can be seen without reading assets. Reports, never repairs."""

from __future__ import annotations

import os

import numpy as np

from datapin.base.errors import DamagedPack
from datapin.base.findings import Finding
from datapin.pack.table import read_table_of_file
from datapin.store.index import IN_LOOSE_FILE, Entries, Index, join_entries
from datapin.store.index_files import decode_index, list_index_files
from datapin.store.layout import index_key, loose_key, pack_key
from datapin.store.publish import find_loose, find_packs
from datapin.store.trust import noted_damage, reliable

_CHECK = "store"
_REBUILD = "run `datapin rebuild-index`"
# First the index forgets what is gone and what is good in a damaged pack moves out of it; then the rest can come.
HEAL = "run `datapin rebuild-index`, then `datapin fetch`"


def check_store(root: str) -> list[Finding]:
    """Findings on index files, packs and loose assets; errors are of assets that no good copy is left of here.

    Raises OSError.
    """
    findings: list[Finding] = []
    entries = _check_index(root, findings)
    strangers: list[str] = []
    packs = set(find_packs(root, strangers))
    loose = set(find_loose(root, strangers))
    good = reliable(root, Index(entries))
    findings += [Finding("warning", _CHECK, root, stranger, "move it away") for stranger in strangers]
    _check_packs(root, entries, good, packs, findings)
    _check_loose(root, entries, good, loose, findings)
    _check_notes(root, good, findings)
    return findings


def _check_index(root: str, findings: list[Finding]) -> Entries:
    parts = []
    for name in list_index_files(root):
        key = index_key(name)
        try:
            with open(f"{root}/{key}", "rb") as file:
                parts.append(decode_index(name, file.read(), key))
        except DamagedPack as error:
            findings.append(Finding("error", _CHECK, key, error.message, _REBUILD))
        except FileNotFoundError:
            continue  # merged into another while we looked
    return join_entries(parts)


def _check_packs(root: str, entries: Entries, good: Index, packs: set[str], findings: list[Finding]) -> None:
    named = {pack.hex(): number for number, pack in enumerate(entries.packs)}
    for pack_id in sorted(packs | set(named)):
        key = pack_key(pack_id)
        if pack_id not in packs:
            lost = _only_in(entries, good, named[pack_id])
            findings.append(_gone(key, f"is missing, with {lost} asset(s) that are nowhere else here", lost))
            continue
        try:
            table = read_table_of_file(f"{root}/{key}")
        except DamagedPack as error:
            is_needed = pack_id not in named or _only_in(entries, good, named[pack_id])
            findings.append(_gone(key, error.message, int(is_needed)))
            continue
        if pack_id not in named:
            message = f"its {len(table)} asset(s) are not in the index: an earlier command was cut off"
            findings.append(Finding("note", _CHECK, key, message, _REBUILD))
            continue
        rows = np.flatnonzero(entries.pack == named[pack_id])
        offsets = np.sort(entries.offset[rows])
        if len(rows) != len(table) or (offsets != np.sort(table["offset"].astype(np.int64))).any():
            findings.append(Finding("error", _CHECK, key, "its table and the index do not agree", _REBUILD))


def _check_loose(root: str, entries: Entries, good: Index, loose: set[str], findings: list[Finding]) -> None:
    rows = np.flatnonzero(entries.pack == IN_LOOSE_FILE)
    named = {entries.ids[row].tobytes().hex(): int(entries.raw_length[row]) for row in rows}
    for asset_id in sorted(loose | set(named)):
        key = loose_key(asset_id)
        if asset_id not in loose:
            is_lost = good.find_one(bytes.fromhex(asset_id)) is None
            findings.append(_gone(key, "is missing, but the index has it", int(is_lost)))
        elif asset_id not in named:
            message = "is not in the index: an earlier command was cut off"
            findings.append(Finding("note", _CHECK, key, message, _REBUILD))
        elif (seen := os.stat(f"{root}/{key}").st_size) != named[asset_id]:
            message = f"has {seen} bytes, expected {named[asset_id]}"
            findings.append(Finding("error", _CHECK, key, message, HEAL))


def _check_notes(root: str, good: Index, findings: list[Finding]) -> None:
    """What was found damaged by somebody who read it, and has no other copy."""
    lost: dict[str, int] = {}
    for pack_id, raw_id in sorted(noted_damage(root)):
        if good.find_one(raw_id) is None:
            key = pack_key(pack_id) if pack_id else loose_key(raw_id.hex())
            lost[key] = lost.get(key, 0) + 1
    for key, count in lost.items():
        message = f"{count} asset(s) in it were damaged when they were read, and have no other copy here"
        findings.append(Finding("error", _CHECK, key, message, HEAL))


def _only_in(entries: Entries, good: Index, number: int) -> int:
    """How many assets of the pack of this number have no good copy elsewhere."""
    elsewhere = Index(good.entries.take(good.entries.pack != number))
    return int((~elsewhere.find(entries.ids[entries.pack == number])[0]).sum())


def _gone(key: str, message: str, lost: int) -> Finding:
    if lost:
        return Finding("error", _CHECK, key, message, HEAL)
    return Finding("note", _CHECK, key, "is lost or damaged, and nothing with it: there are other copies", _REBUILD)
