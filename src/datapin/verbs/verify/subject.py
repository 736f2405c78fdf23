"""What `verify` looks at, made from a workspace: the pins of a commit, and every way to read what they name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import islice
from pathlib import Path

from datapin.backends.backend import Backend
from datapin.base.errors import Damage, DatapinError, ManifestMissing, OutputMissing
from datapin.base.findings import Finding
from datapin.base.id_columns import IdMatrix
from datapin.checks.check import READABLE
from datapin.checks.subject import RemoteSide, Subject
from datapin.dvcfiles.outs import PinnedOut
from datapin.dvcfiles.pipelines import Pipelines, read_pipelines
from datapin.dvcfiles.single_files import find_file
from datapin.git.ask import has_commit, resolve
from datapin.manifest.manifest import Manifest
from datapin.pins.commits import CommitPins, is_same_version
from datapin.pins.files import POINTER
from datapin.pins.held import HeldManifests
from datapin.pins.manifests import open_linked
from datapin.pins.read import Pins
from datapin.pins.versions import VersionHistory
from datapin.pipeline.params.params import parse_yaml, validate_params
from datapin.pipeline.params.verify import SECTION, VerifyParams
from datapin.verbs.workspace.bring import bring, open_pinned
from datapin.verbs.workspace.place import RemotePlace, remote_name, remote_place
from datapin.verbs.workspace.presence import ensure_here
from datapin.verbs.workspace.workspace import Workspace

_PARAMS = "params.yaml"


def subject_of(workspace: Workspace, rev: str | None, *, remote_name: str | None, sample: int | None) -> Subject:
    """The subject of the checks.

    Raises UnknownVersion if there is no such revision.
    """
    if rev is not None:
        commit: str | None = resolve(workspace.root, rev)
    else:
        commit = resolve(workspace.root, "HEAD") if has_commit(workspace.root) else None
    source = _Source(workspace, commit if rev is not None else None, commit, remote_name)
    pins, findings = source.datasets()
    params, problem = source.params()
    return Subject(
        root=workspace.root,
        rev=rev,
        commit=commit,
        pins=pins,
        pinned_at=source.pins,
        unreadable=(*findings, *problem),
        params=params,
        store=workspace.store,
        scratch=workspace.scratch,
        cache=workspace.cache,
        jobs=workspace.jobs,
        progress=workspace.progress,
        stages=lambda: source.stages,
        manifest=source.manifest,
        pinned=source.pinned,
        held=source.held,
        before=source.before,
        out_bytes=source.out_bytes,
        ensure=source.ensure,
        remote=source.remote,
        sample=sample,
    )


@dataclass
class _Source:
    """Reads what the commit `at` pins, or the work tree if `at` is None; `commit` is where history starts."""

    workspace: Workspace
    at: str | None
    commit: str | None
    wanted_remote: str | None
    _pins: dict[str, PinnedOut] = field(default_factory=dict)
    _opened: dict[tuple[str, str], Manifest] = field(default_factory=dict)
    _failed: dict[tuple[str, str], DatapinError] = field(default_factory=dict)

    @cached_property
    def pins(self) -> Pins:
        """Everything that is pinned."""
        return Pins(self.workspace.root, self.at)

    @cached_property
    def unreadable(self) -> dict[str, DatapinError]:
        """Each pointer, lock and pipeline that cannot be read, or is in conflict: why."""
        return {**(self.pins.in_conflict() if self.at is None else {}), **self.pins.problems()}

    @cached_property
    def stages(self) -> Pipelines:
        """What the pipelines declare."""
        pinned = [out.path for out in self.pins.outs if out.stage is None]
        pinned += [file.removesuffix(POINTER) for file in self.unreadable if file.endswith(POINTER)]
        return read_pipelines(self.workspace.root, self.at, sorted(self.pins.pipelines), pinned)

    def datasets(self) -> tuple[dict[str, PinnedOut], list[Finding]]:
        """Every dataset's pointer, and findings on what cannot be read; an unknown folder counts as a dataset."""
        findings = [self._unreadable(file, error) for file, error in sorted(self.unreadable.items())]
        known = list(self.pins.datasets)
        for pointer in self.pins.unknown:
            if not self._is_cached(pointer):
                continue  # Git keeps it, or nobody: plots, for example
            try:
                bring(self.workspace, [pointer])
            except Damage:
                continue  # DVC's list of other files than a manifest's: a folder that DVC tracks
            except DatapinError:
                pass  # told where it is opened
            known.append(pointer)
        self._pins = {pointer.dataset: pointer for pointer in sorted(known, key=lambda one: one.dataset)}
        for dataset in self._pins:
            try:
                self.pinned(dataset)
                self.manifest(dataset)
            except ManifestMissing as error:
                stage = self._pins[dataset].stage
                hint = error.hint if stage is None else f"{error.hint}; or `dvc repro` to make it again"
                findings.append(self._unreadable(dataset, error, hint))
            except DatapinError as error:
                findings.append(self._unreadable(dataset, error))
        return self._pins, findings

    def params(self) -> tuple[VerifyParams, list[Finding]]:
        """The section of params.yaml, or the defaults with a finding."""
        try:
            data = self.pins.text(_PARAMS)
            given = parse_yaml(data, _PARAMS).get(SECTION) if data is not None else None
            return validate_params({} if given is None else given, _PARAMS, SECTION, VerifyParams), []
        except DatapinError as error:
            return VerifyParams(), [self._unreadable(_PARAMS, error)]

    def manifest(self, dataset: str) -> Manifest:
        """The work tree's manifest where there is one, else the pinned one."""
        directory = self.workspace.dataset_path(dataset)
        if self.at is not None or not directory.is_dir():
            return self.pinned(dataset)
        self.workspace.recover(dataset)
        return self._remembered(("work tree", dataset), lambda: Manifest.open(directory, name=dataset))

    def pinned(self, dataset: str) -> Manifest:
        """The manifest that the pointer names."""
        pointer = self._pins.get(dataset)
        if pointer is None:
            raise ManifestMissing(dataset, "a pointer that names it")
        return self._remembered((pointer.md5, dataset), lambda: self._open(pointer))

    def held(self, dataset: str) -> str | None:
        """The hash that DVC would give the work tree's folder; it is hashed again only if its files changed."""
        md5 = self._held.find(dataset)
        self._held.save()
        return md5

    def before(self, dataset: str) -> Manifest | None:
        """The version before the one that is pinned, None if there is none."""
        if self.commit is None:
            return None
        now = self._pins.get(dataset)
        versions = VersionHistory(self.workspace.root, dataset, self.commit, pins=self._history).versions()
        for _, pointer in islice(versions, 2):
            if not is_same_version(pointer, now):
                return self._open(pointer)
        return None

    @cached_property
    def _history(self) -> CommitPins:
        """What commits pin: the texts that several datasets share are read once."""
        return CommitPins(self.workspace.root)

    def out_bytes(self, path: str, md5: str) -> Path:
        """A file with the bytes that DVC calls `md5`."""
        scratch = self.workspace.cache / "verify"
        return find_file(self.workspace.root, path, md5, partial(self._objects, path), scratch)

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

    def _objects(self, path: str) -> Backend:
        if remote_name(self.workspace, self.wanted_remote) is None:
            raise OutputMissing(path, "not here, and there is no remote")
        return self._place.root

    @cached_property
    def _held(self) -> HeldManifests:
        return HeldManifests(self.workspace.root, self.workspace.cache / "verify" / "held.json")

    def _open(self, pointer: PinnedOut) -> Manifest:
        try:
            return open_linked(self.workspace.root, pointer)
        except ManifestMissing:
            if self.held(pointer.dataset) == pointer.md5:
                # DVC's cache lost it, and the work tree still has it.
                return Manifest.open(self.workspace.dataset_path(pointer.dataset), name=pointer.dataset)
            return open_pinned(self.workspace, pointer)

    def _remembered(self, key: tuple[str, str], opening: Callable[[], Manifest]) -> Manifest:
        """What was opened once, or failed to open, is not asked for again."""
        if key in self._failed:
            raise self._failed[key]
        if key not in self._opened:
            try:
                self._opened[key] = opening()
            except DatapinError as error:
                self._failed[key] = error
                raise
        return self._opened[key]

    def _is_cached(self, out: PinnedOut) -> bool:
        try:
            return self.pins.keeping(out).is_cached
        except DatapinError:
            return True

    def _unreadable(self, where: str, error: DatapinError, hint: str = "") -> Finding:
        return Finding("error", READABLE, where, f"could not be read: {error.message_of(where)}", hint or error.hint)
