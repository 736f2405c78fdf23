"""The walk: which files are found under which keys, and what is listed as a problem instead."""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from datapin.trees.intake import walkers
from datapin.trees.intake.walk import FoundFiles, walk


def write(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return root


def keys_of(found: FoundFiles) -> list[str]:
    keys: list[str] = found.keys.to_pylist()
    return keys


def test_keys_are_paths_below_the_source_sorted_by_their_bytes(tmp_path: Path) -> None:
    names = ["b.txt", "a/z.txt", "a.txt", "a-b/c", "a/b/c", "é/x", "z", "Z"]
    found = walk([write(tmp_path / "src", *names)])
    assert keys_of(found) == sorted(names, key=lambda name: name.encode())
    assert found.problems == []


def test_paths_open_the_file_of_their_key_and_stats_are_its_lstat(tmp_path: Path) -> None:
    found = walk([write(tmp_path, "a/1", "b/2", "3")])
    for key, path, stat in zip(keys_of(found), found.paths(), found.stats.tolist(), strict=True):
        assert Path(path).read_bytes() == key.encode()
        seen = os.lstat(path)
        assert stat == [seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino]


@pytest.mark.parametrize("spelling", ["src", "src/", "./src", "src/../src", "."])
def test_a_source_may_be_written_in_any_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spelling: str) -> None:
    write(tmp_path / "src", "a/b")
    monkeypatch.chdir(tmp_path / "src" if spelling == "." else tmp_path)
    found = walk([Path(spelling)])
    assert keys_of(found) == ["a/b"]
    assert Path(found.paths()[0]).read_bytes() == b"a/b"


def test_a_source_that_is_a_file_gives_its_name(tmp_path: Path) -> None:
    write(tmp_path, "deep/below/x.png")
    found = walk([tmp_path / "deep/below/x.png"])
    assert keys_of(found) == ["x.png"]
    assert Path(found.paths()[0]).read_bytes() == b"deep/below/x.png"


def test_files_of_several_sources_come_in_one_order(tmp_path: Path) -> None:
    write(tmp_path / "one", "b", "d")
    write(tmp_path / "two", "a", "c")
    found = walk([tmp_path / "one", tmp_path / "two", write(tmp_path, "bb") / "bb"])
    assert keys_of(found) == ["a", "b", "bb", "c", "d"]
    assert [Path(path).read_bytes() for path in found.paths()] == [b"a", b"b", b"bb", b"c", b"d"]


def test_a_key_in_two_sources_is_one_row_if_the_bytes_are_equal(tmp_path: Path) -> None:
    write(tmp_path / "one", "a", "b")
    write(tmp_path / "two", "b", "c")
    found = walk([tmp_path / "one", tmp_path / "two"])
    assert keys_of(found) == ["a", "b", "c"]
    assert found.problems == []
    assert [Path(path).read_bytes() for path in found.paths()] == [b"a", b"b", b"c"]


def test_a_key_in_two_sources_with_other_bytes_is_a_problem(tmp_path: Path) -> None:
    write(tmp_path / "one", "b")
    write(tmp_path / "two", "b")
    (tmp_path / "two" / "b").write_bytes(b"X")
    (problem,) = walk([tmp_path / "one", tmp_path / "two"]).problems
    assert "one/b" in problem
    assert "two/b" in problem


def test_the_same_source_twice_counts_once(tmp_path: Path) -> None:
    write(tmp_path, "a")
    found = walk([tmp_path, tmp_path])
    assert keys_of(found) == ["a"]
    assert found.problems == []


def test_folders_and_files_of_git_dvc_and_desktops_are_left_out(tmp_path: Path) -> None:
    write(
        tmp_path, ".git/config", ".dvc/config", "a/.datapin/x", ".gitignore", "a/.DS_Store", "a/Thumbs.db", "b/.gitkeep"
    )
    write(tmp_path, ".hidden", "a/.keep/x", "a/git")
    assert keys_of(walk([tmp_path])) == [".hidden", "a/.keep/x", "a/git"]


def test_an_excluded_folder_is_not_entered(tmp_path: Path) -> None:
    write(tmp_path, "img/a", "data/raw/part-00000.parquet", "data/x")
    found = walk([tmp_path], exclude=[tmp_path / "data" / "raw", tmp_path / "absent"])
    assert keys_of(found) == ["data/x", "img/a"]


def test_an_empty_source_has_no_files_and_no_problem(tmp_path: Path) -> None:
    found = walk([tmp_path])
    assert len(found) == 0
    assert found.paths() == []
    assert found.problems == []


def test_a_source_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    (problem,) = walk([tmp_path / "absent"]).problems
    assert problem.endswith("absent: No such file or directory")


def test_a_link_to_a_file_below_the_source_counts_as_that_file(tmp_path: Path) -> None:
    write(tmp_path, "real/a")
    (tmp_path / "linked").symlink_to("real/a")
    found = walk([tmp_path])
    assert keys_of(found) == ["linked", "real/a"]
    assert found.problems == []
    # The store opens without following links, so the path must be the file itself.
    assert found.paths()[0] == str(tmp_path / "real/a")
    assert found.stats[0].tolist() == found.stats[1].tolist()


def test_links_that_lead_elsewhere_are_problems_by_name(tmp_path: Path) -> None:
    source = write(tmp_path / "src", "a/b")
    outside = write(tmp_path, "outside") / "outside"
    (source / "out").symlink_to(outside)
    (source / "out-relative").symlink_to("../outside")
    (source / "nowhere").symlink_to("gone")
    (source / "loop").symlink_to("loop")
    (source / "folder").symlink_to("a")
    (source / "up").symlink_to("..")
    (source / "null").symlink_to("/dev/null")
    found = walk([source])
    assert keys_of(found) == ["a/b"]
    told = {Path(problem.split(" is a link")[0]).name: problem for problem in found.problems}
    assert set(told) == {"out", "out-relative", "nowhere", "loop", "folder", "up", "null"}
    assert "out of the folder" in told["out"]
    assert "nowhere" in told["nowhere"]
    assert "to a folder" in told["folder"]


def test_a_sibling_whose_name_starts_like_the_source_is_outside(tmp_path: Path) -> None:
    source = write(tmp_path / "src", "a")
    write(tmp_path / "src2", "b")
    (source / "l").symlink_to(tmp_path / "src2" / "b")
    assert len(walk([source]).problems) == 1


def test_a_source_that_is_a_link_is_followed(tmp_path: Path) -> None:
    write(tmp_path / "real", "a/b")
    (tmp_path / "link").symlink_to("real")
    found = walk([tmp_path / "link"])
    assert keys_of(found) == ["a/b"]
    assert Path(found.paths()[0]).read_bytes() == b"a/b"


def test_pipes_and_sockets_are_problems_and_are_not_opened(tmp_path: Path) -> None:
    write(tmp_path, "a")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "sock"))
        found = walk([tmp_path])
    assert keys_of(found) == ["a"]
    assert sorted(problem.rsplit("/", 1)[1] for problem in found.problems) == [
        "pipe is a named pipe, not a file",
        "sock is a socket, not a file",
    ]


def test_a_source_that_is_a_device_is_a_problem() -> None:
    assert walk([Path("/dev/null")]).problems == ["/dev/null is not a file or folder"]


def test_names_that_are_not_utf8_are_problems_and_the_rest_is_found(tmp_path: Path) -> None:
    write(tmp_path, "good/a", "z")
    Path(os.fsdecode(bytes(tmp_path / "good") + b"/b\xff.png")).write_bytes(b"x")
    found = walk([tmp_path])
    assert keys_of(found) == ["good/a", "z"]
    assert [Path(path).read_bytes() for path in found.paths()] == [b"good/a", b"z"]
    (problem,) = found.problems
    assert r"b\xff.png" in problem
    assert "UTF-8" in problem


def test_a_name_with_escapes_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a\x1b[31m\n")
    (problem,) = walk([tmp_path]).problems
    assert "\x1b" not in problem
    assert "\n" not in problem


def walk_as_nobody(source: Path) -> tuple[list[str], list[str]]:
    """Keys and problems that a process finds which has not root's right to read everything."""
    result, told = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(65534, 65534, 65534)
                os.setresuid(65534, 65534, 65534)
            found = walk([source])
            os.write(told, json.dumps([keys_of(found), found.problems]).encode())
        finally:
            os._exit(0)
    os.close(told)
    os.waitpid(child, 0)
    with open(result, "rb") as file:
        keys, problems = json.loads(file.read())
    return keys, problems


def test_unreadable_files_and_folders_are_problems_by_name() -> None:
    top = Path(tempfile.mkdtemp(prefix="datapin-walk-"))
    try:
        top.chmod(0o755)
        write(top, "a/ok", "a/secret", "closed/x")
        (top / "a" / "secret").chmod(0)
        (top / "closed").chmod(0)
        keys, problems = walk_as_nobody(top)
    finally:
        (top / "closed").chmod(0o755)
        shutil.rmtree(top)
    assert keys == ["a/ok"]
    assert problems == [
        f"{top}/a/secret cannot be read: Permission denied",
        f"{top}/closed/ cannot be read: Permission denied",
    ]


@pytest.fixture
def early_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walkers, "_FORK_FROM_FILES", 1)
    monkeypatch.setattr(walkers, "_SLICE_FILES", 7)


def many_files(root: Path) -> Path:
    write(root, *(f"{n % 5}/{n % 3}/{n:03d}" for n in range(90)), *(f"flat/{n:03d}" for n in range(40)), "top")
    (root / "flat" / "link").symlink_to("000")
    os.mkfifo(root / "3" / "pipe")
    return root


def test_forked_walkers_find_what_one_process_finds(tmp_path: Path, early_fork: None) -> None:
    many_files(tmp_path)
    apart = walk([tmp_path])
    together = sorted(os.path.relpath(path, tmp_path) for path in map(str, tmp_path.rglob("*")) if os.path.isfile(path))
    assert keys_of(apart) == sorted(together)
    assert len(apart.problems) == 1
    assert np.array_equal(apart.stats[:, 0], [os.stat(path).st_size for path in apart.paths()])


def test_a_walker_that_dies_costs_time_but_no_files(
    tmp_path: Path, early_fork: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    many_files(tmp_path)
    whole = keys_of(walk([tmp_path]))
    parent, died = os.getpid(), []
    fork = os.fork

    def dying() -> int:
        number = fork()
        if os.getpid() != parent:
            os._exit(9)
        died.append(number)
        return number

    monkeypatch.setattr(os, "fork", dying)
    assert keys_of(walk([tmp_path])) == whole
    assert died


def test_a_walker_whose_report_is_cut_off_is_not_believed() -> None:
    data = walkers.Harvest(keys=[b"a"], segment_keys=[b"a"]).encode()
    assert walkers.RawHarvest.decode(data) is not None
    assert all(walkers.RawHarvest.decode(data[:length]) is None for length in range(len(data)))


def children() -> set[int]:
    """Processes that this one started, also those that ended and were not asked about: servers of other tests too."""
    found = set()
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and (entry / "stat").read_text().rpartition(")")[2].split()[1] == str(os.getpid()):
                found.add(int(entry.name))
    return found


def test_a_walk_leaves_no_child_and_no_open_file(tmp_path: Path, early_fork: None) -> None:
    many_files(tmp_path)
    # In a process of its own: what other threads of this one open, close and start is their affair.
    child = os.fork()
    if child == 0:
        code = 1
        try:
            before, others = sorted(os.listdir("/proc/self/fd")), children()
            walk([tmp_path])
            code = 0 if sorted(os.listdir("/proc/self/fd")) == before else 2
            code = code if children() == others == set() else 3
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_files_that_vanish_while_walking_are_as_if_never_there(tmp_path: Path) -> None:
    write(tmp_path, "a", "b")
    harvest = walkers.Harvest()
    folder = walkers.Folder(bytes(tmp_path) + b"/", b"", (b"a", b"gone", b"b"))
    assert list(walkers._harvest_folder(folder, harvest, frozenset(), shared=False)) == []
    assert harvest.keys == [b"a", b"b"]
    assert harvest.problems == []
