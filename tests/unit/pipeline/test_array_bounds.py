"""Model files whose arrays claim more than the file holds."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from datapin.base.errors import DamagedModel
from datapin.pipeline.training.model_file import dump_model, load_model, read_model


def _claiming(shape: tuple[int, ...], dtype: str = "<f8", data: bytes = bytes(80)) -> bytes:
    sink = io.BytesIO()
    np.lib.format.write_array_header_1_0(sink, {"descr": dtype, "fortran_order": False, "shape": shape})
    return sink.getvalue() + data


def _bomb() -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as inner:
        inner.writestr("data.npy", _claiming((40 << 20,), "|u1", bytes(40 << 20)))
    return sink.getvalue()


MEMBERS = {
    "80 GB": _claiming((10_000_000_000,)),
    "more than any number": _claiming((1 << 40, 1 << 40, 1 << 40)),
    "one value too many": _claiming((11,)),
    "less than it holds": _claiming((1,)),
    "objects": _claiming((1,), "|O"),
    "a header that nests": b"\x93NUMPY\x01\x00\x10\x27" + b"(" * 10_000,
    "an unknown version": b"\x93NUMPY\x09\x00\x10\x00" + bytes(16),
}


@pytest.fixture(scope="module")
def model() -> bytes:
    return dump_model(LogisticRegression().fit(np.arange(8.0).reshape(4, 2), [0, 1, 0, 1]))


def _with(model: bytes, member: bytes, schema: bytes | None = None) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(model)) as old, zipfile.ZipFile(sink, "w") as new:
        first = next(name for name in old.namelist() if name.endswith(".npy"))
        for name in old.namelist():
            data = member if name == first and member else old.read(name)
            new.writestr(name, schema if schema is not None and name == "schema.json" else data)
    return sink.getvalue()


@pytest.mark.parametrize("member", MEMBERS.values(), ids=MEMBERS)
def test_an_array_that_is_not_what_it_claims_is_not_allocated(model: bytes, member: bytes) -> None:
    with pytest.raises(DamagedModel, match="the model"):
        read_model(_with(model, member), name="the model")


def test_a_schema_that_nests_and_an_archive_that_unfolds_are_refused(
    model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_model(_with(model, b""), name="the model")
    for schema in (b"[" * 100_000, json.dumps(json.loads("[" * 500 + "]" * 500)).encode()):
        with pytest.raises(DamagedModel, match="nested deeper"):
            read_model(_with(model, b"", schema), name="the model")
    monkeypatch.setattr("datapin.pipeline.training.model_file._UNPACKED_BYTES", 1 << 20)
    with pytest.raises(DamagedModel, match="unfold to more"):
        read_model(_with(model, _bomb()), name="the model")


def test_a_pipe_is_no_model(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.skops")
    with pytest.raises(DamagedModel, match="no regular file"):
        load_model(tmp_path / "model.skops")
