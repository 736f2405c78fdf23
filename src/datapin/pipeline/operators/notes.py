"""What was odd about assets that decoded all the same, told with the keys of their rows."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from datapin.base.findings import Finding

MOST_FINDINGS = 100


def note_findings(kind: str, keys: pa.Array, notes: pa.Array, dataset: str) -> list[Finding]:
    """One warning for each row that has a note, each key once, up to a bound."""
    has_note = notes.is_valid()
    told = dict(zip(keys.filter(has_note).to_pylist(), notes.filter(has_note).to_pylist(), strict=True))
    return row_findings(f"{kind}-notes", list(told), [f"decoded, but: {note}" for note in told.values()], dataset)


def row_findings(check: str, keys: Sequence[str], messages: Sequence[str], dataset: str) -> list[Finding]:
    """One warning per row, up to a bound."""
    found = [
        Finding("warning", check, f"{dataset}:{key}", message)
        for key, message in list(zip(keys, messages, strict=True))[:MOST_FINDINGS]
    ]
    if len(keys) > MOST_FINDINGS:
        found.append(Finding("warning", check, dataset, f"and {len(keys) - MOST_FINDINGS} more row(s) like these"))
    return found
