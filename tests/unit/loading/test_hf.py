"""datapin.hf: rows as datasets of Hugging Face's library, in the environment of `make torch`."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from clones import Clone
from datapin import Repo
from datapin.errors import Refused, Usage
from datapin.pipeline.operators.recipe import apply_recipe

pytest.importorskip("datasets", reason="Hugging Face's datasets is not installed: make torch")


@pytest.fixture
def load(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from datapin import hf

    return hf.load


@pytest.fixture(scope="module")
def pictures(online: Repo) -> Repo:
    """The same repository, with everything committed."""
    Clone(online.root).commit("pictures")
    return Repo.find(online.root)


def pixels(data: bytes) -> bytes:
    return Image.open(io.BytesIO(data)).tobytes()


def test_pictures_are_opened_when_a_row_is_read(load: Callable[..., Any], pictures: Repo) -> None:
    dataset = pictures.open("data/prepared")
    found = load(dataset, columns=("key", "label"))
    assert found.column_names == ["key", "label", "image"]
    assert found["key"][:] == dataset.column("key").to_pylist()
    stored = dataset.read_many(range(12))
    assert [one["image"].tobytes() for one in found] == [pixels(data) for data in stored]
    mixed = found.shuffle(seed=1).select(range(5))
    place = dataset.column("key").to_pylist().index(mixed[3]["key"])
    assert mixed[3]["image"].tobytes() == pixels(stored[place])


def test_it_travels_to_processes_elsewhere(load: Callable[..., Any], pictures: Repo, tmp_path: Any) -> None:
    found = load(pictures.open("data/prepared", where="label = '1'"))
    home = os.getcwd()
    os.chdir(tmp_path)
    try:
        again = pickle.loads(pickle.dumps(found))
        sizes = again.map(lambda row: {"side": row["image"].size[0]}, num_proc=2)["side"][:]
    finally:
        os.chdir(home)
    assert sizes == [12] * 4


@pytest.mark.parametrize("shards", [1, 3, 50])
def test_a_stream_comes_in_the_order_of_the_epoch(load: Callable[..., Any], pictures: Repo, shards: int) -> None:
    dataset = pictures.open("data/prepared")
    keys, stored = dataset.column("key").to_pylist(), dataset.read_many(range(12))
    stream = load(dataset, kind="bytes", streaming=True, seed=3, epoch=2, shards=shards)
    found = list(stream)
    order = dataset.order(3, 2).tolist()
    assert [one["key"] for one in found] == [keys[row] for row in order]
    assert [one["bytes"] for one in found] == [stored[row] for row in order]
    assert stream.num_shards == min(shards, 12)
    as_pictures = next(iter(load(dataset, streaming=True)))
    assert as_pictures["image"].tobytes() == pixels(stored[0])


def test_a_stream_goes_on_where_its_state_says(load: Callable[..., Any], pictures: Repo) -> None:
    dataset = pictures.open("data/prepared")
    whole = [one["key"] for one in load(dataset, kind="bytes", streaming=True, seed=3)]
    stream = load(dataset, kind="bytes", streaming=True, seed=3)
    head = []
    for one in stream:
        head.append(one["key"])
        if len(head) == 7:
            break
    again = load(dataset, kind="bytes", streaming=True, seed=3)
    again.load_state_dict(stream.state_dict())
    assert head + [one["key"] for one in again] == whole


def test_online_copies_come_by_streaming_only(load: Callable[..., Any], pictures: Repo) -> None:
    dataset = pictures.open("data/augmented")
    recipe = dataset.recipe
    assert recipe is not None
    rows, stored = dataset.table.to_pylist(), dataset.read_many(range(12))
    found = list(load(dataset, kind="bytes", streaming=True, epoch=3))
    for one, row, data in zip(found, rows, stored, strict=True):
        is_train = row["split"] == "train"
        assert one["bytes"] == (apply_recipe(recipe, data, row["asset_id"], 3) if is_train else data)
    with pytest.raises(Usage, match="augmented"):
        load(dataset)
    assert len(load(pictures.open("data/augmented", where="split <> 'train'"))) == 6


def test_rows_that_are_elsewhere_are_fetched_by_whoever_reads_them(load: Callable[..., Any], elsewhere: Repo) -> None:
    dataset = elsewhere.open("data/raw")
    assert not dataset.is_here
    stream = load(dataset, kind="bytes", streaming=True)
    assert [one["bytes"] for one in stream] == [f"row {number:03d}".encode() for number in range(60)]


def test_what_cannot_be_is_refused(load: Callable[..., Any], pictures: Repo) -> None:
    dataset = pictures.open("data/prepared")
    every: list[dict[str, Any]] = [
        {"kind": "video"}, {"kind": "bytes"}, {"seed": 1}, {"columns": ("colour",)}, {"column": "label"},
        {"streaming": True, "shards": 0},
    ]  # fmt: skip
    for wrong in every:
        with pytest.raises(Usage):
            load(dataset, **wrong)


def test_rows_that_no_commit_pins_are_refused(load: Callable[..., Any], pictures: Repo) -> None:
    rows = pictures.open("data/prepared").table
    pictures.write("data/prepared", rows.slice(0, 6))
    try:
        with pytest.raises(Refused, match="no commit pins"):
            load(pictures.open("data/prepared"))
        assert len(load(pictures.open("data/prepared", version="HEAD"))) == 12
        assert len(list(load(pictures.open("data/prepared"), kind="bytes", streaming=True))) == 6
    finally:
        pictures.write("data/prepared", rows)
