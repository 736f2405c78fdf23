"""What is special about directories: crashes, rights, and strangers' files."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from datapin.backends.counting import CountingBackend
from datapin.backends.local import LocalBackend
from datapin.base import failpoints
from datapin.base.errors import Locked, RemoteUnreachable
from datapin.base.files import lock


@pytest.fixture
def backend(tmp_path: Path) -> LocalBackend:
    return LocalBackend(tmp_path / "remote")


@pytest.mark.parametrize("point", ["backend.put.written", "backend.put.synced", "backend.put.linked"])
@pytest.mark.parametrize("action", ["exit", "short", "oserror=28"])
def test_a_put_cut_off_anywhere_shows_nothing_or_all(backend: LocalBackend, point: str, action: str) -> None:
    child = os.fork()
    if child == 0:
        failpoints._armed = f"{point}:1:{action}"
        try:
            backend.put_if_absent("dir/key", b"0123456789")
        except RemoteUnreachable as error:
            os._exit(error.exit_code)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code == (30 if action == "oserror=28" else failpoints.KILLED)
    found = [(seen.key, seen.size_bytes) for seen in backend.iter_objects("")]
    assert found == ([("dir/key", 10)] if point == "backend.put.linked" else [])
    assert backend.put_if_absent("dir/key", b"0123456789") is (found == [])
    assert backend.get("dir/key") == b"0123456789"


@pytest.mark.parametrize("point", ["backend.replace.written", "backend.replace.synced", "backend.replace.renamed"])
@pytest.mark.parametrize("action", ["exit", "oserror=28"])
def test_a_replacement_cut_off_anywhere_leaves_the_old_bytes_or_the_new(
    backend: LocalBackend, point: str, action: str
) -> None:
    backend.put_if_absent("dir/key", b"old")
    _, tag = backend.get_tagged("dir/key")
    child = os.fork()
    if child == 0:
        failpoints._armed = f"{point}:1:{action}"
        try:
            backend.replace("dir/key", b"newer", tag)
        except RemoteUnreachable as error:
            os._exit(error.exit_code)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code == (30 if action == "oserror=28" else failpoints.KILLED)
    is_done = point == "backend.replace.renamed"
    assert backend.get("dir/key") == (b"newer" if is_done else b"old")
    assert [found.key for found in backend.iter_objects("")] == ["dir/key"]
    assert backend.replace("dir/key", b"newer", tag) is not is_done


def test_without_file_locks_nothing_is_promised_and_all_still_works(
    backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(number: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    backend.put_if_absent("format", b"{}")
    monkeypatch.setattr(fcntl, "flock", refuse)
    can = backend.abilities("format", b"{}")
    assert (can.exclusive_put, can.replace, can.reason) == (False, False, "this file server has no file locks")
    _, tag = backend.get_tagged("format")
    assert backend.replace("format", b"[]", tag) is True
    assert backend.replace("format", b"()", tag) is False
    backend.delete("format")
    assert backend.head("format") is None


def test_temporary_and_strange_files_are_not_listed(backend: LocalBackend, tmp_path: Path) -> None:
    backend.put_if_absent("dir/key", b"x")
    for name in (".tmp-1-ab", "with space", "ä"):
        (tmp_path / "remote" / "dir" / name).write_bytes(b"?")
    assert [seen.key for seen in backend.iter_objects("")] == ["dir/key"]


def test_a_file_in_the_way_of_the_directory_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "remote").write_bytes(b"in the way")
    with pytest.raises(RemoteUnreachable, match="Not a directory") as caught:
        LocalBackend(tmp_path / "remote" / "datapin").put_if_absent("a/b", b"x")
    assert caught.value.exit_code == 30


def test_requests_are_counted(backend: LocalBackend) -> None:
    counting = CountingBackend(backend)
    counting.put_if_absent("a", b"0123456789")
    counting.get_ranges("a", [(0, 1), (5, 2)])
    counting.get("a")
    assert counting.requests == 4


def test_no_lock_file_stays_behind_and_still_one_at_a_time_replaces(backend: LocalBackend, tmp_path: Path) -> None:
    root = tmp_path / "remote"
    backend.put_if_absent("count", b"0")
    children = []
    for _ in range(6):
        child = os.fork()
        if not child:
            done = 0
            while done < 40:
                data, tag = backend.get_tagged("count")
                done += backend.replace("count", b"%d" % (int(data) + 1), tag)
            os._exit(0)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 6
    assert backend.get("count") == b"240"
    assert backend.abilities("count", b"240").replace
    backend.delete("count")
    assert list(root.iterdir()) == []


def test_who_gives_up_waiting_leaves_the_lock_of_the_other_alone(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with lock(path, what="it", keep=False):
        with pytest.raises(Locked), lock(path, what="it", timeout_s=0.05, keep=False):
            pass
        assert path.exists()
    assert not path.exists()
