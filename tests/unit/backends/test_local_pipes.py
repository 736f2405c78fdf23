"""Pipes and devices in a directory remote are no objects, and nobody waits for them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from datapin.backends.local import LocalBackend
from datapin.base.errors import RemoteUnreachable


def test_a_pipe_is_not_listed_not_read_and_not_taken_for_what_a_push_wanted_there(tmp_path: Path) -> None:
    backend = LocalBackend(tmp_path)
    backend.put_if_absent("roots/a.json", b"a")
    os.mkfifo(tmp_path / "roots" / "pipe.json")
    (tmp_path / "roots" / "zero.json").symlink_to("/dev/zero")
    assert [found.key for found in backend.iter_objects("roots/")] == ["roots/a.json"]
    for key in ("roots/pipe.json", "roots/zero.json"):
        assert backend.head(key) is None
        for use in (
            lambda key: backend.get(key),
            lambda key: list(backend.iter_chunks(key)),
            lambda key: backend.get_ranges(key, [(0, 1)]),
            lambda key: backend.get_tagged(key),
            lambda key: backend.put_if_absent(key, b"x"),
        ):
            with pytest.raises(RemoteUnreachable, match=f"{key}: it is no regular file|{key}: No such device"):
                use(key)
