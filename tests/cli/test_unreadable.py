"""One pointer, lock or manifest that cannot be read: its own dataset says so, and hides none of the others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clones import Clone, write_images

POINTER = "data/raw.dvc"
SHARD = Path("data/raw/part-00000.parquet")
STAGE = "stages:\n  copy:\n    cmd: cp -r data/other data/copy\n    deps: [data/other]\n    outs: [data/copy]\n"


@pytest.fixture(scope="module")
def made(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two source datasets, and one that a stage has copied from the second."""
    clone = Clone(tmp_path_factory.mktemp("made") / "repo")
    shutil.copytree(blank, clone.path, symlinks=True)
    for folder, dataset in (("img", "data/raw"), ("oth", "data/other")):
        write_images(clone.path / folder, per_class=2)
        (clone.path / folder / "a" / "own.bin").write_bytes(dataset.encode())
        clone.datapin("add", folder, "--to", dataset, "--label", "parent", "-q")
    (clone.path / "dvc.yaml").write_text(STAGE)
    clone.dvc("repro", "-q")
    clone.commit("v1")
    return clone.path


@pytest.fixture
def three(made: Path, tmp_path: Path) -> Clone:
    shutil.copytree(made, tmp_path / "repo", symlinks=True)
    return Clone(tmp_path / "repo")


def merge_in_conflict(clone: Clone) -> None:
    clone.git("checkout", "-qb", "side")
    for branch, label in (("side", "x"), ("main", "y")):
        clone.git("checkout", "-q", branch)
        clone.dvc("checkout", "-q")
        clone.datapin("update", "data/raw", "--set", f"label = '{label}'", "--where", "key = 'a/00.bin'", "-q")
        clone.git("commit", "-qam", branch)
    clone.git("merge", "-q", "side", code=1)


def cut_off(clone: Clone) -> None:
    (clone.path / POINTER).write_text("outs:\n- md5: [\n")


def empty(clone: Clone) -> None:
    (clone.path / POINTER).write_bytes(b"")


def damage_shard(clone: Clone) -> None:
    data = (clone.path / SHARD).read_bytes()
    (clone.path / SHARD).unlink()
    (clone.path / SHARD).write_bytes(data[:-9])


def write_bad_key(clone: Clone) -> None:
    table = pq.read_table(clone.path / SHARD).replace_schema_metadata({})
    keys = ["../evil", *table["key"].to_pylist()[1:]]
    (clone.path / SHARD).unlink()
    pq.write_table(table.set_column(0, "key", pa.array(keys)), clone.path / SHARD)


SPOILS = {
    "conflict": (merge_in_conflict, "refused", "unresolved merge conflicts", "datapin resolve data/raw"),
    "yaml": (cut_off, "bad-settings", "is not YAML", f"git checkout -- {POINTER}"),
    "empty": (empty, "bad-settings", "is missing", f"git checkout -- {POINTER}"),
    "shard": (damage_shard, "damaged-manifest", "not a readable manifest", "datapin restore data/raw"),
    "key": (write_bad_key, "bad-keys", "'../evil' has a part '..'", "datapin restore data/raw"),
}


def statuses(clone: Clone, *words: str, code: int = 0) -> dict[str, Any]:
    return {one["dataset"]: one for one in clone.json("status", *words, code=code)["datasets"]}


@pytest.mark.parametrize("spoilt", SPOILS)
def test_status_and_doctor_name_the_dataset_that_cannot_be_read_and_go_on(three: Clone, spoilt: str) -> None:
    spoil, kind, words, command = SPOILS[spoilt]
    before = statuses(three)
    spoil(three)
    now = statuses(three, code=1)
    problem = now["data/raw"]["problem"]
    assert (problem["where"], problem["kind"], now["data/raw"]["digest"]) == ("data/raw", kind, None)
    assert words in problem["message"]
    assert command in problem["hint"]
    for dataset in ("data/copy", "data/other"):
        assert now[dataset] == before[dataset]
        assert now[dataset]["problem"] is None
    # Named, it is the same answer; as a difference it is one.
    assert statuses(three, "data/raw", "data/other", "--exit-code", code=1) == {
        name: now[name] for name in ("data/raw", "data/other")
    }
    three.datapin("status", "data/other", "--exit-code")
    lines = three.datapin("status", code=1).stdout.splitlines()
    (line,) = [line for line in lines if line.startswith("data/raw  error: ")]
    assert words in line
    assert command in lines[lines.index(line) + 1]
    (below,) = json.loads(three.datapin("status", "raw", "--json", cwd=three.path / "data", code=1).stdout)["datasets"]
    assert below == now["data/raw"]
    found = three.json("doctor", code=1)["findings"]
    (error,) = [one for one in found if one["severity"] == "error"]
    assert (error["check"], error["where"]) == ("dataset", "data/raw")
    assert command in error["hint"]


@pytest.mark.parametrize("spoilt", ["shard", "key", "yaml", "empty"])
def test_the_command_that_status_names_heals_the_dataset(three: Clone, spoilt: str) -> None:
    before = statuses(three)
    SPOILS[spoilt][0](three)
    three.run(*SPOILS[spoilt][3].split())
    assert statuses(three) == before


@pytest.mark.parametrize("spoilt", ["conflict", "yaml"])
def test_trace_and_uses_answer_what_does_not_need_the_unreadable_pointer(three: Clone, spoilt: str) -> None:
    spoil, kind, words, _ = SPOILS[spoilt]
    spoil(three)
    traced = three.json("trace", "data/copy")
    assert [node["name"] for node in traced["nodes"]] == ["data/copy", "copy", "data/other", "oth"]
    assert [words in line for line in traced["unread"]] == [True]
    told = three.datapin("trace", "data/copy", "--format", "dot")
    assert told.stdout.startswith("digraph")
    assert "not looked at: data/raw.dvc" in told.stderr
    used = three.json("uses", "data/other:a/own.bin")
    assert {one["dataset"] for one in used["versions"]} == {"data/other", "data/copy"}
    assert any(words in line for line in used["unread"])
    for asked in (("trace", "data/raw"), ("uses", "data/raw:a/00.bin"), ("diff", "data/raw")):
        error = three.json(*asked, code=40 if kind == "refused" else 10)["error"]
        assert (error["kind"], words in error["message"]) == (kind, True)
    assert three.json("trace", "data/raw@HEAD")["unread"] == []
    assert three.json("diff", "data/raw", "HEAD", "HEAD")["rows"] == []
    assert three.json("checkout", "data/other", "--into", "out")["written"] == 5
    message, _ = three.refusal("checkout", "data/other", "--into", "data/raw", code=2)
    assert "data/raw is a dataset" in message


def test_an_input_whose_pointer_cannot_be_read_stays_a_dataset_in_the_trace(three: Clone) -> None:
    (three.path / "data" / "other.dvc").write_text("<<<<<<< ours\nouts: []\n")
    nodes = {node["name"]: node for node in three.json("trace", "data/copy")["nodes"]}
    assert nodes["data/other"]["kind"] == "dataset"
    assert "unresolved merge conflicts" in nodes["data/other"]["facts"]["problem"]
    assert "unresolved merge conflicts" in three.datapin("trace", "data/copy").stdout
    # Its rows came from there: without them the source of a row cannot be told.
    message, _ = three.refusal("trace", "data/copy:a/own.bin", code=40)
    assert "data/other.dvc" in message


def test_a_lock_in_conflict_hides_only_what_it_pins(three: Clone) -> None:
    lock = three.path / "dvc.lock"
    lock.write_text(f"<<<<<<< ours\n{lock.read_text()}=======\n>>>>>>> theirs\n")
    document = three.json("status", "--exit-code", code=1)
    assert [(one["dataset"], one["problem"]) for one in document["datasets"]] == [
        ("data/other", None),
        ("data/raw", None),
    ]
    (problem,) = document["unreadable"]
    assert (problem["where"], problem["kind"]) == ("dvc.lock", "refused")
    assert "dvc repro" in problem["hint"]
    assert "dvc.lock  error: dvc.lock has unresolved merge conflicts" in three.datapin("status", code=1).stdout
    (error,) = [one for one in three.json("doctor", code=1)["findings"] if one["severity"] == "error"]
    assert error["where"] == "dvc.lock"
    for asked in (("status", "data/copy"), ("trace", "data/copy")):
        message, _ = three.refusal(*asked, code=40)
        assert "dvc.lock has unresolved merge conflicts" in message
    assert len(three.json("trace", "data/raw")["unread"]) == 1


def test_a_folder_of_other_files_in_conflict_is_no_dataset(three: Clone) -> None:
    (three.path / "plain").mkdir()
    (three.path / "plain" / "x.txt").write_text("x")
    three.dvc("add", "-q", "plain")
    pointer = three.path / "plain.dvc"
    pointer.write_text(f"<<<<<<< ours\n{pointer.read_text()}=======\n>>>>>>> theirs\n")
    assert list(statuses(three)) == ["data/copy", "data/other", "data/raw"]


def test_status_with_a_remote_goes_on_too(three: Clone) -> None:
    three.dvc("remote", "add", "-q", "-d", "lab", three.path.parent / "lab")
    three.datapin("push")
    cut_off(three)
    now = statuses(three, "-r", code=1)
    assert (now["data/other"]["pushed"], now["data/raw"]["pushed"]) == (True, None)
    assert statuses(three, "-r", "data/raw", code=1)["data/raw"]["problem"]["kind"] == "bad-settings"


def test_a_version_of_bad_rows_that_is_pinned_is_not_offered_as_its_own_cure(three: Clone) -> None:
    write_bad_key(three)
    three.dvc("add", "-q", "data/raw")
    hint = statuses(three, code=1)["data/raw"]["problem"]["hint"]
    good = three.git("rev-parse", "--short", "HEAD").strip()
    assert f"`datapin rollback data/raw --to {good}`" in hint
    three.commit("bad rows")
    assert statuses(three, code=1)["data/raw"]["problem"]["hint"] == hint
    three.datapin("rollback", "-q", "data/raw", "--to", good)
    assert statuses(three)["data/raw"]["problem"] is None


def test_a_push_of_all_datasets_sends_the_rest_and_fails_while_one_cannot_be_read(three: Clone) -> None:
    three.dvc("remote", "add", "-q", "-d", "lab", three.path.parent / "lab")
    cut_off(three)
    message, _ = three.refusal("push", code=10)
    assert POINTER in message
    now = statuses(three, "-r", code=1)
    assert (now["data/other"]["pushed"], now["data/raw"]["problem"]["kind"]) == (True, "bad-settings")
