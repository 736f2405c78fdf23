"""Exact duplicates: rows with the same asset."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pyarrow as pa

from datapin.base.errors import StageRefused, listed
from datapin.base.findings import Finding
from datapin.manifest.columns.columns import one_array

_MOST_NAMED = 100


def settle_duplicates(
    table: pa.Table, policy: Literal["keep", "drop", "refuse"], dataset: str
) -> tuple[pa.Table, list[Finding]]:
    """The rows (sorted by key) that stay, and what was seen. Drop keeps the first key of each asset.

    Raises StageRefused if the policy is to refuse and there are duplicates.
    """
    codes = one_array(table["asset_id"]).dictionary_encode().indices.to_numpy()
    first = np.full(int(codes.max(initial=-1)) + 1, -1, dtype=np.int64)
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    leader = first[codes]  # for each row the first row with its asset
    repeats = np.flatnonzero(leader != np.arange(len(codes)))
    if not len(repeats):
        return table, []
    keys = one_array(table["key"])
    pairs = [f"{keys[int(row)].as_py()} = {keys[int(leader[row])].as_py()}" for row in repeats[:_MOST_NAMED]]
    if policy == "refuse":
        advice = "remove them with `datapin remove`, or set duplicates: drop or keep in params.yaml"
        raise StageRefused("prepare", f"{len(repeats)} row(s) repeat another row's asset: {listed(pairs, 5)}", advice)
    findings = _conflicts(table, repeats, leader, dataset)
    outcome = "dropped" if policy == "drop" else "kept"
    message = f"{len(repeats)} row(s) repeat another row's asset and were {outcome}: {listed(pairs, 5)}"
    findings.append(Finding("note", "duplicates", dataset, message))
    if policy == "keep":
        return table, findings
    keep = np.ones(len(codes), dtype=bool)
    keep[repeats] = False
    return table.filter(pa.array(keep)), findings


def _conflicts(
    table: pa.Table,
    repeats: np.ndarray[tuple[int], np.dtype[np.int64]],
    leader: np.ndarray[tuple[int], np.dtype[np.int64]],
    dataset: str,
) -> list[Finding]:
    if "label" not in table.column_names:
        return []
    label = one_array(table["label"]).dictionary_encode(null_encoding="encode").indices.to_numpy()
    odd = repeats[label[repeats] != label[leader[repeats]]]
    keys, labels = one_array(table["key"]), one_array(table["label"])
    findings = []
    for row in odd[:_MOST_NAMED].tolist():
        other = int(leader[row])
        message = (
            f"label {labels[row].as_py()!r}, but {keys[other].as_py()} is the same asset with label"
            f" {labels[other].as_py()!r}"
        )
        where = f"{dataset}:{keys[row].as_py()}"
        findings.append(
            Finding("warning", "conflicting-labels", where, message, "correct one of them with `datapin update`")
        )
    if len(odd) > _MOST_NAMED:
        message = f"and {len(odd) - _MOST_NAMED} more row(s) with conflicting labels"
        findings.append(Finding("warning", "conflicting-labels", dataset, message))
    return findings
