"""Writes the page: what changed between two versions, for people who review data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from datapin.manifest.comparing.diff import Comparison
from datapin.manifest.comparing.row_changes import RowChange, list_changes
from datapin.manifest.manifest import Manifest
from datapin.manifest.select import rows_of
from datapin.verbs.history.page import markup
from datapin.verbs.history.page.counts import MOST_MOVES, histogram, moves
from datapin.verbs.history.page.pictures import Pictures
from datapin.verbs.history.page.writing import publish_page
from datapin.verbs.workspace.workspace import Workspace

MOST_CARDS = 100  # of each kind: a page of 300 rows stays below 5 MB

_ASSET_COLUMNS = ("asset_id", "size", "media_type")
_TITLES = {"changed": "Changed rows", "added": "Added rows", "removed": "Removed rows"}

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PageSides:
    """What is compared, as the user calls it; a version without the dataset has no manifest."""

    dataset: str
    before_name: str
    after_name: str
    before: Manifest | None
    after: Manifest | None


def write_page(workspace: Workspace, path: Path, sides: PageSides, found: Comparison, where: str | None) -> None:
    """One self-contained file; the same versions and assets give the same bytes.

    Pictures that are not here are fetched; where that cannot be, the page says so. Raises StorageFailed.
    """
    cards = _Cards(workspace, sides, found)
    publish_page(
        path,
        "page.html",
        title=markup.safe(f"{sides.dataset}: {sides.before_name} → {sides.after_name}"),
        dataset=markup.safe(sides.dataset),
        before=markup.safe(sides.before_name),
        after=markup.safe(sides.after_name),
        totals=f"{_rows(sides.before)} → {_rows(sides.after)} rows",
        filter=""
        if where is None
        else f'<p class="quiet">only rows where <code>{markup.safe(where)}</code>; the bars count all rows</p>',
        counts=_counts(sides, found, is_whole=where is None),
        charts="\n".join(_charts(sides, found)),
        rows="\n".join(cards.sections()),
        most_cards=MOST_CARDS,
    )


def _rows(manifest: Manifest | None) -> str:
    return markup.count_text(0 if manifest is None else manifest.rows)


def _counts(sides: PageSides, found: Comparison, *, is_whole: bool) -> str:
    tiles = [
        markup.tile("added", "+", len(found.added)),
        markup.tile("removed", "−", len(found.removed)),
        markup.tile("changed", "~", len(found.changed)),
    ]
    if is_whole:
        before = 0 if sides.before is None else sides.before.rows
        tiles.append(markup.tile("unchanged", "", before - len(found.removed) - len(found.changed)))
    return "".join(tiles)


def _charts(sides: PageSides, found: Comparison) -> list[str]:
    parts = []
    for title, column in (("Labels", "label"), ("Splits", "split")):
        counted = histogram(sides.before, sides.after, column)
        if counted is not None:
            parts.append(markup.histogram_section(title, counted))
    for title, column in (("Relabelled", "label"), ("Moved between splits", "split")):
        if any(name == column for name, _ in found.columns):
            became = moves(sides.before, sides.after, found.changed, column)
            if became:
                parts.append(markup.moves_section(title, became, MOST_MOVES))
    if found.columns:
        parts.append(markup.columns_section(found.columns))
    return parts


class _Cards:
    """The rows that are pictured, the first of each kind in key order."""

    def __init__(self, workspace: Workspace, sides: PageSides, found: Comparison) -> None:
        none = found.added.slice(0, 0)
        self._counts = {"changed": len(found.changed), "added": len(found.added), "removed": len(found.removed)}
        self._shown: dict[str, list[RowChange]] = {}
        for kind, part in (
            ("changed", Comparison(none, found.changed, none, found.columns)),
            ("added", Comparison(found.added, none, none, ())),
            ("removed", Comparison(none, none, found.removed, ())),
        ):
            self._shown[kind] = list_changes(sides.before, sides.after, part, MOST_CARDS)
        changed = found.changed.slice(0, MOST_CARDS)
        self._before = _assets(sides.before, changed) | _assets(sides.before, found.removed.slice(0, MOST_CARDS))
        self._after = _assets(sides.after, changed) | _assets(sides.after, found.added.slice(0, MOST_CARDS))
        self._pictures = Pictures(workspace, [*self._before.values(), *self._after.values()])

    def sections(self) -> list[str]:
        """One for each kind of change that there is."""
        parts = []
        for kind, rows in self._shown.items():
            if rows:
                cards = [self._changed(row) if kind == "changed" else self._whole(row) for row in rows]
                parts.append(markup.rows_section(kind, _TITLES[kind], cards, len(rows), self._counts[kind]))
        return parts

    def _whole(self, row: RowChange) -> str:
        values = row.after or row.before or {}
        asset = (self._after if row.after is not None else self._before)[row.key]
        facts = [markup.fact(name, values[name]) for name in ("label", "split") if values.get(name) is not None]
        return markup.card(row.key, [self._pictures.of(asset)], [*facts, markup.size_text(asset["size"])])

    def _changed(self, row: RowChange) -> str:
        before, after = self._before[row.key], self._after[row.key]
        versions = [before, after] if before["asset_id"] != after["asset_id"] else [after]
        was, now = row.before or {}, row.after or {}
        facts = [
            markup.change_fact(name, was[name], now[name])
            for name in sorted(now, key=lambda name: (name != "label", name != "split"))
            if name not in ("asset_id", "size")
        ]
        if len(versions) > 1:
            sizes = [markup.size_text(one["size"]) for one in versions]
            differ = sizes[0] != sizes[1]
            facts.append(markup.change_fact("asset", *sizes) if differ else markup.fact("other asset", sizes[0]))
        return markup.card(row.key, [self._pictures.of(one) for one in versions], facts)


def _assets(manifest: Manifest | None, keys: pa.Array) -> dict[str, Row]:
    if manifest is None:
        return {}
    names: Sequence[str] = ["key", *(name for name in _ASSET_COLUMNS if name in manifest.schema.names)]
    return {row["key"]: row for row in rows_of(manifest, keys, manifest.schema, names).to_pylist()}
