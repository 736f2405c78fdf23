"""Layouts: where the file of each row lies, and what cannot be laid out."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest

from datapin.base.errors import Refused
from datapin.trees.checkout.layout import columns_of, lay_out


def rows(*keys: str, label: Any = None, split: Any = None) -> pa.Table:
    columns: dict[str, Any] = {
        "key": pa.array(keys, pa.string()),
        "asset_id": [f"{number:064x}" for number in range(len(keys))],
        "size": pa.array(range(len(keys)), pa.int64()),
    }
    for name, values in (("label", label), ("split", split)):
        if values is not None:
            columns[name] = values if isinstance(values, pa.Array) else pa.array(values)
    return pa.table(columns)


def paths(table: pa.Table, layout: str) -> dict[str, int]:
    """Each path and the number of its row."""
    files = lay_out(table, layout, name="data/raw")
    assert files.column_names == ["key", "asset_id", "size"]
    assert files["key"].to_pylist() == sorted(files["key"].to_pylist())
    return dict(zip(files["key"].to_pylist(), files["size"].to_pylist(), strict=True))


def test_by_key_a_file_lies_at_its_key() -> None:
    assert paths(rows("a/b/1", "c"), "key") == {"a/b/1": 0, "c": 1}


def test_by_class_a_file_lies_below_its_label() -> None:
    table = rows("x/1.png", "y/z/2.png", "3.png", label=["cat", "dog", "cat"])
    assert paths(table, "class") == {"cat/1.png": 0, "cat/3.png": 2, "dog/2.png": 1}


def test_by_split_and_class_a_file_lies_below_both() -> None:
    table = rows("x/1.png", "y/2.png", label=["cat", "dog"], split=["val", "train"])
    assert paths(table, "split-class") == {"train/dog/2.png": 1, "val/cat/1.png": 0}


def test_integers_and_dictionaries_name_classes_too() -> None:
    assert paths(rows("1", "2", label=pa.array([7, 8], pa.int8())), "class") == {"7/1": 0, "8/2": 1}
    assert paths(rows("1", "2", label=pa.array(["p", "q"]).dictionary_encode()), "class") == {"p/1": 0, "q/2": 1}


def test_rows_that_would_share_a_path_are_named_by_their_whole_keys() -> None:
    keys = ("p/1.png", "q/r/1.png", "q/2.png", "z/1.png")
    table = rows(*keys, label=["cat", "cat", "cat", "dog"])
    expected = {"cat/p__1.png": 0, "cat/q__r__1.png": 1, "cat/2.png": 2, "dog/1.png": 3}
    assert paths(table, "class") == expected
    for order in itertools.permutations(range(4)):
        assert paths(table.take(list(order)), "class") == expected, "the order of rows does not matter"


def test_paths_that_are_still_shared_are_refused_by_name() -> None:
    table = rows("p/1", "q/1", "p__1", label=["cat"] * 3)
    with pytest.raises(Refused, match="'cat/p__1'") as caught:
        paths(table, "class")
    assert "'p/1'" in caught.value.message
    assert "'p__1'" in caught.value.message


def test_a_name_that_no_file_system_takes_is_refused() -> None:
    with pytest.raises(Refused, match="255 bytes"):
        paths(rows("p" * 255 + "/1", "q/1", label=["cat"] * 2), "class")


@pytest.mark.parametrize("label", [["cat", None, ""], [None, "", "cat"]])
def test_rows_without_a_label_are_counted_and_the_first_is_named(label: Sequence[str | None]) -> None:
    with pytest.raises(Refused, match=r"2 row\(s\) without a label, first ") as caught:
        paths(rows("k0", "k1", "k2", label=label), "class")
    assert f"'k{label.index(None)}'" in caught.value.message


def test_a_dataset_without_the_column_has_no_row_with_it() -> None:
    with pytest.raises(Refused, match=r"2 row\(s\) without a split, first 'a'"):
        paths(rows("a", "b", label=["x", "y"]), "split-class")
    with pytest.raises(Refused, match=r"2 row\(s\) without a label"):
        paths(rows("a", "b", label=pa.nulls(2)), "class")
    assert paths(rows(), "class") == {}


@pytest.mark.parametrize(
    "label", ["..", ".", "a/b", "/etc", "a\\b", ".git", "CON", "x.", "a\nb", "C:x", "e\u0301", "x" * 1100]
)
def test_a_label_that_is_no_safe_name_of_a_folder_is_refused(label: str) -> None:
    with pytest.raises(Refused, match=r"1 row\(s\), first 'k1', have a label that cannot name a folder") as caught:
        paths(rows("k0", "k1", label=["fine", label]), "class")
    assert len(caught.value.message) < 400


def test_an_unsafe_split_is_refused_too() -> None:
    with pytest.raises(Refused, match="have a split that cannot name a folder"):
        paths(rows("k", label=["fine"], split=["../up"]), "split-class")


@pytest.mark.parametrize("kind", [pa.float64(), pa.bool_(), pa.list_(pa.string())])
def test_labels_that_name_no_classes_are_refused(kind: pa.DataType) -> None:
    with pytest.raises(Refused, match="needs text or integers"):
        paths(rows("k", label=pa.array([None], kind)), "class")


def test_only_the_columns_that_are_there_are_asked_for() -> None:
    assert columns_of("key", ["key", "label"]) == ["key", "asset_id", "size"]
    assert columns_of("split-class", ["key", "label"]) == ["key", "asset_id", "size", "label"]
