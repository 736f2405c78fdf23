"""Pictures of the rows that the page shows: read here, or fetched; what cannot be shown says why."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from datapin.base.errors import AssetsMissing, BadSettings, Damage, DamagedAsset, Usage, WorldError
from datapin.base.id_columns import IdMatrix, ids_from_raw
from datapin.base.ids import AssetId
from datapin.pipeline.operators.audio.containers import AUDIO_MEDIA_TYPES
from datapin.pipeline.operators.audio.libraries import need_libraries
from datapin.pipeline.operators.audio.spectrogram import recording_look
from datapin.pipeline.operators.images.files import DECODED_MEDIA_TYPES
from datapin.pipeline.operators.images.thumbnails import image_look
from datapin.pipeline.operators.look import Appearance
from datapin.pipeline.operators.operator import AssetBroken, TooManyPixels
from datapin.transfer.fetch import fetch_assets
from datapin.verbs.workspace.place import remote_place
from datapin.verbs.workspace.workspace import Workspace

_SIDE_PX = 192
_MOST_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Picture:
    """What stands for an asset: an image to embed (`source`, a data URI), or words (`note`) instead."""

    source: str = ""
    note: str = ""
    is_small: bool = False  # fewer pixels than it is drawn with
    is_absent: bool = False  # what is worth looking at cannot be shown
    sound: str = ""  # a data URI
    words: tuple[tuple[str, bool], ...] = ()  # of a text, and which of them are marked


Row = Mapping[str, Any]


def picture_of(look: Appearance) -> Picture:
    """What a page shows of it."""
    source = "" if look.picture is None else _data_uri(look.media_type, look.picture)
    sound = "" if look.sound is None else _data_uri("audio/wav", look.sound)
    return Picture(source, look.note, look.is_small, sound=sound, words=look.words)


def _data_uri(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


class Pictures:
    """The pictures of some rows, each asset read once."""

    def __init__(self, workspace: Workspace, rows: Iterable[Row]) -> None:
        self._workspace = workspace
        self._known: dict[str, Picture] = {}
        wanted = sorted({row["asset_id"] for row in rows if _is_pictured(row)})
        self._missing = self._fetch(ids_from_raw(bytes.fromhex("".join(wanted))))

    def of(self, row: Row) -> Picture:
        """The picture of the row's asset."""
        if not _is_pictured(row):
            return Picture(note=row.get("media_type") or "asset")
        if row["size"] > _MOST_BYTES:
            return Picture(note="too large for a picture")
        found = self._known.get(row["asset_id"])
        if found is None:
            found = self._known[row["asset_id"]] = self._read(row["asset_id"], row["media_type"])
        return found

    def _read(self, asset_id: str, media_type: str) -> Picture:
        if asset_id in self._missing:
            return Picture(note="not here", is_absent=True)
        try:
            data = self._workspace.store.read(AssetId(asset_id))
            if media_type in AUDIO_MEDIA_TYPES:
                need_libraries()
                return replace(picture_of(recording_look(data)), sound="")
            return picture_of(image_look(data, _SIDE_PX))
        except Usage:  # the libraries of recordings are an extra
            return Picture(note=media_type)
        except TooManyPixels:
            return Picture(note="too large for a picture")
        except AssetBroken:
            return Picture(note=f"broken {'recording' if media_type in AUDIO_MEDIA_TYPES else 'image'}", is_absent=True)
        except AssetsMissing:
            return Picture(note="not here", is_absent=True)
        except DamagedAsset:
            return Picture(note="damaged", is_absent=True)

    def _fetch(self, ids: IdMatrix) -> set[str]:
        """Bring what is not here, as far as that can be; the ids of what is still missing."""
        store = self._workspace.store
        missing = ids[store.missing(ids)]
        if len(missing):
            try:
                place = remote_place(self._workspace)
                if place.store.check_format():
                    there, _ = place.store.index().find(missing)
                    progress = self._workspace.progress
                    fetch_assets(store, place.store, missing[there], jobs=self._workspace.jobs, progress=progress)
            except (BadSettings, WorldError, Damage) as error:
                self._workspace.progress.note(f"some pictures are missing: {error.message}")
            missing = missing[store.missing(missing)]
        return {row.tobytes().hex() for row in np.ascontiguousarray(missing)}


def _is_pictured(row: Row) -> bool:
    return row.get("media_type") in DECODED_MEDIA_TYPES | AUDIO_MEDIA_TYPES
