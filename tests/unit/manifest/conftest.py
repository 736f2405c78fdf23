"""Rows and manifests that several tests use."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import pyarrow as pa
import pytest


def asset_id(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def rows_of() -> Callable[..., pa.Table]:
    """Rows with these keys and, by name, more columns."""

    def make(keys: Sequence[str], **columns: object) -> pa.Table:
        return pa.table(
            {
                "key": pa.array(keys, pa.string()),
                "asset_id": pa.array([asset_id(key) for key in keys], pa.string()),
                "size": pa.array([len(key) for key in keys], pa.int64()),
                **columns,
            }
        )

    return make
