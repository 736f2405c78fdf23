"""Conflicts of a dataset and what was decided about them, kept until none is left.

The file is a report as well: whoever wants to see the conflicts without us reads it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datapin.base.documents import read_json
from datapin.base.files import make_directory, publish_bytes
from datapin.base.state import state_of
from datapin.dvcfiles.merging.pointers import PointerSides
from datapin.manifest.merge import Conflict, Side

Cell = tuple[str, str]  # key and column; a note of the pointer's has no key, a whole row no column


@dataclass(slots=True)
class Decisions:
    """For each cell in conflict: a side, and for some a value in place of either side's, as text."""

    sides: dict[Cell, Side] = field(default_factory=dict)
    values: dict[Cell, str] = field(default_factory=dict)


def report_path(root: Path, dataset: str) -> Path:
    """Where the conflicts of `dataset` are written down; git-ignored."""
    return state_of(root).scratch / "conflicts" / f"{dataset}.json"


def load_decisions(root: Path, sides: PointerSides) -> Decisions:
    """What was decided about this merge so far; nothing if it was about another one."""
    decisions = Decisions()
    with suppress(OSError, ValueError, KeyError, TypeError):
        said = read_json(report_path(root, sides.dataset).read_bytes(), sides.dataset)
        if said["versions"] == _versions(sides):
            for one in said["decisions"]:
                cell = (str(one["key"]), str(one["column"]))
                decisions.sides[cell] = Side(one["take"])
                if one["value"] is not None:
                    decisions.values[cell] = str(one["value"])
    return decisions


def save_report(root: Path, sides: PointerSides, conflicts: Sequence[Conflict], decisions: Decisions) -> None:
    """Write down what is in conflict and what was decided."""
    path = report_path(root, sides.dataset)
    make_directory(path.parent)
    decided = [
        {"key": cell[0], "column": cell[1], "take": side.value, "value": decisions.values.get(cell)}
        for cell, side in decisions.sides.items()
    ]
    document: Mapping[str, Any] = {
        "dataset": sides.dataset,
        "versions": _versions(sides),
        "conflicts": [conflict_as_json(one) for one in conflicts],
        "decisions": decided,
    }
    publish_bytes(path, json.dumps(document, default=str, ensure_ascii=False, indent=1).encode())


def forget_report(root: Path, dataset: str) -> None:
    """The conflicts are settled."""
    report_path(root, dataset).unlink(missing_ok=True)


def conflict_as_json(conflict: Conflict) -> dict[str, Any]:
    """Its fields by name."""
    return {name: getattr(conflict, name) for name in ("key", "column", "base", "ours", "theirs")}


def _versions(sides: PointerSides) -> dict[str, str | None]:
    base = sides.base.pointer.md5 if sides.base is not None else None
    return {"base": base, "ours": sides.ours.pointer.md5, "theirs": sides.theirs.pointer.md5}
