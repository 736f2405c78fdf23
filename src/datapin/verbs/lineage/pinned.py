"""What a commit, or the work tree, pins: every dataset's pointer and every stage as it ran last."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from functools import cached_property

from datapin.base.errors import DatapinError, ManifestMissing
from datapin.base.files import make_directory
from datapin.dvcfiles.stages import LockedStage, read_stages
from datapin.dvcfiles.texts import stage_outputs
from datapin.git.ask import blob_at, files_named, resolve
from datapin.manifest.manifest import Manifest
from datapin.pins.datasets import FoundOutputs, Pointer, find_outputs, materialise_pointer
from datapin.verbs.workspace.bring import bring
from datapin.verbs.workspace.workspace import Workspace

_LOCK, _PIPELINE = "dvc.lock", "dvc.yaml"


def open_pinned(workspace: Workspace, pointer: Pointer) -> Manifest:
    """The manifest that `pointer` names, from DVC's cache, else brought from the remote.

    Raises ManifestMissing, DamagedManifest, RemoteUnreachable.
    """
    make_directory(workspace.cache)
    versions = workspace.cache / "versions"
    try:
        directory = materialise_pointer(workspace.root, pointer, versions)
    except ManifestMissing:
        bring(workspace, [pointer])
        directory = materialise_pointer(workspace.root, pointer, versions)
    return Manifest.open(directory, name=f"{pointer.dataset} ({pointer.md5[:8]})")


@dataclass
class Pinned:
    """The pins of the revision `rev`, or of the work tree if it is None."""

    workspace: Workspace
    rev: str | None

    @cached_property
    def commit(self) -> str | None:
        """The commit's id; None for the work tree."""
        return None if self.rev is None else resolve(self.workspace.root, self.rev)

    @cached_property
    def outputs(self) -> FoundOutputs:
        """What is pinned, and the files that cannot be read."""
        return find_outputs(self.workspace.root, self.commit)

    @cached_property
    def datasets(self) -> dict[str, Pointer]:
        """The pointer of each dataset; folders of which nobody here can tell what they are count as datasets.

        None that an `unreadable` file pins.
        """
        return {pointer.dataset: pointer for pointer in (*self.outputs.datasets, *self.outputs.unknown)}

    @property
    def stages(self) -> list[LockedStage]:
        """Every stage of every `dvc.lock` that can be read."""
        return self._stages_and_errors[0]

    @property
    def unreadable(self) -> dict[str, DatapinError]:
        """The pointers and locks that cannot be read, and why."""
        return {**self._stages_and_errors[1], **self.outputs.unreadable}

    @cached_property
    def _stages_and_errors(self) -> tuple[list[LockedStage], dict[str, DatapinError]]:
        found: list[LockedStage] = []
        errors: dict[str, DatapinError] = {}
        for file in files_named(self.workspace.root, _LOCK, rev=self.commit):
            if posixpath.basename(file) == _LOCK:
                try:
                    pipeline = self.read(posixpath.join(posixpath.dirname(file), _PIPELINE)) or b""
                    folders = stage_outputs(pipeline, _PIPELINE)[0] if b"wdir" in pipeline else {}
                    found += read_stages(self.read(file) or b"", file, folders)
                except DatapinError as error:
                    errors[file] = error
        return found, errors

    def read(self, path: str) -> bytes | None:
        """The bytes of a file that Git tracks, None if there is none."""
        if self.commit is not None:
            return blob_at(self.workspace.root, self.commit, path)
        try:
            return (self.workspace.root / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
