"""The run record: what ran on what. Everything in it is the same wherever the same inputs give the same outputs.

No clock, no host name, nothing of this machine: DVC hashes the record and its run cache restores it together with the
model (docs/decisions/0003). What changes with every commit goes into the note beside it, which names its record, and
the environment into `environment.json` (docs/decisions/0027).
"""

from __future__ import annotations

import hashlib
import math
import platform
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from datapin.base.documents import JSON_BYTES, read_bounded, read_json
from datapin.base.errors import BadDocument, DamagedManifest, DamagedModel, StorageFailed
from datapin.base.files import publish_bytes
from datapin.pipeline.record.fingerprint import INPUTS, report_json

FORMAT = 1
RECORD = "run.json"
COMMIT_NOTE = "run.git.json"
STAGES = ("prepare", "augment", "featurize", "train")
LIBRARIES = (
    "datapin", "joblib", "numpy", "pillow", "pyarrow", "scikit-learn", "scipy", "skops", "threadpoolctl",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TrainRun:
    """One finished training, ready to be recorded. Paths are relative to the repository."""

    input: str
    inputs: Mapping[str, str]  # dataset -> digest, the input and everything it was made from
    params: Mapping[str, Any]  # the stages' sections of params.yaml, as written
    seed: int
    task: str  # classification, regression, multilabel or detection
    classes: tuple[str, ...]  # in index order; empty for regression
    rows: Mapping[str, int]
    columns: int
    estimator: Mapping[str, Any]
    metrics: Mapping[str, Any]
    model: str
    deterministic: bool = True  # whether the same inputs give the same bytes again
    tolerance: float = 0.0  # by how much a metric may differ, where they do not
    stopped: Mapping[str, Any] | None = None  # split, rounds, tried, loss: where early stopping ended


def input_digests(dataset: str, digest: str, properties: Mapping[str, str]) -> dict[str, str]:
    """The digest of a manifest and of everything it was made from, as its own properties tell.

    Only the manifest at hand is asked: the result depends on nothing that DVC does not know of.
    Raises DamagedManifest if its property is not a mapping of dataset to digest.
    """
    text = properties.get(INPUTS, "{}")
    try:
        inputs = read_json(text, dataset)
    except ValueError:
        inputs = None
    if not isinstance(inputs, dict) or not all(isinstance(value, str) for value in inputs.values()):
        raise DamagedManifest(path=dataset, problem=f"property {INPUTS} is {text[:80]!r}")
    return {**inputs, dataset: digest}


def encode_record(run: TrainRun, outputs: Mapping[str, str]) -> bytes:
    """The bytes of the run record; `outputs` maps every other file of the run to its SHA-256."""
    record = {
        "format": FORMAT,
        "input": run.input,
        "inputs": dict(run.inputs),
        "params": json_ready(run.params),
        "seed": run.seed,
        "task": run.task,
        "classes": list(run.classes),
        "rows": dict(run.rows),
        "columns": run.columns,
        "estimator": json_ready(run.estimator),
        "metrics": run.metrics,
        "model": {"path": run.model, "sha256": outputs[run.model]},
        "outputs": dict(outputs),
    }
    if not run.deterministic:
        record |= {"deterministic": False, "tolerance": run.tolerance}
    if run.stopped is not None:
        record["early_stopping"] = dict(run.stopped)
    # DVC's run cache restores uncached outputs only if they are metrics or plots, and shows every figure of a metrics
    # file except those in lists: hence a list, of one.
    return report_json({"runs": [record]})


def read_record(path: Path) -> dict[str, Any]:
    """The run record in the file `path`. Raises StorageFailed if it cannot be read, DamagedModel if it is not one."""
    try:
        data = read_bounded(path, JSON_BYTES)
    except BadDocument as error:
        raise DamagedModel(path=str(path), problem=error.problem) from None
    except OSError as error:
        raise StorageFailed(action="read", path=str(path), problem=error.strerror or str(error)) from None
    return parse_record(data, str(path))


def parse_record(data: bytes, path: str) -> dict[str, Any]:
    """The run record whose bytes are `data`, called `path` in errors. Raises DamagedModel if it is not one."""
    try:
        document = read_json(data, path)
    except BadDocument as error:
        raise DamagedModel(path=path, problem=error.problem) from None
    runs = document.get("runs") if isinstance(document, dict) else None
    if not isinstance(runs, list) or len(runs) != 1 or not isinstance(runs[0], dict):
        raise DamagedModel(path=path, problem="expected one run in it")
    if runs[0].get("format") != FORMAT:
        seen = runs[0].get("format")
        raise DamagedModel(path=path, problem=f"run record of format {seen!r}, expected {FORMAT}")
    return dict(runs[0])


def describe_environment() -> dict[str, Any]:
    """What the bits of a model can depend on besides its inputs: versions, BLAS and its kernel, CPU features."""
    from threadpoolctl import threadpool_info

    blas = {
        (item["internal_api"], item["version"] or "", item.get("architecture", ""), item.get("threading_layer", ""))
        for item in threadpool_info()
        if item["user_api"] == "blas"
    }
    simd = np.show_config(mode="dicts")["SIMD Extensions"]  # type: ignore[call-arg,index,func-returns-value,unused-ignore]
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "system": platform.system(),
        "machine": platform.machine(),
        "libc": "-".join(platform.libc_ver()),
        "zlib": zlib.ZLIB_RUNTIME_VERSION,
        "libraries": {name: _version(name) for name in LIBRARIES},
        "blas": [
            {"name": name, "version": number, "architecture": kernel, "threading": layer}
            for name, number, kernel, layer in sorted(blas)
        ],
        "cpu_features": sorted({*simd.get("baseline", ()), *simd.get("found", ())}),
    }


def write_commit_note(record: Path, *, commit: str | None, dirty: bool) -> Path:
    """Write, beside the run record, which commit it ran on: information, not part of what DVC hashes."""
    note = record.parent / COMMIT_NOTE
    sha256 = hashlib.sha256(record.read_bytes()).hexdigest()
    publish_bytes(note, report_json({"format": FORMAT, "record_sha256": sha256, "commit": commit, "dirty": dirty}))
    return note


def json_ready(value: object) -> Any:
    """`value` with names as text and nothing that JSON cannot hold, so that equal values give equal bytes."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(name): json_ready(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(item) for item in value]
    return str(value)


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""
