"""`doctor` sees what is wrong with a set-up, and names the fix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clones import Clone
from remotes import bucket_place
from servers.s3_server import S3Server


def findings(clone: Clone, check: str, *, code: int = 0) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = clone.json("doctor", code=code)["findings"]
    return [finding for finding in said if finding["check"] == check]


def test_a_repository_that_is_set_up_has_no_errors(filled: Clone) -> None:
    assert [f for f in filled.json("doctor")["findings"] if f["severity"] == "error"] == []


def test_a_store_in_the_work_tree_must_be_ignored_also_before_it_is_there(filled: Clone, tmp_path: Path) -> None:
    filled.commit("data")
    filled.git("clone", "-q", filled.path, tmp_path / "fresh")
    fresh = Clone(tmp_path / "fresh")
    (fresh.path / ".datapin" / "config.local.toml").write_text('[store]\ndir = ".datapin/store"\n')
    assert findings(fresh, "git", code=1) == []
    (fresh.path / ".datapin" / ".gitignore").write_text("")
    (finding,) = findings(fresh, "git", code=1)
    assert "not git-ignored" in finding["message"]


def test_a_repository_without_a_remote_is_told_so(filled: Clone) -> None:
    (finding,) = findings(filled, "remote")
    assert finding["severity"] == "note"
    assert "dvc remote add" in finding["hint"]


def test_a_remote_that_nobody_pushed_to_is_told_so(filled: Clone, tmp_path: Path) -> None:
    filled.dvc("remote", "add", "--default", "lab", tmp_path / "lab")
    (finding,) = findings(filled, "remote")
    assert "datapin push" in finding["hint"]
    filled.datapin("push")
    assert findings(filled, "remote") == []


def test_a_remote_that_does_not_answer_is_an_error(filled: Clone, closed_port: int) -> None:
    filled.dvc("remote", "add", "--default", "lab", "s3://bucket/data")
    filled.dvc("remote", "modify", "lab", "endpointurl", f"http://127.0.0.1:{closed_port}")
    filled.dvc("remote", "modify", "--local", "lab", "access_key_id", "key")
    filled.dvc("remote", "modify", "--local", "lab", "secret_access_key", "secret")
    (finding,) = findings(filled, "remote", code=1)
    assert finding["severity"] == "error"
    assert "secret" not in finding["message"] + finding["hint"]


def test_a_server_with_conditional_writes_is_fine(filled: Clone, s3_server: S3Server) -> None:
    bucket_place(s3_server).configure(filled.path)
    filled.datapin("push")
    assert findings(filled, "remote") == []


def test_a_damaged_pack_and_a_dataset_that_was_changed_by_hand_are_errors(filled: Clone) -> None:
    (pack,) = (filled.path / ".git" / "datapin" / "store" / "packs").rglob("*.pack")
    pack.chmod(0o644)
    pack.write_bytes(pack.read_bytes()[:-3])
    shard = filled.path / "data" / "raw" / "part-00000.parquet"
    shard.chmod(0o644)
    shard.write_bytes(shard.read_bytes()[:-9])
    said = filled.json("doctor", code=1)["findings"]
    assert {finding["check"] for finding in said if finding["severity"] == "error"} >= {"dataset"}
    assert any(pack.name in finding["where"] for finding in said)
    assert all(finding["hint"] for finding in said)
