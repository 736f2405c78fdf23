"""Writes the page of `run augment --preview`: rows before and after."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from datapin.pipeline.stages.preview import PreviewedRow
from datapin.verbs.history.page import markup
from datapin.verbs.history.page.pictures import picture_of
from datapin.verbs.history.page.writing import publish_page


def write_preview_page(path: Path, dataset: str, operators: Iterable[str], rows: Sequence[PreviewedRow]) -> None:
    """One self-contained file; the same rows give the same bytes. Raises StorageFailed."""
    cards = [_card(row) for row in rows]
    body = markup.rows_section("changed", "Rows and their copies", cards, len(rows), len(rows)) if rows else ""
    publish_page(
        path,
        "preview.html",
        title=markup.safe(f"{dataset}: augment"),
        dataset=markup.safe(dataset),
        operators=" ".join(markup.chip("plain", name) for name in operators),
        rows=body or "<p>No row is copied: no copies were asked for, or no row is in the split train.</p>",
    )


def _card(row: PreviewedRow) -> str:
    looks = [picture_of(row.before), picture_of(row.after)]
    facts = [markup.fact("copy", row.copy), *(markup.fact("", one.note) for one in looks if one.note)]
    if row.label is not None:
        facts.insert(0, markup.fact("label", row.label))
    return markup.card(row.key, looks, facts)
