"""`datapin rollback` in repositories with real Git and real DVC: what comes back, what stays, what is refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from clones import BIN, ENVIRONMENT, Clone, write_images
from datapin.dvcfiles.texts import load_yaml

NOTHING_NEW = ("added", "removed", "changed")
PIPELINE = """\
# How the copy is made.
stages:
  copy:  # of all rows
    cmd: sh copy.sh
    deps:
      - data/raw
      - code.txt
      - copy.sh
    params:
      - size
    outs:
      - data/copy
      - model.bin
    metrics:
      - size.txt:
          cache: false
"""
SCRIPT = """\
rm -rf data/copy
cp -r data/raw data/copy
cat params.yaml code.txt > model.bin
wc -c model.bin > size.txt
"""


@pytest.fixture(scope="module")
def two_versions(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data/raw as v1 (12 rows) and v2 (3 rows more, 2 fewer, 1 with another label), another dataset, a file of code."""
    top = tmp_path_factory.mktemp("versions")
    shutil.copytree(blank, top / "repo", symlinks=True)
    clone = Clone(top / "repo")
    write_images(clone.path / "img")
    clone.datapin("add", "img", "--to", "data/raw", "--label", "parent", "-q")
    clone.datapin("add", "img/a", "--to", "data/other", "-q")
    (clone.path / "code.txt").write_text("one\n")
    clone.commit("v1")
    clone.git("tag", "v1")
    write_images(clone.path / "new", per_class=3, classes="c")
    clone.datapin("add", "new", "--to", "data/raw", "--label", "parent", "-q")
    clone.datapin("remove", "data/raw", "--where", "key IN ('a/00.bin', 'a/01.bin')", "-q")
    clone.datapin("update", "data/raw", "--set", "label='z'", "--where", "key = 'b/00.bin'", "-q")
    (clone.path / "code.txt").write_text("two\n")
    clone.commit("v2")
    clone.git("tag", "v2")
    return clone.path


@pytest.fixture
def versions(two_versions: Path, tmp_path: Path) -> Clone:
    shutil.copytree(two_versions, tmp_path / "repo", symlinks=True)
    return Clone(tmp_path / "repo")


def pinned_text(clone: Clone, rev: str, file: str = "data/raw.dvc") -> bytes:
    return clone.git("show", f"{rev}:{file}").encode()


def state(clone: Clone) -> dict[str, bytes]:
    """Everything a user sees but DVC's and datapin's own folders."""
    return {
        path.relative_to(clone.path).as_posix(): path.read_bytes()
        for path in sorted(clone.path.rglob("*"))
        if path.is_file() and not {".git", ".dvc", ".datapin"} & set(path.relative_to(clone.path).parts)
    }


def labels(clone: Clone, selector: str) -> dict[str, str]:
    return {row["key"]: row["label"] for row in clone.json("ls", selector)}


def test_a_rollback_brings_the_rows_back_and_leaves_everything_else(versions: Clone) -> None:
    (versions.path / "code.txt").write_text("not committed\n")
    before = state(versions)
    told = versions.json("rollback", "data/raw", "--to", "v1")
    assert told["datasets"] == [
        {
            "dataset": "data/raw",
            "from": versions.json("show", "data/raw@v2")["digest"],
            "to": versions.json("show", "data/raw@v1")["digest"],
            "added": 2,
            "removed": 3,
            "changed": 1,
        }
    ]
    after = state(versions)
    assert after["data/raw.dvc"] == pinned_text(versions, "v1")
    assert {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)} == {
        "data/raw.dvc", "data/raw/part-00000.parquet",
    }  # fmt: skip
    assert labels(versions, "data/raw") == labels(versions, "data/raw@v1")
    assert versions.git("status", "--porcelain") == " M code.txt\n M data/raw.dvc\n"
    assert "up to date" in versions.dvc("status").stdout
    laid_out = versions.files("data", "raw")
    versions.dvc("checkout", "--force", "data/raw.dvc")
    assert versions.files("data", "raw") == laid_out
    assert not list((versions.path / ".git" / "datapin" / "tmp").glob(".tmp-*"))


def test_a_rollback_can_be_rolled_back(versions: Clone) -> None:
    before = state(versions)
    versions.datapin("rollback", "data/raw", "--to", "~1")
    digest = versions.json("show", "data/raw@v2")["digest"]
    assert state(versions) != before
    said = versions.datapin("rollback", "data/raw", "--to", digest.removeprefix("sha256:")[:12]).stdout
    assert "3 rows added, 2 removed, 1 changed" in said
    assert state(versions) == before
    assert versions.git("status", "--porcelain") == ""
    assert "nothing to do" in versions.datapin("rollback", "data/raw", "--to", "v2").stdout


def test_a_rollback_that_was_committed_is_a_version_like_any_other(versions: Clone) -> None:
    said = versions.datapin("rollback", "data/raw", "--to", "v1").stdout
    assert "git add data/raw.dvc" in said
    versions.commit("back to v1")
    assert [one["subject"] for one in versions.json("log", "data/raw")] == ["back to v1", "v2", "v1"]
    assert versions.json("diff", "data/raw", "v1")["rows"] == []


def test_with_autostage_git_knows_of_it(versions: Clone) -> None:
    versions.dvc("config", "core.autostage", "true")
    versions.commit("settings")
    assert versions.json("rollback", "data/raw", "--to", "v1")["staged"] is True
    assert versions.git("status", "--porcelain") == "M  data/raw.dvc\n"


def test_only_shards_that_differ_are_written(versions: Clone) -> None:
    """The pointer alone differs: the shard keeps its file."""
    path = versions.path / "data" / "raw" / "part-00000.parquet"
    pointer = versions.path / "data" / "raw.dvc"
    pointer.write_text(pointer.read_text() + "desc: a note\n")
    versions.commit("a note")
    inode = path.stat().st_ino
    versions.datapin("rollback", "data/raw", "--to", "v2")
    assert pointer.read_bytes() == pinned_text(versions, "v2")
    assert path.stat().st_ino == inode


def test_rows_that_nothing_pins_are_refused_by_name(versions: Clone) -> None:
    shard = versions.path / "data" / "raw" / "part-00000.parquet"
    table = pq.read_table(shard)
    shard.unlink()
    pq.write_table(table.slice(1), shard)
    before = state(versions)
    message, hint = versions.refusal("rollback", "data/raw", "--to", "v1", code=40)
    assert "data/raw" in message
    assert "a/02.bin" in message
    assert "--force" in hint
    assert state(versions) == before
    told = versions.json("rollback", "data/raw", "--to", "v1", "--force")
    (kept,) = told["kept"]
    assert pq.read_table(versions.path / kept).num_rows == 12
    assert labels(versions, "data/raw") == labels(versions, "data/raw@v1")
    assert versions.git("status", "--porcelain") == " M data/raw.dvc\n"


def test_a_version_that_no_commit_pins_is_refused_by_name(versions: Clone) -> None:
    versions.datapin("update", "data/raw", "--set", "label='mine'", "--where", "key = 'b/03.bin'")
    before = state(versions)
    message, _ = versions.refusal("rollback", "data/raw", "--to", "v1", code=40)
    assert "no commit" in message
    assert "b/03.bin" in message
    assert state(versions) == before
    (kept,) = versions.json("rollback", "data/raw", "--to", "v1", "--force")["kept"]
    assert "mine" in pq.read_table(versions.path / kept)["label"].to_pylist()


def test_assets_that_are_nowhere_stop_it_before_anything_changes(versions: Clone) -> None:
    shutil.rmtree(versions.path / ".git" / "datapin" / "store")
    before = state(versions)
    message, _ = versions.refusal("rollback", "data/raw", "--to", "v1", code=20)
    assert "a/00.bin" in message
    assert state(versions) == before


def test_a_dry_run_with_force_names_the_edits_of_which_a_copy_would_be_kept(versions: Clone) -> None:
    versions.datapin("checkout", "data/raw", "--into", "out", "-q")
    (versions.path / "out" / "b" / "00.bin").write_bytes(b"mine")
    versions.datapin("update", "data/raw", "--set", "label='mine'", "--where", "key = 'b/01.bin'", "-q")
    before = state(versions)
    asked = ("rollback", "data/raw", "--to", "v1", "--force", "--dry-run")
    told = versions.json(*asked)
    assert len(told["unsaved"]) == 2
    assert told["kept"] == []
    assert "b/01.bin" in told["unsaved"][0]
    assert told["unsaved"][1] == "out: edited: b/00.bin"
    said = versions.datapin(*asked).stdout
    for line in told["unsaved"]:
        assert f"a copy of unsaved edits would be kept: {line}\n" in said
    assert state(versions) == before
    assert not (versions.path / ".git" / "datapin" / "kept").exists()
    done = versions.json(*asked[:-1])
    assert (done["unsaved"], len(done["kept"])) == (told["unsaved"], 2)
    assert "would be kept" not in versions.datapin("rollback", "data/raw", "--to", "v2", "--dry-run").stdout


@pytest.fixture
def elsewhere(versions: Clone, tmp_path: Path) -> Clone:
    """The two versions on a remote, and nothing of them here but the work tree's manifest."""
    versions.dvc("remote", "add", "--local", "--default", "lab", str(tmp_path / "remote"))
    versions.datapin("push", "--all-versions", "-q")
    for place in (".git/datapin/store", ".git/datapin/objects", ".dvc/cache/files"):
        shutil.rmtree(versions.path / place)
    return versions


def remote_packs(clone: Clone) -> list[Path]:
    return sorted((clone.path.parent / "remote" / "datapin" / "packs").rglob("*.pack"))


def test_what_is_not_here_is_fetched_first(elsewhere: Clone) -> None:
    assert elsewhere.json("rollback", "data/raw", "--to", "v1")["fetched"] == 12
    (elsewhere.path.parent / "remote").rename(elsewhere.path.parent / "away")
    assert labels(elsewhere, "data/raw") == labels(elsewhere, "data/raw@v1")
    elsewhere.datapin("checkout", "data/raw", "--into", "out")
    assert elsewhere.files("out") == elsewhere.files("img")
    assert "data/raw" not in elsewhere.dvc("status").stdout


def test_a_version_that_came_from_the_remote_is_known_to_be_there(elsewhere: Clone) -> None:
    """A colleague's clone, which never saw the old version."""
    shutil.rmtree(elsewhere.path / ".git" / "datapin" / "cache")
    elsewhere.datapin("fetch", "-q")
    elsewhere.datapin("rollback", "data/raw", "--to", "v1", "-q")
    (one,) = elsewhere.json("status", "data/raw")["datasets"]
    assert (one["pushed"], one["not_pushed"]) == (True, 0)


def test_a_lazy_rollback_leaves_assets_on_the_remote_which_must_have_them(elsewhere: Clone) -> None:
    assert elsewhere.json("rollback", "data/raw", "--to", "v1", "--lazy")["fetched"] == 0
    assert elsewhere.json("status", "data/raw")["datasets"][0]["missing_local"] == 12
    for pack in remote_packs(elsewhere):
        pack.unlink()
    before = state(elsewhere)
    message, _ = elsewhere.refusal("rollback", "data/raw", "--to", "v2", "--lazy", code=20)
    assert "13 asset(s)" in message
    assert state(elsewhere) == before


def test_if_the_remote_lacks_one_asset_nothing_changes(elsewhere: Clone) -> None:
    elsewhere.datapin("rollback", "data/raw", "--to", "v1", "--lazy")
    before = state(elsewhere)
    packs = remote_packs(elsewhere)
    assert len(packs) == 2  # v2 needs both
    for pack in packs:
        aside = pack.rename(pack.with_suffix(".aside"))
        assert "asset(s) are not in" in elsewhere.datapin("rollback", "data/raw", "--to", "v2", code=20).stderr
        assert state(elsewhere) == before
        aside.rename(pack)
        shutil.rmtree(elsewhere.path / ".git" / "datapin" / "store", ignore_errors=True)
    elsewhere.datapin("rollback", "data/raw", "--to", "v2")


def test_without_the_old_manifest_nothing_changes(versions: Clone) -> None:
    versions.lose_cache()
    before = state(versions)
    message, _ = versions.refusal("rollback", "data/raw", "--to", "v1", code=20)
    assert "no default remote" in message
    assert state(versions) == before


def test_an_old_manifest_that_is_damaged_is_not_laid_out(versions: Clone) -> None:
    before = state(versions)
    versions.json("show", "data/raw@v1")
    for path in (versions.path / ".git" / "datapin" / "cache" / "versions").rglob("*.parquet"):
        if path.resolve().read_bytes() != before["data/raw/part-00000.parquet"]:
            data = bytearray(path.resolve().read_bytes())
            data[40] ^= 1
            path.resolve().chmod(0o644)
            path.resolve().write_bytes(data)
    message, _ = versions.refusal("rollback", "data/raw", "--to", "v1", code=21)
    assert "hash" in message
    assert state(versions) == before


def test_the_checked_out_tree_follows(versions: Clone) -> None:
    versions.datapin("checkout", "data/raw", "--into", "out")
    versions.datapin("checkout", "data/raw", "--into", "part", "--where", "label = 'a'")
    versions.datapin("checkout", "data/raw@v2", "--into", "fixed")
    fixed = versions.files("fixed")
    versions.datapin("rollback", "data/raw", "--to", "v1")
    assert versions.files("out") == versions.files("img")
    assert versions.files("part") == {f"a/{n:02d}.bin": f"a{n}".encode() * 50 for n in range(6)}
    assert versions.files("fixed") == fixed


def test_a_lazy_rollback_still_brings_the_files_of_a_tree(elsewhere: Clone) -> None:
    elsewhere.datapin("checkout", "data/raw", "--into", "out", "--where", "label = 'b'")
    elsewhere.datapin("rollback", "data/raw", "--to", "v1", "--lazy")
    assert elsewhere.files("out") == {f"b/{n:02d}.bin": f"b{n}".encode() * 50 for n in range(6)}
    assert elsewhere.json("status", "data/raw")["datasets"][0]["missing_local"] == 6


def test_edited_files_of_the_tree_are_refused_by_name(versions: Clone) -> None:
    versions.datapin("checkout", "data/raw", "--into", "out")
    (versions.path / "out" / "c" / "00.bin").write_bytes(b"my own work")
    before = state(versions)
    message, _ = versions.refusal("rollback", "data/raw", "--to", "v1", code=40)
    assert "c/00.bin" in message
    assert state(versions) == before
    (kept,) = versions.json("rollback", "data/raw", "--to", "v1", "--force")["kept"]
    assert (versions.path / kept / "c" / "00.bin").read_bytes() == b"my own work"
    after = versions.files("out")
    assert after.pop("c/00.bin") == b"my own work"  # it is no row now, and nobody else's
    assert after == versions.files("img")


def test_a_dataset_that_was_deleted_comes_back(versions: Clone) -> None:
    versions.dvc("remove", "data/raw.dvc")
    shutil.rmtree(versions.path / "data" / "raw", ignore_errors=True)
    versions.commit("without")
    versions.datapin("rollback", "data/raw", "--to", "v2")
    assert labels(versions, "data/raw") == labels(versions, "data/raw@v2")
    assert pinned_text(versions, "v2") == (versions.path / "data" / "raw.dvc").read_bytes()
    assert "data/raw/" not in versions.git("status", "--porcelain", "-uall")
    assert "up to date" in versions.dvc("status").stdout


def test_what_cannot_be_named_is_refused(versions: Clone) -> None:
    versions.refusal("rollback", "data/raw", "--to", "nowhere", code=10)
    versions.refusal("rollback", "data/none", "--to", "v1", code=10)
    versions.refusal("rollback", "--to", "v1", code=2)
    versions.refusal("rollback", "data/raw", "--all", "--to", "v1", code=2)
    versions.refusal("rollback", "data/raw", code=2)


@pytest.fixture(scope="module")
def two_runs(two_versions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a pipeline that ran on both versions: tags run1 and run2, a later dataset data/late in run2."""
    top = tmp_path_factory.mktemp("runs")
    shutil.copytree(two_versions, top / "repo", symlinks=True)
    clone = Clone(top / "repo")
    (clone.path / "dvc.yaml").write_text(PIPELINE)
    (clone.path / "copy.sh").write_text(SCRIPT)
    (clone.path / "params.yaml").write_text("size: 10\n")
    clone.datapin("rollback", "data/raw", "--to", "v1")
    clone.dvc("repro", "-q")
    clone.commit("run 1")
    clone.git("tag", "run1")
    clone.datapin("rollback", "data/raw", "--to", "v2")
    (clone.path / "params.yaml").write_text("size: 2\n")
    clone.dvc("repro", "-q")
    clone.datapin("add", "img/b", "--to", "data/late", "-q")
    clone.commit("run 2")
    clone.git("tag", "run2")
    return clone.path


@pytest.fixture
def runs(two_runs: Path, tmp_path: Path) -> Clone:
    shutil.copytree(two_runs, tmp_path / "repo", symlinks=True)
    return Clone(tmp_path / "repo")


def test_the_run_cache_brings_what_depends_on_it_back(runs: Clone) -> None:
    runs.datapin("rollback", "data/raw", "--to", "run1")
    said = runs.dvc("status").stdout
    assert "copy" in said
    assert "data/raw" in said
    assert "data/other" not in said
    (runs.path / "params.yaml").write_bytes(pinned_text(runs, "run1", "params.yaml"))
    said = runs.dvc("repro").stdout
    assert "is cached" in said
    assert (runs.path / "dvc.lock").read_bytes() == pinned_text(runs, "run1", "dvc.lock")
    assert labels(runs, "data/copy") == labels(runs, "data/raw@v1")


def test_a_derived_dataset_is_refused_with_the_better_way(runs: Clone) -> None:
    before = state(runs)
    message, hint = runs.refusal("rollback", "data/copy", "--to", "run1", code=40)
    assert "stage copy" in message
    assert "datapin rollback data/raw --to run1" in hint
    assert "--pin" in hint
    assert state(runs) == before


def test_a_pinned_derived_dataset_is_the_whole_stage_and_frozen(runs: Clone) -> None:
    before = state(runs)
    told = runs.json("rollback", "data/copy", "--to", "run1", "--pin")
    assert told["frozen"] == ["copy"]
    assert [told["datasets"][0][name] for name in NOTHING_NEW] == [2, 3, 1]
    after = state(runs)
    assert after["dvc.lock"] == pinned_text(runs, "run1", "dvc.lock")
    assert after["dvc.yaml"].decode() == PIPELINE.replace("    cmd:", "    frozen: true\n    cmd:", 1)
    assert after["size.txt"] == pinned_text(runs, "run1", "size.txt")
    assert after["model.bin"] == b"size: 10\ntwo\n"
    assert labels(runs, "data/copy") == labels(runs, "data/raw@v1")
    assert {name for name in before if before[name] != after[name]} == {
        "data/copy/part-00000.parquet", "dvc.lock", "dvc.yaml", "model.bin", "size.txt",
    }  # fmt: skip
    status = runs.dvc("status")
    assert "up to date" in status.stdout
    runs.dvc("repro")
    assert labels(runs, "data/copy") == labels(runs, "data/raw@v1")
    runs.dvc("unfreeze", "copy")
    runs.dvc("repro")
    assert labels(runs, "data/copy") == labels(runs, "data/raw@v2")
    assert (runs.path / "dvc.lock").read_bytes() == before["dvc.lock"]


def test_all_of_a_revision_comes_back_and_the_code_stays(runs: Clone) -> None:
    before = state(runs)
    told = runs.json("rollback", "--all", "--to", "run1")
    assert {one["dataset"] for one in told["datasets"]} == {"data/raw", "data/other", "data/copy"}
    assert told["left"] == ["data/late"]
    assert told["outputs"] == ["model.bin"]
    after = state(runs)
    assert {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)} == {
        "data/copy/part-00000.parquet", "data/raw.dvc", "data/raw/part-00000.parquet", "dvc.lock", "model.bin",
        "params.yaml", "size.txt",
    }  # fmt: skip
    for name in ("data/raw.dvc", "dvc.lock", "params.yaml", "size.txt"):
        assert after[name] == pinned_text(runs, "run1", name)
    assert after["model.bin"] == b"size: 10\ntwo\n"
    assert "up to date" in runs.dvc("status").stdout
    runs.datapin("rollback", "--all", "--to", "HEAD")
    assert state(runs) == before
    assert runs.git("status", "--porcelain") == ""


def test_all_refuses_unsaved_edits_and_keeps_them_by_force(runs: Clone) -> None:
    (runs.path / "params.yaml").write_text("size: 3\n")
    (runs.path / "model.bin").unlink()
    (runs.path / "model.bin").write_bytes(b"mine")
    before = state(runs)
    message, _ = runs.refusal("rollback", "--all", "--to", "run1", code=40)
    assert "params.yaml" in message
    assert "model.bin" in message
    assert state(runs) == before
    kept = runs.json("rollback", "--all", "--to", "run1", "--force")["kept"]
    assert {os.path.basename(name): (runs.path / name).read_bytes() for name in kept} == {
        "params.yaml": b"size: 3\n", "model.bin": b"mine",
    }  # fmt: skip
    assert "up to date" in runs.dvc("status").stdout


def test_a_pointer_that_git_restored_alone_leaves_no_unsaved_edits(versions: Clone) -> None:
    """What lies in the work tree is a version that is kept."""
    versions.datapin("rollback", "data/raw", "--to", "v1", "-q")
    (versions.path / "data" / "raw.dvc").write_bytes(pinned_text(versions, "v2"))
    versions.datapin("rollback", "data/raw", "--to", "v2")
    assert labels(versions, "data/raw") == labels(versions, "data/raw@v2")


def test_a_linked_worktree_takes_old_manifests_from_the_other(versions: Clone) -> None:
    other = Clone(versions.path.parent / "other")
    versions.git("worktree", "add", "-q", str(other.path), "v2")
    other.datapin("rollback", "data/raw", "--to", "v1")
    assert labels(other, "data/raw") == labels(versions, "data/raw@v1")
    assert other.git("status", "--porcelain") == " M data/raw.dvc\n"


def test_a_model_that_is_nowhere_stops_all_and_is_named(runs: Clone) -> None:
    out = load_yaml(pinned_text(runs, "run1", "dvc.lock"), "dvc.lock")["stages"]["copy"]["outs"][1]
    assert out["path"] == "model.bin"
    (runs.path / ".dvc" / "cache" / "files" / "md5" / out["md5"][:2] / out["md5"][2:]).unlink()
    before = state(runs)
    message, hint = runs.refusal("rollback", "--all", "--to", "run1", code=20)
    assert message.startswith("model.bin")
    assert "datapin rollback data/other data/raw --to run1" in hint
    assert "dvc repro" in hint
    assert state(runs) == before


def test_an_edited_model_is_seen_though_its_pin_stays(runs: Clone) -> None:
    right = (runs.path / "model.bin").read_bytes()
    (runs.path / "model.bin").unlink()
    (runs.path / "model.bin").write_bytes(b"mine")
    message, _ = runs.refusal("rollback", "--all", "--to", "run2", code=40)
    assert "model.bin" in message
    told = runs.json("rollback", "--all", "--to", "run2", "--force")
    assert told["outputs"] == ["model.bin"]
    assert [(runs.path / name).read_bytes() for name in told["kept"]] == [b"mine"]
    assert (runs.path / "model.bin").read_bytes() == right


def test_what_nobody_keeps_is_left_to_repro(runs: Clone) -> None:
    runs.git("rm", "-q", "--cached", "size.txt")
    with (runs.path / ".gitignore").open("a") as ignored:
        ignored.write("/size.txt\n")
    runs.commit("size.txt is not kept")
    (runs.path / "size.txt").unlink()
    (note,) = runs.json("rollback", "--all", "--to", "HEAD")["notes"]
    assert "size.txt" in note
    runs.dvc("repro")
    assert (runs.path / "size.txt").is_file()


def test_rollbacks_at_the_same_time_all_end_in_the_old_version(runs: Clone) -> None:
    words = [("data/raw", "--to", "v1"), ("data/raw", "--to", "v1"), ("--all", "--to", "run1")]
    started = [
        subprocess.Popen([BIN / "datapin", "rollback", *said, "-q"], cwd=runs.path, env=ENVIRONMENT) for said in words
    ]
    assert [one.wait() for one in started] == [0, 0, 0]
    assert "up to date" in runs.dvc("status").stdout
    for name in ("data/raw.dvc", "dvc.lock", "params.yaml"):
        assert (runs.path / name).read_bytes() == pinned_text(runs, "run1", name)


def test_what_a_running_stage_reads_is_not_rolled_back(runs: Clone) -> None:
    (runs.path / "copy.sh").write_text("touch began\nwhile [ ! -e go ]; do sleep 0.05; done\n" + SCRIPT)
    before = state(runs)
    running = subprocess.Popen([BIN / "dvc", "repro", "-q"], cwd=runs.path, env=ENVIRONMENT)
    while not (runs.path / "began").exists():
        assert running.poll() is None
        time.sleep(0.05)
    message, _ = runs.refusal("rollback", "data/raw", "--to", "v1", code=40)
    assert "in use by a stage" in message
    (runs.path / "go").touch()
    assert running.wait() == 0
    assert state(runs)["data/raw.dvc"] == before["data/raw.dvc"]
    runs.datapin("rollback", "data/raw", "--to", "v1")
