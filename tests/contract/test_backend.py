"""Every backend against the one contract."""

from __future__ import annotations

import errno
import os

import pytest

from datapin.backends.backend import Backend
from datapin.backends.counting import CountingBackend
from datapin.backends.local import LocalBackend
from datapin.testing.backend_suite import BackendSuite


class TestLocalBackend(BackendSuite):
    @pytest.fixture
    def backend(self, tmp_path) -> Backend:
        return LocalBackend(tmp_path / "remote" / "datapin")


class TestLocalBackendWithoutHardLinks(BackendSuite):
    @pytest.fixture
    def backend(self, tmp_path, monkeypatch) -> Backend:
        def refuse(source, target):
            raise OSError(errno.EPERM, "no hard links here")

        monkeypatch.setattr(os, "link", refuse)
        return LocalBackend(tmp_path / "remote" / "datapin")


class TestCountingBackend(BackendSuite):
    @pytest.fixture
    def backend(self, tmp_path) -> Backend:
        return CountingBackend(LocalBackend(tmp_path / "remote"))
