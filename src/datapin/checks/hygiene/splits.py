"""hygiene: things that lie in two splits, and splits that are not what they should be."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from functools import partial

import numpy as np

from datapin.base.findings import Finding, Severity
from datapin.checks.check import MOST_LISTED, Check
from datapin.checks.hygiene.origins import fresh_rows, made_anew, origin_of, params_of, stages_of
from datapin.checks.hygiene.rows import PIXELS, DatasetRows, counted, each_dataset, rows_of
from datapin.checks.subject import Subject
from datapin.manifest.columns.columns import shown
from datapin.pipeline.params.stages import PrepareParams
from datapin.pipeline.splits.crossing import Codes, crossings, named
from datapin.pipeline.splits.leaks import SPLIT_NAMES, lookalikes
from datapin.pipeline.splits.split_rule import rows_off_rule

ASSET = "hygiene.asset-in-two-splits"
GROUP = "hygiene.group-in-two-splits"
RECORDED_PIXELS = "hygiene.recorded-pixels-in-two-splits"
NAMES = "hygiene.split-names"
EDITED = "hygiene.split-edited"


def _assets(subject: Subject, dataset: str) -> Iterator[Finding]:
    rows = rows_of(subject, dataset)
    if rows.splits is not None:
        yield from _crossing(subject, rows, rows.assets, ASSET, "asset")


def _groups(subject: Subject, dataset: str) -> Iterator[Finding]:
    rows = rows_of(subject, dataset)
    if rows.splits is not None and rows.groups is not None:
        yield from _crossing(subject, rows, rows.groups.codes, GROUP, "group")


def _recorded_pixels(subject: Subject, dataset: str) -> Iterator[Finding]:
    rows = rows_of(subject, dataset)
    pixels = rows.column(PIXELS)
    if rows.splits is None or pixels is None:
        return
    codes = named(pixels.cast("string")).codes
    # What shares its asset as well is told once, by the check of assets.
    yield from _crossing(subject, rows, _once_per_asset(codes, rows), RECORDED_PIXELS, "picture")


def _once_per_asset(codes: Codes, rows: DatasetRows) -> Codes:
    """The codes, none for rows whose asset another row has before them."""
    assets = rows.assets
    _, firsts = np.unique(assets, return_index=True)
    kept = np.full(len(codes), -1, dtype=np.int64)
    kept[firsts] = codes[firsts]
    return kept


def _crossing(subject: Subject, rows: DatasetRows, things: Codes, check: str, what: str) -> Iterator[Finding]:
    assert rows.splits is not None
    found = crossings(things, rows.splits.codes, most=MOST_LISTED)
    if found.things:  # only now: it compares with the dataset before
        found = crossings(things, rows.splits.codes, fresh_rows(subject, rows.dataset), most=MOST_LISTED)
    findings = []
    for one, other in found.pairs:
        named_thing = _thing(rows, one, what)
        message = (
            f"in {rows.split_of(one)}, but {rows.keys[other].as_py()} with the same {named_thing}"
            f" is in {rows.split_of(other)}"
        )
        findings.append(Finding("error", check, rows.where(one), message, _together(subject, rows, one, other, what)))
    yield from counted(findings, found.things, f"{what}s")


def _together(subject: Subject, rows: DatasetRows, one: int, other: int, what: str) -> str:
    """What brings both rows into one split: the stage that gave them splits, else an edit of the source."""
    origin = origin_of(subject, rows.dataset)
    if origin is not None:
        return f"run {made_anew(origin)}: prepare keeps equal assets and groups in one split"
    which = {"asset": "asset_id", "group": '"group"'}.get(what, "key")
    if what == "asset":
        value = rows.ids[one].tobytes().hex()
    elif what == "group" and rows.groups is not None:
        value = rows.groups.names[rows.groups.codes[one]]
    else:
        value = rows.keys[other].as_py()
    split = rows.split_of(one).removeprefix("split ").strip("'")
    edit = [f"split = '{split}'", "--where", f"{which} = '{str(value).replace(chr(39), 2 * chr(39))}'"]
    return f"run `{shlex.join(['datapin', 'update', rows.dataset, '--set', *edit])}`, or give both the other split"


def _thing(rows: DatasetRows, row: int, what: str) -> str:
    if what == "asset":
        return f"asset {rows.ids[row].tobytes().hex()[:12]}"
    if what == "group" and rows.groups is not None:
        return f"group {shown(rows.groups.at(row))}"
    return what


def _names(subject: Subject, dataset: str) -> Iterator[Finding]:
    rows, origin = rows_of(subject, dataset), origin_of(subject, dataset)
    if rows.splits is None:
        before = [source for source in origin.inputs if rows_of(subject, source).splits is not None] if origin else []
        if origin is not None and origin.kind is not None and before:
            message = f"has no column split, {before[0]} has one"
            yield Finding("error", NAMES, dataset, message, f"run `dvc repro {shlex.quote(origin.stage)}`")
        return
    known = _known_names(subject)
    alike = dict(lookalikes([*known, *rows.splits.names]))
    used = np.bincount(rows.splits.codes[rows.splits.codes >= 0], minlength=len(rows.splits.names))
    for code, name in enumerate(rows.splits.names):
        first = int(np.argmax(rows.splits.codes == code))
        if name in alike:
            message = f"{used[code]} row(s) are in split {shown(name)}, which reads like {shown(alike[name])}"
            hint = f"correct it (`datapin help update`), or run `dvc repro` if {dataset} is made by a stage"
            yield Finding("error", NAMES, rows.where(first), message, hint)
        elif origin is not None and name not in known:
            message = (
                f"{used[code]} row(s) are in split {shown(name)}, which no stage uses; used are {', '.join(known)}"
            )
            yield Finding("warning", NAMES, rows.where(first), message, "name it in prepare.split or train.evaluate")
    without = np.flatnonzero(rows.splits.codes < 0)
    if origin is not None and len(without):
        message = f"{len(without)} row(s) are in no split: no stage learns from them or is measured on them"
        severity: Severity = "warning" if origin.kind is None else "error"
        yield Finding(
            severity, NAMES, rows.where(int(without[0])), message, f"run `dvc repro {shlex.quote(origin.stage)}`"
        )


def _known_names(subject: Subject) -> list[str]:
    """The splits that stages name, and the usual ones."""
    names = list(SPLIT_NAMES)
    for stage in stages_of(subject):
        for sections in stage.params.values():
            given = sections if isinstance(sections, dict) else {}
            prepare, train = given.get("prepare") or {}, given.get("train") or {}
            names += list(prepare.get("split") or []) if isinstance(prepare, dict) else []
            names += (
                [*(train.get("evaluate") or []), train.get("fit_split", "train")] if isinstance(train, dict) else []
            )
    return list(dict.fromkeys(str(name) for name in names))


def _edited(subject: Subject, dataset: str) -> Iterator[Finding]:
    rows, origin = rows_of(subject, dataset), origin_of(subject, dataset)
    if origin is None or origin.kind != "prepare" or rows.splits is None:
        return
    params = params_of(subject, origin, "prepare", PrepareParams)
    source = next((name for name in origin.inputs if name == params.input), None)
    if source is None:
        message = (
            f"could not be checked: {params.input}, which its splits depend on, is no pinned dep of {origin.stage}"
        )
        yield Finding("error", EDITED, dataset, message, "correct deps in dvc.yaml, then run `dvc repro`")
        return
    off = rows_off_rule(rows.table, rows_of(subject, source).table, params)
    listed = [int(row) for row in off[:MOST_LISTED]]
    base = "asset" if rows.groups is None else "asset or group"
    message = f"in {{}}, which is not what prepare's rule gives it (its {base}, the seed and the shares)"
    again = f"run {made_anew(origin)}"
    hint = f"{again}; to place rows by hand give {source} a split and set keep_split: true"
    findings = [Finding("error", EDITED, rows.where(row), message.format(rows.split_of(row)), hint) for row in listed]
    yield from counted(findings, len(off), "rows")


CHECKS: tuple[Check, ...] = (
    Check(ASSET, "Is each asset in one split only?", partial(each_dataset, check=ASSET, look=_assets)),
    Check(GROUP, "Is each group in one split only?", partial(each_dataset, check=GROUP, look=_groups)),
    Check(
        RECORDED_PIXELS,
        "Are images with the same pixels, as the column pixels records them, in one split only?",
        partial(each_dataset, check=RECORDED_PIXELS, look=_recorded_pixels),
    ),
    Check(NAMES, "Is every row in a split that a stage uses?", partial(each_dataset, check=NAMES, look=_names)),
    Check(
        EDITED,
        "Is every row in the split that prepare's rule gives it?",
        partial(each_dataset, check=EDITED, look=_edited),
    ),
)
