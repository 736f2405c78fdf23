"""Every backend against the one contract."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from datapin.backends.backend import Backend
from datapin.backends.counting import CountingBackend
from datapin.backends.local import LocalBackend
from datapin.backends.s3.backend import S3Backend
from datapin.backends.s3.settings import s3_settings
from datapin.testing.backend_suite import BackendSuite
from servers.odd_s3 import odd_server
from servers.s3_server import S3Server


def s3_backend(server: S3Server, folder: str = "team/data-1", **more: str) -> S3Backend:
    """A folder of a bucket of its own."""
    keys = {"access_key_id": server.access_key, "secret_access_key": server.secret_key}
    settings = {"endpointurl": server.endpoint, **keys, **more}
    return S3Backend(s3_settings(f"s3://{server.new_bucket()}/{folder}", settings))


class TestLocalBackend(BackendSuite):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> Backend:
        return LocalBackend(tmp_path / "remote" / "datapin")


class TestLocalBackendWithoutHardLinks(BackendSuite):
    objects_in_a_long_listing = 300

    @pytest.fixture
    def backend(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Backend:
        def refuse(source: Path, target: Path) -> None:
            raise OSError(errno.EPERM, "no hard links here")

        monkeypatch.setattr(os, "link", refuse)
        return LocalBackend(tmp_path / "remote" / "datapin")


class TestCountingBackend(BackendSuite):
    objects_in_a_long_listing = 300

    @pytest.fixture
    def backend(self, tmp_path: Path) -> Backend:
        return CountingBackend(LocalBackend(tmp_path / "remote"))


class TestS3Backend(BackendSuite):
    @pytest.fixture
    def backend(self, s3_server: S3Server) -> Backend:
        return s3_backend(s3_server)


class TestS3BackendByBotocore(BackendSuite):
    objects_in_a_long_listing = 1010

    @pytest.fixture
    def backend(self, radosgw_server: S3Server) -> Backend:
        return s3_backend(radosgw_server, "ein Ordner mit Ümlaut+%20")


class TestS3BackendOnAServerThatIgnoresConditions(BackendSuite):
    objects_in_a_long_listing = 300

    @pytest.fixture
    def backend(self, moto_server: S3Server) -> Iterator[Backend]:
        with odd_server(moto_server, without=("if-match", "if-none-match")) as server:
            backend = s3_backend(server)
            backend.put_if_absent("once", b"")
            can = backend.abilities("once", b"")
            assert not can.exclusive_put
            assert not can.replace
            assert "does not heed If-None-Match and If-Match" in can.reason
            backend.delete("once")
            yield backend
