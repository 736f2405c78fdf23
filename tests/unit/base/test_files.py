from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from datapin.base.errors import Locked
from datapin.base.files import lock, make_directory, publish_bytes, sweep_temporaries
from datapin.base.journals import Anchors, finish_swap, swap_directory

SWAP = """
import sys, pathlib
from datapin.base.journals import Anchors, swap_directory
staged, target, journal, top = map(pathlib.Path, sys.argv[1:])
swap_directory(staged, target, journal, Anchors(top, top / "tmp"))
"""
STAGED = ".tmp-1-0123456789abcdef"
POINTS = [
    "files.swap.journal.written",
    "files.swap.journal.synced",
    "files.swap.journal.renamed",
    "files.swap.aside",
    "files.swap.placed",
    "files.swap.done",
]


def test_a_failed_publish_leaves_the_old_file_and_no_temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "file"
    publish_bytes(target, b"old")

    def refuse(number: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="Input/output"):
        publish_bytes(target, b"new")
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_swap_puts_the_new_folder_in_place_of_the_old(tmp_path: Path) -> None:
    staged, target = tmp_path / "tmp" / STAGED, tmp_path / "data" / "raw"
    anchors = Anchors(tmp_path, tmp_path / "tmp")
    for folder, text in ((staged, "new"), (target, "old")):
        make_directory(folder)
        (folder / "part").write_text(text)
    swap_directory(staged, target, tmp_path / "journal" / "x.json", anchors)
    assert (target / "part").read_text() == "new"
    assert os.listdir(tmp_path / "tmp") == []
    assert not finish_swap(tmp_path / "journal" / "x.json", anchors)


@pytest.mark.parametrize("point", POINTS)
def test_a_swap_that_was_killed_leaves_old_or_new_and_can_be_finished(tmp_path: Path, point: str) -> None:
    staged, target, journal = tmp_path / "tmp" / STAGED, tmp_path / "raw", tmp_path / "journal" / "x.json"
    for folder, text in ((staged, "new"), (target, "old")):
        make_directory(folder)
        (folder / "part").write_text(text)
    env = {**os.environ, "DATAPIN_FAILPOINT": f"{point}:1:exit"}
    ended = subprocess.run([sys.executable, "-c", SWAP, staged, target, journal, tmp_path], env=env, check=False)
    assert ended.returncode == 137, "the failpoint was not hit"
    began = journal.exists()
    finish_swap(journal, Anchors(tmp_path, tmp_path / "tmp"))
    expected = "new" if began or point == "files.swap.done" else "old"
    assert (target / "part").read_text() == expected
    assert not journal.exists()


def test_a_lock_is_exclusive_and_names_what_it_guards(tmp_path: Path) -> None:
    with (
        lock(tmp_path / "lock", what="dataset data/raw"),
        pytest.raises(Locked, match="dataset data/raw"),
        lock(tmp_path / "lock", what="dataset data/raw", timeout_s=0.1),
    ):
        raise AssertionError("both hold the lock")
    with lock(tmp_path / "lock", what="again", timeout_s=0.1):
        assert (tmp_path / "lock").exists()


def test_a_killed_holder_frees_the_lock_at_once(tmp_path: Path) -> None:
    code = (
        "import sys, time, pathlib; from datapin.base.files import lock\n"
        "with lock(pathlib.Path(sys.argv[1]), what='x'):\n"
        "    print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, tmp_path / "lock"], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    holder.kill()
    holder.communicate()
    with lock(tmp_path / "lock", what="x", timeout_s=1.0):
        assert True


def test_only_old_temporaries_are_swept(tmp_path: Path) -> None:
    for name in (".tmp-1-old", ".tmp-2-young", "kept"):
        (tmp_path / name).write_text("x")
    os.utime(tmp_path / ".tmp-1-old", (time.time() - 90_000,) * 2)
    os.utime(tmp_path / "kept", (time.time() - 90_000,) * 2)
    assert sweep_temporaries(tmp_path) == 1
    assert sorted(os.listdir(tmp_path)) == [".tmp-2-young", "kept"]
