"""What `verify` looks at, made from a workspace: the pins of a commit, and every way to read what they name."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import islice
from pathlib import Path

from datapin.backends.backend import Backend
from datapin.base.errors import Damage, DatapinError, ManifestMissing
from datapin.base.files import make_directory
from datapin.base.findings import Finding
from datapin.base.id_columns import IdMatrix
from datapin.checks.subject import RemoteSide, Subject
from datapin.manifest.manifest import Manifest
from datapin.pipeline.params import parse_yaml, validate_params
from datapin.pipeline.verify_params import SECTION, VerifyParams
from datapin.verbs.bring import bring
from datapin.verbs.place import RemotePlace, remote_name, remote_place
from datapin.verbs.presence import ensure_here
from datapin.verbs.workspace import Workspace
from datapin.versions.git import blob_at, has_commit, resolve
from datapin.versions.pins import is_same_version
from datapin.versions.pointer import Pointer, find_outputs, materialise_pointer
from datapin.versions.single_files import find_file
from datapin.versions.version_history import VersionHistory

_PARAMS = "params.yaml"
_CHECK = "pins.readable"


def subject_of(
    workspace: Workspace, rev: str | None, *, remote_name: str | None, sample: int | None
) -> tuple[Subject, list[Finding]]:
    """The subject of the checks, and findings for what of it could not be read at all.

    Raises UnknownVersion if there is no such revision.
    """
    if rev is not None:
        commit: str | None = resolve(workspace.root, rev)
    else:
        commit = resolve(workspace.root, "HEAD") if has_commit(workspace.root) else None
    source = _Source(workspace, commit if rev is not None else None, commit, remote_name)
    pins, findings = source.pins()
    params, problem = source.params()
    subject = Subject(
        root=workspace.root,
        rev=rev,
        commit=commit,
        pins=pins,
        params=params,
        store=workspace.store,
        scratch=workspace.scratch,
        cache=workspace.cache,
        jobs=workspace.jobs,
        progress=workspace.progress,
        read=source.read,
        manifest=source.manifest,
        pinned=source.pinned,
        before=source.before,
        out_bytes=source.out_bytes,
        ensure=source.ensure,
        remote=source.remote,
        sample=sample,
    )
    return subject, [*findings, *problem]


@dataclass
class _Source:
    """Reads what the commit `at` pins, or the work tree if `at` is None; `commit` is where history starts."""

    workspace: Workspace
    at: str | None
    commit: str | None
    wanted_remote: str | None
    _pins: dict[str, Pointer] = field(default_factory=dict)
    _opened: dict[str, Manifest] = field(default_factory=dict)

    def pins(self) -> tuple[dict[str, Pointer], list[Finding]]:
        """Every dataset's pointer; folders of which nobody can tell what they are count as datasets."""
        findings = []
        try:
            known, unknown = find_outputs(self.workspace.root, self.at)
        except DatapinError as error:
            return {}, [self._unreadable("pointers", error)]
        for pointer in unknown:
            try:
                bring(self.workspace, [pointer])
            except Damage:
                continue  # DVC's list of other files than a manifest's: a folder that DVC tracks
            except DatapinError as error:
                findings.append(self._unreadable(pointer.dataset, error))
                continue
            known.append(pointer)
        self._pins = {pointer.dataset: pointer for pointer in sorted(known, key=lambda one: one.dataset)}
        return self._pins, findings

    def params(self) -> tuple[VerifyParams, list[Finding]]:
        """The section of params.yaml, or the defaults with a finding."""
        try:
            data = self.read(_PARAMS)
            given = parse_yaml(data, _PARAMS).get(SECTION) if data is not None else None
            return validate_params({} if given is None else given, _PARAMS, SECTION, VerifyParams), []
        except DatapinError as error:
            return VerifyParams(), [self._unreadable(_PARAMS, error)]

    def read(self, path: str) -> bytes | None:
        """The bytes of a file as of the commit, or of the work tree."""
        if self.at is not None:
            return blob_at(self.workspace.root, self.at, path)
        try:
            return (self.workspace.root / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def manifest(self, dataset: str) -> Manifest:
        """The work tree's manifest where there is one, else the pinned one."""
        if dataset not in self._opened:
            directory = self.workspace.dataset_path(dataset)
            if self.at is None and directory.is_dir():
                self.workspace.recover(dataset)
                self._opened[dataset] = Manifest.open(directory, name=dataset)
            else:
                self._opened[dataset] = self.pinned(dataset)
        return self._opened[dataset]

    def pinned(self, dataset: str) -> Manifest:
        """The manifest that the pointer names."""
        if dataset not in self._pins:
            raise ManifestMissing(dataset, "a pointer that names it")
        return self._open(self._pins[dataset])

    def before(self, dataset: str) -> Manifest | None:
        """The version before the one that is pinned, None if there is none."""
        if self.commit is None:
            return None
        now = self._pins.get(dataset)
        versions = VersionHistory(self.workspace.root, dataset, self.commit).versions()
        for _, pointer in islice(versions, 2):
            if not is_same_version(pointer, now):
                return self._open(pointer)
        return None

    def out_bytes(self, path: str, md5: str) -> Path:
        """A file with the bytes that DVC calls `md5`."""
        scratch = self.workspace.cache / "verify"
        return find_file(self.workspace.root, path, md5, self._objects, scratch)

    def ensure(self, ids: IdMatrix, what: str) -> None:
        """Bring these assets into the local store."""
        ensure_here(self.workspace, ids, what=what)

    def remote(self) -> RemoteSide | None:
        """The remote, None if none is set up."""
        if remote_name(self.workspace, self.wanted_remote) is None:
            return None
        return RemoteSide(self._place.name, self._place.root, self._place.store)

    @cached_property
    def _place(self) -> RemotePlace:
        return remote_place(self.workspace, self.wanted_remote)

    def _objects(self) -> Backend:
        return self._place.root

    def _open(self, pointer: Pointer) -> Manifest:
        make_directory(self.workspace.cache)
        link = partial(materialise_pointer, self.workspace.root, pointer, self.workspace.cache / "versions")
        try:
            directory = link()
        except ManifestMissing:
            bring(self.workspace, [pointer])
            directory = link()
        return Manifest.open(directory, name=f"{pointer.dataset} ({pointer.md5[:8]})")

    def _unreadable(self, where: str, error: DatapinError) -> Finding:
        return Finding("error", _CHECK, where, f"could not be checked: {error.message}", error.hint)
