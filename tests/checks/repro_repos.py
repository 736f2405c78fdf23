"""Repositories whose stages are small scripts: a rerun of them takes a second."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from clones import Clone
from datapin.base.progress import SILENT
from datapin.verbs.verify.verify import VerifyReport, verify
from datapin.verbs.workspace.workspace import Workspace

RECORD = {
    "runs": [
        {
            "format": 1,
            "inputs": {},
            "metrics": {"test": {"accuracy": 0.9, "log_loss": 0.25, "rows": 100}},
            "model": {"path": "model.bin", "sha256": "0" * 64},
            "outputs": {"model.bin": "0" * 64},
            "environment": {"python": "3.11.7", "libraries": {"numpy": "2.0.0", "pyarrow": "20.0.0"}, "blas": []},
        }
    ]
}
METRICS = {"test": {"accuracy": 0.9, "log_loss": 0.25, "rows": 100}}


def stage(command: str, outs: list[str], deps: list[str] | None = None, **more: object) -> dict[str, object]:
    """One stage of a dvc.yaml."""
    return {"cmd": command, "outs": outs, **({"deps": deps} if deps else {}), **more}


def write(clone: Clone, files: Mapping[str, object]) -> None:
    """Files of a repository: bytes, text, or what becomes JSON (which is YAML, too)."""
    for name, content in files.items():
        path = clone.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content, indent=1))


def repro(clone: Clone, rev: str | None = None, *names: str, sample: int | None = None, jobs: int = 1) -> VerifyReport:
    """`datapin verify --repro` of the work tree's HEAD, or of a revision."""
    workspace = Workspace.find(clone.path, progress=SILENT, jobs=jobs)
    return verify(workspace, rev, names=names or ("repro",), sample=sample)


def state(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file below a folder."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]
    return {path.relative_to(folder).as_posix(): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}
