"""What `add` learns of files from a metadata file, and which files are that metadata rather than data."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa

from datapin.base.documents import read_json
from datapin.base.errors import Refused, Usage, listed
from datapin.base.findings import Finding
from datapin.manifest.manifest import Manifest
from datapin.trees.intake.metadata import join_metadata, read_metadata
from datapin.trees.intake.tables.column_kinds import Before
from datapin.trees.intake.tables.table_rules import TableRules
from datapin.trees.intake.walk import FoundFiles, leave_out
from datapin.verbs.workspace.workspace import Workspace

METADATA_KEYS = "datapin.metadata"  # property: a JSON list of keys that are no rows, but files of metadata


def described(
    workspace: Workspace,
    found: FoundFiles,
    metadata: str | None,
    rules: TableRules,
    before: Before | None,
    *,
    is_strict: bool,
) -> tuple[pa.Table | None, list[Finding]]:
    """The metadata file's columns, aligned to the files; what did not match, and what was left out or kept as text."""
    if metadata is None:
        _refuse_idle_rules(rules)
        return None, []
    path = table_path(workspace, metadata)
    read = read_metadata(path, rules, before)
    folders = [path.parent, workspace.cwd, workspace.root]
    table, without_file, without_row = join_metadata(found.keys, read.table, folders=folders, roots=found.roots)
    findings = [Finding("note", "metadata", metadata, note) for note in read.notes]
    unmatched = []
    example = f"; the first file is {found.keys[0].as_py()!r}" if len(without_file) == read.table.num_rows else ""
    for names, problem in ((without_file, "row(s) without a file"), (without_row, "file(s) without a row")):
        if names:
            message = f"{len(names)} {problem}: {listed(names, 5)}{example}"
            unmatched.append(Finding("warning", "metadata", metadata, message, "use --strict to refuse this"))
            example = ""
    if unmatched and is_strict:
        raise Refused(
            f"{metadata}: " + "; ".join(finding.message for finding in unmatched),
            "correct the metadata file or the folder, or leave out --strict",
        )
    return table, findings + unmatched


def without_metadata(
    workspace: Workspace, found: FoundFiles, metadata: str | None, previous: Manifest | None
) -> tuple[FoundFiles, dict[str, str] | None]:
    """The files without those of metadata; and the manifest's properties that say so, None to keep them."""
    known = set(metadata_keys(previous))
    named = set() if metadata is None else _keys_of(table_path(workspace, metadata), found)
    rest = leave_out(found, known | named)
    if not named - known or len(rest) == len(found):
        return rest, None
    before = {} if previous is None else dict(previous.properties)
    return rest, {**before, METADATA_KEYS: json.dumps(sorted(known | named))}


def metadata_keys(manifest: Manifest | None) -> list[str]:
    """The keys below the manifest's source trees that are files of metadata."""
    try:
        found = read_json(manifest.properties.get(METADATA_KEYS, "[]"), METADATA_KEYS) if manifest is not None else []
    except ValueError:
        return []
    return [key for key in found if isinstance(key, str)] if isinstance(found, list) else []


def table_path(workspace: Workspace, metadata: str) -> Path:
    """A file as it was given, where that is the same: messages then say what the user typed."""
    return Path(metadata) if workspace.cwd == Path.cwd() else workspace.cwd / metadata


def _keys_of(path: Path, found: FoundFiles) -> set[str]:
    real = os.path.realpath(path)
    tops = [f"{os.path.realpath(root).rstrip('/')}/" for root in found.roots if root]
    return {real[len(top) :] for top in tops if real.startswith(top)}


def _refuse_idle_rules(rules: TableRules) -> None:
    given = [
        name
        for name, value in (
            ("--csv-delimiter", rules.delimiter),
            ("--csv-encoding", rules.encoding),
            ("--key-column", rules.key_column),
            ("--rename", rules.renames or None),
            ("--types", [name for name in rules.types if name != "label"] or None),
        )
        if value is not None
    ]
    if given:
        raise Usage(f"{given[0]} says how to read a metadata file, and none is named", "name it with --metadata FILE")
