"""A merge of two people's rows, made of plain dicts: what tests compare with."""

from __future__ import annotations

from datapin.manifest.merge import WHOLE_ROW

Rows = dict[str, dict[str, object]]


def merged(base: Rows, ours: Rows, theirs: Rows) -> tuple[Rows, set[tuple[str, str]]]:
    """The model: cell by cell. A missing row has None everywhere."""
    result: Rows = {}
    conflicts = set()
    for key in {*base, *ours, *theirs}:
        was, mine, other = base.get(key), ours.get(key), theirs.get(key)
        if mine == other:
            row = mine
        elif was is not None and (mine is None or other is None):
            kept = mine if other is None else other
            if kept != was:
                conflicts.add((key, WHOLE_ROW))
            row = None
        elif mine is None or other is None:
            row = other if mine is None else mine
        else:
            row = {}
            for column in mine:
                before = was[column] if was else None
                one, another = mine[column], other[column]
                if one != another and before not in (one, another):
                    conflicts.add((key, column))
                row[column] = another if one == before else one
        if row is not None:
            result[key] = row
    return result, conflicts
