"""`DATASET[@REV]` to a manifest: the work tree's, or the one that a Git revision pins."""

from __future__ import annotations

from dataclasses import dataclass

from datapin.base.errors import ManifestMissing
from datapin.base.files import make_directory
from datapin.manifest.manifest import Manifest
from datapin.verbs.workspace import Workspace
from datapin.versions.pointer import materialise


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


def select(workspace: Workspace, text: str) -> Selected:
    """The manifest that `text` names. Raises UnknownDataset, UnknownVersion or ManifestMissing."""
    name, at, version = text.partition("@")
    if at and not version:
        version = "HEAD"
    if not version:
        dataset = workspace.dataset_name(name)
        return Selected(dataset, None, work_tree_manifest(workspace, dataset))
    dataset = workspace.dataset_name(name, new=True)
    return Selected(dataset, version, manifest_at(workspace, dataset, version))


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
