"""Stages of the user's own code: what `datapin.write` does where DVC runs a stage that puts the dataset out.

Outside of its stage, such a dataset is not written: `dvc repro` would overwrite the edit.
"""

from __future__ import annotations

import fnmatch
import os
import posixpath
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from datapin.base.errors import DatapinError
from datapin.dvcfiles.texts import load_yaml, stage_body, stage_outputs
from datapin.manifest.manifest import Manifest
from datapin.pipeline.mapping.context import StageContext
from datapin.pipeline.mapping.output import output_place, previous_of
from datapin.pipeline.record.fingerprint import INPUTS, canonical_json
from datapin.verbs.workspace.reports import AddReport
from datapin.verbs.workspace.workspace import Workspace

_TEMPLATE = re.compile(r"\$\{[^}]*\}")


@dataclass(frozen=True, slots=True)
class RunningStage:
    """The stage that DVC runs now, as `dvc.yaml` has it; `deps` are the datasets among what it reads."""

    name: str
    deps: tuple[str, ...]


def running_stage(root: Path, dataset: str) -> RunningStage | None:
    """The stage inside which this process runs, if `dataset` is one of its outputs."""
    address, home = os.environ.get("DVC_STAGE", ""), os.environ.get("DVC_ROOT", "")
    if not address or not home or Path(home).resolve() != root.resolve():
        return None
    file, _, name = address.rpartition(":")
    file = file or "dvc.yaml"
    text = (root / file).read_bytes()
    body = stage_body(load_yaml(text, file), name)
    if body is None:
        return None
    folder = posixpath.join(posixpath.dirname(file) or ".", _as_pattern(str(body.get("wdir", "."))))
    outs, deps = (_paths(body.get(kind), folder) for kind in ("outs", "deps"))
    is_its_own = dataset in outs
    is_anothers = not is_its_own and dataset in stage_outputs(text, file)[1]
    if not is_its_own and (is_anothers or not any(fnmatch.fnmatchcase(dataset, pattern) for pattern in outs)):
        return None
    return RunningStage(name, tuple(path for path in deps if "*" not in path))


def write_output(
    workspace: Workspace, context: StageContext, stage: RunningStage, dataset: str, table: pa.Table
) -> AddReport:
    """Write the rows as the stage's output, whole or not at all; DVC pins them when the stage ends.

    Raises StageRefused, BadKeys, BadRows, StorageFailed.
    """
    previous = previous_of(context, dataset)
    inputs = {}
    for path in stage.deps:
        manifest = _manifest(workspace.root / path, path)
        if manifest is not None:
            inputs[path] = manifest.digest
    properties = {INPUTS: canonical_json(inputs)} if inputs else {}
    with output_place(context, stage.name, dataset, stage.deps) as place:
        manifest = place.write(table, properties, previous)
    before = 0 if previous is None else previous.rows
    return AddReport(dataset, manifest.rows, 0, before, 0, manifest.rows, 0, 0, manifest.digest)


def _paths(entries: Any, folder: str) -> list[str]:
    """The paths in a list of `dvc.yaml`, relative to the root; what a template will say is a pattern's `*`."""
    paths = []
    for entry in entries if isinstance(entries, list) else ():
        path = next(iter(entry), None) if isinstance(entry, dict) else entry
        if isinstance(path, str):
            paths.append(posixpath.normpath(posixpath.join(folder, _as_pattern(path))))
    return paths


def _as_pattern(text: str) -> str:
    return _TEMPLATE.sub("*", text)


def _manifest(directory: Path, name: str) -> Manifest | None:
    try:
        return Manifest.open(directory, name) if directory.is_dir() else None
    except DatapinError:
        return None  # a folder of something else
