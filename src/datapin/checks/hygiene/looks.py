"""hygiene: images that are, or nearly are, in two splits. Reads every image, so it runs with `--deep` or by name."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.findings import Finding
from datapin.base.id_columns import arrow_numbers, ids_from_hex, numbers
from datapin.checks.check import MOST_LISTED, Check
from datapin.checks.hygiene.origins import fresh_rows
from datapin.checks.hygiene.rows import DatasetRows, counted, each_dataset, rows_of
from datapin.checks.subject import Subject
from datapin.manifest.columns.columns import flags, one_array
from datapin.pipeline.mapping.context import StageContext
from datapin.pipeline.mapping.map import Rows
from datapin.pipeline.mapping.memo import Memo
from datapin.pipeline.splits.crossing import Codes, crossings, id_codes
from datapin.pipeline.splits.looks import SeenLooks, looks_of
from datapin.pipeline.splits.near_pairs import distances, near_pairs

SAME = "hygiene.same-pixels"
NEAR = "hygiene.near-duplicates"
_NOT_IMAGES = "{}: {} row(s) are no images by their media type; their pixels were not compared"


def _look_at(subject: Subject, rows: DatasetRows) -> tuple[Codes, SeenLooks] | None:
    """The images that are in a split, each asset once, by their rows, and what they look like; None without any."""
    return subject.once(f"hygiene.looks:{rows.dataset}", lambda: _seen(subject, rows))


def _seen(subject: Subject, rows: DatasetRows) -> tuple[Codes, SeenLooks] | None:
    if rows.splits is None:
        return None
    in_a_split = rows.splits.codes >= 0
    chosen = in_a_split
    media = rows.column("media_type")
    if media is not None:
        chosen = in_a_split & flags(pc.fill_null(pc.starts_with(media.cast(pa.string()), "image/"), True))
    others = int(in_a_split.sum() - chosen.sum())
    if others:
        subject.notes.append(_NOT_IMAGES.format(rows.dataset, others))
    places = np.flatnonzero(chosen)
    _, firsts = np.unique(rows.assets[places], return_index=True)
    places = places[np.sort(firsts)]
    if not len(places):
        return None
    table = rows.manifest.to_table(["key", "asset_id", "size"]).take(arrow_numbers(places))
    ids = ids_from_hex(table["asset_id"])
    subject.ensure(ids, f"{SAME} of {rows.dataset}")
    context = looking(subject)
    asked = Rows(one_array(table["key"]), ids, np.zeros(len(ids), dtype=np.int64), numbers(one_array(table["size"])))
    return places, looks_of(asked, context, title=f"looks of {rows.dataset}")


def looking(subject: Subject) -> StageContext:
    """Surroundings for computing on assets: results are remembered below the cache."""
    memo = Memo(subject.cache / "looks")
    return StageContext(subject.root, subject.store, memo, subject.jobs, subject.progress)


def _unreadable(rows: DatasetRows, places: Codes, looks: SeenLooks, check: str) -> Iterator[Finding]:
    broken = np.flatnonzero(~looks.is_image)
    hint = "remove their rows (`datapin help remove`), or let prepare drop them (on_broken: drop)"
    findings = []
    for one in broken[:MOST_LISTED].tolist():
        message = f"could not be checked: {looks.problems[one].as_py()}"
        findings.append(Finding("error", check, rows.where(int(places[one])), message, hint))
    yield from counted(findings, len(broken), "images that do not decode")


def _same(subject: Subject, dataset: str) -> Iterator[Finding]:
    rows = rows_of(subject, dataset)
    seen = _look_at(subject, rows)
    if seen is None or rows.splits is None:
        return
    places, looks = seen
    yield from _unreadable(rows, places, looks, SAME)
    things = np.where(looks.is_image, id_codes(looks.pixels), -1)
    splits = rows.splits.codes[places]
    found = crossings(things, splits, most=MOST_LISTED)
    if found.things:
        found = crossings(things, splits, fresh_rows(subject, dataset)[places], most=MOST_LISTED)
    findings = []
    for pair in found.pairs:
        one, other = (int(places[number]) for number in pair)
        message = f"in {rows.split_of(one)}; {rows.keys[other].as_py()} in {rows.split_of(other)} has the same pixels"
        findings.append(Finding("error", SAME, rows.where(one), message, _HINT))
    yield from counted(findings, found.things, "pictures")


def _near(subject: Subject, dataset: str) -> Iterator[Finding]:
    rows = rows_of(subject, dataset)
    seen = _look_at(subject, rows)
    if seen is None or rows.splits is None:
        return
    places, looks = seen
    yield from _unreadable(rows, places, looks, NEAR)
    # One row stands for all with its pixels, and then for all of its split with its perceptual hash.
    kept = np.flatnonzero(looks.is_image)
    kept = kept[np.sort(np.unique(id_codes(looks.pixels[kept]), return_index=True)[1])] if len(kept) else kept
    splits = rows.splits.codes[places]
    _, firsts = np.unique(np.stack([looks.perceptual[kept], splits[kept].astype(np.uint64)]), axis=1, return_index=True)
    kept = kept[np.sort(firsts)]
    hashes = looks.perceptual[kept]
    one, other = near_pairs(hashes, splits[kept], subject.params.near_duplicate_bits)
    if not len(one):
        return
    fresh = fresh_rows(subject, dataset)[places[kept]]
    is_new = fresh[one] | fresh[other]
    one, other = one[is_new], other[is_new]
    apart = distances(hashes[one], hashes[other])
    order = np.lexsort((other, one, apart))[:MOST_LISTED]
    findings = []
    for number in order.tolist():
        mine, theirs = int(places[kept[one[number]]]), int(places[kept[other[number]]])
        message = (
            f"in {rows.split_of(mine)}, looks like {rows.keys[theirs].as_py()} in {rows.split_of(theirs)}"
            f" ({apart[number]} of 64 bits differ, at most {subject.params.near_duplicate_bits} count as near)"
        )
        findings.append(Finding("warning", NEAR, rows.where(mine), message, _HINT))
    yield from counted(findings, len(one), "pairs of looks")


_HINT = "look at both with `datapin checkout`; give them one group before splits are made, or remove one"

CHECKS: tuple[Check, ...] = (
    Check(
        SAME,
        "Are images with the same pixels, however they are encoded, in one split only?",
        partial(each_dataset, check=SAME, look=_same),
        needs_bytes=True,
    ),
    Check(
        NEAR,
        "Do images of different splits look different?",
        partial(each_dataset, check=NEAR, look=_near),
        needs_bytes=True,
    ),
)
