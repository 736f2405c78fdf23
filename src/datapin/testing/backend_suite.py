"""What every backend must do, as tests: subclass `BackendSuite` and give it a fixture `backend` that starts empty.

class TestMyBackend(BackendSuite):
    @pytest.fixture
    def backend(self, tmp_path):
        return LocalBackend(tmp_path)
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from datapin.backends.backend import Abilities, Backend
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
MOST_BYTES_IN_A_CHUNK = 8 << 20


def promises(backend: Backend) -> Abilities:
    """What the place says it can do."""
    backend.put_if_absent("format", b"{}")
    return backend.abilities("format", b"{}")


class BackendSuite:
    """The contract of `datapin.backends.backend.Backend`."""

    objects_in_a_long_listing = 2500  # S3 sends a thousand at a time; a slow place may list fewer

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
        assert wins
        assert backend.get("race/key") in {contents[number] for number in wins}
        assert set(seen) <= {contents[number] for number in wins}
        if promises(backend).exclusive_put:
            assert len(wins) == 1

    def test_many_objects_can_be_put_and_read_at_once(self, backend: Backend) -> None:
        contents = {f"many/{number:03}": os.urandom(20_000 + number) for number in range(60)}
        with ThreadPoolExecutor(8) as threads:
            assert all(threads.map(backend.put_if_absent, contents, contents.values()))
            assert list(threads.map(backend.get, contents)) == list(contents.values())
            tails = threads.map(lambda key: backend.get_ranges(key, [(19_990, 1000)])[0], contents)
            assert list(tails) == [data[19_990:] for data in contents.values()]
        assert [found.key for found in backend.iter_objects("many/")] == sorted(contents)

    def test_a_large_file_goes_through_in_pieces(self, backend: Backend, tmp_path: Path) -> None:
        block = os.urandom(1 << 20)
        source = tmp_path / "large"
        with source.open("wb") as file:
            for _ in range(70):
                file.write(block)
        assert backend.put_if_absent("large", source) is True
        assert backend.put_if_absent("large", source) is False
        whole, sizes = hashlib.sha256(), []
        for chunk in backend.iter_chunks("large"):
            whole.update(chunk)
            sizes.append(len(chunk))
        assert whole.digest() == hashlib.sha256(block * 70).digest()
        assert sum(sizes) == 70 << 20
        assert max(sizes) <= MOST_BYTES_IN_A_CHUNK
        assert backend.get_ranges("large", [(69 << 20, 2 << 20), (3, 5)]) == [block, block[3:8]]

    def test_an_object_without_bytes_is_an_object(self, backend: Backend, tmp_path: Path) -> None:
        (tmp_path / "empty").touch()
        assert backend.put_if_absent("empty/bytes", b"") is True
        assert backend.put_if_absent("empty/file", tmp_path / "empty") is True
        assert backend.put_if_absent("empty/bytes", b"x") is False
        for key in ("empty/bytes", "empty/file"):
            seen = backend.head(key)
            assert seen is not None
            assert seen.size_bytes == 0
            assert backend.get(key) == b""
            assert b"".join(backend.iter_chunks(key)) == b""
            assert backend.get_ranges(key, [(0, 10), (5, 1)]) == [b"", b""]
        assert [found.size_bytes for found in backend.iter_objects("empty/")] == [0, 0]

    def test_ranges_come_in_the_asked_order_and_stop_at_the_end(self, backend: Backend) -> None:
        data = os.urandom(10_000)
        backend.put_if_absent("ranges", data)
        asked = [(9_000, 500), (0, 10), (5_000, 5_000), (5, 1), (9_990, 10)]
        assert backend.get_ranges("ranges", asked) == [data[offset : offset + length] for offset, length in asked]
        assert backend.get_ranges("ranges", []) == []
        assert backend.get_ranges("ranges", [(9_990, 100)]) == [data[9_990:]]

    def test_ranges_beyond_the_end_are_empty(self, backend: Backend) -> None:
        data = os.urandom(10_000)
        backend.put_if_absent("ranges", data)
        assert backend.get_ranges("ranges", [(10_000, 1)]) == [b""]
        asked = [(20_000, 5), (7, 3), (9_999, 5), (10_000, 10), (3, 0)]
        assert backend.get_ranges("ranges", asked) == [b"", data[7:10], data[9_999:], b"", b""]
        assert backend.get_ranges("ranges", [(3, 0), (70_000, 0)]) == [b"", b""]

    def test_hundreds_of_ranges_can_be_asked_for_in_one_call(self, backend: Backend) -> None:
        data = os.urandom(200_000)
        backend.put_if_absent("ranges", data)
        asked = [(number * 7919 % 199_000, 1 + number) for number in range(300)]
        assert backend.get_ranges("ranges", asked) == [data[offset : offset + length] for offset, length in asked]

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
            with pytest.raises(ObjectMissing) as caught:
                backend.get_tagged(key)
            assert caught.value.key == key
            assert backend.replace(key, b"new", "tag") is False
            assert backend.head(key) is None
        assert [found.key for found in backend.iter_objects("")] == ["dir/key"]

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

    def test_a_listing_of_thousands_is_complete_and_sorted(self, backend: Backend) -> None:
        numbers = range(self.objects_in_a_long_listing)
        keys = [f"list/{number * 7919 % len(numbers):04}{'-x' * (number % 3)}" for number in numbers]
        with ThreadPoolExecutor(8) as threads:
            assert all(threads.map(lambda key: backend.put_if_absent(key, b"x"), keys))
        assert [found.key for found in backend.iter_objects("list/")] == sorted(keys)
        listing = backend.iter_objects("list/")
        assert next(listing).key == min(keys)
        assert backend.head("list/none") is None  # other calls may come while a listing is under way
        assert len(list(listing)) == len(keys) - 1

    def test_a_deleted_object_is_gone_and_its_key_is_free(self, backend: Backend) -> None:
        backend.put_if_absent("dir/key", b"old")
        backend.delete("dir/key")
        backend.delete("dir/key")
        backend.delete("never/was")
        assert backend.head("dir/key") is None
        assert list(backend.iter_objects("")) == []
        assert backend.put_if_absent("dir/key", b"new") is True
        assert backend.get("dir/key") == b"new"

    def test_a_tag_changes_with_the_bytes(self, backend: Backend) -> None:
        tags = {}
        for data in (b"one", b"two", b"", b"one "):
            backend.put_if_absent("tagged", data)
            seen, tags[data] = backend.get_tagged("tagged")
            assert seen == data
            assert backend.get_tagged("tagged") == (data, tags[data])
            backend.delete("tagged")
        assert len(set(tags.values())) == 4

    def test_an_object_with_the_right_tag_is_replaced(self, backend: Backend) -> None:
        backend.put_if_absent("dir/key", b"first")
        backend.put_if_absent("dir/other", b"first")
        for data in (b"second", b"", b"third" * 10_000):
            _, tag = backend.get_tagged("dir/key")
            assert backend.replace("dir/key", data, tag) is True
            assert backend.get("dir/key") == data
            seen = backend.head("dir/key")
            assert seen is not None
            assert seen.size_bytes == len(data)
        assert backend.put_if_absent("dir/key", b"fourth") is False
        assert backend.get("dir/other") == b"first"
        assert [found.key for found in backend.iter_objects("")] == ["dir/key", "dir/other"]

    def test_an_object_with_another_tag_is_left_alone(self, backend: Backend) -> None:
        backend.put_if_absent("key", b"first")
        _, stale = backend.get_tagged("key")
        assert backend.replace("key", b"second", stale) is True
        assert backend.replace("key", b"third", stale) is False
        assert backend.replace("key", b"third", '"00000000000000000000000000000000"') is False
        assert backend.get("key") == b"second"
        _, tag = backend.get_tagged("key")
        backend.delete("key")
        assert backend.replace("key", b"third", tag) is False
        assert list(backend.iter_objects("")) == []

    def test_of_many_replacements_at_once_one_wins(self, backend: Backend) -> None:
        backend.put_if_absent("format", b"{}")
        can = backend.abilities("format", b"{}")
        for turn in range(4):
            key = f"race/{turn}"
            backend.put_if_absent(key, b"first")
            _, tag = backend.get_tagged(key)
            start = threading.Barrier(8)

            def replace(number: int, key: str = key, tag: str = tag, start: threading.Barrier = start) -> bool:
                start.wait()
                return backend.replace(key, b"from %d" % number, tag)

            with ThreadPoolExecutor(8) as threads:
                won = [number for number, is_won in enumerate(threads.map(replace, range(8))) if is_won]
            assert won
            assert backend.get(key) in {b"from %d" % number for number in won}
            if can.replace:
                assert len(won) == 1

    def test_finding_out_the_abilities_leaves_no_trace(self, backend: Backend) -> None:
        backend.put_if_absent("dir/format.json", b'{"format": 1}')
        can = backend.abilities("dir/format.json", b'{"format": 1}')
        assert bool(can.reason) is not (can.exclusive_put and can.replace)
        assert backend.get("dir/format.json") == b'{"format": 1}'
        assert [(found.key, found.size_bytes) for found in backend.iter_objects("")] == [("dir/format.json", 13)]
        assert backend.abilities("dir/format.json", b'{"format": 1}') == can
        _, tag = backend.get_tagged("dir/format.json")
        assert backend.replace("dir/format.json", b"{}", tag) is True
        assert backend.put_if_absent("dir/format.json", b"[]") is False
        assert backend.put_if_absent("dir/new", b"[]") is True

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
        with pytest.raises(ValueError, match="not a key"):
            backend.get_tagged(key)
        with pytest.raises(ValueError, match="not a key"):
            backend.replace(key, b"x", "tag")
        with pytest.raises(ValueError, match="not a key"):
            backend.abilities(key, b"x")
        assert list(backend.iter_objects("")) == []

    @pytest.mark.parametrize("prefix", BAD_PREFIXES)
    def test_a_bad_prefix_is_refused(self, backend: Backend, prefix: str) -> None:
        with pytest.raises(ValueError, match="not a"):
            list(backend.iter_objects(prefix))

    def test_the_place_has_a_name(self, backend: Backend) -> None:
        assert backend.url
