"""The text of pointers: what is read, what is stale, what is refused."""

from __future__ import annotations

import pytest

from datapin.base.errors import BadSettings, DatapinError, Refused
from datapin.dvcfiles.outs import PinnedOut, read_lock, read_pointer
from datapin.dvcfiles.texts import stage_outputs

MD5 = "5f44882a0299db44b3bc5ce61c6c224e.dir"
PLAIN = f"outs:\n- md5: {MD5}\n  size: 2\n  nfiles: 1\n  hash: md5\n  path: raw\n"
NOTED = (
    f"{PLAIN}  meta:\n    mine: 7\n    datapin:\n      for: {MD5}\n      digest: sha256:ab\n      rows: 3\n"
    "      bytes: 9\n      source:\n      - img\n"
)


def one(text: str, file: str = "data/raw.dvc") -> PinnedOut:
    (pointer,) = read_pointer(text.encode(), file)
    return pointer


def test_a_pointer_names_its_dataset_from_the_root() -> None:
    pointer = one(NOTED)
    assert (pointer.dataset, pointer.md5, pointer.files, pointer.size) == ("data/raw", MD5, 1, 2)
    assert (pointer.digest, pointer.rows, pointer.sources) == ("sha256:ab", 3, ["img"])
    assert pointer.stage is None


def test_a_plain_pointer_has_no_summary() -> None:
    pointer = one(PLAIN)
    assert pointer.summary is None
    assert pointer.digest is None
    assert pointer.sources == []


def test_a_summary_for_another_output_is_stale_and_ignored() -> None:
    assert one(NOTED.replace(f"for: {MD5}", "for: 00000000000000000000000000000000.dir")).digest is None


def test_a_source_may_be_one_word() -> None:
    assert one(NOTED.replace("source:\n      - img", "source: img")).sources == ["img"]


def test_a_working_folder_counts() -> None:
    assert one(f"wdir: ../other\n{PLAIN}").dataset == "other/raw"
    assert read_pointer(f"wdir: ../..\n{PLAIN}".encode(), "data/raw.dvc") == []


def test_other_indentation_and_quotes_are_the_same_pointer() -> None:
    text = f"outs:\n    -   path: \"raw\"\n        md5: '{MD5}'\n        nfiles: 1\n        size: 2\n"
    assert one(text).dataset == "data/raw"


def test_a_single_file_is_no_folder() -> None:
    text = b"outs:\n- md5: 5f44882a0299db44b3bc5ce61c6c224e\n  path: x.csv\n"
    assert [(out.path, out.is_folder) for out in read_pointer(text, "x.csv.dvc")] == [("x.csv", False)]


def test_what_lies_in_git_or_dvc_is_no_place_for_data() -> None:
    for path in (".git/hooks", "../.dvc/x", "a/.datapin"):
        with pytest.raises(Refused, match="no place for data"):
            read_pointer(f"outs:\n- md5: {MD5}\n  path: {path}\n".encode(), "data/raw.dvc")


def test_conflict_markers_are_named_with_the_way_out() -> None:
    text = f"outs:\n<<<<<<< HEAD\n- md5: {MD5}\n=======\n- md5: {MD5}\n>>>>>>> other\n  path: raw\n"
    with pytest.raises(Refused) as caught:
        read_pointer(text.encode(), "data/raw.dvc")
    assert "data/raw.dvc has unresolved merge conflicts" in caught.value.message
    assert "git checkout --ours -- data/raw.dvc && git add data/raw.dvc" in caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "outs: [",
        "outs: 3",
        "- a",
        "x: 1",
        "outs:\n- 7",
        "outs:\n- md5: ../../etc.dir\n  path: raw\n",
        f"outs:\n- md5: {MD5}\n  md5: {MD5}\n  path: raw\n",
        "outs: !!python/object/apply:os.system ['true']",
        "\x00",
        "a: &a [*a]\nouts: 1",
        "outs:\n" + "- " * 4000 + "x",
        "#" + "x" * (16 << 20),
    ],
)
def test_text_that_is_no_pointer_is_one_error_that_names_the_file(text: str) -> None:
    with pytest.raises(DatapinError) as caught:
        read_pointer(text.encode(), "data/raw.dvc")
    assert isinstance(caught.value, BadSettings)
    assert caught.value.message.startswith("data/raw.dvc")
    assert "\n" not in caught.value.message


def test_bytes_that_are_not_utf8_are_the_same_error() -> None:
    with pytest.raises(BadSettings):
        read_pointer(b"outs: \xff\xfe", "data/raw.dvc")


LOCK = f"""schema: '2.0'
stages:
  prepare:
    cmd: x
    outs:
    - path: data/prepared
      hash: md5
      md5: {MD5}
      size: 10
      nfiles: 2
  train@a:
    cmd: y
    outs:
    - path: model.skops
      md5: 5f44882a0299db44b3bc5ce61c6c224e
    - path: feats
      md5: {MD5}
"""


def test_outputs_of_stages_are_found_with_their_stage() -> None:
    found = read_lock(LOCK.encode(), "dvc.lock", {})
    assert [(pointer.dataset, pointer.stage) for pointer in found] == [
        ("data/prepared", "prepare"),
        ("model.skops", "train@a"),
        ("feats", "train@a"),
    ]
    found = read_lock(LOCK.encode(), "sub/dvc.lock", {"train": "sub/deep"})
    assert [pointer.dataset for pointer in found] == [
        "sub/data/prepared",
        "sub/deep/model.skops",
        "sub/deep/feats",
    ]


def test_an_empty_lock_has_no_outputs() -> None:
    assert read_lock(b"", "dvc.lock", {}) == []
    assert read_lock(b"schema: '2.0'\n", "dvc.lock", {}) == []


def test_a_pipeline_names_its_outputs_before_it_ran() -> None:
    text = """
stages:
  a:
    cmd: x
    outs: [data/prepared, {data/other: {cache: false}}]
  b:
    wdir: sub
    cmd: y
    outs:
    - feats
    - ${dir}/x
  c:
    foreach: [1, 2]
    do:
      cmd: z
      wdir: each
      outs: [o]
"""
    folders, outputs = stage_outputs(text, "dvc.yaml")
    assert folders == {"b": "sub", "c": "each"}
    assert outputs == ["data/prepared", "data/other", "sub/feats", "each/o"]
