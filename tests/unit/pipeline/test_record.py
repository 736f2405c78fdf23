"""The run record: what it may hold, and what is not a record."""

from __future__ import annotations

import datetime
import json
import os
import socket
from pathlib import Path

import pytest

from datapin.base.errors import DamagedManifest, DamagedModel, StorageFailed
from datapin.pipeline.record.fingerprint import report_json
from datapin.pipeline.record.record import (
    TrainRun,
    describe_environment,
    encode_record,
    input_digests,
    json_ready,
    read_record,
)

RUN = TrainRun(
    input="data/features",
    inputs={"data/features": "sha256:ab"},
    params={"prepare": {1: datetime.date(2020, 1, 2), "x": float("inf")}},
    seed=3,
    task="classification",
    classes=("a", "b"),
    rows={"fit": 2},
    columns=4,
    estimator={},
    metrics={"test": {"accuracy": 1.0}},
    model="models/model.skops",
)
OUTPUTS = {"models/model.skops": "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"}


def test_a_record_can_be_read_back(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(encode_record(RUN, OUTPUTS))
    record = read_record(tmp_path / "run.json")
    assert record["inputs"] == RUN.inputs
    assert record["params"] == {"prepare": {"1": "2020-01-02", "x": "inf"}}
    assert record["outputs"] == OUTPUTS
    assert record["model"]["sha256"] == OUTPUTS["models/model.skops"]


def test_a_record_holds_no_host_and_no_path_and_is_the_same_twice() -> None:
    text = encode_record(RUN, OUTPUTS).decode()
    assert socket.gethostname() not in text
    assert os.getcwd() not in text
    assert encode_record(RUN, OUTPUTS).decode() == text


def test_dvc_finds_no_figure_to_show_in_a_record() -> None:
    from dvc.repo.metrics.show import _extract_metrics

    document = json.loads(encode_record(RUN, OUTPUTS))
    assert _extract_metrics(document, "run.json") == {}


def test_the_environment_names_what_bits_can_depend_on() -> None:
    environment = describe_environment()
    assert environment["libraries"]["scikit-learn"]
    assert all(one["architecture"] for one in environment["blas"])
    assert environment["cpu_features"]
    assert json_ready(environment) == environment


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"runs": []}', b'{"runs": [1]}', b'{"runs": [{"format": 2}]}'])
def test_what_is_no_record_is_damage_in_one_line(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(data)
    with pytest.raises(DamagedModel) as caught:
        read_record(tmp_path / "run.json")
    assert len(caught.value.message.splitlines()) == 1


def test_a_missing_record_names_its_path(tmp_path: Path) -> None:
    with pytest.raises(StorageFailed, match=r"run\.json"):
        read_record(tmp_path / "run.json")


def test_the_digests_of_the_whole_chain_come_from_the_manifest_at_hand() -> None:
    properties = {"datapin.inputs": '{"data/raw": "sha256:1"}'}
    assert input_digests("data/x", "sha256:2", properties) == {"data/raw": "sha256:1", "data/x": "sha256:2"}
    assert input_digests("data/x", "sha256:2", {}) == {"data/x": "sha256:2"}


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1}', "{"])
def test_a_chain_that_is_no_mapping_of_digests_is_damage(text: str) -> None:
    with pytest.raises(DamagedManifest, match=r"datapin\.inputs"):
        input_digests("data/x", "sha256:2", {"datapin.inputs": text})


def test_equal_values_give_equal_bytes_whatever_the_order_of_their_names() -> None:
    assert report_json({"b": 1, "a": 2}) == report_json({"a": 2, "b": 1})
