"""Two people's random edits, each on a branch, merged by Git both ways: against a model made of plain dicts."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clones import Clone
from datapin.manifest.merge import WHOLE_ROW
from merge_model import Rows, merged

KEYS = [f"{name}.bin" for name in "abcd"]
CONTENTS = st.sampled_from([b"one", b"two", b"three"])
EDIT = st.one_of(
    st.tuples(st.just("label"), st.sampled_from(KEYS), st.sampled_from([b"cat", b"dog"])),
    st.tuples(st.just("remove"), st.sampled_from(KEYS), st.just(b"")),
    st.tuples(st.just("put"), st.sampled_from(KEYS), CONTENTS),
)
EDITS = st.lists(EDIT, min_size=1, max_size=4)
Edits = list[tuple[str, str, bytes]]


def run(clone: Clone, *words: str) -> str:
    return clone.datapin(*words).stdout


def edit(clone: Clone, edits: Edits) -> None:
    for kind, key, value in edits:
        if kind == "put":
            shutil.rmtree(clone.path / "new", ignore_errors=True)
            (clone.path / "new").mkdir()
            (clone.path / "new" / key).write_bytes(value)
            run(clone, "add", "new", "--to", "data/raw", "--label", "none", "-q")
        elif kind == "label":
            run(clone, "update", "data/raw", "--set", f"label = '{value.decode()}'", "--where", f"key = '{key}'", "-q")
        else:
            run(clone, "remove", "data/raw", "--where", f"key = '{key}'", "-q")
    clone.commit("edits")


def rows(clone: Clone) -> Rows:
    listed = json.loads(run(clone, "ls", "data/raw", "--json"))
    return {row["key"]: {"asset_id": row["asset_id"], "label": row.get("label")} for row in listed}


def merge(clone: Clone, branch: str, side: str) -> tuple[set[tuple[str, str]], Rows, str]:
    """What was in conflict, the rows after it was settled for one side, and their digest."""
    done = clone.run("git", "merge", "-q", "--no-edit", branch, code=None)
    conflicts: set[tuple[str, str]] = set()
    if done.returncode:
        assert clone.git("status", "--porcelain", "data/raw.dvc").startswith("UU")
        document = json.loads(run(clone, "resolve", "data/raw", "--json"))
        conflicts = {(one["key"], one["column"]) for one in document["conflicts"]}
        run(clone, "resolve", "data/raw", side, "-q")
        clone.commit("settled")
    assert clone.git("status", "--porcelain") == ""
    return conflicts, rows(clone), str(json.loads(run(clone, "show", "data/raw", "--json"))["digest"])


@pytest.fixture(scope="module")
def start(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows a to c; d is nobody's yet."""
    top = tmp_path_factory.mktemp("start")
    shutil.copytree(blank, top / "repo", symlinks=True)
    clone = Clone(top / "repo")
    (clone.path / "new").mkdir()
    for key in KEYS[:3]:
        (clone.path / "new" / key).write_bytes(b"zero")
    clone.path.joinpath(".gitignore").write_text("/new\n")
    clone.datapin("add", "new", "--to", "data/raw", "--label", "none", "-q")
    clone.datapin("update", "data/raw", "--set", "label = 'none'", "-q")
    clone.datapin("init", "--hooks", "-q")
    clone.commit("v1")
    return clone.path


def edited(start: Path, place: Path, scripts: Sequence[Edits]) -> tuple[Clone, Rows, list[Rows]]:
    shutil.copytree(start, place, symlinks=True)
    clone = Clone(place)
    base, sides = rows(clone), []
    for branch, edits in zip(("one", "two"), scripts, strict=True):
        clone.git("checkout", "-q", "-b", branch, "main")
        edit(clone, edits)
        sides.append(rows(clone))
    return clone, base, sides


@settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck))
@given(EDITS, EDITS)
def test_git_merges_as_the_model_does_whichever_side_merges(start: Path, mine: Edits, other: Edits) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        clone, base, (one, two) = edited(start, folder / "repo", (mine, other))
        expected, conflicts = merged(base, one, two)
        clone.git("branch", "kept", "one")
        clone.git("checkout", "-q", "one")
        seen, after, digest = merge(clone, "two", "--ours")
        assert seen == conflicts
        clone.git("checkout", "-q", "two")
        mirrored, _, turned = merge(clone, "kept", "--theirs")
        assert (mirrored, turned) == (conflicts, digest)
        if not conflicts:
            assert after == expected
        for key, column in conflicts:
            assert column == WHOLE_ROW or after[key][column] == one[key][column]
        assert json.loads(run(clone, "status", "--json"))["datasets"][0]["notes"] == []
    finally:
        shutil.rmtree(folder)
