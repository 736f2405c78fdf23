"""`predictions.parquet`: what the model said about every evaluated row, so that its worst mistakes can be looked at."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from datapin.pipeline.training.metrics import ROW_DIGITS, Floats

ROW_GROUP_ROWS = 65_536


def encode_predictions(
    keys: pa.Array, splits: pa.Array, labels: pa.Array, predicted: pa.Array, probability: Floats | None, loss: Floats
) -> bytes:
    """Parquet bytes, one row per evaluated row in key order; the same rows give the same bytes.

    `probability` is the one given to the predicted class (null where the estimator gives none); `loss` is -ln of the
    probability given to the label, or 0 and 1 without probabilities, or the squared error in regression.
    """
    stated = pa.nulls(len(keys), pa.float64()) if probability is None else pa.array(np.round(probability, ROW_DIGITS))
    table = pa.table(
        {
            "key": keys,
            "split": splits,
            "label": labels,
            "predicted": predicted,
            "probability": stated,
            "loss": pa.array(np.round(loss, ROW_DIGITS) + 0.0),
        }
    ).combine_chunks()
    out = pa.BufferOutputStream()
    texts = [field.name for field in table.schema if pa.types.is_string(field.type) and field.name != "key"]
    pq.write_table(
        table,
        out,
        row_group_size=ROW_GROUP_ROWS,
        compression="zstd",
        compression_level=3,
        use_dictionary=texts,
        store_schema=False,
    )
    return bytes(out.getvalue().to_pybytes())
