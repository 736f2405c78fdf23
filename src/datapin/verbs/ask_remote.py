"""`status --remote`: what the remote holds now, by its own listings, so that what is known of it is right again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from datapin.base.ids import RAW_ID_BYTES
from datapin.transfer.survey import Survey
from datapin.verbs.known_remote import remember, remember_versions
from datapin.verbs.place import remote_place
from datapin.verbs.workspace import Workspace
from datapin.versions.pointer import read_dataset_pointer
from datapin.versions.remote_manifests import manifests_on


def ask_remote(workspace: Workspace, names: Sequence[str]) -> None:
    """Ask which assets lie in packs that are really there, and which of the named datasets' manifests are whole.

    All datasets, if none is named. Raises UnknownDataset, BadSettings if there is no remote, RemoteUnreachable,
    DamagedPack, StoreFormat.
    """
    datasets = [workspace.dataset_name(name) for name in names] if names else workspace.datasets()
    place = remote_place(workspace)
    ids = np.empty((0, RAW_ID_BYTES), np.uint8)
    if place.store.check_format():
        survey = Survey(place.store)
        ids = survey.reliable(place.store.index(survey.index)).entries.ids
    remember(workspace, place.name, ids)
    pointers = [read_dataset_pointer(workspace.root, dataset) for dataset in datasets]
    pinned = sorted({pointer.md5 for pointer in pointers if pointer is not None})
    remember_versions(workspace, place.name, manifests_on(workspace.root, place.root, pinned), asked=pinned)
