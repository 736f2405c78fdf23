"""Asset ids: the SHA-256 of an asset's bytes. Text form 64 lower-case hex, raw form 32 bytes."""

from __future__ import annotations

import re
from typing import NewType

from datapin.base.errors import BadAssetId

AssetId = NewType("AssetId", str)

RAW_ID_BYTES = 32
_HEX_ID = re.compile(r"[0-9a-f]{64}\Z")


def parse_asset_id(text: str) -> AssetId:
    """`text` as an id. An id is checked here before it may become part of a path.

    Raises BadAssetId unless it is 64 lower-case hex digits.
    """
    if not isinstance(text, str) or not _HEX_ID.match(text):
        raise BadAssetId(seen=str(text)[:80])
    return AssetId(text)
