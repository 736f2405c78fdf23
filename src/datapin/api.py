"""`datapin.open`, `datapin.write` and `datapin.put`: the Python front door."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from datapin.arguments import Named
from datapin.repo import Repo

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from datapin.dataset import Dataset, Fetch
    from datapin.verbs.workspace.reports import AddReport


def open(  # noqa: A001  # the promised name, used as datapin.open
    dataset: Named,
    *,
    version: str | None = None,
    where: str | None = None,
    fetch: Fetch = "auto",
    repo: str | Path = ".",
) -> Dataset:
    """The rows of `dataset` (at `version`, a Git revision; those matching `where`), with their bytes on demand.

    What is not on this machine is fetched from the remote when it is read; with `fetch="never"` it is AssetsMissing.
    Raises UnknownDataset, UnknownVersion, ManifestMissing or BadQuery.
    """
    return Repo.find(repo).open(dataset, version=version, where=where, fetch=fetch)


def write(dataset: Named, rows: pa.Table | pd.DataFrame, *, repo: str | Path = ".") -> AddReport:
    """Replace the rows of `dataset` by `rows` (Arrow or pandas), as a change to commit.

    In a stage of `dvc.yaml` whose output the dataset is, DVC pins it when the stage ends.
    Raises BadKeys, BadRows or AssetsMissing; nothing changes then.
    """
    return Repo.find(repo).write(dataset, rows)


def put(data: bytes, *, repo: str | Path = ".") -> str:
    """Bytes become an asset of this machine's store; its id, for the column `asset_id` of a row to write."""
    return Repo.find(repo).put(data)


def put_all(assets: Iterable[bytes], *, repo: str | Path = ".") -> list[str]:
    """As `put`, for many: published together, once, which is much faster. Raises StorageFailed."""
    return Repo.find(repo).put_all(assets)
