"""Media types, labels and splits from keys."""

from __future__ import annotations

import pyarrow as pa
import pytest

from datapin.trees.intake.media import MEDIA_TYPES, label_from_parent, media_types, split_from_first_folder

KEYS = pa.array(["a.PNG", "train/cat/1.jpg", "train/dog.d/README", "x/.hidden", "b.tar.gz", "é/ü.wav", "noext"])


def test_media_types_go_by_the_last_extension_in_any_case() -> None:
    assert media_types(KEYS).to_pylist() == [
        "image/png",
        "image/jpeg",
        "application/octet-stream",
        "application/octet-stream",
        "application/gzip",
        "audio/wav",
        "application/octet-stream",
    ]


@pytest.mark.parametrize(
    ("extension", "kind"), [("jsonl", "application/jsonl"), ("mp4", "video/mp4"), ("csv", "text/csv")]
)
def test_a_known_extension_has_its_type(extension: str, kind: str) -> None:
    assert MEDIA_TYPES[extension] == kind
    assert media_types(pa.array([f"x.{extension}"])).to_pylist() == [kind]


def test_media_types_are_a_small_dictionary() -> None:
    column = media_types(pa.array([f"{n}.png" for n in range(1000)]))
    assert column.dictionary.to_pylist() == ["image/png"]
    assert column.null_count == 0


def test_the_label_is_the_last_folder() -> None:
    assert label_from_parent(KEYS).to_pylist() == [None, "cat", "dog.d", "x", None, "é", None]


def test_the_split_is_the_first_folder_as_it_is_written() -> None:
    assert split_from_first_folder(KEYS).to_pylist() == [None, "train", "train", "x", None, "é", None]


def test_numbers_stay_text() -> None:
    assert label_from_parent(pa.array(["007/a", "7/b"])).to_pylist() == ["007", "7"]


def test_no_keys_give_no_values() -> None:
    none = pa.array([], pa.string())
    assert len(media_types(none)) == len(label_from_parent(none)) == len(split_from_first_folder(none)) == 0
