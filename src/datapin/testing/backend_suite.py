"""What every backend must do, as tests: subclass `BackendSuite` and give it a fixture `backend` that starts empty.

class TestMyBackend(BackendSuite):
    @pytest.fixture
    def backend(self, tmp_path):
        return LocalBackend(tmp_path)
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from datapin.backends.backend import Backend
from datapin.base.errors import ObjectMissing

BAD_KEYS = (
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    ".",
    "..",
    "a/../b",
    "a/./b",
    ".hidden",
    "a/.b",
    "a b",
    "a\\b",
    "a\n",
    "ä",
    "a\0",
)
BAD_PREFIXES = ("a", "/", "../", "a//", ".x/")


class BackendSuite:
    """The contract of `datapin.backends.backend.Backend`."""

    def test_what_is_put_is_what_is_got(self, backend: Backend) -> None:
        for key, data in {"a": b"", "b/c": b"bytes", "b/d/e.pack": os.urandom(3 << 20)}.items():
            assert backend.put_if_absent(key, data) is True
            assert backend.get(key) == data
            assert b"".join(backend.iter_chunks(key)) == data

    def test_a_file_can_be_put(self, backend: Backend, tmp_path: Path) -> None:
        source = tmp_path / "source"
        source.write_bytes(os.urandom(3_000_000))
        assert backend.put_if_absent("from/file", source) is True
        assert backend.get("from/file") == source.read_bytes()
        assert source.exists()

    def test_a_taken_key_keeps_its_bytes(self, backend: Backend, tmp_path: Path) -> None:
        (tmp_path / "other").write_bytes(b"third")
        assert backend.put_if_absent("key", b"first") is True
        assert backend.put_if_absent("key", b"second") is False
        assert backend.put_if_absent("key", tmp_path / "other") is False
        assert backend.get("key") == b"first"

    def test_of_many_puts_at_once_one_wins_and_no_reader_sees_a_part(self, backend: Backend) -> None:
        contents = [bytes([number]) * 500_000 for number in range(8)]
        wins: list[int] = []
        seen: list[bytes] = []
        start = threading.Barrier(9)

        def put(number: int) -> None:
            start.wait()
            if backend.put_if_absent("race/key", contents[number]):
                wins.append(number)

        def read() -> None:
            start.wait()
            while not wins:
                if backend.head("race/key") is not None:
                    seen.append(backend.get("race/key"))
                time.sleep(0.001)

        threads = [threading.Thread(target=put, args=(number,)) for number in range(8)]
        threads.append(threading.Thread(target=read))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(wins) == 1
        assert backend.get("race/key") == contents[wins[0]]
        assert set(seen) <= {contents[wins[0]]}

    def test_ranges_come_in_the_asked_order_and_stop_at_the_end(self, backend: Backend) -> None:
        data = os.urandom(10_000)
        backend.put_if_absent("ranges", data)
        asked = [(9_000, 500), (0, 10), (5_000, 5_000), (5, 1), (9_990, 10)]
        assert backend.get_ranges("ranges", asked) == [data[offset : offset + length] for offset, length in asked]
        assert backend.get_ranges("ranges", []) == []
        assert backend.get_ranges("ranges", [(9_990, 100)]) == [data[9_990:]]

    def test_a_missing_key_is_named(self, backend: Backend) -> None:
        backend.put_if_absent("dir/key", b"x")
        for key in ("none", "dir/none", "none/none", "dir", "dir/key/below"):
            with pytest.raises(ObjectMissing) as caught:
                backend.get(key)
            assert caught.value.key == key
            with pytest.raises(ObjectMissing):
                backend.get_ranges(key, [(0, 1)])
            with pytest.raises(ObjectMissing):
                list(backend.iter_chunks(key))
            assert backend.head(key) is None

    def test_head_and_listing_tell_size_and_time(self, backend: Backend) -> None:
        backend.put_if_absent("dir/key", b"12345")
        seen = backend.head("dir/key")
        assert seen is not None
        assert (seen.key, seen.size_bytes) == ("dir/key", 5)
        assert abs(seen.modified_s - time.time()) < 600
        assert [found.size_bytes for found in backend.iter_objects("dir/")] == [5]

    def test_listings_are_sorted_complete_and_only_below_the_prefix(self, backend: Backend) -> None:
        keys = ["a/b", "a/c/d", "a-b", "ab", "a/c-d", "b/a", "a/c.d"]
        assert list(backend.iter_objects("")) == []
        for key in keys:
            backend.put_if_absent(key, b"x")
        assert [found.key for found in backend.iter_objects("")] == sorted(keys)
        assert [found.key for found in backend.iter_objects("a/")] == sorted(k for k in keys if k.startswith("a/"))
        assert [found.key for found in backend.iter_objects("a/c/")] == ["a/c/d"]
        assert list(backend.iter_objects("none/")) == []

    def test_a_deleted_object_is_gone_and_its_key_is_free(self, backend: Backend) -> None:
        backend.put_if_absent("dir/key", b"old")
        backend.delete("dir/key")
        backend.delete("dir/key")
        backend.delete("never/was")
        assert backend.head("dir/key") is None
        assert list(backend.iter_objects("")) == []
        assert backend.put_if_absent("dir/key", b"new") is True
        assert backend.get("dir/key") == b"new"

    @pytest.mark.parametrize("key", BAD_KEYS)
    def test_a_bad_key_is_refused_before_anything_is_touched(self, backend: Backend, key: str) -> None:
        with pytest.raises(ValueError, match="not a key"):
            backend.put_if_absent(key, b"x")
        with pytest.raises(ValueError, match="not a key"):
            backend.get(key)
        with pytest.raises(ValueError, match="not a key"):
            backend.get_ranges(key, [(0, 1)])
        with pytest.raises(ValueError, match="not a key"):
            list(backend.iter_chunks(key))
        with pytest.raises(ValueError, match="not a key"):
            backend.head(key)
        with pytest.raises(ValueError, match="not a key"):
            backend.delete(key)
        assert list(backend.iter_objects("")) == []

    @pytest.mark.parametrize("prefix", BAD_PREFIXES)
    def test_a_bad_prefix_is_refused(self, backend: Backend, prefix: str) -> None:
        with pytest.raises(ValueError, match="not a"):
            list(backend.iter_objects(prefix))

    def test_the_place_has_a_name(self, backend: Backend) -> None:
        assert backend.url
