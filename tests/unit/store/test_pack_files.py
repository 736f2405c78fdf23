"""Open packs are shared out among all stores of a process."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from datapin.store import reader as reader_module
from datapin.store.reader import OpenFile, PackFiles


def _packs(root: Path, count: int) -> list[bytes]:
    names = [os.urandom(32) for _ in range(count)]
    for name in names:
        path = root / "packs" / name.hex()[:2] / f"{name.hex()}.pack"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name)
    return names


@pytest.fixture
def few_files(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, allowed[1]))
    reader_module._open_packs.clear()
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, allowed)


def test_ten_stores_of_fifty_packs_each_keep_a_quarter_of_what_may_be_open(tmp_path: Path, few_files: None) -> None:
    before = len(os.listdir("/dev/fd"))
    stores = [(PackFiles(str(tmp_path / str(n))), _packs(tmp_path / str(n), 50)) for n in range(10)]
    for files, names in stores:
        for name in names:
            assert os.pread(files.get(name).number, 32, 0) == name
    assert len(os.listdir("/dev/fd")) - before <= 64
    used_last = stores[-1][1][-1]
    assert stores[-1][0].get(used_last) is stores[-1][0].get(used_last)
    del files
    stores.clear()
    assert not reader_module._open_packs


def test_where_no_number_is_left_the_packs_make_room(tmp_path: Path, few_files: None) -> None:
    files, names = PackFiles(str(tmp_path)), _packs(tmp_path, 40)
    for name in names:
        files.get(name)
    taken: list[int] = []
    with contextlib.suppress(OSError):
        while len(taken) < 256:
            taken.append(os.open("/dev/null", os.O_RDONLY))
    assert len(taken) < 256
    try:
        assert (
            os.pread(OpenFile(f"{tmp_path}/packs/{names[0].hex()[:2]}/{names[0].hex()}.pack").number, 32, 0) == names[0]
        )
    finally:
        for number in taken:
            os.close(number)


def test_a_pack_that_is_a_pipe_does_not_keep_anybody_waiting(tmp_path: Path) -> None:
    (name,) = _packs(tmp_path, 1)
    path = tmp_path / "packs" / name.hex()[:2] / f"{name.hex()}.pack"
    path.unlink()
    os.mkfifo(path)
    files = PackFiles(str(tmp_path))
    with pytest.raises(OSError, match=r"[Ss]eek"):
        os.pread(files.get(name).number, 32, 0)
