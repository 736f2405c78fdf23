"""`DATASET[@REV]` to a manifest: the work tree's, or the one that a Git revision pins."""

from __future__ import annotations

from dataclasses import dataclass, replace

from datapin.base.errors import BadSettings, ManifestMissing, RemoteUnreachable
from datapin.base.files import make_directory
from datapin.manifest.manifest import Manifest
from datapin.verbs.place import remote_place
from datapin.verbs.workspace import Workspace
from datapin.versions.objects import bring_manifests, lay_out
from datapin.versions.pointer import Pointer, materialise, read_dataset_pointer


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


def select(workspace: Workspace, text: str, *, fetch: bool = True) -> Selected:
    """The manifest that `text` names; one that is pinned but not here is brought from the remote, if `fetch`.

    Raises UnknownDataset, UnknownVersion or ManifestMissing.
    """
    name, at, version = text.partition("@")
    if at and not version:
        version = "HEAD"
    dataset = workspace.dataset_name(name, new=bool(version))
    try:
        return _select(workspace, dataset, version or None)
    except ManifestMissing as error:
        pointer = read_dataset_pointer(workspace.root, dataset, rev=version or None) if fetch else None
        if pointer is None:
            raise
        _bring(workspace, pointer, error, into_work_tree=not version)
        return _select(workspace, dataset, version or None)


def work_tree_manifest(workspace: Workspace, dataset: str) -> Manifest:
    """The manifest in the work tree. Raises ManifestMissing if only its pointer is here."""
    workspace.recover(dataset)
    directory = workspace.dataset_path(dataset)
    if not directory.is_dir():
        raise ManifestMissing(dataset=dataset, missing=f"folder {dataset}")
    return Manifest.open(directory, name=dataset)


def manifest_at(workspace: Workspace, dataset: str, version: str) -> Manifest:
    """The manifest that revision `version` pins, linked from DVC's cache."""
    make_directory(workspace.cache)
    directory = materialise(workspace.root, dataset, version, workspace.cache / "versions")
    return Manifest.open(directory, name=f"{dataset}@{version}")


def _select(workspace: Workspace, dataset: str, version: str | None) -> Selected:
    if version is None:
        return Selected(dataset, None, work_tree_manifest(workspace, dataset))
    return Selected(dataset, version, manifest_at(workspace, dataset, version))


def _bring(workspace: Workspace, pointer: Pointer, missing: ManifestMissing, *, into_work_tree: bool) -> None:
    """Bring the manifest of `pointer`. Raises `missing`, with the reason, if that cannot be."""
    try:
        place = remote_place(workspace)
        if bring_manifests(workspace.root, place.root, [pointer.md5]):
            raise replace(missing, reason=f"{place.root.url} does not have it either")
    except (BadSettings, RemoteUnreachable) as error:
        raise replace(missing, reason=error.message) from None
    if into_work_tree:
        lay_out(workspace.root, [pointer])
