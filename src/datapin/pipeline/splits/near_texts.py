"""Near duplicates among texts: rows whose sketches agree, across splits first, since that leaks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datapin.base.findings import Finding
from datapin.manifest.columns.columns import one_array
from datapin.pipeline.mapping.context import StageContext
from datapin.pipeline.mapping.derived import rows_of
from datapin.pipeline.mapping.map import MapPlan, map_rows
from datapin.pipeline.mapping.work import ExtractFeatures
from datapin.pipeline.operators.text.sketches import HASHES, Sketches
from datapin.pipeline.record.fingerprint import memo_key

_BAND = 4  # hashes that must agree for two rows to be compared: found from a similarity of about a half on
_MOST_NAMED = 20

Rows = npt.NDArray[np.int64]


def near_text_findings(table: pa.Table, least: float, dataset: str, context: StageContext) -> list[Finding]:
    """A warning if texts of two splits are alike at least so much (0 to 1), a note for others. Needs a split column."""
    sketches = _sketches(table, context)
    splits = one_array(table["split"])
    codes = splits.dictionary_encode().indices.to_numpy(zero_copy_only=False)
    distinct = one_array(table["asset_id"]).dictionary_encode().indices.to_numpy()
    one, other = near_rows(sketches, codes, distinct, least)
    if not len(one):
        return []
    keys = one_array(table["key"])
    crossing = codes[one] != codes[other]
    findings = []
    for chosen, severity, check, what in (
        (crossing, "warning", "near-texts-in-two-splits", "pair(s) of texts in two splits are nearly the same"),
        (~crossing, "note", "near-texts", "pair(s) of texts are nearly the same"),
    ):
        places = np.flatnonzero(chosen)
        if len(places):
            pairs = [f"{keys[int(one[n])].as_py()} ≈ {keys[int(other[n])].as_py()}" for n in places[:_MOST_NAMED]]
            more = f" and {len(places) - len(pairs)} more" if len(places) > len(pairs) else ""
            advice = "give such rows one group, which keeps them in one split" if check.endswith("splits") else ""
            message = f"{len(places)} {what}: {', '.join(pairs)}{more}"
            findings.append(Finding(severity, check, dataset, message, advice))  # type: ignore[arg-type]
    return findings


def near_rows(sketches: npt.NDArray[np.uint32], splits: Rows, assets: Rows, least: float) -> tuple[Rows, Rows]:
    """Pairs of rows, one < other, whose sketches agree in a share of at least `least`, and whose assets differ.

    Every row that is near another is in a pair; of many that are alike, each is paired with the first of every split.
    """
    found: set[tuple[int, int]] = set()
    for start in range(0, HASHES, _BAND):
        band = np.ascontiguousarray(sketches[:, start : start + _BAND]).view("V16").reshape(-1)
        _, bucket = np.unique(band, return_inverse=True)
        for split in np.unique(splits):
            inside = np.flatnonzero(splits == split)
            first = np.full(int(bucket.max(initial=-1)) + 1, -1, dtype=np.int64)
            first[bucket[inside[::-1]]] = inside[::-1]
            leader = first[bucket]
            rows = np.flatnonzero((leader >= 0) & (leader != np.arange(len(bucket))))
            rows = rows[assets[rows] != assets[leader[rows]]]
            agree = (sketches[rows] == sketches[leader[rows]]).mean(axis=1)
            rows = rows[agree >= least]
            found.update(
                zip(np.minimum(rows, leader[rows]).tolist(), np.maximum(rows, leader[rows]).tolist(), strict=True)
            )
    pairs = np.array(sorted(found), dtype=np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _sketches(table: pa.Table, context: StageContext) -> npt.NDArray[np.uint32]:
    operator, rows = Sketches(), rows_of(table)
    computation = ExtractFeatures(operator, context.store.root)
    key = memo_key(operator.fingerprint, operator.environment)
    plan = MapPlan(computation, key, makes_assets=False, title="sketches")
    found = np.zeros((len(rows), HASHES), dtype=np.uint32)
    start = 0
    for mapped in map_rows(rows.chunks(), plan, context, context.engine(), total=len(rows)):
        for place, value in enumerate(mapped.values.to_pylist()):
            if value is not None:
                found[start + place] = np.frombuffer(value, dtype=np.uint32)
        start += len(mapped.rows)
    return found
