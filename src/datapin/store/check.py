"""A quick look at a store's health: what can be seen without reading assets. Reports, never repairs."""

from __future__ import annotations

import os

import numpy as np

from datapin.base.errors import DamagedPack
from datapin.base.findings import Finding
from datapin.pack.table import read_table_of_file
from datapin.store.index import IN_LOOSE_FILE, Entries, join_entries
from datapin.store.index_files import decode_index, list_index_files
from datapin.store.layout import index_key, loose_key, pack_key
from datapin.store.publish import find_loose, find_packs

_CHECK = "store"
_REBUILD = "run `datapin rebuild-index`"
_FETCH = "run `datapin fetch`, or add the files again"


def check_store(root: str) -> list[Finding]:
    """Findings on index files, packs and loose assets. Raises OSError."""
    findings: list[Finding] = []
    entries = _check_index(root, findings)
    strangers: list[str] = []
    packs = set(find_packs(root, strangers))
    loose = set(find_loose(root, strangers))
    findings += [Finding("warning", _CHECK, root, stranger, "move it away") for stranger in strangers]
    _check_packs(root, entries, packs, findings)
    _check_loose(root, entries, loose, findings)
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


def _check_packs(root: str, entries: Entries, packs: set[str], findings: list[Finding]) -> None:
    named = {pack.hex(): number for number, pack in enumerate(entries.packs)}
    for pack_id in sorted(packs | set(named)):
        key = pack_key(pack_id)
        if pack_id not in packs:
            count = int((entries.pack == named[pack_id]).sum())
            message = f"is missing, with {count} asset(s) that the index says are in it"
            findings.append(Finding("error", _CHECK, key, message, _FETCH))
            continue
        try:
            table = read_table_of_file(f"{root}/{key}")
        except DamagedPack as error:
            findings.append(Finding("error", _CHECK, key, error.message, _FETCH))
            continue
        if pack_id not in named:
            message = f"its {len(table)} asset(s) are not in the index: an earlier command was cut off"
            findings.append(Finding("note", _CHECK, key, message, _REBUILD))
            continue
        rows = np.flatnonzero(entries.pack == named[pack_id])
        offsets = np.sort(entries.offset[rows])
        if len(rows) != len(table) or (offsets != np.sort(table["offset"].astype(np.int64))).any():
            findings.append(Finding("error", _CHECK, key, "its table and the index do not agree", _REBUILD))


def _check_loose(root: str, entries: Entries, loose: set[str], findings: list[Finding]) -> None:
    rows = np.flatnonzero(entries.pack == IN_LOOSE_FILE)
    named = {entries.ids[row].tobytes().hex(): int(entries.raw_length[row]) for row in rows}
    for asset_id in sorted(loose | set(named)):
        key = loose_key(asset_id)
        if asset_id not in loose:
            findings.append(Finding("error", _CHECK, key, "is missing, but the index has it", _FETCH))
        elif asset_id not in named:
            message = "is not in the index: an earlier command was cut off"
            findings.append(Finding("note", _CHECK, key, message, _REBUILD))
        elif (seen := os.stat(f"{root}/{key}").st_size) != named[asset_id]:
            message = f"has {seen} bytes, expected {named[asset_id]}"
            findings.append(Finding("error", _CHECK, key, message, _FETCH))
