"""What a stage gets (its context) and what it answers (its report)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from datapin.base.findings import Finding
from datapin.base.progress import SILENT, Progress
from datapin.manifest.manifest import Manifest
from datapin.pipeline.mapping.engines.engine import Engine
from datapin.pipeline.mapping.engines.local import ALONE_S, LocalEngine
from datapin.pipeline.mapping.memo import Memo
from datapin.store.store import Store


def _nothing_before(dataset: str) -> Manifest | None:
    return None


@dataclass(frozen=True, slots=True)
class StageContext:
    """The surroundings of one stage run."""

    root: Path  # of the repository
    store: Store
    memo: Memo
    jobs: int = 1  # worker processes
    progress: Progress = SILENT
    engines: Callable[[bool], Engine] | None = None
    """Makes engines, told whether never in this process; None: those of this machine, `jobs` processes each."""
    previous_output: Callable[[str], Manifest | None] = _nothing_before
    """The last committed version of a dataset. DVC deletes a stage's outputs before it runs the stage."""

    def engine(self, *, apart: bool = False) -> Engine:
        """Where computations run; `apart`: in no case in this process, as code of the user's must."""
        if self.engines is not None:
            return self.engines(apart)
        return LocalEngine(self.jobs, alone_s=None if apart else ALONE_S)


@dataclass(frozen=True, slots=True)
class StageReport:
    """What a stage did. `computed` and `reused` count the rows that went through an operator."""

    stage: str
    rows: int  # of the output
    computed: int
    reused: int
    dropped: int
    findings: tuple[Finding, ...]
    digest: str  # of the output: manifest digest, or SHA-256 of the model file
