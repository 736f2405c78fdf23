"""Faults of the pins, planted in a real pipeline: in the work tree, and in a commit that is read from Git alone."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from checks.planted import Planted
from clones import Clone
from datapin.base.findings import Finding
from datapin.base.progress import SILENT
from datapin.base.state import state_of
from datapin.manifest.files.table import write_shard
from datapin.manifest.manifest import Manifest
from datapin.manifest.write import write_manifest
from datapin.pipeline.record.fingerprint import INPUTS
from datapin.verbs.verify.verify import VerifyReport, verify
from datapin.verbs.workspace.workspace import Workspace
from workspaces import picture

PIPELINE = """\
stages:
  prepare:
    cmd: datapin run prepare
    deps: [data/raw]
    params: [prepare]
    outs: [data/prepared]
  featurize:
    cmd: datapin run featurize
    deps: [data/prepared]
    params: [featurize]
    outs: [data/features]
  train:
    cmd: datapin run train
    deps: [data/features]
    params: [prepare, featurize, train]
    outs: [models/model.skops, reports/predictions.parquet]
    metrics:
      - reports/metrics.json: {cache: false}
      - reports/run.json: {cache: false}
    plots:
      - reports/plots: {cache: false}
"""
TOOLS = """\
vars:
  - ../params.yaml
stages:
  count:
    foreach: ${count.letters}
    do:
      wdir: ../${count.folder}
      cmd: sh ../tools/count.sh ${item} > ${item}.txt
      deps: [../tools/count.sh, ../tools/lib, ../data/raw]
      params:
        - ../params.yaml: [count.limit]
      outs: ["${item}.txt"]
"""
PARAMS = """\
prepare:
  input: data/raw
  split: {train: 0.5, val: 0.25, test: 0.25}
featurize:
  input: data/prepared
train:
  estimator: sklearn.naive_bayes.GaussianNB
count: {letters: [a, b], limit: 3, folder: counts}
"""


@pytest.fixture(scope="module")
def once(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset, a pipeline of ours and a user's in a folder of its own, both run and committed."""
    clone = Clone(tmp_path_factory.mktemp("pins") / "repo")
    shutil.copytree(blank, clone.path, symlinks=True)
    for number in range(24):
        place = clone.path / "img" / "ab"[number % 2] / f"{number:02}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(picture(number, side=8))
    (clone.path / ".gitignore").write_text("/img\n/reports/run.git.json\n")
    clone.datapin("add", "img", "--to", "data/raw", "--label", "parent", "-q")
    (clone.path / "dvc.yaml").write_text(PIPELINE)
    (clone.path / "params.yaml").write_text(PARAMS)
    (clone.path / "tools" / "lib").mkdir(parents=True)
    (clone.path / "counts").mkdir()
    (clone.path / "tools" / "dvc.yaml").write_text(TOOLS)
    (clone.path / "tools" / "count.sh").write_text("ls ../data/raw | wc -c\necho $1\n")
    (clone.path / "tools" / "lib" / "one.sh").write_text("one\n")
    (clone.path / "tools" / "lib" / "two.sh").symlink_to("one.sh")
    clone.dvc("repro", "--all-pipelines", "-q")
    clone.commit("healthy")
    return clone.path


@pytest.fixture
def repo(once: Path, tmp_path: Path) -> Clone:
    shutil.copytree(once, tmp_path / "repo", symlinks=True)
    return Clone(tmp_path / "repo")


def report(repo: Clone, rev: str | None = None, *names: str) -> VerifyReport:
    return verify(Workspace.find(repo.path, progress=SILENT), rev, names=names or ("pins",))


def seen(repo: Clone, planted: Planted) -> list[Finding]:
    """The findings in the work tree, and the same ones in a commit of it; the commit before is as healthy as it was."""
    here = report(repo)
    found = planted.seen(here.findings)
    repo.commit("spoiled")
    committed = report(repo, "HEAD")
    planted.seen(committed.findings)
    assert {(one.check, one.where) for one in committed.findings} == {(one.check, one.where) for one in here.findings}
    assert not report(repo, "HEAD~1").findings
    return found


def each_planted(check: str, faults: Mapping[str, Any]) -> list[Any]:
    """One test for each fault, which its name says in words."""
    return [pytest.param(value, id=fault, marks=pytest.mark.planted(check, fault)) for fault, value in faults.items()]


def edit(repo: Clone, file: str, before: str, after: str) -> None:
    place = repo.path / file
    text = place.read_text()
    assert before in text
    place.write_text(text.replace(before, after))


def pin(repo: Clone, path: str) -> dict[str, Any]:
    """What dvc.lock says of an output."""
    for stage in lock(repo)["stages"].values():
        for out in stage["outs"]:
            if out["path"] == path:
                found: dict[str, Any] = out
                return found
    raise KeyError(path)


def lock(repo: Clone) -> dict[str, Any]:
    from ruamel.yaml import YAML

    loaded: dict[str, Any] = YAML(typ="safe", pure=True).load((repo.path / "dvc.lock").read_text())
    return loaded


def test_a_healthy_repository_has_no_findings(repo: Clone) -> None:
    for rev in (None, "HEAD"):
        seen = report(repo, rev)
        assert seen.findings == []
        assert seen.ok
        assert [one.dataset for one in seen.datasets] == ["data/features", "data/prepared", "data/raw"]
        assert seen.notes == []


def test_a_clone_whose_data_is_on_the_remote_has_no_findings(repo: Clone, tmp_path: Path) -> None:
    repo.dvc("remote", "add", "--default", "lab", tmp_path / "lab")
    repo.commit("remote")
    repo.dvc("push", "-q")
    repo.git("clone", "-q", repo.path, tmp_path / "clone")
    clone = Clone(tmp_path / "clone")
    for rev in (None, "HEAD"):
        assert report(clone, rev).findings == []
    assert not (clone.path / "data" / "raw").exists()


def repin(repo: Clone, path: str) -> None:
    """What a hand would do: write the hash of the file that is there into dvc.lock and DVC's cache."""
    data = (repo.path / path).read_bytes()
    before, after = pin(repo, path), hashlib.md5(data).hexdigest()
    edit(
        repo,
        "dvc.lock",
        f"md5: {before['md5']}\n      size: {before['size']}",
        f"md5: {after}\n      size: {len(data)}",
    )
    cached = repo.path / ".dvc/cache/files/md5" / after[:2] / after[2:]
    cached.parent.mkdir(exist_ok=True)
    cached.write_bytes(data)


def rerecord(repo: Clone, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the run record, consistently with dvc.lock."""
    place = repo.path / "reports/run.json"
    document = json.loads(place.read_bytes())
    change(document["runs"][0])
    place.write_text(json.dumps(document))
    repin(repo, "reports/run.json")


def objects(repo: Clone, path: str) -> list[Path]:
    """DVC's cached objects of a pinned output: the list of a folder, and its files."""
    md5 = pin(repo, path)["md5"] if not path.endswith(".dvc") else (repo.path / path).read_text().split("md5: ")[1][:36]
    cache = repo.path / ".dvc/cache/files/md5"
    top = cache / md5[:2] / md5[2:].strip()
    inner = [entry["md5"] for entry in json.loads(top.read_bytes())] if top.name.endswith(".dir") else []
    return [top, *(cache / one[:2] / one[2:] for one in inner)]


def lose(repo: Clone, path: str, pointer: str = "") -> None:
    """The output is neither in DVC's cache nor in the work tree any more, and there is no remote."""
    for place in objects(repo, pointer or path):
        place.unlink()
    shutil.rmtree(state_of(repo.path).objects)
    for place in [repo.path / path, *(repo.path / path).glob("*")][::-1]:
        place.rmdir() if place.is_dir() else place.unlink()


# --- manifests


@pytest.mark.planted("pins.manifest-changed", "a manifest in the work tree is changed without its pointer")
@pytest.mark.parametrize("rows", [23, 24], ids=["other rows", "the same rows in other bytes"])
def test_a_manifest_changed_without_its_pointer_is_found(repo: Clone, planted: Planted, rows: int) -> None:
    shard = repo.path / "data/raw/part-00000.parquet"
    table = pq.read_table(shard).slice(0, rows)
    shard.unlink()  # it may be a link into DVC's cache
    pq.write_table(table, shard)
    (found,) = planted.seen(report(repo).findings)
    assert found.where == "data/raw"
    assert "dvc add data/raw" in found.hint
    assert ("23 rows" in found.message) == (rows == 23)
    assert not report(repo, "HEAD").findings


@pytest.mark.planted("pins.manifest-changed", "another file lies among a manifest's shards")
@pytest.mark.planted("pins.shards", "the work tree has a manifest's keys in two files")
def test_a_stranger_among_the_shards_is_found(repo: Clone, planted: Planted) -> None:
    shutil.copy(repo.path / "data/prepared/part-00000.parquet", repo.path / "data/prepared/old.parquet")
    planted.seen(report(repo).findings)
    assert not report(repo, "HEAD").findings


@pytest.mark.planted("pins.readable", "a pinned manifest is nowhere: not in the work tree, DVC's cache, the remote")
@pytest.mark.parametrize("lost", [("data/raw", "data/raw.dvc"), ("data/prepared", "")], ids=["source", "derived"])
def test_a_manifest_that_is_nowhere_is_found(repo: Clone, planted: Planted, lost: tuple[str, str]) -> None:
    lose(repo, *lost)
    for rev in (None, "HEAD"):
        (found,) = planted.seen(report(repo, rev).findings)
        assert found.where == lost[0]
        assert "DVC's cache is missing" in found.message


def test_a_manifest_that_only_the_work_tree_still_has_is_somewhere(repo: Clone) -> None:
    for place in objects(repo, "data/prepared"):
        place.unlink()
    for rev in (None, "HEAD"):
        assert not report(repo, rev).findings


@pytest.mark.planted("pins.readable", "a pointer has unresolved merge conflicts")
def test_conflict_marks_in_a_pointer_are_found(repo: Clone, planted: Planted) -> None:
    edit(repo, "data/raw.dvc", "outs:", "<<<<<<< ours\nouts:\n=======\nouts:\n>>>>>>> theirs")
    (found,) = seen(repo, planted)
    assert found.where == "data/raw.dvc"
    assert "unresolved merge conflicts" in found.message
    planted.by_hand = "the marks are committed: there is no merge to take a side of"


@pytest.mark.planted("pins.readable", "a merge left a pointer in conflict without any mark in it")
def test_a_conflict_that_only_gits_index_knows_is_found(repo: Clone, planted: Planted) -> None:
    theirs = repo.path / "theirs"
    theirs.write_text((repo.path / "data/raw.dvc").read_text() + "frozen: true\n")
    blobs = [repo.git("hash-object", "-w", file).strip() for file in (repo.path / "data/raw.dvc", theirs)]
    theirs.unlink()
    stages = [
        f"100644 {blob} {number}\tdata/raw.dvc" for number, blob in zip((1, 2, 3), (blobs[0], *blobs), strict=True)
    ]
    (repo.path / "index").write_text("".join(f"{line}\n" for line in ("0 " + "0" * 40 + "\tdata/raw.dvc", *stages)))
    repo.run("sh", "-c", "git update-index --index-info < index && rm index")
    (found,) = planted.seen(report(repo).findings)
    assert found.where == "data/raw.dvc"


@pytest.mark.planted("pins.readable", "dvc.lock is not what DVC writes")
def test_a_lock_that_is_no_yaml_is_found(repo: Clone, planted: Planted) -> None:
    edit(repo, "dvc.lock", "stages:", "stages: [")
    (found,) = seen(repo, planted)
    assert found.where == "dvc.lock"


@pytest.mark.planted("pins.pinned-once", "an output is pinned by a stage and by a `.dvc` file")
def test_an_output_with_two_pointers_is_found(repo: Clone, planted: Planted) -> None:
    out = pin(repo, "data/prepared")
    text = f"outs:\n- md5: {out['md5']}\n  size: {out['size']}\n  nfiles: 1\n  hash: md5\n  path: prepared\n"
    (repo.path / "data/prepared.dvc").write_text(text)
    (found,) = seen(repo, planted)
    assert found.where == "data/prepared"
    assert "data/prepared.dvc" in found.message


@pytest.mark.planted("pins.pinned-once", "a manifest lies there that no pointer pins", severity="warning")
def test_a_manifest_without_a_pointer_is_found(repo: Clone, planted: Planted) -> None:
    shutil.copytree(repo.path / "data/raw", repo.path / "more/images")
    (found,) = seen(repo, planted)
    assert found.where == "more/images"


Spoil = Callable[[Path], None]


def rewrite(shard: Path, change: Callable[[pa.Table], pa.Table], **claims: Any) -> None:
    """Write a shard as our writer does, with the claims of the old one."""
    (entry,) = Manifest.open(shard.parent).shards
    table = change(pq.read_table(shard))
    shard.unlink()
    write_shard(table, replace(entry, path=shard, **claims))


def renamed(keys: list[str]) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.set_column(
        0, table.schema.field(0), pa.array(keys + table["key"].to_pylist()[len(keys) :])
    )


def flip_a_byte(shard: Path) -> None:
    data = bytearray(shard.read_bytes())
    data[len(data) // 4] ^= 0xFF
    shard.unlink()
    shard.write_bytes(data)


SPOILS: dict[str, Spoil] = {
    "a shard does not parse": flip_a_byte,
    "a shard is not sorted": lambda shard: rewrite(shard, lambda table: table.take(list(range(23, -1, -1)))),
    "a shard has a key twice": lambda shard: rewrite(shard, renamed(["a/00.png", "a/00.png"])),
    "a shard has a key that leads out of its folder": lambda shard: rewrite(shard, renamed(["../a.png"])),
    "a shard lies about its digest": lambda shard: rewrite(shard, lambda table: table, digest="0" * 64),
    "a row is edited, the digest stays": lambda shard: rewrite(
        shard, lambda table: table.set_column(4, table.schema.field(4), pa.array(["b"] * 24))
    ),
    "a shard lies about the sum of its sizes": lambda shard: rewrite(shard, lambda table: table, bytes=1),
    "a shard has an asset id that is none": lambda shard: rewrite(
        shard, lambda table: table.set_column(1, table.schema.field(1), pa.array(["x"] * 24))
    ),
}


@pytest.mark.parametrize("spoil", each_planted("pins.shards", SPOILS))
def test_a_spoiled_shard_is_found_though_its_pointer_fits(repo: Clone, planted: Planted, spoil: Spoil) -> None:
    place = repo.path / "data/other/part-00000.parquet"
    shutil.copytree(repo.path / "data/raw", place.parent)
    spoil(place)
    repo.dvc("add", "-q", "data/other")
    (found,) = seen(repo, planted)
    assert found.where == "data/other"
    planted.by_hand = "its first version is damaged, and there is no other copy"


@pytest.mark.planted("pins.shards", "DVC's cache has other bytes than its name says")
def test_a_damaged_object_in_dvcs_cache_is_found(repo: Clone, planted: Planted) -> None:
    _, shard = objects(repo, "data/prepared")
    flip_a_byte(shard)
    for rev in (None, "HEAD"):
        assert {one.where for one in planted.seen(report(repo, rev).findings)} == {"data/prepared"}


@pytest.mark.planted("pins.summary", "a pointer's summary says something else than its manifest")
@pytest.mark.parametrize("said", [("rows: 24", "rows: 23"), ("sha256:", "sha256:0"), ("nfiles: 1", "nfiles: 2")])
def test_a_summary_that_is_not_true_is_found(repo: Clone, planted: Planted, said: tuple[str, str]) -> None:
    edit(repo, "data/raw.dvc", *said)
    (found,) = seen(repo, planted)
    assert found.where == "data/raw"


# --- other outputs


@pytest.mark.planted("pins.output-changed", "a model in the work tree is not the pinned one")
def test_a_model_that_was_changed_in_the_work_tree_is_found(repo: Clone, planted: Planted) -> None:
    model = repo.path / "models/model.skops"
    data = model.read_bytes()
    model.unlink()
    model.write_bytes(data + b"x")
    (found,) = planted.seen(report(repo).findings)
    assert found.where == "models/model.skops"
    assert not report(repo, "HEAD").findings


@pytest.mark.planted("pins.output-changed", "an output that Git keeps is not the one that dvc.lock pins")
@pytest.mark.parametrize("file", ["reports/metrics.json", "reports/plots/roc.csv"], ids=["file", "folder"])
def test_a_metric_that_was_edited_is_found(repo: Clone, planted: Planted, file: str) -> None:
    place = repo.path / file
    place.write_text(place.read_text() + " ")
    marked = [one for one in report(repo).findings if one.check != "pins.record-outputs"]
    assert planted.seen(marked)[0].where in file
    repo.commit("edited")
    assert planted.seen(one for one in report(repo, "HEAD").findings if one.check != "pins.record-outputs")


@pytest.mark.planted("pins.output-changed", "the run record, which only Git keeps, is deleted")
@pytest.mark.planted("pins.record-inputs", "the run record is deleted")
@pytest.mark.planted("pins.record-params", "the run record is deleted")
@pytest.mark.planted("pins.record-outputs", "the run record is deleted")
def test_a_deleted_record_is_found(repo: Clone, planted: Planted) -> None:
    (repo.path / "reports/run.json").unlink()
    assert {one.where for one in seen(repo, planted)} == {"reports/run.json"}


@pytest.mark.planted("pins.output-changed", "a folder of a user's own is not what its `.dvc` file pins")
def test_a_users_folder_that_was_changed_is_found(repo: Clone, planted: Planted) -> None:
    (repo.path / "notes").mkdir()
    (repo.path / "notes/one.txt").write_text("one")
    repo.dvc("add", "-q", "notes")
    assert not report(repo).findings
    (repo.path / "notes/two.txt").write_text("two")
    (found,) = planted.seen(report(repo).findings)
    assert found.where == "notes"


@pytest.mark.planted("pins.output-present", "an output is nowhere")
def test_an_output_that_is_nowhere_is_found(repo: Clone, planted: Planted) -> None:
    cached = repo.path / ".dvc/cache/files/md5"
    for letter in "ab":
        md5 = hashlib.md5((repo.path / f"counts/{letter}.txt").read_bytes()).hexdigest()
        (cached / md5[:2] / md5[2:]).unlink()
    assert not report(repo).findings
    (repo.path / "counts/a.txt").unlink()
    (found,) = planted.seen(report(repo).findings)
    assert found.where == "counts/a.txt"


@pytest.mark.planted("pins.output-present", "a hand wrote a hash into dvc.lock that nothing has")
def test_a_hash_that_nothing_has_is_found(repo: Clone, planted: Planted) -> None:
    edit(repo, "tools/dvc.lock", hashlib.md5((repo.path / "counts/b.txt").read_bytes()).hexdigest(), "a" * 32)
    (repo.path / "counts/b.txt").unlink()
    (found,) = seen(repo, planted)
    assert found.where == "counts/b.txt"


# --- stages


@pytest.mark.planted("pins.stale-pipeline", "dvc.lock has an output without a hash")
def test_an_output_without_a_hash_is_found(repo: Clone, planted: Planted) -> None:
    digest = hashlib.md5((repo.path / "counts/b.txt").read_bytes()).hexdigest()
    edit(repo, "tools/dvc.lock", f"      md5: {digest}\n", "")
    (found,) = seen(repo, planted)
    assert "no hash" in found.message


STALE = {
    "a command is changed": ("dvc.yaml", "run prepare", "run  prepare"),
    "a stage has a new dependency": ("dvc.yaml", "[data/raw]", "[data/raw, params.yaml]"),
    "a stage has a new output": ("dvc.yaml", "[data/features]\n  train", "[data/features, new.txt]\n  train"),
    "a stage has lost an output": ("dvc.yaml", ", reports/predictions.parquet]", "]"),
    "a stage reads a new parameter": ("dvc.yaml", "[featurize]\n    outs", "[featurize, count.limit]\n    outs"),
    "a stage never ran": ("params.yaml", "letters: [a, b]", "letters: [a, b, c]"),
    "dvc.lock has a stage that dvc.yaml has not": ("params.yaml", "letters: [a, b]", "letters: [a]"),
    "a template gives another command": ("tools/dvc.yaml", "count.sh ${item} >", "count.sh ${item} ${count.limit} >"),
}


@pytest.mark.parametrize("change", each_planted("pins.stale-pipeline", STALE))
def test_a_lock_that_is_stale_against_its_pipeline_is_found(
    repo: Clone, planted: Planted, change: tuple[str, str, str]
) -> None:
    edit(repo, *change)
    for found in seen(repo, planted):
        assert found.where.startswith(("dvc.yaml:", "tools/dvc.yaml:count@"))
        assert found.hint
    if "new.txt" in change[2]:
        planted.by_hand = "the user's own stage is to write its new output"


@pytest.mark.planted("pins.stale-pipeline", "dvc.lock has an input that the stage has lost", severity="warning")
@pytest.mark.parametrize(
    "change",
    [("tools/dvc.yaml", ", ../tools/lib,", ","), ("dvc.yaml", "[prepare, featurize, train]", "[prepare, train]")],
)
def test_an_input_that_a_stage_has_lost_is_found(repo: Clone, planted: Planted, change: tuple[str, str, str]) -> None:
    edit(repo, *change)
    assert "dvc commit" in seen(repo, planted)[0].hint
    repo.dvc("commit", "-q", "--force", "tools/dvc.yaml", "dvc.yaml")
    assert not report(repo).findings


@pytest.mark.planted("pins.stale-params", "a parameter is changed")
@pytest.mark.parametrize("change", [("limit: 3", "limit: 4"), ("limit: 3, ", "")], ids=["changed", "gone"])
def test_a_lock_that_is_stale_against_params_is_found(repo: Clone, planted: Planted, change: tuple[str, str]) -> None:
    edit(repo, "params.yaml", *change)
    found = seen(repo, planted)
    assert [one.where for one in found] == ["tools/dvc.yaml:count@a", "tools/dvc.yaml:count@b"]
    assert "count.limit" in found[0].message


def add_a_file(repo: Clone) -> None:
    (repo.path / "tools/lib/three.sh").write_text("three\n")


CODE: dict[str, Callable[[Clone], None]] = {
    "a script is changed": lambda repo: edit(repo, "tools/count.sh", "echo", "echo  "),
    "a file in a folder of code is changed": lambda repo: edit(repo, "tools/lib/one.sh", "one", "two"),
    "a folder of code has a new file": add_a_file,
    "a script is gone": lambda repo: (repo.path / "tools/count.sh").unlink(),
}


@pytest.mark.parametrize("spoil", each_planted("pins.stale-code", CODE))
def test_a_lock_that_is_stale_against_code_is_found(
    repo: Clone, planted: Planted, spoil: Callable[[Clone], None]
) -> None:
    spoil(repo)
    assert {one.where for one in seen(repo, planted)} == {"tools/dvc.yaml:count@a", "tools/dvc.yaml:count@b"}


@pytest.mark.planted("pins.stale-code", "a script that a stage ran is not in Git")
def test_code_that_the_commit_does_not_have_is_found(repo: Clone, planted: Planted) -> None:
    repo.git("rm", "-q", "--cached", "tools/lib/one.sh", "tools/count.sh")
    repo.git("commit", "-qm", "forgotten")
    assert not report(repo).findings
    assert any("is not in Git" in one.message for one in planted.seen(report(repo, "HEAD").findings))


@pytest.mark.planted("pins.stale-code", "the pointer of a dataset that stages read is deleted")
def test_an_input_that_lost_its_pointer_is_found(repo: Clone, planted: Planted) -> None:
    (repo.path / "data/raw.dvc").unlink()
    wheres = {one.where for one in seen(repo, planted)}
    assert wheres == {"dvc.yaml:prepare", "tools/dvc.yaml:count@a", "tools/dvc.yaml:count@b"}


@pytest.mark.planted("pins.stale-data", "a dataset has a new version that no stage has read")
def test_a_lock_that_is_stale_against_its_data_is_found(repo: Clone, planted: Planted) -> None:
    repo.datapin("update", "data/raw", "--set", "label = 'b'", "--where", "key = 'a/00.png'", "-q")
    wheres = {one.where for one in seen(repo, planted)}
    assert wheres == {"dvc.yaml:prepare", "tools/dvc.yaml:count@a", "tools/dvc.yaml:count@b"}


@pytest.mark.planted("pins.stale-pipeline", "a stage is frozen by `rollback --pin`", severity="note")
def test_a_frozen_stage_is_a_note_whatever_its_inputs_are_now(repo: Clone, planted: Planted) -> None:
    told = {INPUTS: json.dumps({"data/raw": "sha256:" + "0" * 64})}
    old = store_manifest(repo, lambda table: table.slice(2), "data/prepared", **told)
    text = (repo.path / "dvc.lock").read_text()
    out = pin(repo, "data/prepared")
    edit(repo, "dvc.lock", out["md5"], old[0])
    edit(repo, "dvc.lock", f"size: {out['size']}", f"size: {old[1]}")
    repo.commit("made from other rows")
    (repo.path / "dvc.lock").write_text(text)
    repo.commit("today")
    repo.datapin("rollback", "data/prepared", "--to", "HEAD~1", "--pin", "-q")
    repo.dvc("repro", "-q", "train")
    for rev in (None, "HEAD"):
        checked = report(repo, rev)
        assert checked.ok
        assert "dvc.yaml:prepare" in {one.where for one in planted.seen(checked.findings)}
        assert "data/prepared" in {one.where for one in checked.findings if one.check == "pins.lineage"}
        repo.commit("pinned")


# --- lineage


def store_manifest(repo: Clone, change: Callable[[pa.Table], pa.Table], source: str, **inputs: str) -> tuple[str, int]:
    """Another valid manifest, made of the rows of `source`, in DVC's cache: its hash and size."""
    folder = repo.path / ".dvc/tmp/made"
    made = write_manifest(change(Manifest.open(repo.path / source).to_table()), folder, properties=dict(inputs))
    shard = (folder / "part-00000.parquet").read_bytes()
    assert made.rows
    listing = json.dumps([{"md5": put_object(repo, shard), "relpath": "part-00000.parquet"}]).encode()
    md5 = put_object(repo, listing, ".dir")
    shutil.rmtree(folder)
    return md5, len(shard)


def put_object(repo: Clone, data: bytes, end: str = "") -> str:
    md5 = hashlib.md5(data).hexdigest() + end
    place = repo.path / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(data)
    return md5


def forge(repo: Clone, path: str, made: tuple[str, int]) -> None:
    """Put another hash into every place where dvc.lock names the output, as a hand would."""
    out = pin(repo, path)
    for before, after in ((out["md5"], made[0]), (f"size: {out['size']}", f"size: {made[1]}")):
        edit(repo, "dvc.lock", before, after)
    shutil.rmtree(repo.path / path)


def digest(repo: Clone, dataset: str) -> str:
    return Manifest.open(repo.path / dataset).digest


@pytest.mark.planted("pins.lineage", "dvc.lock is changed by hand, consistently, to another valid manifest")
def test_a_lock_that_a_hand_changed_consistently_is_found(repo: Clone, planted: Planted) -> None:
    told = {INPUTS: json.dumps({"data/raw": digest(repo, "data/raw")})}
    forge(repo, "data/prepared", store_manifest(repo, lambda table: table.slice(1), "data/prepared", **told))
    (found,) = seen(repo, planted)
    assert found.where == "data/features"
    assert "data/prepared" in found.message


@pytest.mark.planted("pins.lineage", "dvc.lock is given the new hash of a dataset that its stage never read")
def test_a_lock_that_claims_to_have_read_new_data_is_found(repo: Clone, planted: Planted) -> None:
    before = (repo.path / "data/raw.dvc").read_text().split("md5: ")[1][:36]
    repo.datapin("update", "data/raw", "--set", "label = 'b'", "--where", "key = 'a/00.png'", "-q")
    after = (repo.path / "data/raw.dvc").read_text()
    sizes = [text.split("size: ")[1].split("\n")[0] for text in (repo.git("show", "HEAD:data/raw.dvc"), after)]
    for file in ("dvc.lock", "tools/dvc.lock"):
        edit(repo, file, before, after.split("md5: ")[1][:36])
        edit(repo, file, f"size: {sizes[0]}", f"size: {sizes[1]}")
    assert [one.where for one in seen(repo, planted)] == ["data/prepared"]


@pytest.mark.planted("pins.lineage", "a stage's output does not say what it was made from")
@pytest.mark.planted("pins.lineage", "a dataset was made from one that its stage does not name", severity="warning")
def test_an_output_of_unknown_origin_is_found(repo: Clone, planted: Planted) -> None:
    told = {INPUTS: json.dumps({"data/other": "sha256:" + "0" * 64})}
    forge(repo, "data/features", store_manifest(repo, lambda table: table, "data/features", **told))
    found = planted.seen(one for one in report(repo).findings if one.check != "pins.record-inputs")
    assert {one.where for one in found} == {"data/features"}


# --- the run record


@pytest.mark.planted("pins.record-inputs", "the run record names another digest than the pinned one")
@pytest.mark.parametrize("dataset", ["data/raw", "data/features"])
def test_a_record_of_other_data_is_found(repo: Clone, planted: Planted, dataset: str) -> None:
    rerecord(repo, lambda record: record["inputs"].update({dataset: "sha256:" + "0" * 64}))
    (found,) = seen(repo, planted)
    assert found.where == "reports/run.json"
    assert dataset in found.message


@pytest.mark.planted("pins.record-inputs", "the run record does not name the dataset that its stage reads")
def test_a_record_without_its_input_is_found(repo: Clone, planted: Planted) -> None:
    rerecord(repo, lambda record: record["inputs"].pop("data/features"))
    seen(repo, planted)


@pytest.mark.planted("pins.record-inputs", "a train stage has no run record among its outputs", severity="warning")
def test_a_training_without_a_record_is_found(repo: Clone, planted: Planted) -> None:
    edit(repo, "dvc.yaml", "      - reports/run.json: {cache: false}\n", "")
    repo.dvc("commit", "-q", "--force", "train")
    (found,) = seen(repo, planted)
    assert found.where == "dvc.yaml:train"


@pytest.mark.planted("pins.record-params", "the run record tells of other params")
def test_a_record_of_other_params_is_found(repo: Clone, planted: Planted) -> None:
    rerecord(repo, lambda record: record["params"]["train"].update(estimator="sklearn.svm.SVC"))
    (found,) = seen(repo, planted)
    assert "sklearn.svm.SVC" in found.message


@pytest.mark.planted("pins.record-params", "params and dvc.lock are changed by hand, consistently")
def test_params_and_lock_that_a_hand_changed_together_are_found(repo: Clone, planted: Planted) -> None:
    for file in ("params.yaml", "dvc.lock"):
        edit(repo, file, "naive_bayes.GaussianNB", "svm.SVC")
    seen(repo, planted)


@pytest.mark.planted("pins.record-outputs", "a model file is not what the run record says")
@pytest.mark.parametrize("file", ["models/model.skops", "reports/metrics.json"])
def test_a_model_that_is_not_the_recorded_one_is_found(repo: Clone, planted: Planted, file: str) -> None:
    place = repo.path / file
    data = place.read_bytes()
    place.unlink()
    place.write_bytes(data + b" ")
    repin(repo, file)
    (found,) = seen(repo, planted)
    assert found.where == file


@pytest.mark.planted("pins.record-outputs", "the run record tells of better metrics than the metrics file")
def test_a_record_of_other_metrics_is_found(repo: Clone, planted: Planted) -> None:
    rerecord(repo, lambda record: record["metrics"]["test"].update(accuracy=1.5))
    (found,) = seen(repo, planted)
    assert found.where == "reports/run.json"


def test_a_parameter_of_the_users_own_need_not_be_in_the_record(repo: Clone) -> None:
    edit(repo, "dvc.yaml", "[prepare, featurize, train]", "[prepare, featurize, train, count.limit]")
    repo.dvc("commit", "-q", "--force", "train")
    assert not report(repo).findings


@pytest.mark.planted("pins.record-outputs", "the run record names a file that nothing pins")
@pytest.mark.parametrize("path", ["models/other.skops", "../../etc/passwd", "/etc/passwd"])
def test_a_record_of_a_file_that_nothing_pins_is_found(repo: Clone, planted: Planted, path: str) -> None:
    rerecord(repo, lambda record: record["outputs"].update({path: "0" * 64}))
    (found,) = seen(repo, planted)
    assert found.where == path


@pytest.mark.planted("pins.record-inputs", "the run record cannot be read")
@pytest.mark.planted("pins.record-params", "the run record cannot be read")
@pytest.mark.planted("pins.record-outputs", "the run record cannot be read")
@pytest.mark.parametrize("spoil", [lambda r: r.clear(), lambda r: r.update(format=9), lambda r: r.update(outputs=[1])])
def test_a_record_that_cannot_be_read_passes_no_check(repo: Clone, planted: Planted, spoil: Any) -> None:
    rerecord(repo, spoil)
    assert {one.where for one in seen(repo, planted)} == {"reports/run.json"}


@pytest.mark.planted("pins.output-present", "a recorded model is nowhere")
@pytest.mark.planted("pins.record-outputs", "a recorded model is nowhere")
def test_a_model_that_is_nowhere_is_found(repo: Clone, planted: Planted) -> None:
    for place in objects(repo, "models/model.skops"):
        place.unlink()
    (repo.path / "models/model.skops").unlink()
    for rev in (None, "HEAD"):
        assert {one.where for one in planted.seen(report(repo, rev).findings)} == {"models/model.skops"}
