"""A stage's surroundings without Git or DVC: a root, a store, a memo, and rows to work on."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from datapin.base.settings import StoreSettings
from datapin.manifest.manifest import Manifest
from datapin.manifest.write import write_manifest
from datapin.pipeline.mapping.context import StageContext
from datapin.pipeline.mapping.memo import Memo
from datapin.store.store import Store

RUN_STAGE = """
import sys
from pathlib import Path
from workspaces import Workspace
from datapin.pipeline.stages import augment, featurize, prepare
stage, root, jobs = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
run = {"prepare": prepare.run_prepare, "augment": augment.run_augment, "featurize": featurize.run_featurize}[stage]
report = run(Workspace(root).context(jobs), root / "params.yaml")
print(report.rows, report.computed, report.reused, report.digest)
"""

# Serves one request per line: a fork runs the stage, so that a test of fifty kills pays for the imports once.
FORK_STAGES = """
import json, os, sys
from pathlib import Path
from datapin.base import failpoints
from datapin.pipeline.mapping import map
from datapin.pipeline.stages import augment, featurize, prepare
from workspaces import Workspace
import pandas  # pyarrow would import it in every fork
map.FIRST_FLUSH_S = map.LAST_FLUSH_S = 3600.0  # results are flushed at the end, also where that is a while to come
runs = {"prepare": prepare.run_prepare, "augment": augment.run_augment, "featurize": featurize.run_featurize}
for line in sys.stdin:
    asked = json.loads(line)
    child = os.fork()
    if not child:
        said = os.open(asked["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(said, 1)
        os.dup2(said, 2)
        failpoints._armed, failpoints._log = asked["armed"], asked["log"]
        root = Path(asked["root"])
        report = runs[asked["stage"]](Workspace(root).context(1), root / "params.yaml")
        print(report.rows, report.computed, report.reused, report.digest, flush=True)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def png(pixels: Any, **save: Any) -> bytes:
    """An image file of these samples, as a user's camera or script would write it."""
    sink = io.BytesIO()
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(sink, "PNG", **save)
    return sink.getvalue()


def picture(number: int, side: int = 12, channels: int = 0) -> bytes:
    """A PNG that differs for every `number`."""
    shape = (side, side, channels) if channels else (side, side)
    return png(np.random.default_rng(number).integers(0, 256, shape))


@dataclass(frozen=True)
class Workspace:
    """A folder with a store in it."""

    root: Path

    @classmethod
    def make(cls, root: Path) -> Workspace:
        root.mkdir(parents=True, exist_ok=True)
        Store.create(root / ".datapin" / "store", StoreSettings())
        return cls(root)

    @property
    def store(self) -> Store:
        return Store.open(self.root / ".datapin" / "store", StoreSettings())

    def context(self, jobs: int = 1, previous: Manifest | None = None) -> StageContext:
        memo = Memo(self.root / ".datapin" / "memo")
        return StageContext(self.root, self.store, memo, jobs, previous_output=lambda dataset: previous)

    def write(
        self,
        dataset: str,
        assets: Mapping[str, bytes],
        *,
        properties: Mapping[str, str] | None = None,
        **columns: Sequence[Any] | None,
    ) -> Manifest:
        """A dataset with one row per key, in the order given; `columns` as further columns."""
        with self.store.filling() as filling:
            ids = [str(filling.put(data)) for data in assets.values()]
        media = ["image/png" if key.endswith("png") else "application/octet-stream" for key in assets]
        table: dict[str, Any] = {
            "key": list(assets),
            "asset_id": ids,
            "size": [len(data) for data in assets.values()],
            "media_type": media,
            **{name: column for name, column in columns.items() if column is not None},
        }
        (self.root / dataset).parent.mkdir(parents=True, exist_ok=True)
        for name, kind in {"key": pa.string(), "asset_id": pa.string(), "size": pa.int64()}.items():
            table[name] = pa.array(table[name], kind)
        return write_manifest(pa.table(table), self.root / dataset, properties=properties or {})

    def read(self, dataset: str) -> list[dict[str, Any]]:
        """All rows as dictionaries, checked against the manifest's own claims."""
        manifest = Manifest.open(self.root / dataset)
        manifest.verify()
        rows: list[dict[str, Any]] = manifest.to_table().to_pylist()
        return rows

    def params(self, text: str) -> Path:
        path = self.root / "params.yaml"
        path.write_text(text)
        return path

    def files(self, folder: str) -> dict[str, bytes]:
        top = self.root / folder
        return {p.relative_to(top).as_posix(): p.read_bytes() for p in sorted(top.rglob("*")) if p.is_file()}

    def command(self, stage: str, jobs: int = 1) -> list[str]:
        """A stage as a process of its own: what a test may kill."""
        return [sys.executable, "-c", RUN_STAGE, stage, str(self.root), str(jobs)]


class StageForks:
    """Runs stages, many times, with failpoints armed."""

    def __init__(self, scratch: Path) -> None:
        self._said = scratch / "said"
        self._server = subprocess.Popen(
            [sys.executable, "-c", FORK_STAGES],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, workspace: Workspace, stage: str, *, armed: str = "", log: str = "") -> tuple[int, str]:
        """Exit code, and what the stage printed."""
        asked = {"stage": stage, "root": str(workspace.root), "armed": armed, "log": log, "said": str(self._said)}
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(asked) + "\n")
        self._server.stdin.flush()
        code = int(self._server.stdout.readline())
        return code, self._said.read_text()

    def close(self) -> None:
        self._server.communicate()


def digits(count: int, side: int = 12) -> dict[str, bytes]:
    """`count` images under the classes 0, 1 and 2."""
    return {f"{number % 3}/{number:04}.png": picture(number, side) for number in range(count)}


def labels_of(keys: Iterable[str]) -> list[str]:
    return [key.split("/")[0] for key in keys]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
