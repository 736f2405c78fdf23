"""Which rows of a dataset must be images: those whose names say so, and all but the plainly others if most are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.errors import AssetsMissing
from datapin.base.ids import AssetId
from datapin.manifest.columns.columns import Mask, flags, one_array
from datapin.pipeline.mapping.context import StageContext
from datapin.pipeline.operators.images.decoding import begins_as_image
from datapin.pipeline.operators.images.files import DECODED_MEDIA_TYPES

_UNTOLD = "application/octet-stream"
_SAMPLE = 32


def rows_to_decode(table: pa.Table, context: StageContext) -> Mask:
    """True where the asset must decode, though nothing is made of it.

    Those are the rows with the media type of a format that is decoded. If they are most of the rows, any other image
    and any file whose ending tells nothing must decode, too. Where most endings tell nothing, some of these assets are
    looked at, the same ones on every machine, to learn whether they are images. Raises AssetsMissing.
    """
    count = table.num_rows
    if "media_type" not in table.column_names:
        return np.zeros(count, dtype=bool)
    kinds = one_array(table["media_type"]).cast(pa.string())
    decoded = flags(pc.is_in(kinds, value_set=pa.array(sorted(DECODED_MEDIA_TYPES))))
    untold = flags(pc.fill_null(pc.equal(kinds, _UNTOLD), True))
    images = int(decoded.sum())
    if 2 * images <= count < 2 * (images + int(untold.sum())):
        share = _share_of_images(table, np.flatnonzero(untold), context)
        images += round(share * int(untold.sum()))
    if 2 * images <= count:
        return decoded
    return decoded | untold | flags(pc.fill_null(pc.starts_with(kinds, "image/"), False))


def _share_of_images(table: pa.Table, places: npt.NDArray[np.int64], context: StageContext) -> float:
    """How many of the assets in these rows begin as images do, by some of them spread over all."""
    chosen = places[np.unique(np.linspace(0, len(places) - 1, min(len(places), _SAMPLE)).astype(np.int64))]
    rows = table.select(["key", "asset_id"]).take(pa.array(chosen))
    found = 0
    for key, asset_id in zip(rows["key"].to_pylist(), rows["asset_id"].to_pylist(), strict=True):
        try:
            found += begins_as_image(context.store.read(AssetId(asset_id)))
        except AssetsMissing:
            raise AssetsMissing(names=(key,), count=1) from None
    return found / len(chosen)
