"""`status --remote`: what the remote holds now, by its own listings, so that what is known of it is right again."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from datapin.base.errors import BadSettings, Refused
from datapin.base.ids import RAW_ID_BYTES
from datapin.dvcfiles.objects import manifests_on
from datapin.pins.read import Pins
from datapin.transfer.survey import Survey
from datapin.verbs.workspace.known_remote import remember, remember_versions
from datapin.verbs.workspace.place import remote_place
from datapin.verbs.workspace.workspace import Workspace


def ask_remote(workspace: Workspace, names: Sequence[str]) -> None:
    """Ask which assets lie in packs that are really there, and which of the named datasets' manifests are whole.

    All datasets, if none is named; those whose pointers cannot be read are passed over. Raises UnknownDataset,
    BadSettings if there is no remote, RemoteUnreachable, DamagedPack, StoreFormat.
    """
    pointers = [] if names else list(workspace.pins().datasets)
    for name in names:
        with suppress(BadSettings, Refused):
            pointer = Pins(workspace.root).dataset(workspace.dataset_name(name))
            pointers += [] if pointer is None else [pointer]
    place = remote_place(workspace)
    ids = np.empty((0, RAW_ID_BYTES), np.uint8)
    if place.store.check_format():
        survey = Survey(place.store)
        ids = survey.reliable(place.store.index(survey.index)).entries.ids
    remember(workspace, place.name, ids)
    pinned = sorted({pointer.md5 for pointer in pointers})
    remember_versions(workspace, place.name, manifests_on(workspace.root, place.root, pinned), asked=pinned)
