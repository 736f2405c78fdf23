"""hygiene: augmented copies that are not what their operator makes of the parent they name. Reads the assets."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.findings import Finding
from datapin.base.id_columns import arrow_numbers, ids_from_hex, numbers
from datapin.checks.check import MOST_LISTED, Check
from datapin.checks.hygiene.looks import looking
from datapin.checks.hygiene.origins import Origin, fresh_rows, made_anew, origin_of, params_of
from datapin.checks.hygiene.rows import DatasetRows, counted, each_dataset, rows_of
from datapin.checks.subject import Subject
from datapin.manifest.columns.columns import flags, one_array
from datapin.pipeline.kinds.kind import kind_named
from datapin.pipeline.mapping.map import Rows
from datapin.pipeline.operators.operator import AssetOperator
from datapin.pipeline.operators.partners import PARTNER, choose_partners, with_partner
from datapin.pipeline.params.stages import AugmentParams
from datapin.pipeline.splits.copies_again import make_again
from datapin.pipeline.splits.crossing import Codes, Mask
from datapin.pipeline.splits.leaks import own_train_assets
from datapin.pipeline.splits.looks import looks_of

FORGED = "hygiene.copy-forged"
_NUMBER = r"~(?P<n>[0-9]{1,9})\.[a-z0-9]+$"


def _forged(subject: Subject, dataset: str) -> Iterator[Finding]:
    rows, origin = rows_of(subject, dataset), origin_of(subject, dataset)
    if origin is None or origin.kind != "augment":
        return
    params = params_of(subject, origin, "augment", AugmentParams)
    operator = kind_named(params.kind).copy(params, subject.root)
    hint = f"make them anew with {made_anew(origin)}"
    own = np.flatnonzero(rows.copies & fresh_rows(subject, dataset))
    named = _text(rows, "operator", own)
    is_ours = flags(pc.fill_null(pc.equal(named, operator.fingerprint), False))
    numbered = pc.struct_field(pc.extract_regex(rows.keys.take(arrow_numbers(own)), _NUMBER), "n")
    has_parent = flags(_text(rows, "parent_id", own).is_valid())
    is_named = is_ours & flags(numbered.is_valid()) & has_parent
    if with_partner(operator) is not None:
        is_named &= flags(_text(rows, PARTNER, own).is_valid())
    reasons = {int(row): "was not made by the operator of the stage's params" for row in own[~is_named].tolist()}
    asked = own[is_named]
    copies = numbers(numbered.filter(pa.array(is_named)).cast(pa.int64()))
    if len(asked):
        wrong = _not_what_is_made(subject, rows, asked, copies, operator)
        reasons |= dict.fromkeys(asked[wrong].tolist(), "is not what the operator makes of the parent that it names")
        strange = _strange_partners(subject, rows, asked, copies, operator, origin)
        reasons |= dict.fromkeys(asked[strange].tolist(), "names a partner that the operator does not choose for it")
    findings = [
        Finding("error", FORGED, rows.where(row), f"this copy {reasons[row]}", hint)
        for row in sorted(reasons)[:MOST_LISTED]
    ]
    yield from counted(findings, len(reasons), "copies")


def _text(rows: DatasetRows, name: str, places: Codes) -> pa.Array:
    column = rows.column(name)
    return pa.nulls(len(places), pa.string()) if column is None else column.take(arrow_numbers(places))


def _not_what_is_made(
    subject: Subject, rows: DatasetRows, places: Codes, copies: Codes, operator: AssetOperator
) -> Mask:
    """Which of these copies have other pixels than the operator gives."""
    keys, sizes = rows.keys.take(arrow_numbers(places)), _sizes(rows, places)
    parents = ids_from_hex(_text(rows, "parent_id", places))
    partners = None if with_partner(operator) is None else ids_from_hex(_text(rows, PARTNER, places))
    needed = parents if partners is None else np.concatenate([parents, partners])
    subject.ensure(needed, f"{FORGED} of {rows.dataset}")
    context, given = looking(subject), Rows(keys, parents, copies, sizes, partners)
    ids, samples = make_again(given, operator, context, title=f"copies of {rows.dataset}")
    wrong: Mask = (ids != rows.ids[places]).any(axis=1)
    odd = np.flatnonzero(wrong)
    if len(odd):  # another zlib writes other bytes for the same pixels
        assets = rows.ids[places[odd]]
        subject.ensure(assets, f"{FORGED} of {rows.dataset}")
        asked = Rows(keys.take(arrow_numbers(odd)), assets, np.zeros(len(odd), dtype=np.int64), sizes[odd])
        seen = looks_of(asked, context, title=f"looks of {rows.dataset}")
        wrong[odd] = (seen.samples != samples[odd]).any(axis=1) | ~seen.is_image
    return wrong


def _strange_partners(
    subject: Subject, rows: DatasetRows, places: Codes, copies: Codes, operator: AssetOperator, origin: Origin
) -> Mask:
    """Which of these copies name another partner than the one that is chosen from the rows which the stage read."""
    taker = with_partner(operator)
    if taker is None or len(origin.inputs) != 1:
        return np.zeros(len(places), dtype=np.bool_)
    candidates = own_train_assets(rows_of(subject, origin.inputs[0]).table)
    parents, named = (ids_from_hex(_text(rows, name, places)) for name in ("parent_id", PARTNER))
    strange: Mask = (choose_partners(taker, parents, copies, candidates) != named).any(axis=1)
    return strange


def _sizes(rows: DatasetRows, places: Codes) -> Codes:
    sizes: Codes = numbers(one_array(rows.manifest.to_table(["size"])["size"]))[places]
    return sizes


CHECKS: tuple[Check, ...] = (
    Check(
        FORGED,
        "Is each augmented copy what its operator makes of the parent that it names?",
        partial(each_dataset, check=FORGED, look=_forged),
        needs_bytes=True,
    ),
)
