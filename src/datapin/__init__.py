"""datapin: data versioning for Git and DVC.

import datapin

train = datapin.open("data/train", version="v1.2", where="split = 'train'")
train[7].key, train[7].row["label"], train[7].read()
for batch in train.batches(256, shuffle=7, epoch=3):
    images = batch.read()
datapin.write("data/raw", table)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from datapin import errors

__version__ = "0.1.0"

if TYPE_CHECKING:
    from datapin.api import open, put, put_all, write  # noqa: A004  # `datapin.open` is the promised name
    from datapin.dataset import Dataset
    from datapin.loading.training import training
    from datapin.pipeline.training.model_file import dump_model, load_model
    from datapin.repo import Repo

__all__ = [
    "Dataset",
    "Repo",
    "__version__",
    "dump_model",
    "errors",
    "load_model",
    "open",
    "put",
    "put_all",
    "training",
    "write",
]

_HOMES = {
    **dict.fromkeys(("open", "put", "put_all", "write"), "datapin.api"),
    **dict.fromkeys(("dump_model", "load_model"), "datapin.pipeline.training.model_file"),
    "Dataset": "datapin.dataset",
    "training": "datapin.loading.training",
    "Repo": "datapin.repo",
}


def __getattr__(name: str) -> Any:
    # PEP 562: workers and `datapin --help` import this package; they must not pay 150 ms for Arrow.
    if name not in _HOMES:
        raise AttributeError(f"module 'datapin' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
