"""`add` killed at every failpoint: old or new afterwards, and the same command again finishes like a clean run."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from clones import Clone, write_images
from sweeps import some

ADD = ("add", "img", "--to", "data/raw", "--label", "parent", "--mirror")


def edited(clone: Clone) -> None:
    write_images(clone.path / "img", per_class=9, classes="bcd")
    shutil.rmtree(clone.path / "img" / "a")
    (clone.path / "img" / "large.bin").write_bytes(b"large" * 20_000)
    config = clone.path / ".datapin" / "config.toml"
    config.write_text("[store]\nlarge_asset = 65536\npack_size = 4096\n")


def grow_old(folder: Path) -> None:
    """What a crash left a moment ago stays: its process may run in another container. Here it is a minute old."""
    for path in folder.glob(".tmp-*"):
        if path.is_file():
            os.utime(path, (path.stat().st_atime - 60, path.stat().st_mtime - 60))


def test_add_killed_at_every_failpoint(filled: Clone, tmp_path: Path) -> None:
    edited(filled)
    before = filled.json("show", "data/raw")["digest"]
    clean = tmp_path / "clean"
    shutil.copytree(filled.path, clean, symlinks=True)
    log = tmp_path / "points"
    after = Clone(clean).json(*ADD, DATAPIN_FAILPOINT_LOG=str(log))["digest"]
    hits = log.read_text().split()
    plan = sorted({(name, count) for name in hits for count in {1, hits.count(name)}})
    families = {name.split(".")[0] for name, _ in plan}
    assert {"store", "files", "add"} <= families, f"too few failpoints: {sorted(set(hits))}"
    for name, count in some(plan, 16):
        victim = tmp_path / "victim"
        shutil.copytree(filled.path, victim, symlinks=True)
        clone = Clone(victim)
        killed = clone.datapin(*ADD, code=None, DATAPIN_FAILPOINT=f"{name}:{count}:exit")
        assert killed.returncode != 0, f"{name} (hit {count}) was not reached"
        if (victim / "data" / "raw").is_dir():
            shown = clone.json("show", "data/raw")["digest"]
            assert shown in (before, after), f"{name}: neither the old nor the new rows"
        grow_old(victim / "data")
        again = clone.json(*ADD)
        assert again["digest"] == after, f"{name}: the rerun differs from a clean run"
        clone.dvc("status", "-q")
        clone.datapin("checkout", "data/raw", "--into", "out")
        assert clone.files("out") == clone.files("img"), name
        assert clone.git("status", "--porcelain", "data") == Clone(clean).git("status", "--porcelain", "data")
        shutil.rmtree(victim)


def test_what_a_crash_left_beside_the_pointer_goes_at_the_next_edit(filled: Clone) -> None:
    data = filled.path / "data"

    def left() -> list[str]:
        return sorted(path.name for path in data.glob(".tmp-*"))

    label = ("update", "data/raw", "--set", "label = 'x'", "-q")
    filled.datapin(*label, code=137, DATAPIN_FAILPOINT="track.text.synced:1:exit")
    (crashed,) = left()
    hexadecimal = "0" * 16
    theirs = [f".tmp-{os.getpid()}-{hexadecimal}", ".tmp-1-notes", ".tmp-mine", f".tmp-{'9' * 30}-{hexadecimal}.old"]
    for name in theirs:
        (data / name).write_bytes(b"")
    folder = f".tmp-{'9' * 30}-{hexadecimal}"
    (data / folder).mkdir()
    grow_old(data)
    filled.datapin(*label)
    assert crashed not in left()
    assert left() == sorted([*theirs, folder]), "of a living process, of another name, or a folder"


def test_what_a_crash_left_goes_also_where_dvc_itself_writes_the_pointer(filled: Clone) -> None:
    label = ("update", "data/raw", "--set", "label = 'x'", "-q")
    filled.datapin(*label, code=137, DATAPIN_FAILPOINT="track.text.written:1:exit")
    assert len(list((filled.path / "data").glob(".tmp-*"))) == 1
    pointer = filled.path / "data" / "raw.dvc"
    pointer.write_text(f"# a note of mine\n{pointer.read_text()}")
    grow_old(filled.path / "data")
    filled.datapin(*label)
    assert "# a note of mine" in pointer.read_text()
    assert list((filled.path / "data").glob(".tmp-*")) == []
