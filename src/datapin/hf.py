"""Rows as a dataset of Hugging Face's `datasets`: their assets are read when a row is, and nothing is copied.

Needs `datasets` ≥ 4.0, which is imported here and nowhere else; datapin does not install it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datapin.base.errors import Refused, Usage
from datapin.base.progress import SILENT
from datapin.dataset import Dataset
from datapin.filesystem import url_of
from datapin.loading.rows import NumberedRows
from datapin.manifest.columns.columns import decoded
from datapin.pipeline.operators.recipe import TRAIN
from datapin.store.reader import Verify
from datapin.verbs.workspace.selector import name_version, select
from datapin.verbs.workspace.workspace import Workspace

try:
    import datasets
except ImportError:
    raise Usage("datapin.hf needs Hugging Face's datasets, which is not installed", "pip install datasets") from None

__all__ = ["load"]

Kind = Literal["image", "audio", "bytes"]
_BATCH_ROWS = 64


def load(
    dataset: Dataset,
    *,
    kind: Kind = "image",
    column: str | None = None,
    columns: Sequence[str] | None = None,
    streaming: bool = False,
    seed: int | None = None,
    epoch: int = 0,
    shards: int = 16,
    verify: Verify = True,
) -> datasets.Dataset | datasets.IterableDataset:
    """The rows with their assets as the feature `kind`, in `column` (by default the kind's name).

    Without `streaming`, each row names its asset by a `datapin://` URL of the commit that pins the version, which the
    feature opens when the row is read, in any process. With it, rows come in the order of `Dataset.order(seed, epoch)`
    (without a seed in key order), `shards` runs of them one after the other, fetched ahead; with an online recipe,
    train rows are augmented with copy = epoch. `bytes` come by streaming only. `columns` are those of the rows to
    keep, all by default. Raises Usage, or Refused if no commit pins the rows.
    """
    if kind not in ("image", "audio", "bytes"):
        raise Usage(f"kind={kind!r} is unknown", 'use kind="image", "audio" or "bytes"')
    if shards < 1 or epoch < 0:
        raise Usage(f"shards={shards}, epoch={epoch}: at least one shard, epochs from 0")
    column = column or kind
    names = tuple(dataset.schema.names if columns is None else columns)
    rows = pa.table({name: dataset.column(name) for name in names})
    if column in names:
        raise Usage(f"the rows have a column {column!r} already", "name another one with column=…")
    if streaming:
        features = datasets.Features.from_arrow_schema(rows.schema)
        features[column] = _feature(kind)
        given = {
            "rows": NumberedRows(dataset, ("key", *names), verify=verify),
            "column": column,
            "names": names,
            "order": (seed, epoch),
            "is_bare": kind == "bytes",
            "spans": _spans(len(dataset), shards),
        }
        return datasets.IterableDataset.from_generator(_samples, features=features, gen_kwargs=given)
    if kind == "bytes" or seed is not None:
        raise Usage(f"{'a seed' if seed is not None else 'bytes'} without streaming", "set streaming=True")
    _refuse_copies(dataset)
    assets = pa.StructArray.from_arrays([pa.nulls(len(dataset), pa.binary()), _urls(dataset)], ["bytes", "path"])
    return datasets.Dataset(rows.append_column(column, assets)).cast_column(column, _feature(kind))


def _feature(kind: Kind) -> Any:
    features = {"image": datasets.Image, "audio": datasets.Audio}
    return features[kind]() if kind in features else datasets.Value("binary")


def _urls(dataset: Dataset) -> pa.Array:
    """The URL of each row, at the commit that pins the version, so that whoever opens it sees the same bytes."""
    source = dataset.source
    workspace = Workspace.find(Path(source.root), progress=SILENT)
    named = name_version(workspace, source.name)
    pinned = named.pinned or name_version(workspace, f"{named.dataset}@").pinned
    assert pinned is not None  # a version was asked for
    if select(workspace, f"{named.dataset}@{pinned.commit}").manifest.digest != dataset.digest:
        raise Refused(
            f"{named.dataset} has changes that no commit pins, and others could not read them",
            f"git commit -m rows {named.dataset}.dvc",
        )
    keys = decoded(dataset.column("key"))
    if (chained := pc.index(pc.match_substring(keys, "::"), True).as_py()) >= 0:
        raise Refused(f"{keys[chained].as_py()!r}: fsspec takes `::` for the end of a URL", "set streaming=True")
    start = url_of(source.root, named.dataset, version=pinned.commit)
    return pc.binary_join_element_wise(f"{start}/", keys, "")


def _refuse_copies(dataset: Dataset) -> None:
    if dataset.recipe is None or "split" not in dataset.schema.names:
        return
    if pc.any(pc.equal(dataset.column("split"), TRAIN)).as_py():
        raise Usage(f"train rows of {dataset.name} are augmented while they are read", "set streaming=True")


def _spans(rows: int, shards: int) -> list[tuple[int, int]]:
    ends = [rows * number // shards for number in range(shards + 1)]
    return [(start, end) for start, end in pairwise(ends) if start < end] or [(0, 0)]


def _samples(
    rows: NumberedRows, column: str, names: tuple[str, ...], order: tuple[int | None, int], is_bare: bool, spans: Any
) -> Iterator[dict[str, Any]]:
    """The rows of some spans of the order: `datasets` deals the only list among the arguments to its workers."""
    dataset, (seed, epoch) = rows.dataset, order
    every = np.arange(len(dataset), dtype=np.int64) if seed is None else dataset.order(seed, epoch)
    mine = np.concatenate([every[start:end] for start, end in spans])
    reads = dataset.in_order(mine)
    try:
        for start in range(0, len(mine), _BATCH_ROWS):
            numbers = mine[start : start + _BATCH_ROWS]
            contents = reads.next(len(numbers), epoch=epoch, verify=rows.verify)
            for data, key, *values in rows.samples(numbers, epoch, contents):
                asset = data if is_bare else {"bytes": data, "path": key}
                yield {**dict(zip(names, values, strict=True)), column: asset}
    finally:
        reads.close()
