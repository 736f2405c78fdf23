"""`DATASET[@VERSION]` to a manifest: the work tree's, or the one that a version in Git's history pins."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from datapin.base.errors import DatasetNotThere, ManifestMissing, UnknownDataset
from datapin.dvcfiles.outs import PinnedOut
from datapin.manifest.manifest import Manifest
from datapin.pins.counts import VersionCounts
from datapin.pins.manifests import link_version, open_linked
from datapin.pins.read import Pins
from datapin.pins.selectors import PinnedVersion, resolve_version
from datapin.verbs.workspace.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Selected:
    """A manifest and how it was named; `version` None is the work tree."""

    dataset: str
    version: str | None
    manifest: Manifest

    @property
    def name(self) -> str:
        """`data/raw` or `data/raw@v1`."""
        return self.dataset if self.version is None else f"{self.dataset}@{self.version}"


@dataclass(frozen=True, slots=True)
class Named:
    """What `DATASET[@VERSION]` names, whether its manifest is here or not; `pinned` None is the work tree."""

    dataset: str
    pinned: PinnedVersion | None

    @property
    def version(self) -> str | None:
        """As it was written; None is the work tree."""
        return None if self.pinned is None else self.pinned.version


def name_version(workspace: Workspace, text: str) -> Named:
    """What `text` names; `DATASET@` is HEAD's version. No manifest is read or fetched.

    Raises UnknownDataset, UnknownVersion (DatasetNotThere, AmbiguousVersion), with candidates.
    """
    name, at, version = text.partition("@")
    if not at:
        return Named(_known(workspace, text), None)
    try:
        return _pinned(workspace, name, version or "HEAD")
    except UnknownDataset:
        # The first `@` ends the name, as in `data/raw@HEAD@{1}`, unless the dataset's own name has one.
        for end in (place for place, sign in enumerate(text) if sign == "@" and place > len(name)):
            if workspace.dataset_name(text[:end], new=True) in workspace.datasets():
                return _pinned(workspace, text[:end], text[end + 1 :] or "HEAD")
        if workspace.dataset_name(text, new=True) in workspace.datasets():
            return Named(_known(workspace, text), None)
        raise


def select(workspace: Workspace, text: str, *, fetch: bool = True) -> Selected:
    """The manifest that `text` names; one that is pinned but not here is brought from the remote, if `fetch`.

    Raises UnknownDataset, UnknownVersion or ManifestMissing.
    """
    named = name_version(workspace, text)
    try:
        return _select(workspace, named)
    except ManifestMissing as error:
        if named.pinned is not None:
            pointer: PinnedOut | None = named.pinned.pointer
        else:
            pointer = Pins(workspace.root).dataset(named.dataset)
        if pointer is None or not fetch:
            raise
        _bring(workspace, pointer, error, into_work_tree=named.pinned is None)
        return _select(workspace, named)


def work_tree_manifest(workspace: Workspace, dataset: str) -> Manifest:
    """The manifest in the work tree. Raises ManifestMissing if only its pointer is here."""
    workspace.recover(dataset)
    directory = workspace.dataset_path(dataset)
    if not directory.is_dir():
        raise ManifestMissing(dataset=dataset, missing=f"folder {dataset}")
    return Manifest.open(directory, name=dataset)


def manifest_at(workspace: Workspace, dataset: str, version: str) -> Manifest:
    """The manifest that revision `version` pins, linked from DVC's cache."""
    directory = link_version(workspace.root, dataset, version, workspace.cache / "versions")
    return Manifest.open(directory, name=f"{dataset}@{version}")


def _select(workspace: Workspace, named: Named) -> Selected:
    if named.pinned is None:
        return Selected(named.dataset, None, work_tree_manifest(workspace, named.dataset))
    manifest = open_linked(workspace.root, named.pinned.pointer, name=f"{named.dataset}@{named.version}")
    return Selected(named.dataset, named.version, manifest)


def _known(workspace: Workspace, text: str) -> str:
    """A dataset of the work tree. Raises UnknownDataset, which says what is there instead."""
    try:
        return workspace.dataset_name(text)
    except UnknownDataset as error:
        pointer = workspace.root / f"{error.dataset}.dvc"
        if pointer.is_file():
            problem = f"{error.dataset}.dvc pins files that are no manifest"
        elif workspace.dataset_path(error.dataset).exists():
            problem = "no `.dvc` file or stage pins a manifest there"
        else:
            raise
        raise replace(error, problem=problem) from None


def _digest(counts: VersionCounts, pointer: PinnedOut) -> str:
    return counts.facts(pointer).digest


def _pinned(workspace: Workspace, name: str, version: str) -> Named:
    """A version by its name: the dataset is looked for from the user's folder, then from the root."""
    names = workspace.names_meant(name)
    refused: UnknownDataset | DatasetNotThere | None = None
    for dataset in names:
        counts = VersionCounts(workspace.root, dataset)
        try:
            found = resolve_version(workspace.root, dataset, version, partial(_digest, counts))
        except (UnknownDataset, DatasetNotThere) as error:
            refused = refused or error
        else:
            return Named(dataset, found)
        finally:
            counts.save()
    assert refused is not None
    raise refused


def _bring(workspace: Workspace, pointer: PinnedOut, missing: ManifestMissing, *, into_work_tree: bool) -> None:
    """Bring the manifest of `pointer`. Raises `missing`, with the reason, if that cannot be."""
    # Late: most manifests are here, and what talks to remotes takes long to load (decision 0015).
    from datapin.dvcfiles.objects import lay_out
    from datapin.verbs.workspace.bring import bring

    try:
        bring(workspace, [pointer])
    except ManifestMissing as error:
        raise replace(missing, reason=error.reason, advice=error.advice) from None
    if into_work_tree:
        lay_out(workspace.root, [pointer])
