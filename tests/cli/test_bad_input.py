"""Bad input gets one line, a hint and the right exit code, and loses nothing."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from clones import BIN, ENVIRONMENT, Clone, write_images


def unchanged(clone: Clone, before: dict[str, bytes]) -> None:
    assert clone.files("data") == before
    assert not [name for name in os.listdir(clone.path / ".git" / "datapin" / "tmp") if name.startswith(".tmp-")]


def test_usage_errors_exit_2(filled: Clone) -> None:
    for words in (("add",), ("add", "img"), ("nonsense",), ("show",), ("ls", "data/raw", "--limit", "many")):
        filled.refusal(*words, code=2)
    for name in ("", "../outside", "/abs", ".git/x", "."):
        filled.refusal("add", "img", "--to", name, code=2)


def test_a_source_that_is_not_there_or_empty(filled: Clone) -> None:
    message, _ = filled.refusal("add", "nowhere", "--to", "data/raw", code=40)
    assert "nowhere" in message
    (filled.path / "empty").mkdir()
    message, _ = filled.refusal("add", "empty", "--to", "data/raw", code=40)
    assert "empty" in message


def test_every_file_that_cannot_be_added_is_named_at_once(filled: Clone) -> None:
    before = filled.files("data")
    folder = filled.path / "img"
    os.mkfifo(folder / "pipe")
    (folder / "outside").symlink_to("/etc/passwd")
    (folder / "dangling").symlink_to("nowhere")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(folder)
        try:
            server.bind("socket")
        finally:
            os.chdir(here)
        message, hint = filled.refusal("add", "img", "--to", "data/raw", code=40)
    for name in ("pipe", "outside", "dangling", "socket"):
        assert name in message
    assert "nothing was changed" in message
    assert hint
    unchanged(filled, before)


def test_a_link_to_a_file_of_the_same_folder_is_followed(filled: Clone) -> None:
    (filled.path / "img" / "a" / "link.bin").symlink_to("00.bin")
    report = filled.json("add", "img", "--to", "data/raw", "--label", "parent")
    assert (report["added"], report["new_assets"]) == (1, 0)


@pytest.mark.parametrize("name", ["a\nb", "CON", "x\\y", "trailing.", "trailing ", "git~1", "\x1b[31mred"])
def test_hostile_file_names_are_refused(filled: Clone, name: str) -> None:
    before = filled.files("data")
    (filled.path / "img" / name).write_bytes(b"x")
    ended = filled.datapin("add", "img", "--to", "data/raw", code=40)
    assert "\x1b" not in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 2
    unchanged(filled, before)


def test_names_that_differ_in_case_are_a_warning_and_strictly_an_error(filled: Clone) -> None:
    (filled.path / "img" / "A").mkdir()
    (filled.path / "img" / "A" / "00.bin").write_bytes(b"upper")
    filled.refusal("add", "img", "--to", "data/raw", "--strict", code=40)
    findings = filled.json("add", "img", "--to", "data/raw")["findings"]
    assert any("a/00.bin" in f["message"] + f["where"] for f in findings)


def pack_of(clone: Clone) -> Path:
    (pack,) = (clone.path / ".git" / "datapin" / "store" / "packs").rglob("*.pack")
    pack.chmod(pack.stat().st_mode | stat.S_IWUSR)
    return pack


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 8])


@pytest.mark.parametrize(("harm", "code"), [(flip, 21), (truncate, 20), (Path.unlink, 20)])
def test_a_harmed_pack_is_found_and_adding_the_files_again_heals(
    filled: Clone, harm: Callable[[Path], None], code: int
) -> None:
    harm(pack_of(filled))
    before = filled.files("data")
    message, hint = filled.refusal("checkout", "data/raw", "--into", "out", code=code)
    assert message
    assert hint
    unchanged(filled, before)
    assert filled.files("out") == {} or filled.files("out").items() <= filled.files("img").items()
    # A stat cache would trust the store, so a new name for the folder makes add read every file again.
    shutil.copytree(filled.path / "img", filled.path / "again")
    filled.datapin("add", "again", "--to", "data/healed")
    filled.datapin("checkout", "data/raw", "--into", "out", "--force")
    assert filled.files("out") == filled.files("img")


def test_a_corrupt_manifest_is_named_and_can_be_brought_back(filled: Clone) -> None:
    shard = filled.path / "data" / "raw" / "part-00000.parquet"
    shard.chmod(0o644)
    truncate(shard)
    for words in (("show", "data/raw"), ("add", "img", "--to", "data/raw"), ("ls", "data/raw")):
        message, hint = filled.refusal(*words, code=21)
        assert "part-00000.parquet" in message
        assert "datapin restore" in hint
    filled.datapin("restore", "-q", "data/raw")
    assert filled.json("show", "data/raw")["rows"] == 12


def test_disk_full_while_adding_keeps_everything(filled: Clone) -> None:
    write_images(filled.path / "img", per_class=20)
    before, source = filled.files("data"), filled.files("img")
    points, victim = filled.path.parent / "points", Clone(filled.path.parent / "victim")
    shutil.copytree(filled.path, victim.path, symlinks=True)
    after = victim.json("add", "img", "--to", "data/raw", DATAPIN_FAILPOINT_LOG=str(points))["digest"]
    names = sorted(set(points.read_text().split()))
    assert len(names) >= 6
    for name in names:
        shutil.rmtree(victim.path)
        shutil.copytree(filled.path, victim.path, symlinks=True)
        full = {"DATAPIN_FAILPOINT": f"{name}:1:oserror=28"}
        ended = victim.datapin("add", "img", "--to", "data/raw", code=None, env=full)
        if name.startswith("base.stat_records"):
            # Only the stat cache could not be written; the rows were pinned before.
            assert ended.returncode == 0, (name, ended.stderr)
        else:
            assert ended.returncode == 30, (name, ended.stderr)
            assert "No space left" in ended.stderr
        assert victim.files("img") == source
        if not name.startswith(("files.swap", "add.", "track.", "base.stat_records")):
            assert victim.files("data") == before, name
        assert victim.json("add", "img", "--to", "data/raw")["digest"] == after, name


def test_a_read_only_repository_is_refused_in_one_line(filled: Clone) -> None:
    write_images(filled.path / "img", per_class=8)
    if os.geteuid() == 0:
        # Root ignores file modes: the command runs as nobody.
        drop = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        for path in [filled.path.parent, filled.path]:
            path.chmod(0o755)
        for parent in filled.path.parents:
            if parent.stat().st_mode & 0o005 != 0o005 and parent != Path("/"):
                parent.chmod(parent.stat().st_mode | 0o055)
    else:
        drop = []
        for path in filled.path.rglob("*"):
            if path.is_dir() and ".git" not in path.parts:
                path.chmod(0o555)
    env = {**ENVIRONMENT, "HOME": "/nonexistent", "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory",
           "GIT_CONFIG_VALUE_0": "*"}  # fmt: skip
    ended = subprocess.run(
        [*drop, sys.executable, "-m", "datapin", "add", "img", "--to", "data/raw"],
        cwd=filled.path, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in ended.stderr
    assert ended.returncode == 30, ended.stderr
    assert "ermission denied" in ended.stderr or "Read-only" in ended.stderr
    assert BIN.exists()


def test_ctrl_c_ends_the_command_with_130(filled: Clone, tmp_path: Path) -> None:
    points = tmp_path / "points"
    points.touch()
    env = {"DATAPIN_FAILPOINT": "add.staged:1:sleep=600", "DATAPIN_FAILPOINT_LOG": str(points)}
    process = subprocess.Popen(
        [BIN / "datapin", "add", "img", "--to", "data/other"],
        cwd=filled.path, env={**ENVIRONMENT, **env}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while "add.staged" not in points.read_text().split() and process.poll() is None:
        time.sleep(0.05)
    scratch = filled.path / ".git" / "datapin" / "tmp"
    assert any(scratch.glob(".tmp-*/part-*"))
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in said
    assert not (filled.path / "data" / "other").exists()
    assert not any(scratch.glob(".tmp-*"))
