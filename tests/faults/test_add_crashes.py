"""`add` killed at every failpoint: old or new afterwards, and the same command again finishes like a clean run."""

from __future__ import annotations

import shutil
from pathlib import Path

from clones import Clone, write_images

ADD = ("add", "img", "--to", "data/raw", "--label", "parent", "--mirror")


def edited(clone: Clone) -> None:
    write_images(clone.path / "img", per_class=9, classes="bcd")
    shutil.rmtree(clone.path / "img" / "a")
    (clone.path / "img" / "large.bin").write_bytes(b"large" * 20_000)
    config = clone.path / ".datapin" / "config.toml"
    config.write_text("[store]\nlarge_asset = 65536\npack_size = 4096\n")


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
    for name, count in plan:
        victim = tmp_path / "victim"
        shutil.copytree(filled.path, victim, symlinks=True)
        clone = Clone(victim)
        killed = clone.datapin(*ADD, code=None, DATAPIN_FAILPOINT=f"{name}:{count}:exit")
        assert killed.returncode != 0, f"{name} (hit {count}) was not reached"
        if (victim / "data" / "raw").is_dir():
            shown = clone.json("show", "data/raw")["digest"]
            assert shown in (before, after), f"{name}: neither the old nor the new rows"
        again = clone.json(*ADD)
        assert again["digest"] == after, f"{name}: the rerun differs from a clean run"
        clone.dvc("status", "-q")
        clone.datapin("checkout", "data/raw", "--into", "out")
        assert clone.files("out") == clone.files("img"), name
        assert clone.git("status", "--porcelain", "data") == Clone(clean).git("status", "--porcelain", "data")
        shutil.rmtree(victim)
