"""What a message advises is the next command, for this case, and a shell takes it as it stands."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from clones import Clone, write_images


@pytest.mark.parametrize(
    "words",
    [
        ("ls", "{}"), ("status", "{}"), ("diff", "{}"), ("log", "{}"), ("show", "{}@HEAD"), ("resolve", "{}"),
        ("rollback", "{}", "--to", "HEAD"), ("update", "{}", "--set", "label=1"), ("trace", "{}"),
        ("uses", "{}:a/00.bin"), ("why", "{}:a/00.bin"),
    ],
)  # fmt: skip
def test_a_pointer_or_a_shard_given_for_its_dataset_is_told_which(filled: Clone, words: tuple[str, ...]) -> None:
    for name in ("data/raw.dvc", "data/raw/part-00000.parquet"):
        message, hint = filled.refusal(*(word.format(name) for word in words), code=10)
        assert name in message
        assert hint == "name the dataset itself: data/raw"


def test_a_name_that_is_nearly_a_dataset_is_suggested(filled: Clone) -> None:
    for name in ("raw", "data/rwa"):
        _, hint = filled.refusal("show", name, code=10)
        assert hint.startswith("did you mean data/raw? if not, ")
        assert f"datapin add FOLDER --to {name}" in hint
    _, hint = filled.refusal("show", "images", code=10)
    assert "did you mean" not in hint


def test_a_dataset_that_no_commit_has_is_not_committed(repo: Clone) -> None:
    write_images(repo.path / "img")
    repo.datapin("add", "img", "--to", "data/raw")
    said = "  not committed: new, 12 added, 0 changed, 0 removed  (git commit)\n"
    assert said in repo.datapin("status").stdout
    shutil.rmtree(repo.path / ".git")
    repo.git("init", "-q", "-b", "main")
    assert said in repo.datapin("status").stdout, "before the first commit of all"
    _, hint = repo.refusal("rollback", "data/raw", "--to", "HEAD", code=10)
    assert hint.startswith("`git commit` with")
    (one,) = repo.json("status", "--exit-code", code=1)["datasets"]
    assert (one["is_new"], one["head"]) == (True, {"added": 12, "changed": 0, "removed": 0})
    repo.commit("first")
    assert "not committed" not in repo.datapin("status").stdout
    (one,) = repo.json("status")["datasets"]
    assert (one["is_new"], one["head"]) == (False, {"added": 0, "changed": 0, "removed": 0})


@pytest.fixture
def unpushed(filled: Clone, tmp_path: Path) -> Clone:
    """A clone whose HEAD pins rows that never reached the remote."""
    filled.dvc("remote", "add", "-q", "-d", "lab", tmp_path / "lab")
    filled.commit("a remote")
    filled.datapin("push", "-q")
    filled.datapin("update", "data/raw", "--set", "label = 'z'", "-q")
    filled.commit("not pushed")
    clone = Clone(tmp_path / "clone")
    filled.git("clone", "-q", filled.path, clone.path)
    clone.datapin("init", "-q")
    return clone


@pytest.mark.parametrize(
    "words",
    [
        ("ls", "data/raw"), ("show", "data/raw@HEAD"), ("diff", "data/raw", "HEAD~1", "HEAD"), ("fetch",),
        ("rollback", "data/raw", "--to", "HEAD"), ("push", "--all-versions"),
    ],
)  # fmt: skip
def test_rows_that_the_remote_lacks_too_are_not_fetched_again(unpushed: Clone, words: tuple[str, ...]) -> None:
    message, hint = unpushed.refusal(*words, code=20)
    assert "not have it either" in message
    assert hint == "somebody who has that version must run `datapin push data/raw --all-versions`"


def test_a_dataset_is_named_once_where_it_stands_before_the_message(unpushed: Clone) -> None:
    assert unpushed.datapin("status").stdout.startswith("data/raw  error: its manifest is pinned but not here (")
    for verb in ("doctor", "verify"):
        said = unpushed.datapin(verb, code=1).stdout
        assert "data/raw: " in said
        assert ": its manifest is pinned but not here (" in said
        assert not re.search(r"data/raw: .*data/raw: ", said)


def test_what_brings_rows_is_said_by_why_they_did_not_come(unpushed: Clone, tmp_path: Path) -> None:
    assert "datapin fetch" in unpushed.datapin("status").stdout, "nobody has asked the remote"
    author = Clone(tmp_path / "repo")
    author.datapin("push", "data/raw", "--all-versions", "-q")
    author.datapin("update", "data/raw", "--set", "label = 'y'", "-q")
    assert len(unpushed.json("ls", "data/raw")) == 12
    shutil.rmtree(unpushed.path / "data" / "raw")
    unpushed.lose_cache()
    unpushed.dvc("remote", "remove", "lab")
    _, hint = unpushed.refusal("ls", "data/raw", code=20)
    assert "dvc remote add" in hint


SPACED = "my data/raw set"


@pytest.fixture
def spaced(repo: Clone) -> Clone:
    """A dataset whose name a shell takes for two words."""
    write_images(repo.path / "img", per_class=1)
    repo.datapin("add", "img", "--to", SPACED, "--label", "parent", "-q")
    repo.commit("v1")
    return repo


def words_of(text: str) -> list[list[str]]:
    """The commands in a hint, as a shell splits them."""
    return [shlex.split(command) for command in re.findall(r"`([^`]+)`", text)]


def test_commands_in_hints_quote_the_names_in_them(spaced: Clone) -> None:
    shard = spaced.path / SPACED / "part-00000.parquet"
    table = pq.read_table(shard)
    shard.unlink()
    pq.write_table(table.slice(1).replace_schema_metadata({}), shard)
    notes = spaced.json("status")["datasets"][0]["notes"]
    assert any(["dvc", "add", SPACED] in words_of(note) for note in notes)
    (error,) = [one for one in spaced.json("doctor", code=1)["findings"] if one["severity"] == "error"]
    assert words_of(error["hint"]) == [["datapin", "restore", SPACED], ["dvc", "add", SPACED]]
    found = spaced.json("verify", code=1)["findings"]
    (hint,) = [one["hint"] for one in found if one["check"] == "pins.manifest-changed"]
    assert words_of(hint) == [["datapin", "restore", SPACED], ["dvc", "add", SPACED]]
    spaced.run(*words_of(error["hint"])[0])
    assert spaced.json("status")["datasets"][0]["notes"] == []
    _, hint = spaced.refusal("remove", SPACED, "--where", "true", code=40)
    assert words_of(hint) == [["dvc", "remove", f"{SPACED}.dvc"]]
    pointer = spaced.path / f"{SPACED}.dvc"
    pointer.write_text(f"<<<<<<< ours\n{pointer.read_text()}=======\n>>>>>>> theirs\n")
    hint = spaced.json("status", code=1)["datasets"][0]["problem"]["hint"]
    assert words_of(hint)[0] == ["datapin", "resolve", SPACED]
    side = ["git", "checkout", "--ours", "--", f"{SPACED}.dvc", "&&", "git", "add", f"{SPACED}.dvc"]
    assert words_of(hint)[1] == side


def test_a_single_thing_is_counted_as_one(repo: Clone) -> None:
    (repo.path / "img").mkdir()
    (repo.path / "img" / "one.bin").write_bytes(b"1")
    (repo.path / ".gitignore").write_text("/img\n")
    assert "; 1 row, 1 new asset (1 B)" in repo.datapin("add", "img", "--to", "data/raw").stdout
    assert "1 row, 1 B, 1 shard\n" in repo.datapin("show", "data/raw").stdout
    assert "data/raw: 1 row changed of 1\n" in repo.datapin("update", "data/raw", "--set", "label = 'x'").stdout
    repo.commit("v1")
    assert "1 row of 1 asset, 1 B" in repo.datapin("trace", "data/raw").stdout
    repo.dvc("remote", "add", "-q", "-d", "lab", repo.path.parent / "lab")
    assert "not pushed: 1 asset  (" in repo.datapin("status", "-r").stdout
    assert "sent 1 asset in 1 pack (" in repo.datapin("push").stdout
    assert "index rebuilt: 1 asset in 1 pack," in repo.datapin("rebuild-index").stdout
