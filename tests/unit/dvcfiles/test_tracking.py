"""Pinning a manifest: the contract with stock DVC and Git, checked with their own commands."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import zc.lockfile
from ruamel.yaml import YAML

from clones import Clone
from datapin.base.errors import Locked, Refused, StorageFailed
from datapin.dvcfiles.locks import repository_lock
from datapin.dvcfiles.tracking import objects as tracking_objects
from datapin.dvcfiles.tracking.track import track
from datapin.pins.read import Pins
from pinning import Pin, summary_of, write_shards


def out_of(path: Path) -> dict[str, Any]:
    out: dict[str, Any]
    (out,) = YAML(typ="safe").load(path.read_text())["outs"]
    return out


def test_the_pointer_is_what_dvc_add_writes_plus_our_summary(clone: Clone, pin: Pin, tmp_path: Path) -> None:
    md5 = pin(b"one", b"two")
    ours = out_of(clone.path / "data" / "raw.dvc")
    summary = ours.pop("meta")
    assert summary == {"datapin": {"for": md5, **summary_of(b"one", b"two")}}
    ignored = (clone.path / "data" / ".gitignore").read_text()
    (clone.path / "data" / "raw.dvc").unlink()
    (clone.path / "data" / ".gitignore").unlink()
    clone.dvc("add", "-q", "data/raw")
    assert out_of(clone.path / "data" / "raw.dvc") == ours
    assert (clone.path / "data" / ".gitignore").read_text() == ignored == "/raw\n"


def test_stock_dvc_finds_it_clean_and_brings_it_back(clone: Clone, pin: Pin) -> None:
    pin(b"one", b"two")
    assert "up to date" in clone.dvc("status").stdout
    clone.commit("v1")
    pin(b"one", b"three", b"four")
    clone.commit("v2")
    assert clone.git("status", "--porcelain") == ""
    clone.git("checkout", "-q", "HEAD~1")
    clone.dvc("checkout", "-q")
    assert clone.files("data", "raw") == {"part-00000.parquet": b"one", "part-00001.parquet": b"two"}


def test_stock_dvc_pushes_and_pulls_it(clone: Clone, pin: Pin, tmp_path: Path) -> None:
    pin(b"one", b"two")
    clone.dvc("remote", "add", "-d", "lab", tmp_path / "lab")
    clone.commit("v1")
    clone.dvc("push", "-q")
    clone.git("clone", "-q", clone.path, tmp_path / "other")
    other = Clone(tmp_path / "other")
    assert Pins(other.path).names == ["data/raw"]
    other.dvc("pull", "-q")
    assert other.files("data", "raw") == clone.files("data", "raw")


def test_a_plain_dvc_add_keeps_the_summary_which_is_then_stale(clone: Clone, pin: Pin) -> None:
    pin(b"one")
    pointer = Pins(clone.path).dataset("data/raw")
    assert pointer is not None
    assert pointer.digest == summary_of(b"one")["digest"]
    write_shards(clone.path / "data" / "raw", b"edited")
    clone.dvc("add", "-q", "data/raw")
    assert "meta" in out_of(clone.path / "data" / "raw.dvc")
    stale = Pins(clone.path).dataset("data/raw")
    assert stale is not None
    assert stale.digest is None
    assert Pins(clone.path).names == ["data/raw"]
    pin(b"edited")
    again = Pins(clone.path).dataset("data/raw")
    assert again is not None
    assert again.digest == summary_of(b"edited")["digest"]


def test_what_users_noted_in_the_pointer_stays(clone: Clone, pin: Pin) -> None:
    pin(b"one")
    path = clone.path / "data" / "raw.dvc"
    yaml = YAML()
    document = yaml.load(path.read_text())
    document["outs"][0]["meta"]["mine"] = {"a": 1}
    document["outs"][0]["desc"] = "digits"
    document["outs"][0]["labels"] = ["x"]
    document["meta"] = {"top": True}
    with path.open("w") as file:
        yaml.dump(document, file)
    pin(b"two")
    out = out_of(path)
    assert out["desc"] == "digits"
    assert out["labels"] == ["x"]
    assert out["meta"]["mine"] == {"a": 1}
    assert out["meta"]["datapin"]["digest"] == summary_of(b"two")["digest"]
    assert YAML(typ="safe").load(path.read_text())["meta"] == {"top": True}


def test_pinning_the_same_again_changes_no_byte(clone: Clone, pin: Pin) -> None:
    pin(b"one")
    before = (clone.path / "data" / "raw.dvc").read_bytes()
    pin(b"one")
    assert (clone.path / "data" / "raw.dvc").read_bytes() == before


@pytest.mark.parametrize("autostage", [True, False])
def test_autostage_is_honoured(clone: Clone, pin: Pin, autostage: bool) -> None:
    clone.dvc("config", "core.autostage", str(autostage).lower())
    clone.commit("config")
    pin(b"one")
    staged = set(clone.git("diff", "--cached", "--name-only").split())
    assert staged == ({"data/raw.dvc", "data/.gitignore"} if autostage else set())
    assert clone.git("diff", "--name-only") == "", "what is staged is what lies there"


def test_nothing_of_dvc_reaches_the_terminal(clone: Clone) -> None:
    write_shards(clone.path / "data" / "raw", b"one")
    code = (
        "import sys; from pathlib import Path; from datapin.dvcfiles.tracking.track import track\n"
        "track(Path(sys.argv[1]), 'data/raw', {'digest': 'sha256:x'})"
    )
    ended = clone.run(sys.executable, "-c", code, clone.path, DVC_IGNORE_ISATTY="1")
    assert ended.stdout == ""
    assert ended.stderr == ""


def test_the_current_folder_does_not_matter(clone: Clone, pin: Pin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    pin(b"one", dataset="deep/down/set")
    assert (clone.path / "deep" / "down" / "set.dvc").is_file()
    assert Pins(clone.path).names == ["deep/down/set"]


def test_a_dvc_root_below_gits_works(clone: Clone, pin: Pin) -> None:
    sub = clone.path / "sub"
    sub.mkdir()
    Clone(sub).dvc("init", "-q", "--subdir")
    pin(b"one", root=sub)
    assert Pins(sub).names == ["data/raw"]
    clone.commit("v1")
    pin(b"two", root=sub)
    old = Pins.at(sub, "HEAD").dataset("data/raw")
    assert old is not None
    assert old.digest == summary_of(b"one")["digest"]
    assert "up to date" in Clone(sub).dvc("status").stdout


def test_a_shared_cache_is_used(clone: Clone, pin: Pin, tmp_path: Path) -> None:
    clone.dvc("config", "--local", "cache.dir", tmp_path / "shared")
    pin(b"one")
    assert len([path for path in (tmp_path / "shared").rglob("*") if path.is_file()]) == 2
    assert not (clone.path / ".dvc" / "cache").exists()


@pytest.mark.parametrize("kind", ["symlink", "hardlink"])
def test_a_cache_of_links_works(clone: Clone, pin: Pin, kind: str) -> None:
    clone.dvc("config", "cache.type", kind)
    pin(b"one")
    shutil.rmtree(clone.path / "data" / "raw")  # as an edit does: a new folder takes the old one's place
    pin(b"two", b"one")
    assert "up to date" in clone.dvc("status").stdout
    assert (clone.path / "data" / "raw" / "part-00001.parquet").read_bytes() == b"one"


def test_a_busy_repository_is_an_error_that_names_the_lock(clone: Clone, pin: Pin) -> None:
    write_shards(clone.path / "data" / "raw", b"one")
    lock = clone.path / ".dvc" / "tmp" / "lock"
    lock.parent.mkdir(exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(Locked) as caught:
            track(clone.path, "data/raw", summary_of(b"one"), timeout_s=0.0)
    assert ".dvc/tmp/lock" in caught.value.message
    assert not (clone.path / "data" / "raw.dvc").exists()
    pin(b"one")


@pytest.mark.parametrize("lock", ["lock", "rwlock.lock"])
def test_dvc_waits_for_us_and_we_for_dvc(clone: Clone, pin: Pin, lock: str) -> None:
    pin(b"one")
    code = (
        "import sys, zc.lockfile; held = zc.lockfile.LockFile(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    )
    path = clone.path / ".dvc" / "tmp" / lock
    words = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Locked):
            track(clone.path, "data/raw", summary_of(b"two"), timeout_s=0.1)
        holder.communicate()
    with repository_lock(clone.path, timeout_s=1.0), pytest.raises(zc.lockfile.LockError):
        zc.lockfile.LockFile(str(clone.path / ".dvc" / "tmp" / "lock"))


def test_a_path_that_a_stage_uses_is_busy(clone: Clone, pin: Pin) -> None:
    pin(b"one")
    register = {"write": {f"{clone.path}/data/raw": {"pid": os.getppid(), "cmd": "a stage"}}}
    (clone.path / ".dvc" / "tmp" / "rwlock").write_text(json.dumps(register))
    with pytest.raises(Locked) as caught:
        track(clone.path, "data/raw", summary_of(b"one"), timeout_s=0.0)
    assert "data/raw" in caught.value.message


def test_pinning_imports_dvc_only_where_it_must(clone: Clone) -> None:
    write_shards(clone.path / "data" / "raw", b"one")
    code = (
        "import sys; from pathlib import Path; from datapin.dvcfiles.tracking.track import track\n"
        "track(Path(sys.argv[1]), 'data/raw', {'digest': 'sha256:x'})\n"
        "print(sorted(name for name in ('dvc', 'git', 'dvc_data', 'dulwich') if name in sys.modules))"
    )
    assert clone.run(sys.executable, "-c", code, clone.path).stdout.strip() == "[]"
    clone.dvc("config", "cache.type", "symlink")
    assert "dvc" in clone.run(sys.executable, "-c", code, clone.path).stdout


@pytest.mark.parametrize("where", ["cache", "cache/files/md5", "tmp"])
def test_a_disk_that_does_not_take_it_is_one_line(clone: Clone, pin: Pin, where: str) -> None:
    write_shards(clone.path / "data" / "raw", b"one")
    path = clone.path / ".dvc" / where
    shutil.rmtree(path, ignore_errors=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("a file where DVC has a folder")
    with pytest.raises(StorageFailed):
        track(clone.path, "data/raw", summary_of(b"one"))
    assert not (clone.path / "data" / "raw.dvc").exists()
    path.unlink()
    pin(b"one")


def test_a_shard_that_changes_under_our_hands_is_not_kept(tmp_path: Path) -> None:
    md5 = hashlib.md5(b"as it was").hexdigest()
    with pytest.raises(StorageFailed) as caught:
        tracking_objects._put(tmp_path, md5, 9, [b"as it", b" is"])
    assert "changed" in caught.value.message
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_what_dvc_refuses_is_one_line(clone: Clone) -> None:
    write_shards(clone.path / "data" / "raw", b"one")
    clone.commit("by mistake in Git")
    with pytest.raises(Refused) as caught:
        track(clone.path, "data/raw", summary_of(b"one"))
    assert "data/raw" in caught.value.message
    assert "\n" not in caught.value.message


def test_reading_pointers_imports_neither_dvc_nor_gitpython(clone: Clone, pin: Pin) -> None:
    pin(b"one")
    code = (
        "import sys; from pathlib import Path; from datapin.pins.read import Pins\n"
        "from datapin.dvcfiles.settings import cache_directory\n"
        "assert Pins(Path(sys.argv[1])).names == ['data/raw']\n"
        "assert cache_directory(Path(sys.argv[1]))\n"
        "print(sorted(name for name in ('dvc', 'git', 'dvc_data', 'pandas') if name in sys.modules))"
    )
    assert clone.run(sys.executable, "-c", code, clone.path).stdout.strip() == "[]"
    assert os.path.isdir(clone.path)
