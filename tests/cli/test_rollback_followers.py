"""A checked-out folder that cannot hold the old version's files is named, with what helps."""

from __future__ import annotations

import shutil

import pytest

from clones import Clone


@pytest.mark.parametrize("words", [("--where", "split = 'val'"), ("--layout", "split-class")], ids=["where", "layout"])
def test_a_folder_that_cannot_follow_is_named(filled: Clone, words: tuple[str, ...]) -> None:
    filled.commit("v1")
    filled.git("tag", "v1")
    filled.datapin("update", "data/raw", "--set", "split = 'val'")
    filled.commit("v2")
    out = filled.path.parent / "out"
    filled.datapin("checkout", "data/raw", "--into", out, "--follow", *words)
    message, hint = filled.refusal("rollback", "data/raw", "--to", "v1", code=40)
    assert message.startswith(f"{out}, a checkout of data/raw, cannot follow: ")
    assert "split" in message
    assert "remove that folder" in hint
    assert filled.git("status", "--short") == ""
    shutil.rmtree(out)
    filled.datapin("rollback", "data/raw", "--to", "v1")
