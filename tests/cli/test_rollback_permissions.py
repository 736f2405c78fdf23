"""A rollback that may not write everywhere it must changes nothing, and says where."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from clones import BIN, Clone, Ended

# Root may write everywhere: without these two of its rights it may not.
_AS_A_USER = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


@pytest.fixture
def checked_out(filled: Clone) -> Clone:
    """Of two versions the later one, with other files in `b`, is checked out into `out`."""
    filled.datapin("checkout", "data/raw", "--into", "out")
    (filled.path / ".git" / "info" / "exclude").write_text("img\nout\n")
    filled.commit("v1")
    filled.git("tag", "v1")
    for file in (filled.path / "img" / "b").iterdir():
        file.write_bytes(b"other" + file.name.encode())
    filled.datapin("add", "img", "--to", "data/raw")
    filled.datapin("checkout", "data/raw", "--into", "out")
    filled.commit("v2")
    return filled


def roll_back(clone: Clone, *words: str, code: int = 0) -> Ended:
    return clone.run(*_AS_A_USER, BIN / "datapin", "rollback", "data/raw", "--to", "v1", *words, code=code)


@pytest.mark.parametrize("folder", ["out/b", "data", "data/raw"])
@pytest.mark.parametrize("words", [(), ("--force",)], ids=["", "force"])
def test_a_folder_that_may_not_be_written_is_named_before_anything_moves(
    checked_out: Clone, folder: str, words: tuple[str, ...]
) -> None:
    place = checked_out.path / folder
    before = checked_out.files("data"), checked_out.files("out")
    place.chmod(0o555)
    try:
        ended = roll_back(checked_out, *words, code=30)
    finally:
        place.chmod(0o755)
    assert ended.stderr.startswith(f"error: cannot write {place}: no permission")
    assert (checked_out.files("data"), checked_out.files("out")) == before
    assert checked_out.git("status", "--short") == ""
    checked_out.datapin("status")
    assert (checked_out.files("data"), checked_out.files("out")) == before
    roll_back(checked_out, *words)
    assert checked_out.git("status", "--short") == " M data/raw.dvc\n"


def test_a_folder_in_which_nothing_changes_may_be_read_only(checked_out: Clone) -> None:
    place = checked_out.path / "out" / "a"
    place.chmod(0o555)
    try:
        roll_back(checked_out)
    finally:
        place.chmod(0o755)


def test_a_new_folder_needs_the_one_above_it(checked_out: Clone) -> None:
    out = checked_out.path / "out"
    shutil.rmtree(out / "b")
    before = checked_out.files("out")
    out.chmod(0o555)
    try:
        ended = roll_back(checked_out, code=30)
    finally:
        out.chmod(0o755)
    assert ended.stderr.startswith(f"error: cannot write {out}: no permission")
    assert checked_out.files("out") == before
    roll_back(checked_out)
    assert Path(out / "b").is_dir()
