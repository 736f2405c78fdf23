"""What checks look at: one commit, or the work tree, of one repository, and the ways to read what it pins.

Checks know no verbs: whatever needs the remote or the selectors comes in as a function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from datapin.backends.backend import Backend
from datapin.base.errors import DatapinError
from datapin.base.findings import Finding
from datapin.base.id_columns import IdMatrix
from datapin.base.progress import Progress
from datapin.dvcfiles.outs import PinnedOut
from datapin.dvcfiles.pipelines import Pipelines
from datapin.dvcfiles.stages import LockEntry
from datapin.manifest.manifest import Manifest
from datapin.pins.read import Pins
from datapin.pipeline.params.verify import VerifyParams
from datapin.store.remote import RemoteStore
from datapin.store.store import Store

_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class RemoteSide:
    """The remote, read only: `root` is where DVC's objects lie (`files/md5/…`), `store` is ours below it."""

    name: str
    root: Backend
    store: RemoteStore


@dataclass(frozen=True, slots=True)
class Subject:
    """The commit `commit` (as `rev`), or the work tree if `rev` is None; `commit` is then HEAD, if there is one.

    `pins` are the pointers of all datasets, by dataset name; `pinned_at` is everything that is pinned; `unreadable` are
    findings of `pins.readable`: pointers, pipelines and manifests that nobody can read.

    The functions raise DatapinErrors, which the runner turns into findings, so that no check passes on what it could
    not read:
    `manifest(dataset)` opens the manifest that stands for the dataset (the work tree's folder where there is
    one, else the pinned one from DVC's cache or the remote); `pinned(dataset)` opens the one that the pointer names,
    whatever lies in the work tree; `held(dataset)` is the hash that DVC would give the work tree's folder, None if
    there is none; `before(dataset)` opens the previous version, None if this is the first;
    `stages()` are the stages that pipelines declare;
    `out_bytes(path, md5)` finds the file with the bytes of a single-file output (a model): work tree, DVC's cache,
    remote; `ensure(ids, what)` brings assets into the local store; `remote()` is the remote, None if none is set up.
    """

    root: Path
    rev: str | None
    commit: str | None
    pins: Mapping[str, PinnedOut]
    pinned_at: Pins
    unreadable: Sequence[Finding]
    params: VerifyParams
    store: Store
    scratch: Path
    cache: Path
    jobs: int
    progress: Progress
    stages: Callable[[], Pipelines]
    manifest: Callable[[str], Manifest]
    pinned: Callable[[str], Manifest]
    held: Callable[[str], str | None]
    before: Callable[[str], Manifest | None]
    out_bytes: Callable[[str, str], Path]
    ensure: Callable[[IdMatrix, str], None]
    remote: Callable[[], RemoteSide | None]
    sample: int | None = None  # --sample N of --repro: that many rows instead of everything
    notes: list[str] = field(default_factory=list)  # what a check wants said beside its findings
    shared: dict[str, Any] = field(default_factory=dict)  # what `once` has found

    @property
    def outs(self) -> Sequence[PinnedOut]:
        """Every pinned output, of any kind."""
        return self.pinned_at.outs

    def entries(self) -> Mapping[str, Mapping[str, LockEntry]]:
        """The entries of each `dvc.lock`, by its path: the stages as they ran."""
        return self.pinned_at.entries

    def once(self, name: str, find: Callable[[], _Found]) -> _Found:
        """What `find` gives at the first question of this name, for all checks of this run; or raises, each time."""
        if name not in self.shared:
            try:
                self.shared[name] = find()
            except DatapinError as error:
                self.shared[name] = error
        found = self.shared[name]
        if isinstance(found, DatapinError):
            raise found
        return found  # type: ignore[no-any-return]  # what `find` gave

    def read(self, path: str) -> bytes | None:
        """The bytes of a file that Git tracks (of the work tree, or as of the commit), None if it is not there."""
        return self.pinned_at.text(path)
